"""A setting with its default, help and limits; the words of ``--attributes``; settings as a command of dbpt."""

import math
import operator
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, get_args

from dbpt.arguments import in_one_line
from dbpt.data.other_columns import CodedSource
from dbpt.errors import InputError, in_digits, nearest, per_cent_hint
from dbpt.registry import Registry

AUTO = "auto"
CLUSTERS = "clusters"
MOST_CLUSTERS = 10
CODED: tuple[CodedSource, ...] = get_args(CodedSource)
"""The words before a colon and the name of a column, or of a measured property, whose values are the attributes."""
NOT_WITH_WORD: dict[str, dict[str, str]] = {
    AUTO: {
        "attribute_template": "auto uses the sentences of the family that it finds",
        "proportions": "the shares of the names are unknown before auto finds them",
        "pseudo_attributes": "the file has the attributes already",
        "guess_only_unknown": "auto finds other attributes than those in the data",
    },
    CLUSTERS: {
        "attribute_template": "clusters have no names, so there is no sentence to fill",
        "group_template": "clusters have no names",
        "pseudo_method": "clusters within each class are always found by k-means",
        "proportions": "the shares of clusters are unknown before they are found",
        "pseudo_attributes": "the file has the attributes already",
        "guess_only_unknown": "every image gets a cluster, even if its attribute is known",
    },
} | dict.fromkeys(
    CODED,
    dict.fromkeys(
        ("pseudo_method", "proportions", "min_confidence", "label_model", "label_pretrained"), "nothing is guessed"
    )
    | {
        "attribute_template": "its values have no words, so there is no sentence to fill",
        "group_template": "its values have no words",
        "pseudo_attributes": "the file has the attributes already",
        "guess_only_unknown": "images without a value are left without one",
    },
)
"""The settings that are not read beside each of the words of ``--attributes``, and why."""
ALONE = {AUTO: "auto finds the names itself", CLUSTERS: "clusters need no names"}
ALONE |= dict.fromkeys(CODED, "its values are the attributes")


def asked_word(attributes: Sequence[str] | None) -> tuple[str, str] | None:
    """If ``--attributes`` is one of its words, return the word and what follows the colon; None for names.

    They are ``auto``, ``clusters`` or ``clusters:K``, ``column:NAME`` and ``measured:NAME``. Raises `InputError` for a
    word together with names, for a K outside 2 to `MOST_CLUSTERS`, without NAME, and for a single name that looks like
    a misspelt word.

    >>> asked_word(["clusters:3"]), asked_word(["measured: brightness"]), asked_word(["auto=auto|car", "bus"])
    (('clusters', '3'), ('measured', 'brightness'), None)
    """
    given = list(attributes or ())
    asked = next((entry for entry in given if _is_word(entry, is_alone=len(given) == 1)), None)
    if asked is None:
        words = [AUTO, CLUSTERS, *CODED]
        if len(given) == 1 and re.fullmatch(rf"{CLUSTERS} *= *[0-9]+", given[0]):
            raise InputError(f"--attributes: {given[0]!r}: write a number of clusters after a colon: clusters:3")
        if len(given) == 1 and "=" not in given[0] and (meant := nearest(_word(given[0]).lower(), words)):
            raise InputError(f"--attributes: needs at least two names to tell apart, found only {given[0]!r}{meant}")
        return None
    word, rest = _word(asked), asked.partition(":")[2].strip()
    given.remove(asked)
    if given:
        other = next((entry for entry in given if entry != asked), asked)
        hint = f"drop one of the two, or write '{word}=WORDING' for an attribute of that name"
        raise InputError(f"--attributes: {asked!r} with {other!r}: {ALONE[word]}; {hint}")
    if word in CODED and not rest:
        raise InputError(f"--attributes: {asked!r} has no name; write {word}:NAME")
    if word == CLUSTERS and ":" in asked and rest not in map(str, range(2, MOST_CLUSTERS + 1)):
        expected = f"expected a number of clusters for each class, from 2 to {MOST_CLUSTERS}: clusters:3"
        raise InputError(f"--attributes: {asked!r}: {expected}")
    return word, rest


def _is_word(entry: str, *, is_alone: bool) -> bool:
    """Return whether an entry of ``--attributes`` is a word, and not a name, perhaps with its wordings."""
    if _word(entry) in CODED and not is_alone:
        return ":" in entry and "=" not in entry
    return entry == AUTO or _word(entry) in CODED or (_word(entry) == CLUSTERS and "=" not in entry)


def _word(name: str) -> str:
    return name.partition(":")[0].strip()


_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "low": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "high": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "a string"),
    "bool": (bool, "true or false"),
    "int": (int, "an integer"),
    "float": ((int, float), "a finite number"),
    "tuple[str, ...]": (str, "a list of strings"),
    "tuple[float, ...]": ((int, float), "a list of numbers"),
}


