"""Which encoder a model's name and files have turned out to be, so that a warm cache needs no torch to find out.

``CACHE_DIR/encoders.json`` holds what was asked for (model, weights, precision), the sizes and times of the files that
this meant, the versions of dbpt, torch and open_clip, and the encoder key that loading gave. As with images, a file of
the same size and time is taken for the same. A model of a hub's repository, which can change elsewhere, isn't
remembered.
"""

from __future__ import annotations

import contextlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from dbpt import __version__
from dbpt.errors import InputError
from dbpt.files import remove_unfinished, write_json

from .cache import STORED_AS

FILE = "encoders.json"
MOST_REMEMBERED = 256
MAX_BYTES = 1 << 24


class KnownEncoder(NamedTuple):
    """What loading the model gave: `Backbone.encoder_key` and its width."""

    encoder: dict[str, Any]
    embed_dim: int


def recall_encoder(cache_dir: Path, model: str, pretrained: str | None, precision: str) -> KnownEncoder | None:
    """What this model was the last time, if nothing that it consists of has changed since."""
    wanted = _request(model, pretrained, precision)
    for entry in _read(cache_dir):
        encoder, embed_dim = entry.get("encoder"), entry.get("embed_dim")
        if wanted is None or entry.get("request") != wanted:
            continue
        if isinstance(encoder, dict) and encoder.get("dtype") in STORED_AS and isinstance(embed_dim, int):
            return KnownEncoder(encoder, embed_dim)
    return None


def remember_encoder(cache_dir: Path, model: str, pretrained: str | None, precision: str, found: KnownEncoder) -> None:
    """Write down what this model is. Where the disk refuses, nothing is remembered."""
    request = _request(model, pretrained, precision)
    if request is None:
        return
    entry = {"request": request, "encoder": found.encoder, "embed_dim": found.embed_dim}
    others = [one for one in _read(cache_dir) if one.get("request") != request]
    with contextlib.suppress(InputError, OSError):
        cache_dir.mkdir(parents=True, exist_ok=True)
        remove_unfinished(cache_dir / FILE)  # if another process is just writing it, then for nothing
        write_json(cache_dir / FILE, [entry, *others][:MOST_REMEMBERED])


def _request(model: str, pretrained: str | None, precision: str) -> dict[str, Any] | None:
    """What is asked for, down to the files; None for what can't be told from here."""
    if model.startswith("hf-hub:"):
        return None
    return {
        "model": model,
        "pretrained": pretrained,
        "precision": precision,
        "files": {str(file): _stamp(file) for file in _files(model, pretrained)},
        "versions": {"dbpt": __version__} | {name: version(name) for name in ("torch", "open_clip_torch")},
    }


def _files(model: str, pretrained: str | None) -> list[Path]:
    """The local files that the names mean, absolute; names of open_clip's mean none."""
    names = (name for name in (model, pretrained) if name)
    files = [Path(name) for name in names if name.lower().endswith((".json", ".safetensors"))]
    if model.startswith("local-dir:"):
        folder = Path(model.removeprefix("local-dir:"))
        files += [folder / "open_clip_config.json", *sorted(folder.glob("*.safetensors"))]
    return [file.absolute() for file in files]


def _stamp(file: Path) -> list[int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _read(cache_dir: Path) -> list[dict[str, Any]]:
    """What is remembered; nothing if the file is damaged, for all of it can be found out again."""
    file = cache_dir / FILE
    try:
        if file.stat().st_size > MAX_BYTES:
            return []
        entries = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
