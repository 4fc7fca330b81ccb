"""The words of a task: class and attribute names, their wordings, and the sentences that CLIP reads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import CONTROL, InputError

Vocabulary = dict[str, tuple[str, ...]]
"""Name -> wordings, in index order."""
SENTENCE_START = "a photo of a"
Names: TypeAlias = Mapping[str, str | Sequence[str]] | Sequence[str]
"""A vocabulary as users write it: a dict of names and wordings, or a list of entries ``"name=wording|wording"``."""
COMMA_HINT = "; separate names by spaces, not commas"


def parse_vocabulary(given: Names, argument: str) -> Vocabulary:
    """Parse names and wordings, in index order. Errors name ``argument`` ("--classes").

    >>> parse_vocabulary(["land=land background|forest", "water"], "--attributes")
    {'land': ('land background', 'forest'), 'water': ('water',)}
    >>> parse_vocabulary({"land": ["land background", "forest"], "water": "water"}, "--attributes")
    {'land': ('land background', 'forest'), 'water': ('water',)}
    """
    if isinstance(given, str | set | frozenset) or not isinstance(given, Iterable):
        raise InputError(f"{argument}: found {given!r}; expected a list of names, or a dict of names and wordings")
    vocabulary: Vocabulary = {}
    for name, wordings in _named_wordings(given, argument):
        if name in vocabulary:
            raise InputError(f"{argument}: {name!r} is given twice; separate the wordings of one name by '|'")
        vocabulary[name] = wordings
    check_vocabulary(vocabulary, argument)
    return vocabulary


def _named_wordings(given: Names, argument: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for entry in given:
        name, wordings = entry, given[entry] if isinstance(given, Mapping) else (entry,)
        if isinstance(entry, str) and "=" in entry and not isinstance(given, Mapping):
            name, _, wordings = entry.partition("=")
        if isinstance(wordings, str):
            wordings = wordings.split("|")
        if not isinstance(wordings, Sequence) or not all(isinstance(text, str) for text in (name, *wordings)):
            raise InputError(f"{argument}: found {name!r}: {wordings!r}; expected names and wordings as text")
        yield name.strip(), tuple(wording.strip() for wording in wordings)


def entries_of(vocabulary: Vocabulary, argument: str) -> tuple[str, ...]:
    """Return the entries that `parse_vocabulary` reads. Raises `InputError` for names and wordings that have none."""
    entries = tuple(f"{name}={'|'.join(wordings)}" for name, wordings in vocabulary.items())
    for entry, name in zip(entries, vocabulary, strict=True):
        if dict(_named_wordings([entry], argument)) != {name: vocabulary[name]}:
            problem = "can't be written as NAME=WORDING|WORDING, as config.toml has it"
            raise InputError(f"{argument}: {name!r} {problem}; do without '=' in names and '|' in wordings")
    return entries


def check_vocabulary(vocabulary: Mapping[str, Sequence[str]], argument: str) -> None:
    """Refuse fewer than two names, empty or repeated wordings, and control characters. Errors name ``argument``."""
    if len(vocabulary) < 2:
        name = next(iter(vocabulary), "")
        found = f"only {name!r}{COMMA_HINT if ',' in name else ''}" if vocabulary else "none"
        raise InputError(f"{argument}: needs at least two names to tell apart, found {found}")
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
            _check_printable(text, argument)


def check_templates(templates: Sequence[str], argument: str) -> None:
    """Refuse an empty list, and sentences without exactly one ``{}``. Errors name ``argument``."""
    if not templates:
        raise InputError(f"{argument}: is empty; give at least one sentence such as 'a photo of a {{}}.'")
    for template in templates:
        if template.count("{}") != 1:
            found = f"{template.count('{}')} of the placeholder {{}}, which must stand exactly once"
            raise InputError(f"{argument}: {template!r} holds {found}, where the name goes: 'a photo of a {{}}.'")
        _check_printable(template, argument)


def _check_printable(text: str, argument: str) -> None:
    if CONTROL.search(text):
        raise InputError(f"{argument}: {text!r} has a line break or another control character; write it without")


@dataclass(frozen=True)
class Words:
    """Classes and (possibly no) attributes with their wordings, and the sentence templates of each."""

    classes: Vocabulary
    attributes: Vocabulary
    templates: tuple[str, ...]
    attribute_templates: tuple[str, ...]

    def __post_init__(self) -> None:
        check_vocabulary(self.classes, "--classes")
        if self.attributes:
            check_vocabulary(self.attributes, "--attributes")
        check_templates(self.templates, "--template")
        check_templates(self.attribute_templates, "--attribute-template")

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
        return sentences(self.classes, self.templates)

    def attribute_texts(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return every sentence (attribute template x wording), and the attribute index of each, (P,) int64."""
        return sentences(self.attributes, self.attribute_templates)


def sentences(vocabulary: Vocabulary, templates: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return every sentence (template x wording), and the index of the name of each, (P,) int64."""
    texts: list[str] = []
    owners: list[int] = []
    for index, wordings in enumerate(vocabulary.values()):
        for wording in wordings:
            texts += [template.replace("{}", wording) for template in templates]
            owners += [index] * len(templates)
    return texts, np.array(owners, dtype=np.int64)
