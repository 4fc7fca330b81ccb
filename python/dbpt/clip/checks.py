"""Checks of a backbone without torch: the files that name it, and its stored description."""

import os
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from dbpt.errors import InputError, nearest
from dbpt.storage.files import check_readable, open_regular, system_errors

PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".tar", ".npz", ".npy")
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x93NUMPY", b"\x1f\x8b")


def check_named_files(model: str | None, pretrained: str | None, tokenizer: str | None) -> None:
    """Refuse names of `load_backbone` that are paths of files that can't be read."""
    if model is not None and (model.lower().endswith(".json") or model.startswith("local-dir:")):
        in_folder = [model.removeprefix("local-dir:"), "open_clip_config.json"]
        check_readable(Path(model) if model.lower().endswith(".json") else Path(*in_folder), "model config")
    if pretrained is not None and looks_like_path(pretrained):
        check_weights_file(Path(pretrained))
    if tokenizer is not None:
        tokenizer_file(Path(tokenizer))


def check_weights_file(path: Path) -> None:
    """Refuse a file that can't be read, or that could run code when it is opened."""
    with system_errors(f"{path}: cannot read the weights file"), open_regular(path) as file:
        magic = file.read(8)
    if path.suffix.lower() in PICKLE_SUFFIXES or magic.startswith(_PICKLE_MAGIC):
        raise InputError(
            f"{path}: a pickled or zipped checkpoint, which can run code when it is opened, is not loaded; "
            "save its state dict once with safetensors.torch.save_file and give the .safetensors file"
        )
    if path.suffix.lower() != ".safetensors":
        hint = "; a config belongs to --model" if path.suffix.lower() == ".json" else ""
        raise InputError(f"{path}: weights must be a .safetensors file{hint}")


def tokenizer_file(path: Path) -> Path:
    """Return `path`, or the tokenizer.json in the folder `path`."""
    file = path / "tokenizer.json" if os.path.isdir(path) else path  # noqa: PTH112 (Path.is_dir raises on long names)
    check_readable(file, "tokenizer", "expected a tokenizer.json or its folder")
    if file.stat().st_size > 1 << 28:
        raise InputError(f"{file}: more than 256 MiB, too large for a tokenizer")
    return file


def looks_like_path(pretrained: str) -> bool:
    """Return whether `pretrained` means a local file; open_clip's tags have no dots or slashes."""
    suffix = Path(pretrained).suffix.lower()
    return "/" in pretrained or "\\" in pretrained or suffix == ".safetensors" or suffix in PICKLE_SUFFIXES


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
