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


def draw_birds(folder: Path) -> dict:
    """The settings for 500 images, drawn in the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbpt.data.demo.SPLIT_SIZES", (240, 160, 100))
        dbpt.write_demo("demo-waterbirds", folder / "data")
    model, pretrained = map(str, mini_clip_paths())
    files = {"root": str(folder / "data"), "cache": str(folder / "cache")}
    return {**files, "model": model, "pretrained": pretrained, "attributes": "auto"}


def written(birds: dict, name: str, attributes, *, splits=SPLITS, kept=None) -> dict:
    """The settings for a table of the rows ``kept``, with other ``attributes`` (N,), and other names of splits."""
    data = dbpt.load_dataset("waterbirds", birds["root"])
    path = Path(birds["root"]) / f"{name}.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["path", "label", "split", "attribute"])
        for row in range(len(data)) if kept is None else np.flatnonzero(kept).tolist():
            label, split = data.class_names[data.labels[row]], splits[data.splits[row]]
            out.writerow([data.paths[row], label, split, attributes[row]])
    return birds | {"data": str(path), "root": str(data.root)}


def true_grounds(birds: dict) -> np.ndarray:
    return dbpt.load_dataset("waterbirds", birds["root"]).attributes
