"""The words for classes and attributes: names, wordings, sentences, and several attributes, the factors."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import CONTROL, InputError, nearest

Vocabulary = dict[str, tuple[str, ...]]
"""Name -> wordings, in index order."""
SENTENCE_START = "a photo of a"
Names: TypeAlias = Mapping[str, str | Sequence[str]] | Sequence[str]
"""A vocabulary as users write it: a dict of names and wordings, or a list of entries ``"name=wording|wording"``."""
GROUP_PLACEHOLDER = re.compile(r"\{(class|attribute)\}")
COMMA_HINT = "; separate names by spaces, not commas"
UNNAMED = "attribute"
"""The name of the one attribute of ``--attributes``, which no factor of ``--factors`` may have."""
MOST_COMBINATIONS = 128
"""The largest number of combinations of values of several factors; each makes a group with each class."""


def parse_vocabulary(given: Names, argument: str) -> Vocabulary:
    """Parse names and wordings, in index order. Errors name ``argument`` ("--classes").

    >>> parse_vocabulary(["land=land background|forest", "water"], "--attributes")
    {'land': ('land background', 'forest'), 'water': ('water',)}
    >>> parse_vocabulary({"land": ["land background", "forest"], "water": "water"}, "--attributes")
    {'land': ('land background', 'forest'), 'water': ('water',)}
    """
    if isinstance(given, str | set | frozenset) or not isinstance(given, Iterable):
        raise InputError(f"{argument}: found {given!r}; expected a list of names, or a dict of names and wordings")
    vocabulary = _named_wordings(given, argument)
    check_vocabulary(vocabulary, argument)
    return vocabulary


def _named_wordings(given: Names, argument: str) -> Vocabulary:
    """Return each name with its wordings, as they are given. Errors name ``argument``."""
    vocabulary: Vocabulary = {}
    for entry in given:
        name, wordings = entry, given[entry] if isinstance(given, Mapping) else (entry,)
        if isinstance(entry, str) and "=" in entry and not isinstance(given, Mapping):
            name, _, wordings = entry.partition("=")
        if str(entry).rstrip().endswith(",") and (name is entry or not name.endswith(",")):
            raise InputError(f"{argument}: {entry!r} ends with a comma{COMMA_HINT}; else write 'NAME,=WORDING'")
        if isinstance(wordings, str):
            wordings = wordings.split("|")
        if not isinstance(wordings, Sequence) or not all(isinstance(text, str) for text in (name, *wordings)):
            hint = (
                "; give a list of names, in the order of the numbers"
                if isinstance(given, Mapping) and isinstance(name, int)
                else ""
            )
            raise InputError(f"{argument}: found {name!r}: {wordings!r}; expected names and wordings as text{hint}")
        if name.strip() in vocabulary:
            hint = "give each name once, not for each row, and separate its wordings by '|'"
            raise InputError(f"{argument}: {name.strip()!r} is given twice; {hint}")
        vocabulary[name.strip()] = tuple(wording.strip() for wording in wordings)
    return vocabulary


def entries_of(vocabulary: Vocabulary, argument: str) -> tuple[str, ...]:
    """Return the entries that `parse_vocabulary` reads. Raises `InputError` for names and wordings that have none."""
    entries = tuple(f"{name}={'|'.join(wordings)}" for name, wordings in vocabulary.items())
    for entry, name in zip(entries, vocabulary, strict=True):
        if _named_wordings([entry], argument) != {name: vocabulary[name]}:
            problem = "can't be written as NAME=WORDING|WORDING, as config.toml has it"
            raise InputError(f"{argument}: {name!r} {problem}; use no '=' in names and no '|' in wordings")
    return entries


def check_vocabulary(vocabulary: Mapping[str, Sequence[str]], argument: str) -> None:
    """Refuse fewer than two names, empty or repeated wordings, and control characters. Errors name ``argument``."""
    if len(vocabulary) < 2:
        name = next(iter(vocabulary), "")
        has_comma = any("," in text for text in (name, *vocabulary.get(name, ())))
        size = f"only {name!r}{COMMA_HINT if has_comma else ''}" if vocabulary else "none"
        way_out = f"write {argument} NAME NAME, in quotes if they have a |"
        if argument == "--attributes" and name.isidentifier():
            way_out += f", or {argument} 'column:{name}' for a column of the data"
        raise InputError(f"{argument}: needs at least two names to tell apart, found {size}; {way_out}")
    owners: dict[str, str] = {}
    for name, wordings in vocabulary.items():
        if not name.strip():
            raise InputError(f"{argument}: a name is empty; write NAME or NAME=wording|wording")
        if isinstance(wordings, str) or not wordings or not all(wording.strip() for wording in wordings):
            raise InputError(f"{argument}: {name!r} has an empty wording; write NAME or NAME=wording|wording")
        for wording in wordings:
            if wording in owners:
                both = f"given twice (in {owners[wording]!r} and {name!r}); each wording belongs to one name"
                raise InputError(f"{argument}: the wording {wording!r} is {both}")
            owners[wording] = name
        for text in (name, *wordings):
            check_printable(text, argument)


def check_templates(templates: Sequence[str], argument: str) -> None:
    """Refuse an empty list, and sentences without exactly one ``{}``. Errors name ``argument``."""
    if not templates:
        raise InputError(f"{argument}: is empty; give at least one sentence such as 'a photo of a {{}}.'")
    for template in templates:
        if template.count("{}") != 1:
            problem = f"has {template.count('{}')} placeholders {{}}, expected one, where the name goes"
            raise InputError(f"{argument}: {template!r} {problem}: 'a photo of a {{}}.'")
        check_printable(template, argument)


def check_printable(text: str, argument: str) -> None:
    """Refuse control characters. Errors name ``argument``."""
    if CONTROL.search(text):
        raise InputError(f"{argument}: {text!r} has a line break or another control character; write it without")


@dataclass(frozen=True)
class Factor:
    """A suspected attribute: all its values with their wordings, and those that each class may have.

    A class in ``of_class`` has only the values named there, any other class those in ``shared``.
    """

    name: str
    values: Vocabulary
    shared: tuple[str, ...]
    of_class: dict[str, tuple[str, ...]]

    @property
    def prefix(self) -> str:
        """The name with a colon, to begin a sentence about it; "" without a name of its own."""
        return "" if self.name == UNNAMED else f"{self.name}: "

    def possible(self, class_name: str) -> list[int]:
        """Return the indices of the values that images of the class may have."""
        names = list(self.values)
        return [names.index(name) for name in self.of_class.get(class_name, self.shared)]


def combined(factors: Sequence[Factor]) -> Vocabulary:
    """Return an attribute for each combination of the factors' values, numbered with the first factor most significant.

    >>> factors = [Factor(name, {"a": ("a",), "b": ("b",)}, ("a", "b"), {}) for name in ("one", "two")]
    >>> list(combined(factors))
    ['a, a', 'a, b', 'b, a', 'b, b']
    """
    if len(factors) == 1:
        return factors[0].values
    names = [", ".join(values) for values in product(*(factor.values for factor in factors))]
    return {name: (name,) for name in names}


@dataclass(frozen=True)
class Words:
    """Classes and (possibly no) attributes with their wordings. Code about guesses loops over the `suspects`.

    Attributes:
        classes, attributes: (C,) and (A,) names with their wordings; attributes are combinations of ``factors``.
        templates, attribute_templates: sentences with one ``{}``, for classes and for attributes.
        factors: attributes with names, whose wordings CLIP reads; empty for one attribute without a name.
        group_templates: sentences with one ``{class}`` and one ``{attribute}``; possibly none.
    """

    classes: Vocabulary
    attributes: Vocabulary
    templates: tuple[str, ...]
    attribute_templates: tuple[str, ...]
    factors: tuple[Factor, ...] = ()
    group_templates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_vocabulary(self.classes, "--classes")
        if self.factors:
            self._check_factors()
            object.__setattr__(self, "attributes", combined(self.factors))
        elif self.attributes:
            check_vocabulary(self.attributes, "--attributes")
        check_templates(self.templates, "--template")
        check_templates(self.attribute_templates, "--attribute-template")
        for template in self.group_templates:
            if sorted(GROUP_PLACEHOLDER.findall(template)) != ["attribute", "class"]:
                raise InputError(f"--group-template: {template!r}; expected one {{class}} and one {{attribute}}")
            check_printable(template, "--group-template")

    def _check_factors(self) -> None:
        for factor in self.factors:
            for name in factor.of_class:
                if name not in self.classes:
                    hint = nearest(name, list(self.classes)) or f"; they are {', '.join(self.classes)}"
                    raise InputError(f"--factors: {factor.name}[{name}]: {name!r} is none of the classes{hint}")
            without = [name for name in self.classes if name not in factor.of_class]
            if without and not factor.shared:
                hint = f"add '{factor.name}: VALUE, VALUE' for the other classes"
                raise InputError(f"--factors: {factor.name!r} has no values for class {without[0]!r}; {hint}")
            if all(len(factor.possible(name)) == 1 for name in self.classes):
                problem = f"{factor.name!r} has one value for each class, so there is nothing to guess"
                raise InputError(f"--factors: {problem}; give some class two values, or drop the factor")
        if (number := prod(len(factor.values) for factor in self.factors)) > MOST_COMBINATIONS:
            problem = f"the factors have {number} combinations, more than {MOST_COMBINATIONS}"
            raise InputError(f"--factors: {problem}; use fewer factors or values, or one run for each factor")

    @property
    def sizes(self) -> list[int]:
        """The number of values of each of the `suspects`."""
        return [len(suspect.values) for suspect in self.suspects]

    @property
    def suspects(self) -> tuple[Factor, ...]:
        """The attributes that CLIP guesses, each by itself, one or more; none if none is named."""
        unnamed = Factor(UNNAMED, self.attributes, tuple(self.attributes), {})
        return self.factors or ((unnamed,) if self.attributes else ())

    def guessed(self) -> Vocabulary:
        """Return the wordings of each value that CLIP guesses, as "factor: value" if there are several factors."""
        if len(self.factors) < 2:
            return self.attributes
        return {f"{factor.name}: {value}": words for factor in self.factors for value, words in factor.values.items()}

    @property
    def vocabularies(self) -> list[dict[tuple[int, ...], list[int]]]:
        """For each of the `suspects` the classes that share each list of its possible values, both as indices."""
        classes_of: list[dict[tuple[int, ...], list[int]]] = [{} for _ in self.suspects]
        for suspect, classes_by_values in zip(self.suspects, classes_of, strict=True):
            for label, name in enumerate(self.classes):
                classes_by_values.setdefault(tuple(suspect.possible(name)), []).append(label)
        return classes_of

    @property
    def class_sentence_start(self) -> str:
        """The words before the class in the first template that ends with the class; `SENTENCE_START` without one."""
        for template in self.templates:
            before, _, after = template.partition("{}")
            if before.strip() and not after.strip(" .!?"):
                return before.strip()
        return SENTENCE_START

    def class_texts(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return every sentence (template x wording), and the class index of each, (P,) int64."""
        return sentences(self.classes.values(), self.templates)

    def attribute_texts(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return every sentence (attribute template x wording), and the attribute index of each, (P,) int64.

        With factors the values of all of them are numbered one after another.
        """
        wordings = [wordings for suspect in self.suspects for wordings in suspect.values.values()]
        return sentences(wordings, self.attribute_templates)


def sentences(wordings: Iterable[Sequence[str]], templates: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return every sentence (template x wording), and the index of the name of each, (P,) int64.

    ``wordings`` has those of each name.
    """
    texts: list[str] = []
    owners: list[int] = []
    for index, of_name in enumerate(wordings):
        for wording in of_name:
            texts += [template.replace("{}", wording) for template in templates]
            owners += [index] * len(templates)
    return texts, np.array(owners, dtype=np.int64)


FLAG = "--factors"
FactorNames: TypeAlias = Mapping[str, Names] | Sequence[str]
"""Factors as users write them: a dict of names and values, or a list of entries ``"NAME: value, value=wording"``."""
OF_IMAGES = ("path", "label", "split", "attribute", "pseudo_attribute", "prediction", "confidence", "doubts", "group")
RESERVED = (*OF_IMAGES, "error", "sample")
HOW = "write 'NAME: value, value=wording|wording', or 'NAME[CLASS]: ...' for the values of one class"
_ENTRY = re.compile(r"(?P<name>[^\[\]:]*?)\s*(\[(?P<class_name>.*?)\])?\s*")


def parse_factors(given: FactorNames) -> tuple[Factor, ...]:
    """Parse factors, in order of appearance.

    >>> style, place = parse_factors(["style: photo, sketch=sketch|drawing", "place: sea, land", "place[ship]: sea"])
    >>> style.values
    {'photo': ('photo',), 'sketch': ('sketch', 'drawing')}
    >>> parse_factors({"place": ["sea", "land"], "place[ship]": ["sea"]}) == (place,)
    True
    """
    if isinstance(given, str | set | frozenset) or not isinstance(given, Iterable):
        raise InputError(f"{FLAG}: found {given!r}; expected a list of entries, or a dict of names and values; {HOW}")
    by_factor: dict[str, dict[str | None, Vocabulary]] = {}
    for key, names in _entries(given):
        match = _ENTRY.fullmatch(key.strip())
        if match is None or not match["name"] or match["class_name"] == "":
            raise InputError(f"{FLAG}: {key!r} is not the name of a factor; {HOW}")
        _check_name(match["name"])
        of_classes = by_factor.setdefault(match["name"], {})
        if match["class_name"] in of_classes:
            raise InputError(f"{FLAG}: {key!r} is given twice; write all its values in one entry")
        of_classes[match["class_name"]] = values = _named_wordings(names, f"{FLAG}: {key}")
        if with_comma := next((name for name in values if "," in name), None):
            raise InputError(f"{FLAG}: {key}: {with_comma!r} contains a comma, which separates values; leave it out")
    if not by_factor:
        raise InputError(f"{FLAG}: none is given; {HOW}")
    _check_different(by_factor)
    return tuple(_factor(name, of_classes) for name, of_classes in by_factor.items())


def _entries(given: FactorNames) -> Iterator[tuple[str, Names]]:
    for entry in given:
        if isinstance(given, Mapping):
            names = given[entry]
            if not isinstance(entry, str) or isinstance(names, str) or not isinstance(names, Mapping | Sequence):
                problem = f"{FLAG}: found {entry!r}: {names!r}"
                raise InputError(f"{problem}; expected a list of values, or a dict of values and wordings")
            yield entry, names
            continue
        if not isinstance(entry, str):
            raise InputError(f"{FLAG}: found {entry!r}; expected text; {HOW}")
        # A colon within the brackets belongs to the name of the class.
        key, colon, values = re.fullmatch(r"([^:\[]*(?:\[.*?\])?[^:]*)(:?)(.*)", entry, re.DOTALL).groups()  # type: ignore[union-attr]
        if not colon or not values.strip():
            raise InputError(f"{FLAG}: {entry!r} names no values; {HOW}")
        yield key, values.split(",")


def _check_name(name: str) -> None:
    check_printable(name, FLAG)
    if bad := next((sign for sign in ",=|" if sign in name), None):
        raise InputError(f"{FLAG}: the name {name!r} contains {bad!r}, which separates values; leave it out")
    if name in RESERVED:
        raise InputError(f"{FLAG}: {name!r} is the name of a column with another meaning; give the factor another name")


def _check_different(names: Iterable[str]) -> None:
    """Refuse names that differ only by case, which spreadsheets and some file systems take for the same."""
    spelled: dict[str, str] = {}
    for name in names:
        if (other := spelled.setdefault(name.casefold(), name)) != name:
            hint = "write a factor's name always in the same way, or choose another name for one of them"
            raise InputError(f"{FLAG}: {other!r} and {name!r} differ only by case; {hint}")


def _factor(name: str, of_classes: Mapping[str | None, Vocabulary]) -> Factor:
    """Join the vocabularies, first the shared one. A value with wordings in one of them needs none in the others."""
    values: Vocabulary = {}
    shared = of_classes.get(None, {})
    for vocabulary in (shared, *of_classes.values()):
        for value, wordings in vocabulary.items():
            known = values.get(value, (value,))
            if (value,) not in (known, wordings) and known != wordings:
                both = f"{'|'.join(known)} and {'|'.join(wordings)}"
                raise InputError(f"{FLAG}: {name}: {value!r} has two lists of wordings, {both}; give them once")
            values[value] = known if wordings == (value,) else wordings
    check_vocabulary(values, f"{FLAG}: {name}")
    own = {key: tuple(vocabulary) for key, vocabulary in of_classes.items() if key is not None}
    return Factor(name, values, tuple(shared), own)


def factor_entries(factors: Sequence[Factor]) -> tuple[str, ...]:
    """Return the entries that `parse_factors` reads. Raises `InputError` for names that have none."""
    entries = []
    for factor in factors:
        vocabularies = {factor.name: factor.shared} if factor.shared else {}
        vocabularies |= {f"{factor.name}[{name}]": values for name, values in factor.of_class.items()}
        said = set[str]()
        for key, names in vocabularies.items():
            values = [name if name in said else _value_entry(name, factor.values[name]) for name in names]
            entries.append(f"{key}: {', '.join(values)}")
            said.update(names)
    if entries and parse_factors(entries) != tuple(factors):
        hint = "use no ',', '=' or '|' in values, and no brackets in names"
        raise InputError(f"{FLAG}: can't be written as {entries}, as config.toml has it; {hint}")
    return tuple(entries)


def _value_entry(name: str, wordings: Sequence[str]) -> str:
    return name if (name,) == wordings else f"{name}={'|'.join(wordings)}"


def joint_codes(codes: Sequence[NDArray[np.int64]], sizes: Sequence[int]) -> NDArray[np.int64]:
    """Return the numbers (N,) of the combinations of factors of these ``sizes``, from the ``codes`` (N,) of each.

    They are -1 where one of the codes is.
    """
    if len(codes) == 1:
        return codes[0]
    joint = np.ravel_multi_index(tuple(np.maximum(codes, 0)), tuple(sizes))
    return np.where(np.min(codes, axis=0) >= 0, joint, -1)


def factor_codes(joint: NDArray[np.int64], sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return the code (N,) of each factor in the ``joint`` numbers (N,); -1 where that is -1."""
    if len(sizes) == 1:
        return [joint]
    codes = np.unravel_index(np.maximum(joint, 0), sizes) if sizes else ()
    return [np.where(joint >= 0, codes_N, -1).astype(np.int64) for codes_N in codes]
