"""A million images through `dbpt embed`: peak memory by the length of the list, and the time with a complete cache.

    python benches/embed_million.py [--rows 1000000] [--folder /tmp/somewhere]

The image tower is tiny (a ResNet of width 8 on 32 x 32 pixels, 512 dimensions) and the images have 8 x 8 pixels; the
command is otherwise unchanged. Memory is the peak above that of the same command with 64 images. Times with a complete
cache are medians of five. Writes a million files and takes ten minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

STUB = {
    "embed_dim": 512,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


def write_images(folder: Path, rows: int) -> Path:
    """Write missing files of a list of ``rows``, a thousand per folder."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (90, 60, 30)).save(buffer, "JPEG")
    table = folder / f"{rows}.csv"
    with table.open("w", encoding="utf-8") as lines:
        lines.write("path,label,split\n")
        for number in range(rows):
            path = f"images/{number // 1000:04d}/{number % 1000:03d}.jpg"
            if number % 1000 == 0:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / path).exists():
                (folder / path).write_bytes(buffer.getvalue())
            lines.write(f"{path},{number % 2},{('train', 'val', 'test')[number % 3]}\n")
    return table


def embed(table: Path, cache: Path, model: Path) -> tuple[float, float]:
    """Run the command; returns its seconds and its peak memory in MB."""
    arguments = ["embed", str(table), "--cache", str(cache), "--model", str(model), "--pretrained", "random"]
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "dbpt", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"dbpt embed ended with {status}")
    return time.perf_counter() - begun, used.ru_maxrss / 1024


def main() -> None:
    """Print a line for each length of the list."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "stub.json"
    model.write_text(json.dumps(STUB))
    least = 0.0
    for rows in (64, options.rows // 100, options.rows // 10, options.rows):
        table, cache = write_images(folder, rows), folder / f"cache-{rows}-{time.time_ns()}"
        seconds, peak = embed(table, cache, model)
        least = least or peak
        warm = statistics.median(embed(table, cache, model)[0] for _ in range(5))
        print(f"{rows:>9} images: {seconds:6.1f} s, {peak - least:5.0f} MB above {least:.0f} MB; warm {warm:.2f} s")


if __name__ == "__main__":
    main()
