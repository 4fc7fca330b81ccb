"""Images of noise, a list of them, and a small CLIP of random weights for them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

TOWER = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32}
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": TOWER,
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def write_images(folder: Path, count: int) -> Path:
    """Write ``images/0.png`` ..., their ``list.csv``, and ``tiny.json``."""
    (folder / "tiny.json").write_text(json.dumps(CONFIG))
    (folder / "images").mkdir()
    for number in range(count):
        noise(20, 20, number).save(folder / f"images/{number}.png")
    write_list(folder, count)
    return folder


def write_list(folder: Path, count: int) -> None:
    rows = [f"images/{number}.png,{'ab'[number % 2]},train\n" for number in range(count)]
    (folder / "list.csv").write_text("path,label,split\n" + "".join(rows))
