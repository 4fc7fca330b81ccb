"""A backbone's spec as it is read back from a file that somebody may have changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dbpt.clip.config import check_preprocess
from dbpt.errors import InputError

_PARTS: Mapping[str, Callable[[Any, dict[str, Any]], bool]] = {
    "model": lambda value, spec: isinstance(value, str),
    "pretrained": lambda value, spec: value is None or isinstance(value, str),
    "config.embed_dim": lambda value, spec: isinstance(value, int),
    "config.vision_cfg": lambda value, spec: isinstance(value, dict),
    "config.text_cfg": lambda value, spec: isinstance(value, dict),
    "weights.kind": lambda value, spec: value in ("file", "random", "published"),
    "weights.sha256": lambda value, spec: isinstance(value, str),
    "weights.path": lambda value, spec: isinstance(value, str) or spec["weights"]["kind"] != "file",
    "weights.seed": lambda value, spec: isinstance(value, int) or spec["weights"]["kind"] != "random",
    "tokenizer.kind": lambda value, spec: value in ("file", "simple", "model"),
    "tokenizer.path": lambda value, spec: isinstance(value, str) or spec["tokenizer"]["kind"] != "file",
}


def check_spec(spec: Any, path: Path) -> None:
    """Refuse a spec of ``path`` that is not as `load_backbone` writes them.

    Raises:
        InputError: naming the file and the part of the spec.
    """
    for name, is_right in _PARTS.items():
        value = spec
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not is_right(value, spec):
            raise InputError(f"{path}: has no usable backbone.{name}; the file was changed, fit anew")
    check_preprocess(path, spec.get("preprocess"), {})