def setting(
    default: Any, help: str, *, unset: str | None = None, identity: bool = True, main: bool = False, **limits: Any
) -> Any:
    """Declare a setting; ``limits`` are ``low``, ``above``, ``high``, ``below`` and ``choices``.

    ``unset`` says what None means. Without ``identity`` it may differ when a run is resumed: it only locates rows,
    features and words. ``main`` ones stand first in signatures and lists; ``--help`` shows no others.
    """
    whole = help if unset is None else f"{help} [default: {unset}]"
    metadata = {"purpose": help, "help": whole, "identity": identity, "main": main, **limits}
    return field(default=default, metadata=metadata)


def main_first(settings: Iterable[Field[Any]]) -> list[Field[Any]]:
    """Return the settings with the main ones first, else in their order."""
    return sorted(settings, key=lambda setting: not setting.metadata["main"])


def flag_of(name: str) -> str:
    """Return the option of the setting ``name`` on the command line."""
    return f"--{name.replace('_', '-')}"


def check_setting(setting: Field[Any], value: Any) -> None:
    """Refuse a value of the wrong type or outside the limits."""
    flag, kind = flag_of(setting.name), str(setting.type)
    if value is None and kind.endswith(" | None"):
        return
    types, expected = _KINDS[kind := kind.removesuffix(" | None")]
    if kind.startswith("tuple"):
        is_of_kind = isinstance(value, tuple) and all(_is_a(item, types) for item in value)
    else:
        is_of_kind = _is_a(value, types)
    if not is_of_kind:
        is_text = kind.startswith("tuple") and isinstance(value, str)
        hint = f"; write {value.replace(',', ' ').split()!s:.200}" if is_text else ""
        if setting.name == "model":
            hint = ", or a Backbone, which dbpt.load_backbone makes"
        elif setting.name == "objective":
            hint = ", the name of an objective; dbpt.register_objective adds yours"
        elif kind == "str" and isinstance(value, tuple):
            hint = "; numpy.save and DataFrame.to_csv write a file, whose path can be given"
        raise InputError(f"{flag}: expected {expected}, found {in_one_line(value)}{hint}")
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(f"{flag}: {text!r} is not UTF-8, so config.toml could not hold it; rename it")
    limits = setting.metadata
    choices = limits.get("choices", (value,))
    if isinstance(choices, Registry):
        choices.check(flag, value)
    else:
        for entry in value if isinstance(value, tuple) and "choices" in limits else (value,):
            if entry not in choices:
                raise InputError(f"{flag}: {entry!r} is none of {', '.join(choices)}{nearest(entry, list(choices))}")
    for key, (holds, words) in _LIMITS.items():
        if key in limits and not holds(value, limits[key]):
            hint = per_cent_hint(value) if limits[key] == 1 and kind == "float" else ""
            raise InputError(f"{flag}: must be {words} {limits[key]}, found {value!r}{hint}")


def value_in_words(value: Any) -> str:
    """Return a value as one writes it on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return in_digits(value) if isinstance(value, float) else str(value)


def varied_in_words(varied: Mapping[str, Any]) -> str:
    """Return the values of a row that ``--vary`` made, each with a comma before it.

    >>> varied_in_words({"eta": 5.0, "min_group_count": 0.0})
    ', eta 5, min_group_count 0'
    """
    return "".join(f", {name} {value_in_words(value)}" for name, value in varied.items())


@dataclass(frozen=True, kw_only=True)
class SettingsSection:
    """Settings that belong together. Raises `InputError` for bad values."""

    title: ClassVar[str]

    def __post_init__(self) -> None:
        for setting in fields(self):
            check_setting(setting, getattr(self, setting.name))


def _is_a(value: Any, types: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return types is bool
    return isinstance(value, types) and not (isinstance(value, float) and not math.isfinite(value))


@dataclass(frozen=True)
class Command:
    """A verb of dbpt, its data or folder, and other arguments by name. ``str()`` is a line for a shell.

    Arguments are settings and other options, such as ``out``. Those that are None are left out.
    """

    verb: str
    data: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return shlex.join(["dbpt", self.verb, *([] if self.data is None else [self.data]), *options_of(self.arguments)])

    @property
    def call(self) -> str:
        """The call in Python; ``...`` stands for an argument that has no text, such as an array."""
        arguments = [] if self.data is None else [repr(self.data)]
        given = {name: value for name, value in self.arguments.items() if value is not None}
        arguments += [f"{name}={'...' if value is ... else repr(value)}" for name, value in given.items()]
        return f"dbpt.{self.verb}({', '.join(arguments)})"


def options_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return the options of the command line for arguments by name, without those that are None.

    >>> options_of({"seed": 3, "attributes": ("land", "water"), "baselines": False, "out": None})
    ['--seed', '3', '--attributes', 'land', 'water', '--no-baselines']
    """
    options = list[str]()
    for name, value in arguments.items():
        if isinstance(value, bool):
            options.append(flag_of(name) if value else f"--no-{flag_of(name)[2:]}")
        elif value is not None:
            options += [flag_of(name), *(map(str, value) if isinstance(value, tuple | list) else [str(value)])]
    return options
