"""`embed_images` of JPEG files into a new cache, against the image tower alone on ready tensors.

Run: [IMAGES=10000] [FOLDER=photographs] [PRECISION=bf16] pytest -s benches/bench_embed.py
ViT-B-32 with random weights, by default in float32, the JPEGs of bench_preprocess.py, batches of 128 and torch's number
of threads on both sides, which alternate every 512 images. The goal is 0.9 of the tower's rate.
"""

import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_preprocess import IMAGES as DRAWN
from bench_preprocess import drawn, photographs

from dbpt import embed_images, load_backbone

IMAGES, TURN, BATCH = int(os.environ.get("IMAGES", "2048")), 512, 128


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("ViT-B-32", "random", image_precision=os.environ.get("PRECISION", "float32"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("jpegs")
    given = os.environ.get("FOLDER")
    images = photographs(Path(given)) if given else [drawn(seed) for seed in range(DRAWN)]
    for number, image in enumerate(images):
        image.save(folder / f"{number}.jpg", quality=90)
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    for number in range(len(contents), IMAGES):
        (folder / f"{number}.jpg").write_bytes(contents[number % len(contents)])
    return folder


def test_embedding(benchmark, backbone, folder, tmp_path):
    """Time both sides alternately; pytest-benchmark's own figure is of dbpt."""
    ready = torch.from_numpy(np.random.default_rng(0).standard_normal((BATCH, 3, 224, 224), dtype=np.float32))
    times = {"tower": [], "dbpt": []}
    turns = iter(range(0, IMAGES, TURN))

    def bare() -> None:
        start = time.perf_counter()
        for _ in range(TURN // BATCH):
            backbone.encode_image(ready)
        times["tower"].append(time.perf_counter() - start)

    def ours() -> None:
        first = next(turns)
        names = [f"{number}.jpg" for number in range(first, first + TURN)]
        start = time.perf_counter()
        found = embed_images(backbone, folder, names, cache_dir=tmp_path, batch_size=BATCH)
        times["dbpt"].append(time.perf_counter() - start)
        assert found.recomputed == TURN

    bare()  # to warm up
    times["tower"].clear()
    benchmark.pedantic(ours, setup=bare, rounds=IMAGES // TURN)
    rates = {name: TURN / statistics.median(each) for name, each in times.items()}
    ratios = [bare / ours for bare, ours in zip(times["tower"], times["dbpt"], strict=True)]
    print(f"\n{IMAGES} images a side; images a second: " + ", ".join(f"{n} {rate:.1f}" for n, rate in rates.items()))
    print(f"of the bare tower's rate: {statistics.median(ratios):.3f}; turns {min(ratios):.3f} to {max(ratios):.3f}")
