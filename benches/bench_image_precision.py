"""Encode batches of images in bf16, against open_clip's own float32 `encode_image`.

Run: [ROUNDS=5] [BATCH=128] python benches/bench_image_precision.py [MODEL ...]
A MODEL is an open_clip name, which gets random weights, or CONFIG.json=WEIGHTS.safetensors. Both sides take the same
crops of the drawings of bench_preprocess.py, with torch's number of threads, and alternate. Prints the medians, their
ratio with the range over rounds, and the smallest cosine between both features of an image.
"""

import os
import statistics
import sys
import time

import numpy as np
import torch
from bench_preprocess import drawn

from dbpt import load_backbone
from dbpt.clip import Backbone

ROUNDS, BATCH = int(os.environ.get("ROUNDS", "5")), int(os.environ.get("BATCH", "128"))


def seconds(work: object) -> tuple[float, torch.Tensor]:
    started = time.perf_counter()
    features = work()
    return time.perf_counter() - started, features


def compare(named: str) -> None:
    model, _, weights = named.partition("=")
    plain, half = (load_backbone(model, weights or "random", image_precision=p) for p in ("float32", "bf16"))
    drawings = [drawn(seed) for seed in range(min(BATCH, 32))]
    crops = np.stack([plain.preprocess.crop(drawings[i % len(drawings)]) for i in range(BATCH)])
    pixels = plain.preprocess.normalise(crops)

    @torch.inference_mode()
    def theirs() -> torch.Tensor:
        return plain.model.encode_image(pixels, normalize=True)

    def ours() -> torch.Tensor:
        return half.encode_image(crops)

    cosine = float((seconds(theirs)[1] * seconds(ours)[1]).sum(dim=1).min())
    pairs = [(seconds(theirs)[0], seconds(ours)[0]) for _ in range(ROUNDS)]
    rates = [BATCH / statistics.median(side) for side in zip(*pairs, strict=True)]
    ratios = [one / other for one, other in pairs]
    print(
        f"{model}: {tower_size(plain):.1f} M parameters, batches of {BATCH}, {torch.get_num_threads()} threads: "
        f"open_clip {rates[0]:.1f} images a second, bf16 {rates[1]:.1f}; {statistics.median(ratios):.2f}x "
        f"({min(ratios):.2f} to {max(ratios):.2f}); smallest cosine {cosine:.6f}",
        flush=True,
    )


def tower_size(backbone: Backbone) -> float:
    return sum(parameter.numel() for parameter in backbone.model.visual.parameters()) / 1e6


if __name__ == "__main__":
    for each in sys.argv[1:] or ["ViT-B-32"]:
        compare(each)
