"""``manifest.json`` of a feature cache's folder: whose features these are, and which shards exist, with checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dbpt.errors import InputError
from dbpt.files.disk import open_regular, reason_of, write_atomically

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
MAX_BYTES = 1 << 29
FOLDER_NAME = re.compile(r"[0-9a-f]{20}")
SHARD_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
SHA256 = re.compile(r"[0-9a-f]{64}")
DEEPEST = 8
STORED_AS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bf16": np.dtype(np.float16),
    "fp16": np.dtype(np.float16),
}
"""By the precision of the tower: half of the bits lose nothing that a half-precision tower has."""


class ShardEntry(NamedTuple):
    """A shard: its file's name, rows, how many of them failed, bytes and checksum."""

    name: str
    rows: int
    failed: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What stands in the file.

    encoder: what the bytes of a feature depend on (`Backbone.encoder_key`), readable.
    root: the folder that the rows' paths are relative to; None if rows are told by their content, wherever they are.
    embed_dim: D.
    shards: in the order of their names, so that it does not depend on which was finished first.
    """

    encoder: dict[str, Any]
    root: str | None
    embed_dim: int
    shards: tuple[ShardEntry, ...] = ()


def folder_name(encoder: Mapping[str, Any], root: str | None) -> str:
    """The name of the folder that holds the features of an encoder and a root."""
    key = {"schema_version": SCHEMA_VERSION, "encoder": dict(encoder), "root": root}
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it as `write_atomically` does."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "encoder": manifest.encoder,
        "root": manifest.root,
        "embed_dim": manifest.embed_dim,
        "shards": [entry._asdict() for entry in sorted(manifest.shards)],
    }
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """Read it and check every value; None if there is none.

    Raises:
        UnreadableManifest: the system refuses to read it, for now.
        InputError: it is damaged, or of another schema version.
    """
    file = folder / MANIFEST
    try:
        with open_regular(file, follow=False) as opened:
            text = opened.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UnreadableManifest(
            f"{file}: cannot be read: {reason_of(error)}; make it readable, or choose another cache folder"
        ) from None
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        content = json.loads(text)
        version = content["schema_version"]
        if version != SCHEMA_VERSION:
            raise OtherVersion(file, version)
        if not isinstance(content["shards"], list):
            raise ValueError("shards is no list")
        shards = tuple(_entry(**entry) for entry in content["shards"])
        manifest = Manifest(
            _encoder(content["encoder"]), _root(content["root"]), _count("embed_dim", content["embed_dim"], 1), shards
        )
        if len({entry.name for entry in shards}) != len(shards):
            raise ValueError("a shard is listed twice")
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file}: damaged manifest ({type(error).__name__}: {reason}); delete {folder}") from None
    return manifest


class UnreadableManifest(InputError):
    """The system can't read the manifest at the moment, which may pass."""


class OtherVersion(InputError):
    """The manifest has another schema version; ``is_older`` says whether this version of dbpt has replaced it."""

    def __init__(self, file: Path, version: object) -> None:
        super().__init__(
            f"{file}: schema version {version!r}, this version reads {SCHEMA_VERSION}; delete {file.parent}"
        )
        self.is_older = isinstance(version, int) and version < SCHEMA_VERSION


def _entry(name: Any, rows: Any, failed: Any, bytes: Any, sha256: Any) -> ShardEntry:
    if not isinstance(name, str) or not SHARD_NAME.fullmatch(name):
        raise ValueError(f"shard name {name!r}")
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise ValueError(f"sha256 {sha256!r}")
    rows = _count("rows", rows, 1)
    return ShardEntry(name, rows, _count("failed", failed, 0, rows), _count("bytes", bytes, 1, 1 << 48), sha256)


def _count(name: str, value: Any, low: int, high: int = 1 << 32) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}")
    return value


def _root(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise ValueError(f"root is {value!r}")
    if value is not None:
        os.fsencode(value)  # what is no name raises UnicodeEncodeError
    return value


def _encoder(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("dtype") not in STORED_AS:
        raise ValueError("encoder has no known dtype")
    _check_depth(value, DEEPEST)
    return value


def _check_depth(value: Any, levels: int) -> None:
    if isinstance(value, list | dict):
        if not levels:
            raise ValueError("encoder is nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, levels - 1)


def differences(wanted: Manifest, found: Manifest) -> list[str]:
    """The fields that differ between two caches, with both values: ``weights 3f2a -> 9b1c``."""
    left = {**flat(wanted.encoder), "root": wanted.root, "embed_dim": wanted.embed_dim}
    right = {**flat(found.encoder), "root": found.root, "embed_dim": found.embed_dim}
    return [
        f"{name} {_short(right.get(name))} -> {_short(left.get(name))}"
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    ]


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields under dotted names."""
    fields: dict[str, Any] = {}
    for name, item in value.items():
        fields |= flat(item, f"{prefix}{name}.") if isinstance(item, Mapping) else {prefix + name: item}
    return fields


def _short(value: Any) -> str:
    """A digest is told by its beginning."""
    text = "none" if value is None else str(value)
    return f"{text[:12]}..." if re.fullmatch("[0-9a-f]{64}", text) else text
