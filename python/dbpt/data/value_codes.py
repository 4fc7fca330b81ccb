"""Which class or attribute a written value means: one of the given names, a number that indexes them, or its own name.

Names of their own are sorted, numbers ascend.
"""

import re
from collections.abc import Iterator, Set
from decimal import Decimal

from dbpt.data.rows import shortened
from dbpt.data.words import Vocabulary

NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


def own_codes(values: Set[str]) -> tuple[list[str], dict[str, int]]:
    """Names in index order and the index of each value, where the values themselves are the names."""
    integers = _integers(values)
    if integers is not None:
        numbers = sorted(set(integers.values()))
        return [str(number) for number in numbers], {value: numbers.index(integers[value]) for value in values}
    names = sorted(values)
    return names, {name: index for index, name in enumerate(names)}


def is_unknown(value: str) -> bool:
    """Return whether a written value says that nothing is known: none, or a number equal to -1 (``"-1.0"``)."""
    return not value or _integer(value) == -1


def missing(values: Set[str]) -> set[str]:
    """Those of a column's distinct values that stand for none: nothing and, where all others are numbers, NaN."""
    nothing = {value for value in values if value.lower() in ("", "nan")}
    return nothing if all(map(NUMBER.fullmatch, values - nothing)) else nothing & {""}


def negatives(values: Set[str]) -> set[str]:
    """The negative numbers among values that are all numbers; none where one is a name."""
    return {value for value in values if Decimal(value) < 0} if all(map(NUMBER.fullmatch, values)) else set()


def given_codes(values: Set[str], names: list[str]) -> tuple[dict[str, int], list[str]]:
    """The index of each valid value, and what was expected: the given names, or the integers that index them."""
    integers = _integers(values)
    if values.isdisjoint(names) and integers:
        codes = {value: number for value, number in integers.items() if 0 <= number < len(names)}
        return codes, [str(index) for index in range(len(names))]
    return {name: index for index, name in enumerate(names)}, names


def _integer(value: str) -> int | None:
    """The integer that a text stands for, also as NumPy and pandas write it (``"1.0"``, ``"1e+00"``); else None."""
    if not NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    return int(number) if number == int(number) else None


def _integers(values: Set[str]) -> dict[str, int] | None:
    """The integer of each value; None if one is no integer."""
    found = {value: number for value in values if (number := _integer(value)) is not None}
    return found if len(found) == len(values) else None


def notes_on_numbers(classes: Vocabulary, attributes: Vocabulary) -> Iterator[str]:
    """A line for each vocabulary whose names are numbers."""
    for argument, vocabulary in (("classes", classes), ("attributes", attributes)):
        if vocabulary and all(_integer(wordings[0]) is not None for wordings in vocabulary.values()):
            yield f"{argument} are named by numbers ({shortened(vocabulary, 4)}), which tell CLIP nothing; give words"
