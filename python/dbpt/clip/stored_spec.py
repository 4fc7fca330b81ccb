"""Checks of a backbone's stored description, without torch."""

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from dbpt.errors import InputError, nearest

RANDOM_SEED = 0
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
_RESIZING = {"interpolation": ["bicubic", "bilinear"], "resize_mode": ["shortest", "longest", "squash"]}
_CHOICES: Mapping[str, Any] = {**_RESIZING, "fill_color": range(256)}


def check_preprocess(path: Path, given: Any, default: dict[str, Any]) -> dict[str, Any]:
    """Return ``default`` updated by ``given``, which was read from ``path``. Raises `InputError` for a bad entry."""
    if not isinstance(given, dict):
        raise InputError(f"{path}: preprocess must be an object with the keys {', '.join(PREPROCESS_KEYS)}")
    result = dict(default)
    for key, value in given.items():
        if key in ("size", "mode"):  # an open_clip_config.json may have them; the image tower determines the size
            continue
        if key not in PREPROCESS_KEYS:
            raise InputError(f"{path}: unknown preprocess key {key!r}{nearest(key, list(PREPROCESS_KEYS))}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise InputError(f"{path}: preprocess {key} is {value!r}, expected one of {_CHOICES[key]}")
        are_three = isinstance(value, list) and len(value) == 3
        if key in ("mean", "std") and not (
            are_three and all(isinstance(x, int | float) and isfinite(x) for x in value)
        ):
            raise InputError(f"{path}: preprocess {key} is {value!r}, expected three numbers")
        if key == "std" and any(x <= 0 for x in value):
            raise InputError(f"{path}: preprocess std is {value!r}, expected positive numbers")
        result[key] = value
    return result


_PARTS: Mapping[str, Callable[[Any, dict[str, Any]], bool]] = {
    "model": lambda value, spec: isinstance(value, str),
    "pretrained": lambda value, spec: value is None or isinstance(value, str),
    "config.embed_dim": lambda value, spec: isinstance(value, int),
    "config.vision_cfg": lambda value, spec: isinstance(value, dict),
    "config.text_cfg": lambda value, spec: isinstance(value, dict),
    # `check_published` asks open_clip whether there are such weights
    "weights.kind": lambda value, spec: value in ("file", "random", "published"),
    "weights.sha256": lambda value, spec: isinstance(value, str),
    "weights.path": lambda value, spec: isinstance(value, str) or spec["weights"]["kind"] != "file",
    "weights.seed": lambda value, spec: value == RANDOM_SEED or spec["weights"]["kind"] != "random",
    "tokenizer.kind": lambda value, spec: value in ("file", "simple") or (value == "model" and _is_named(spec)),
    "tokenizer.path": lambda value, spec: isinstance(value, str) or spec["tokenizer"]["kind"] != "file",
}


def _is_named(spec: dict[str, Any]) -> bool:
    return ":" not in spec["model"] or spec["weights"]["kind"] == "published"


def check_spec(spec: Any, path: Path) -> None:
    """Check that `load_backbone` can have written a spec.

    Args:
        spec: the value that was read as JSON.
        path: the file it was read from, for the message.

    Raises:
        InputError: if a part is missing or has another type.
    """
    for name, is_right in _PARTS.items():
        value = spec
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not is_right(value, spec):
            raise InputError(f"{path}: has no usable backbone.{name}; the file was changed, fit again")
    check_preprocess(path, spec.get("preprocess"), {})
