"""``manifest.json`` of a feature cache's folder: whose features these are, and which shards exist, with checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from dbpt.errors import InputError
from dbpt.files.disk import open_regular, reason_of, write_atomically
from dbpt.files.typed_json import Limits, typed

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
MAX_BYTES = 1 << 29
FOLDER_NAME = re.compile(r"[0-9a-f]{20}")
SHARD_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
SHA256 = re.compile(r"[0-9a-f]{64}")
STORED_AS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bf16": np.dtype(np.float16),
    "fp16": np.dtype(np.float16),
}
"""By the precision of the tower: half of the bits lose nothing that a half-precision tower has."""


@dataclass(frozen=True, order=True)
class ShardEntry:
    """A shard: its file's name, rows, how many of them failed, bytes and checksum."""

    name: str
    rows: Annotated[int, Limits(1, 1 << 32)]
    failed: Annotated[int, Limits(0)]
    bytes: Annotated[int, Limits(1, 1 << 48)]
    sha256: str

    def __post_init__(self) -> None:
        if not SHARD_NAME.fullmatch(self.name) or not SHA256.fullmatch(self.sha256) or self.failed > self.rows:
            raise InputError(f"shard {self.name!r}, {self.failed} of {self.rows} failed, sha256 {self.sha256!r}")


@dataclass(frozen=True)
class Manifest:
    """The content of the file.

    Attributes:
        encoder: what the bytes of a feature depend on (`Backbone.encoder_key`).
        root: the folder that the rows' paths are relative to; None if rows are identified by their content.
        embed_dim: D.
        shards: stored in the order of their names, so that the file does not depend on which was finished first.
    """

    encoder: dict[str, Any]
    root: str | None
    embed_dim: Annotated[int, Limits(1, 1 << 32)]
    shards: tuple[ShardEntry, ...] = ()

    def __post_init__(self) -> None:
        if self.encoder.get("dtype") not in list(STORED_AS):
            raise InputError("encoder has no known dtype")
        if "\0" in (self.root or ""):
            raise InputError(f"root is {self.root!r}")
        if len({entry.name for entry in self.shards}) != len(self.shards):
            raise InputError("a shard is listed twice")


def folder_name(encoder: Mapping[str, Any], root: str | None) -> str:
    """Return the name of the folder that holds the features of an encoder and a root."""
    key = {"schema_version": SCHEMA_VERSION, "encoder": dict(encoder), "root": root}
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it as `write_atomically` does."""
    content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(manifest)}
    content["shards"] = sorted(content["shards"], key=lambda entry: entry["name"])
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """Read it and check every value; return None if there is none. Raises `InputError`."""
    file = folder / MANIFEST
    try:
        with open_regular(file, follow=False) as opened:
            content = json.loads(opened.read(MAX_BYTES))
        version = content.pop("schema_version")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read: {reason_of(error)}; make it readable, or choose another cache folder"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {reason_of(error)}"[:160]
        raise InputError(f"{file}: damaged manifest ({reason}); delete {folder}") from None
    if version != SCHEMA_VERSION:
        raise OtherVersion(file, version)
    return typed(content, Manifest, file, f"delete {folder}")


class OtherVersion(InputError):
    """The manifest has another schema version; ``is_older`` says whether this version of dbpt has replaced it."""

    def __init__(self, file: Path, version: object) -> None:
        super().__init__(
            f"{file}: schema version {version!r:.200}, this version reads {SCHEMA_VERSION}; delete {file.parent}"
        )
        self.is_older = isinstance(version, int) and version < SCHEMA_VERSION


def differences(wanted: Manifest, found: Manifest) -> list[str]:
    """Return the fields that differ between two caches, with both values: ``weights 3f2a -> 9b1c``."""
    left = {**flat(wanted.encoder), "root": wanted.root, "embed_dim": wanted.embed_dim}
    right = {**flat(found.encoder), "root": found.root, "embed_dim": found.embed_dim}
    return [
        f"{name} {_short(right.get(name))} -> {_short(left.get(name))}"
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    ]


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields under dotted names."""
    fields: dict[str, Any] = {}
    for name, item in value.items():
        fields |= flat(item, f"{prefix}{name}.") if isinstance(item, Mapping) else {prefix + name: item}
    return fields


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:12]}..." if SHA256.fullmatch(text) else text
