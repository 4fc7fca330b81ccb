"""Draw docs/before_and_after.png: accuracy by group of the demo, with zero-shot CLIP and with the trained classifier.

Run: dbpt fit demo --out runs/demo && python tools/draw_before_and_after.py runs/demo
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import dbpt

OUT = Path(__file__).resolve().parents[1] / "docs/before_and_after.png"
BEFORE, AFTER, TEXT = "#9aa3ad", "#1f6fb2", "#1d2733"
IMAGES = 3


def main(run: str) -> None:
    result, config = dbpt.Result.read(run), dbpt.load(run).config
    data = dbpt.load_dataset(config.data, config.root)
    zero_shot = next(row for row in result.rows if row.title == "zero-shot")
    figure, axes = plt.subplots(2, 4, figsize=(11, 3.3), dpi=150, height_ratios=[1.1, 1], layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    for axis, bars, before, after in zip(*axes, zero_shot.groups, result.groups, strict=True):
        y, a = data.class_names.index(before.class_name), data.attribute_names.index(before.attribute)
        rows = np.flatnonzero((data.splits == 2) & (data.labels == y) & (data.attributes == a))[:IMAGES]
        files = (Image.open(data.root / data.paths[row]).convert("RGB") for row in rows)
        pictures = [np.asarray(file.resize((128, 128))) for file in files]
        gap = np.full((128, 6, 3), 255, np.uint8)
        axis.imshow(np.hstack([part for picture in pictures for part in (picture, gap)][:-1]))
        axis.set_title(f"{before.class_name} on {before.attribute}", color=TEXT, fontsize=13)
        axis.axis("off")
        axis.set_anchor("S")
        for height, group, color, name in ((1, before, BEFORE, "CLIP"), (0, after, AFTER, "trained")):
            bars.barh(height, 1, color="#eef1f4", height=0.72)
            bars.barh(height, group.accuracy, color=color, height=0.72)
            words = f"{name}  {100 * group.accuracy:.0f} %"
            bars.text(0.03, height, words, va="center", color="white", fontsize=13, weight="bold")
        bars.set_xlim(0, 1)
        bars.axis("off")
    title = f"Accuracy by class and background: zero-shot CLIP, and {result.chosen.title}"
    figure.suptitle(title, color=TEXT, fontsize=14, weight="bold")
    figure.savefig(OUT, facecolor="white")
    Image.open(OUT).convert("RGB").quantize(128).save(OUT, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
