"""Opening a cache of ten million features, and reading a shuffled batch of 256: time, and memory that becomes resident.

Run: pytest -s benches/bench_open_cache.py
10 million rows of 512 float16, 10 GB, in the shards that a list of that length has; the files are sparse. Peer: one
file of as many bytes, mapped by `numpy.memmap`, which has no names, no checks and no shards. Each in a new process.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from dbpt.features.embedding_pass import shard_rows
from dbpt.features.manifest import Manifest, ShardEntry, folder_name, write_manifest

ROWS, WIDTH, BATCH, ROUNDS = 10_000_000, 512, 256, 7
ENCODER, ROOT = {"dtype": "fp16"}, "/nowhere"

MEASURE = """
import sys, time, json
from pathlib import Path
import numpy as np
from dbpt.features.cache import FeatureCache
folder, rows, width, batch = Path(sys.argv[1]), *map(int, sys.argv[2:5])
chosen = np.random.default_rng(0).permutation(rows)[:batch]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
FeatureCache(folder / "none", {"dtype": "fp16"}, Path("/nowhere"), width)
before, start = resident(), time.perf_counter()
if sys.argv[5] == "dbpt":
    found = FeatureCache(folder, {"dtype": "fp16"}, Path("/nowhere"), width).read(chosen, np.float16)
else:
    found = np.memmap(folder / "peer.bin", np.float16, "r", shape=(rows, width))[chosen]
print(json.dumps([1000 * (time.perf_counter() - start), resident() - before, list(found.shape)]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    cache = folder / folder_name(ENCODER, ROOT)
    cache.mkdir()
    size, entries = shard_rows(ROWS, 128), []
    for number, start in enumerate(range(0, ROWS, size)):
        rows, name = min(size, ROWS - start), f"{number:032x}.safetensors"
        header = sparse_header(rows)
        with (cache / name).open("wb") as file:
            file.write(header)
            total = len(header) + rows * (2 * WIDTH + 16 + 8 + 8 + 1) + 2 * (rows - 1)
            file.truncate(total)
        entries.append(ShardEntry(name, rows, 0, total, "0" * 64))
    write_manifest(cache, Manifest(ENCODER, ROOT, WIDTH, tuple(entries)))
    with (folder / "peer.bin").open("wb") as file:
        file.truncate(ROWS * WIDTH * 2)
    return folder


def sparse_header(rows: int) -> bytes:
    """The header of a shard of so many rows: eight bytes of length, then JSON."""
    shapes = {"row_ids": ("U64", [rows, 2], 16), "sizes": ("I64", [rows], 8), "mtimes_ns": ("I64", [rows], 8)}
    shapes |= {"features": ("F16", [rows, WIDTH], 2 * WIDTH), "failed": ("U8", [rows], 1)}
    header, at = {}, 0
    for name, (dtype, shape, width) in shapes.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + rows * width]}
        at += rows * width
    for name in ("paths", "reasons"):
        header[name] = {"dtype": "U8", "shape": [rows - 1], "data_offsets": [at, at + rows - 1]}
        at += rows - 1
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def test_open_and_read(benchmark, folder):
    found = {"dbpt": [], "memmap": []}

    def measure(who: str) -> None:
        command = [sys.executable, "-c", MEASURE, str(folder), str(ROWS), str(WIDTH), str(BATCH), who]
        found[who].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))

    benchmark.pedantic(measure, args=("dbpt",), setup=lambda: measure("memmap"), rounds=ROUNDS)
    for who, each in found.items():
        assert all(shape == [BATCH, WIDTH] for _, _, shape in each)
        milliseconds, megabytes = (statistics.median(one[column] for one in each) for column in (0, 1))
        print(f"\n{who}: {milliseconds:.1f} ms, {megabytes:.1f} MB resident")
