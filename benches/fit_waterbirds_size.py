"""Time and memory of `dbpt fit` on data of the size of Waterbirds with cached features, report included.

11,788 blank images in Waterbirds' splits and groups; cached features that are text directions plus noise; ViT-B-32 with
random weights from a file; the defaults of `dbpt fit` in a process of its own. Prints its peak memory after loading the
model, also relative to a process that only loads the model. Run by hand:

    python benches/fit_waterbirds_size.py [OPTION OF dbpt fit ...]
"""

import csv
import json
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from dbpt import load_backbone
from dbpt.clip import Backbone
from dbpt.clip.backbone import zero_shot_weights
from dbpt.data.layouts.waterbirds import PUBLISHED, WORDS
from dbpt.features.cache import FeatureCache
from dbpt.features.cache_files import shard_name
from dbpt.features.cache_keys import look_up_files

LOAD = """
import re, sys
from pathlib import Path
from dbpt import load_backbone
backbone = load_backbone(sys.argv[1], sys.argv[2])
print(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def write_model(folder: Path) -> tuple[Path, Path]:
    """Write ViT-B-32's config and random weights."""
    config, weights = folder / "vit_b_32.json", folder / "vit_b_32.safetensors"
    config.write_text(json.dumps(open_clip.get_model_config("ViT-B-32")))
    model = load_backbone("ViT-B-32", "random", image_precision="float32").model
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)
    return config, weights


def write_images(root: Path) -> np.ndarray:
    """Write blank images and metadata.csv; return (N, 2) class and background."""
    rows = [
        (label, place, split)
        for split, counts in enumerate(PUBLISHED)
        for (label, place), count in zip(((0, 0), (0, 1), (1, 0), (1, 1)), counts, strict=True)
        for _ in range(count)
    ]
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root / "0.png")
    blank = (root / "0.png").read_bytes()
    for number in range(1, len(rows)):
        (root / f"{number}.png").write_bytes(blank)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("img_filename", "y", "place", "split"))
        writer.writerows((f"{number}.png", *row) for number, row in enumerate(rows))
    return np.array(rows)[:, :2]


def write_features(cache: Path, root: Path, backbone: Backbone, codes: np.ndarray) -> None:
    """Write features near the texts of their class and background, under the cache key that `fit` uses."""
    random = np.random.default_rng(0)
    features = random.standard_normal((len(codes), backbone.embed_dim), dtype=np.float32) / 20
    for column, texts in enumerate((WORDS.class_texts(), WORDS.attribute_texts())):
        directions = zero_shot_weights(backbone, *texts)
        features += 3 * (directions - directions.mean(axis=0))[codes[:, column]]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    root = root.resolve()
    files = look_up_files(root, [f"{number}.png" for number in range(len(codes))])
    nothing_failed = np.zeros(len(codes), dtype=np.uint8)
    cache_of_root = FeatureCache(cache / "features", backbone.encoder_key, root, backbone.embed_dim)
    cache_of_root.add(shard_name(files.ids), files, features, nothing_failed, [""] * len(codes))


def status(process: int, name: str) -> float:
    """Return an entry of a process's status in MB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


def watch(command: list[str]) -> tuple[float, float, str]:
    """Return the seconds, the peak memory in MB after the first line about features, and all lines."""
    lines, peak, started = [], 0.0, time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
        reader.start()
        is_loading = True
        while process.poll() is None:
            if is_loading and any(line.startswith("features in ") for line in lines):
                is_loading = False
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak starts anew
            peak = peak if is_loading else max(peak, status(process.pid, "VmHWM"))
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        reader.join()
    if process.returncode:
        raise SystemExit("".join(lines))
    return seconds, peak, "".join(lines)


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, weights = write_model(folder)
        codes = write_images(folder / "images")
        write_features(folder / "cache", folder / "images", load_backbone(config, weights), codes)
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD, config, weights], check=True, capture_output=True, text=True
        )
        model = int(loaded.stdout.split()[-1]) / 1000
        fit = [sys.executable, "-m", "dbpt", "fit", "waterbirds", "--root", folder / "images", "--device", "cpu"]
        fit += ["--model", config, "--pretrained", weights, "--cache", folder / "cache", "--out", folder / "run"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        seconds, peak, output = watch([*map(str, fit), *sys.argv[1:]])
    if not re.search(r"\b0 embedded now", output):
        raise SystemExit(f"the features did not come from the cache:\n{output}")
    print(output)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    print(f"{seconds:.0f} s, {used:.0f} s of processors' time, {torch.get_num_threads()} threads")
    print(f"after loading a peak of {peak:.0f} MB, {peak - model:.0f} MB above the {model:.0f} MB of a loaded model")


if __name__ == "__main__":
    main()
