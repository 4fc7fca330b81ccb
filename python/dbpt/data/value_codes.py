"""Which class or attribute a written value means: one of the given names, a number that indexes them, or its own name.

Names of their own are sorted, numbers ascend.
"""

import re
from collections.abc import Iterator, Set

from dbpt.data.rows import shortened
from dbpt.words import Vocabulary

# Also as pandas writes integers of a column with gaps ("1.0").
INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0+)?")


def own_codes(values: Set[str]) -> tuple[list[str], dict[str, int]]:
    """Names in index order and the index of each value, where the values themselves are the names."""
    if all(INTEGER.fullmatch(value) for value in values):
        numbers = sorted({_integer(value) for value in values})
        return [str(number) for number in numbers], {value: numbers.index(_integer(value)) for value in values}
    names = sorted(values)
    return names, {name: index for index, name in enumerate(names)}


def is_unknown(value: str) -> bool:
    """Return whether a written value says that nothing is known: none, or -1, also as pandas writes it (``"-1.0"``)."""
    return not value or (INTEGER.fullmatch(value) is not None and _integer(value) == -1)


def given_codes(values: Set[str], names: list[str]) -> tuple[dict[str, int], list[str]]:
    """The index of each valid value, and what was expected: the given names, or the integers that index them."""
    if values.isdisjoint(names) and values and all(INTEGER.fullmatch(value) for value in values):
        codes = {value: _integer(value) for value in values if 0 <= _integer(value) < len(names)}
        return codes, [str(index) for index in range(len(names))]
    return {name: index for index, name in enumerate(names)}, names


def _integer(value: str) -> int:
    return int(value.partition(".")[0])


def notes_on_numbers(classes: Vocabulary, attributes: Vocabulary) -> Iterator[str]:
    """A line for each vocabulary whose names are numbers."""
    for argument, vocabulary in (("classes", classes), ("attributes", attributes)):
        if vocabulary and all(INTEGER.fullmatch(wordings[0]) for wordings in vocabulary.values()):
            yield f"{argument} are named by numbers ({shortened(vocabulary, 4)}), which tell CLIP nothing; give words"
