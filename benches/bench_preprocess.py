"""Decode and preprocess an image file for the image tower, against open_clip's transform of `Image.open`.

Run: [CPU_TIME=1] [FOLDER=photographs] pytest -s benches/bench_preprocess.py
JPEGs of 500x375 in quality 90: resized photographs, or drawings with smooth areas, edges and grain. The input of
ViT-B-32: 224x224, shortest side, bicubic. Both sides fill a batch with the same bytes, by the number of threads in the
test's name, and alternate. Decoding alone, which both leave to Pillow, is also timed. CPU_TIME measures processor time,
for a busy machine.
"""

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageFilter

from dbpt.clip.preprocessing import default_preprocess, image_preprocessing
from dbpt.features.images import pillow_warnings, read_image

IMAGES, ROUNDS, SIZE = 64, 15, (500, 375)
CLOCK = time.process_time if os.environ.get("CPU_TIME") else time.perf_counter


def drawn(seed: int) -> Image.Image:
    """Return a drawing with smooth colours, a few hundred edges, and the grain of a sensor."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    for _ in range(300):
        x, y, width, height = random.integers(0, 500), random.integers(0, 375), *random.integers(2, 60, 2)
        image.paste(tuple(random.integers(0, 256, 3).tolist()), (int(x), int(y), int(x + width), int(y + height)))
    grain = random.normal(0, 4, (375, 500, 1)) + np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.float64)
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def photographs(folder: Path) -> list[Image.Image]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))[:IMAGES]
    return [Image.open(file).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS) for file in files]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jpegs")
    given = os.environ.get("FOLDER")
    images = photographs(Path(given)) if given else [drawn(seed) for seed in range(IMAGES)]
    paths = [folder / f"{number}.jpg" for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path, quality=90)
    print(f"\n{len(paths)} images of {statistics.mean(path.stat().st_size for path in paths) / 1000:.0f} kB")
    return paths


ours = image_preprocessing(SimpleNamespace(visual=SimpleNamespace(image_size=224)), default_preprocess())
theirs = open_clip.image_transform(224, is_train=False)


def our_batch(pool: ThreadPoolExecutor, files: list[Path]) -> torch.Tensor:
    """Crop images by threads into a batch of bytes and normalise it, as the embedding pass does."""
    crops = np.empty((len(files), *ours.size, 3), dtype=np.uint8)
    list(pool.map(lambda path, place: ours.crop(read_image(path), place), files, crops))
    return ours.normalise(crops)


def their_batch(pool: ThreadPoolExecutor, files: list[Path]) -> torch.Tensor:
    pixels = torch.empty(len(files), 3, *ours.size)

    def preprocess(path: Path, place: torch.Tensor) -> None:
        with Image.open(path) as image:
            place.copy_(theirs(image))

    list(pool.map(preprocess, files, pixels))
    return pixels


def decoded(pool: ThreadPoolExecutor, files: list[Path]) -> None:
    list(pool.map(read_image, files))


@pytest.mark.parametrize("threads", [1, 2])
def test_preprocess(benchmark, files, threads):
    """Time dbpt, the peer and decoding alternately; pytest-benchmark's own figures are of dbpt."""
    torch.set_num_threads(1)
    times = {"open_clip": [], "decoding": [], "dbpt": []}
    with pillow_warnings(), ThreadPoolExecutor(threads) as pool:
        assert torch.equal(our_batch(pool, files), their_batch(pool, files))

        def timed(name, work):
            start = CLOCK()
            work(pool, files)
            times[name].append(1000 * (CLOCK() - start) / len(files))

        def peers():
            timed("open_clip", their_batch)
            timed("decoding", decoded)

        benchmark.pedantic(timed, args=("dbpt", our_batch), setup=peers, rounds=ROUNDS)
    found = {name: statistics.median(each) for name, each in times.items()}
    ratios = [theirs / ours for theirs, ours in zip(times["open_clip"], times["dbpt"], strict=True)]
    print(f"\n{threads} threads, ms an image: ", ", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    print(f"ratio {found['open_clip'] / found['dbpt']:.2f}; of single rounds {min(ratios):.2f} to {max(ratios):.2f}")
