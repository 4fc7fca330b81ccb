"""``manifest.json`` of a feature cache's folder: whose features these are, and which shards exist, with checksums."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dbpt.errors import InputError
from dbpt.files import write_atomically

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
MAX_BYTES = 1 << 29
FOLDER_NAME = re.compile(r"[0-9a-f]{20}")
SHARD_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")


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
    """Read it and check its form; None if there is none. Raises `InputError` if it isn't ours, or out of reach."""
    file = folder / MANIFEST
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        content = json.loads(file.read_text("utf-8"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise InputError(
                f"{file}: schema version {content['schema_version']!r}, this version reads {SCHEMA_VERSION}; "
                f"delete {folder}"
            )
        shards = tuple(ShardEntry(**entry) for entry in content["shards"])
        manifest = Manifest(content["encoder"], content["root"], content["embed_dim"], shards)
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}; choose another cache folder") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file}: damaged manifest ({type(error).__name__}: {reason}); delete {folder}") from None
    if not _is_well_formed(manifest):
        raise InputError(f"{file}: damaged manifest; delete {folder}")
    return manifest


def _is_well_formed(manifest: Manifest) -> bool:
    return (
        isinstance(manifest.encoder, dict)
        and (manifest.root is None or isinstance(manifest.root, str))
        and _is_count(manifest.embed_dim)
        and all(_is_entry(entry) for entry in manifest.shards)
    )


def _is_entry(entry: ShardEntry) -> bool:
    return (
        isinstance(entry.name, str)
        and SHARD_NAME.fullmatch(entry.name) is not None
        and isinstance(entry.sha256, str)
        and all(_is_count(number) for number in (entry.rows, entry.failed, entry.bytes))
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


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
