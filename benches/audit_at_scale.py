"""Time and memory of `dbpt audit` and `dbpt discover` on images whose features are in the cache.

    python benches/audit_at_scale.py [--rows 100000] [--predictions zero-shot] [--columns 0] [--vit-b-32]
        [--folder /tmp/somewhere]

Blank images, cached features of 512 dimensions that are text directions plus noise, and random weights: a tiny CLIP, so
that memory is that of the images, or ViT-B-32 for the time that users see. Commands are run as users run them, with the
whole catalogue. The sentences' features are cached by a first run on a thousand images, above whose peak memory is
given. The peer multiplies features in memory by the weights of all names of the catalogue, twice as the search does,
and takes the largest: NumPy, the same threads, without estimated shares, doubts and tests. ``--columns`` adds columns
of four values by chance to the table, which the search tests beside the catalogue, with pairs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
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
from dbpt.features.cache import FeatureCache
from dbpt.features.cache_files import shard_name
from dbpt.features.cache_keys import look_up_files
from dbpt.guesses.catalogue import embed_families, read_catalogue

TINY = {
    "embed_dim": 512,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}
SHARD_ROWS = 16_384
WORDS = ["--attributes", "indoors=indoors|room", "outdoors=outdoors|field"]


def write_model(folder: Path, config: dict) -> list[str]:
    """Write a config and random weights; return the options that name them."""
    named, weights = folder / "model.json", folder / "model.safetensors"
    named.write_text(json.dumps(config))
    model = load_backbone(str(named), "random", image_precision="float32").model
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)
    return ["--model", str(named), "--pretrained", str(weights)]


def directions(weights_KD: np.ndarray) -> np.ndarray:
    centred_KD = weights_KD - weights_KD.mean(axis=0)
    return centred_KD / np.linalg.norm(centred_KD, axis=1, keepdims=True)


def write_data(folder: Path, rows: int, columns: int, backbone: Backbone, cache: Path) -> tuple[Path, np.ndarray]:
    """Write images, their table, and cached features; return the table and the weights (K, D) of the catalogue."""
    rng, paths = np.random.default_rng(0), [f"images/{i // 1000:04d}/{i % 1000:03d}.png" for i in range(rows)]
    labels = rng.integers(0, 2, rows)
    minority = rng.random(rows) < 0.1
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "blank.png")
    blank = (folder / "blank.png").read_bytes()
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(blank)
    table = [np.array(paths), np.array(["dog", "cat"])[labels], *rng.choice(list("abcd"), (columns, rows))]
    header = ",".join(["path", "label", *(f"column {number}" for number in range(columns))])
    (folder / "table.csv").write_text("\n".join([header, *map(",".join, zip(*table, strict=True)), ""]))
    weights = [family.weights for family in embed_families(backbone, read_catalogue())]
    classes = directions(zero_shot_weights(backbone, ["a photo of a dog.", "a photo of a cat."], np.arange(2)))
    files = look_up_files(folder.resolve(), paths)
    stored = FeatureCache(cache / "features", backbone.encoder_key, folder.resolve(), backbone.embed_dim)
    for start in range(0, rows, SHARD_ROWS):
        chosen = np.arange(start, min(start + SHARD_ROWS, rows))
        features = 0.03 * rng.standard_normal((len(chosen), backbone.embed_dim), dtype=np.float32)
        features += 0.08 * classes[labels[chosen]]
        for place, names in enumerate(map(directions, weights)):
            of_class = np.where(minority[chosen], 1 - labels[chosen], labels[chosen])
            name = rng.integers(0, len(names), len(chosen)) if place else of_class
            features += (0.15 if place else 0.5) * names[name]
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        part = files.select(chosen)
        stored.add(shard_name(part.ids), part, features, np.zeros(len(chosen), np.uint8), [""] * len(chosen))
    return folder / "table.csv", np.concatenate(weights)


def run(command: str, table: Path, out: Path, options: list[str]) -> tuple[float, float, float]:
    """Run the command; return its seconds, those of processors, and its peak memory in MB."""
    words = WORDS if command == "audit" else ["--search", "words", "columns"]
    arguments = [sys.executable, "-m", "dbpt", command, str(table), "--out", str(out), "--overwrite", *options, *words]
    begun = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"dbpt {command} ended with {status}")
    return time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def peer_seconds(rows: int, weights_KD: np.ndarray) -> float:
    features_ND = np.random.default_rng(0).standard_normal((rows, weights_KD.shape[1]), dtype=np.float32)
    begun = time.perf_counter()
    for _ in range(2):
        (features_ND @ weights_KD.T).argmax(axis=1)
    return time.perf_counter() - begun


def main() -> None:
    """Print a line for each command and number of images."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--predictions", default="zero-shot")
    parser.add_argument("--columns", type=int, default=0)
    parser.add_argument("--vit-b-32", action="store_true")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    model = write_model(folder, open_clip.get_model_config("ViT-B-32") if given.vit_b_32 else TINY)
    backbone, cache = load_backbone(model[1], model[3]), folder / "cache"
    options = [*model, "--cache", str(cache), "--device", "cpu", "--split", "all", "--predictions", given.predictions]
    least = dict.fromkeys(("audit", "discover"), 0.0)
    for rows in (1000, given.rows):
        table, weights_KD = write_data(folder / f"data-{rows}", rows, given.columns, backbone, cache)
        for command in least:
            seconds, used, peak = run(command, table, folder / command, options)
            least[command] = least[command] or peak
            above = f"{peak - least[command]:.0f} MB above {least[command]:.0f} MB"
            print(f"{command}, {rows} images: {seconds:.1f} s, {used:.1f} s of processors' time, {above}", flush=True)
    peer = peer_seconds(given.rows, weights_KD)
    print(f"NumPy's products and largest names, {given.rows} images in memory: {peer:.2f} s")
    print(f"load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
