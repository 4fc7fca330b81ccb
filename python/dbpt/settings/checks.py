"""Whether a value is of its setting's type and within its limits, as the fields of `FitConfig` state them."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import Field
from typing import Any

from dbpt.errors import InputError, nearest

_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "low": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "high": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}

_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "str": (lambda value: isinstance(value, str), "a string"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "int": (lambda value: isinstance(value, int) and not isinstance(value, bool), "an integer"),
    "float": (
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
        "a finite number",
    ),
    "tuple[str, ...]": (
        lambda value: isinstance(value, tuple) and all(isinstance(item, str) for item in value),
        "a list of strings",
    ),
    "tuple[float, ...]": (
        lambda value: isinstance(value, tuple) and all(_TYPES["float"][0](item) for item in value),
        "a list of numbers",
    ),
}


def check_setting(setting: Field[Any], value: Any) -> None:
    """Refuse a value of another type than the setting's, or outside its limits."""
    flag = f"--{setting.name.replace('_', '-')}"
    type_name = str(setting.type).removesuffix(" | None")
    optional = type_name != str(setting.type)
    if value is None and optional:
        return
    is_of_type, kind = _TYPES[type_name]
    if not is_of_type(value):
        raise InputError(f"{flag}: expected {kind}, found {value!r}")
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(f"{flag}: {text!r} is not UTF-8, so config.toml could not hold it; rename it")
    _check_limits(flag, value, setting.metadata)


def _check_limits(flag: str, value: Any, limits: Mapping[str, Any]) -> None:
    choices = limits.get("choices")
    if choices and value not in choices:
        raise InputError(f"{flag}: {value!r} is none of {', '.join(choices)}{nearest(value, list(choices))}")
    for key, (holds, words) in _LIMITS.items():
        if key in limits and not holds(value, limits[key]):
            raise InputError(f"{flag}: must be {words} {limits[key]}, found {value!r}")
