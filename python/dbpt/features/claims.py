"""Who computes which shard. Processes on one cache, of one machine or several, share the work by it.

A claim is a lock that its owner's death releases, so that a dead process costs what it had in hand. What a process has
of a shard when it stops, and every minute, lies beside the claim for whoever goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dbpt.files import remove_unfinished, write_atomically

from .owned_lock import OwnedLock

Begun = tuple[NDArray[Any], NDArray[np.uint8], list[str]]
"""Of the first k rows of a shard: features (k, D), failed (k,), reasons (k,)."""


class Claim:
    """The right to compute the shard called ``name``; ``say`` hears of who has it while this process waits."""

    def __init__(self, cache_folder: Path, name: str, say: Callable[[str], None] = lambda line: None) -> None:
        stem = cache_folder / "claims" / Path(name).stem
        self.name = name
        self.lock = OwnedLock(stem.with_suffix(".lock"), f"shard {name[:8]}", say)
        self._part = stem.with_suffix(".part")

    def begun(self, num_rows: int, embed_dim: int) -> Begun | None:
        """What somebody has computed of its rows and left, if it is whole; and clear away what died in writing it."""
        remove_unfinished(self._part)
        try:
            digest, content = self._part.read_bytes().split(b"\n", 1)
            if digest != _digest(content):
                return None
            found = load(content)
            features, failed = found["features"], found["failed"]
            reasons = found["reasons"].tobytes().decode("utf-8", "surrogateescape").split("\0")
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        k = len(failed)
        return (
            (features, failed, reasons) if features.shape == (k, embed_dim) and len(reasons) == k <= num_rows else None
        )

    def leave(self, features: NDArray[Any], failed: NDArray[np.uint8], reasons: Sequence[str]) -> None:
        """Put the first k rows where whoever goes on finds them. Raises `InputError` if the disk refuses."""
        text = "\0".join(reasons).encode("utf-8", "surrogateescape")
        content = save({"features": features, "failed": failed, "reasons": np.frombuffer(text, np.uint8)})
        write_atomically(self._part, _digest(content) + b"\n" + content)

    def done(self) -> None:
        """Give it up: the shard is in the cache."""
        remove_unfinished(self._part)
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)
        self.lock.release(remove=True)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def clear_finished(cache_folder: Path, shards: Container[str]) -> None:
    """Take away what lies beside claims on ``shards``, which are in the cache: their owners died before they did so.

    Raises `InputError` if the disk refuses.
    """
    stems = {file.name.lstrip(".").split(".")[0] for file in (cache_folder / "claims").glob("*")}
    for name in sorted(f"{stem}.safetensors" for stem in stems):
        if name in shards and (claim := Claim(cache_folder, name)).lock.take():
            claim.done()
