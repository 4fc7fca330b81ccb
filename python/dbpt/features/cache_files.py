"""The files of a feature cache: manifest and shards."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dbpt.errors import InputError
from dbpt.features.cache_keys import SCHEMA_VERSION, FileRows
from dbpt.storage.files import is_missing, open_regular, reason_of, write_atomically
from dbpt.storage.row_files import RowsFile
from dbpt.storage.tensors import map_tensor
from dbpt.storage.typed_json import Count, read_json, typed

MANIFEST = "manifest.json"
MEASUREMENTS = "measurements"  # a field of the encoder, which only measurements have
UNREADABLE = "make it readable, or choose another cache folder"
SHARD_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
SHA256 = re.compile(r"[0-9a-f]{64}")
HALF: np.dtype[Any] = np.dtype(np.float16)
STORED_AS = {"float32": np.dtype(np.float32), "bf16": HALF, "fp16": HALF}  # by the precision of the tower

LEAST_SHARD_ROWS, MOST_SHARD_ROWS = 512, 16384  # a killed process loses at most one shard of work
SHARDS_OF_A_LIST = 1024


def shard_rows(num_rows: int, batch_size: int) -> int:
    """Return the number of rows in a shard: whole batches, and more for long lists, so that there are about 1024."""
    rows = LEAST_SHARD_ROWS
    while rows < min(MOST_SHARD_ROWS, num_rows / SHARDS_OF_A_LIST):
        rows *= 2
    return -(-rows // batch_size) * batch_size


@dataclasses.dataclass(frozen=True, order=True)
class ShardEntry:
    """A shard: file name, number of rows and of failed rows, size and checksum."""

    name: str
    rows: Annotated[int, msgspec.Meta(ge=1, le=1 << 32)]
    failed: Count
    bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 48)]
    sha256: str

    def __post_init__(self) -> None:
        if not SHARD_NAME.fullmatch(self.name) or not SHA256.fullmatch(self.sha256) or self.failed > self.rows:
            raise InputError(f"shard {self.name!r}, {self.failed} of {self.rows} failed, sha256 {self.sha256!r}")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``."""

    encoder: dict[str, Any]  # `Backbone.encoder_key`
    root: str  # the folder that paths are relative to
    embed_dim: Annotated[int, msgspec.Meta(ge=1, le=1 << 32)]
    shards: tuple[ShardEntry, ...] = ()  # sorted by name in the file, whichever was finished first

    def __post_init__(self) -> None:
        if self.encoder.get("dtype") not in list(STORED_AS):
            raise InputError("encoder has no known dtype")
        if "\0" in self.root:
            raise InputError(f"root is {self.root!r}")
        if len({entry.name for entry in self.shards}) != len(self.shards):
            raise InputError("a shard is listed twice")

    @property
    def has_features(self) -> bool:
        """Whether its rows are features of images; else they are measurements (``measurements.py``)."""
        return MEASUREMENTS not in self.encoder

    @property
    def verb(self) -> str:
        """The verb that messages use for images that are not in it."""
        return "embedded" if self.has_features else "measured"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder atomically."""
    content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(manifest)}
    content["shards"] = sorted(content["shards"], key=lambda entry: entry["name"])
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """Read and check the manifest of a folder; return None if there is none. Raises `InputError`."""
    file = folder / MANIFEST
    if is_missing(file):
        return None
    if os.path.islink(file):  # noqa: PTH114 (raises nothing)
        raise InputError(f"{file}: is a link, which is not followed; delete {folder}")
    try:
        content = read_json(file, "manifest", SCHEMA_VERSION)
    except InputError as error:
        raise InputError(f"{error}, or delete {folder}") from None
    return typed(content, Manifest, file, f"delete {folder}")


def differences(wanted: Manifest, other: Manifest) -> list[str]:
    """Return the fields of ``other`` that differ from ``wanted``: ``dtype float32 instead of bf16``."""
    theirs, ours = (flat({**one.encoder, "root": one.root, "embed_dim": one.embed_dim}) for one in (other, wanted))
    both = {name: (theirs.get(name, "absent"), ours.get(name, "absent")) for name in sorted({*theirs, *ours})}
    return [f"{name} {_short(a)} instead of {_short(b)}" for name, (a, b) in both.items() if a != b]


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields under dotted names."""
    fields: dict[str, Any] = {}
    for name, item in value.items():
        fields |= flat(item, f"{prefix}{name}.") if isinstance(item, Mapping) else {prefix + name: item}
    return fields


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if SHA256.fullmatch(text) else text


class DamagedShard(ValueError):
    """A shard with changed content; the message is the reason."""


def shard_name(ids: NDArray[np.uint64]) -> str:
    """Return the file name of the shard of rows with ``ids`` (n, 2)."""
    # In a fixed byte order: machines that share a cache must agree on the names.
    return hashlib.sha256(ids.astype("<u8").tobytes()).hexdigest()[:32] + ".safetensors"


def shard_bytes(rows: FileRows, features: NDArray[Any], failed: NDArray[np.uint8], reasons: Sequence[str]) -> bytes:
    """Serialise n rows and their features (n, D)."""
    texts = "\0".join(reason.replace("\0", "?") for reason in reasons)
    return save(
        {
            "features": np.ascontiguousarray(features),
            "row_ids": rows.ids,
            "paths": np.frombuffer(os.fsencode("\0".join(rows.paths)), dtype=np.uint8),
            "sizes": rows.sizes,
            "mtimes_ns": rows.mtimes_ns,
            "failed": failed,
            "reasons": np.frombuffer(texts.encode("utf-8", "surrogateescape"), dtype=np.uint8),
        }
    )


class Shard:
    """A shard, read tensor by tensor. Raises `OSError`, or `DamagedShard` for wrong names, types and shapes."""

    def __init__(self, file: Path, num_rows: int, embed_dim: int, dtype: np.dtype[Any]) -> None:
        self.num_rows, self._width, self._dtype = num_rows, embed_dim, dtype
        expected: dict[str, tuple[str, list[int] | None]] = {
            "features": ("F16" if dtype == np.float16 else "F32", [num_rows, embed_dim]),
            "row_ids": ("U64", [num_rows, 2]),
            "sizes": ("I64", [num_rows]),
            "mtimes_ns": ("I64", [num_rows]),
            "failed": ("U8", [num_rows]),
            "paths": ("U8", None),
            "reasons": ("U8", None),
        }
        open_regular(file, follow=False).close()  # refuses links and pipes
        try:
            opened: Any = safe_open(file, "np")
            for name, (kind, shape) in expected.items():
                part = opened.get_slice(name)
                if part.get_dtype() != kind or shape not in (None, part.get_shape()):
                    raise DamagedShard(f"{name} is {part.get_dtype()} {part.get_shape()}, expected {kind} {shape}")
        except SafetensorError as error:
            raise DamagedShard(reason_of(error)[:120]) from None
        self._file, self._opened = file, opened

    def tensor(self, name: str) -> NDArray[Any]:
        """Return one of the tensors that the module's docstring lists."""
        array: NDArray[Any] = self._opened.get_tensor(name)
        return array

    @property
    def features(self) -> RowsFile:
        """The features (n, D), of which only the rows that are asked for are read."""
        shape = (self.num_rows, self._width)
        mapped = map_tensor(self._file, "features", self._dtype, shape, follow=False)
        return RowsFile(self._file, self._dtype, shape, mapped.offset)

    @property
    def reasons(self) -> list[str]:
        """The reason of each row; empty if its image did not fail."""
        return self.tensor("reasons").tobytes().decode("utf-8", "surrogateescape").split("\0")
