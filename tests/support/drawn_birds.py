"""A drawn data set whose zero-shot errors go with the ground, and a catalogue of three families that has the ground."""

import csv
from pathlib import Path

import numpy as np
import pytest

import dbpt
from dbpt.data import SPLITS
from dbpt.data.demo import mini_clip_paths
from dbpt.guesses.catalogue import read_catalogue

GROUND = ("land=land|meadow|field|grassland", "water=water|lake|sea|river")
SHORT = [family for family in read_catalogue() if family.name in ("land-or-water", "medium", "colour-tone")]


def draw_birds(folder: Path, sizes: tuple[int, int, int]) -> dict:
    """The settings for images that are drawn in the folder, so many for each split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbpt.data.demo.SPLIT_SIZES", sizes)
        dbpt.write_demo("demo-waterbirds", folder / "data")
    model, pretrained = map(str, mini_clip_paths())
    files = {"root": str(folder / "data"), "cache": str(folder / "cache")}
    return {**files, "model": model, "pretrained": pretrained}


def written(birds: dict, name: str, attributes, *, labels=None, splits=SPLITS, kept=None) -> dict:
    """The settings for a table of the rows ``kept``, with other attributes and labels (N,), and names of splits."""
    data = dbpt.load_dataset("waterbirds", birds["root"])
    labels = data.labels if labels is None else labels
    path = Path(birds["root"]) / f"{name}.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["path", "label", "split", "attribute"])
        for row in range(len(data)) if kept is None else np.flatnonzero(kept).tolist():
            label, split = data.class_names[labels[row]], splits[data.splits[row]]
            out.writerow([data.paths[row], label, split, attributes[row]])
    return birds | {"data": str(path), "root": str(data.root)}


def true_grounds(birds: dict) -> np.ndarray:
    return dbpt.load_dataset("waterbirds", birds["root"]).attributes
