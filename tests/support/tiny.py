"""A CLIP and a data set small enough that a whole `fit` takes a second: coloured squares on coloured grounds.

The towers are random; only the image projection is solved for (least squares, on these very images), so that CLIP's
zero-shot view is what the tests need: it sees the ground well and the square poorly, as on the web.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from dbpt.clip import load_backbone

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
CLASSES, ATTRIBUTES = ("disc", "box"), ("meadow", "lake")
GROUPS = [(label, attribute) for label in (0, 1) for attribute in (0, 1)]
SIZES = {"train": (20, 5, 5, 20), "val": (6, 6, 6, 6), "test": (8, 8, 8, 8)}
SETTINGS: dict[str, Any] = {
    "attributes": ATTRIBUTES,
    "prompts": "class",
    "epochs": 6,
    "lr": 0.005,
    "batch_size": 16,
    "n_ctx": 3,
    "embed_batch_size": 16,
    "min_group_count": 0.0,  # the smallest groups have 5 rows
}


@dataclass(frozen=True)
class Tiny:
    """The files: a table with a true attribute column, its images, and the model."""

    table: Path
    model: Path
    weights: Path
    cache: Path

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `dbpt.fit` besides data and out."""
        return {"model": str(self.model), "pretrained": str(self.weights), "cache": str(self.cache), **SETTINGS}

    @property
    def arguments(self) -> list[str]:
        """The same as command line options."""
        return options_of(self.settings)

    @property
    def backbone(self) -> dict[str, Any]:
        """The settings of commands that read no attribute and train nothing."""
        return {name: self.settings[name] for name in ("model", "pretrained", "cache", "embed_batch_size")}

    @property
    def guessing(self) -> dict[str, Any]:
        """The settings of commands that guess the attribute and train nothing."""
        return self.backbone | {"attributes": ATTRIBUTES}

    def rows(self) -> list[dict[str, str]]:
        """The table's rows."""
        return rows_of(self.table)

    def images(self, count: int) -> list[Path]:
        """The images of the first rows."""
        return [self.table.parent / row["path"] for row in self.rows()[:count]]

    def write(self, name: str, rows: Iterable[dict[str, str]]) -> Path:
        """Another table beside the first, over the same images; its columns are those of the first row."""
        rows = list(rows)
        path = self.table.parent / f"{name}.csv"
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        return path


def options_of(settings: dict[str, Any]) -> list[str]:
    """Settings as command line options."""
    values = [(name, value if isinstance(value, tuple) else (value,)) for name, value in settings.items()]
    return [text for name, given in values for text in (f"--{name.replace('_', '-')}", *map(str, given))]


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def make_tiny(folder: Path) -> Tiny:
    """Draw the images, write table and model."""
    rows = _draw(folder)
    tiny = Tiny(folder / "squares.csv", folder / "tiny.json", folder / "tiny.safetensors", folder / "cache")
    tiny.write("squares", rows)
    tiny.model.write_text(json.dumps(CONFIG))
    torch.manual_seed(1)
    model = open_clip.CLIP(**CONFIG).eval()
    with torch.no_grad():
        _fit_projection(model, tiny, rows)
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, tiny.weights)
    return tiny


def _draw(folder: Path) -> list[dict[str, str]]:
    """Images 16x16 and their rows, in a shuffled order."""
    draws = np.random.default_rng(0)
    squares, grounds = np.array([[220, 60, 40], [40, 60, 220]]), np.array([[60, 160, 60], [60, 160, 200]])
    rows = []
    for split, sizes in SIZES.items():
        (folder / split).mkdir(parents=True)
        for (label, attribute), size in zip(GROUPS, sizes, strict=True):
            for number in range(size):
                pixels = draws.normal(grounds[attribute] + draws.normal(0, (0, 0, 80)), 60, (16, 16, 3))
                top, left = draws.integers(2, 8, 2)
                pixels[top : top + 6, left : left + 6] = draws.normal(squares[label], 90, (6, 6, 3))
                path = f"{split}/{label}{attribute}-{number:02d}.png"
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / path)
                names = {"label": CLASSES[label], "split": split, "attribute": ATTRIBUTES[attribute]}
                rows.append({"path": path, **names})
    return [rows[i] for i in draws.permutation(len(rows))]


def _fit_projection(model: torch.nn.Module, tiny: Tiny, rows: list[dict[str, str]]) -> None:
    """Set the image projection so that images lie near what their own words say, the ground's words most."""
    model.visual.proj.data = torch.eye(32)
    save_file(model.state_dict() | {"visual.proj": torch.zeros(32, 16)}, tiny.weights)
    blank = load_backbone(tiny.model, tiny.weights)
    pixels = torch.stack([blank.preprocess(Image.open(tiny.table.parent / row["path"])) for row in rows])
    towers = model.visual(pixels)
    words = blank.encode_text([*(f"a photo of a {name}." for name in CLASSES), *ATTRIBUTES]).clone()
    classes, attributes = words[:2] - words[:2].mean(0), words[2:] - words[2:].mean(0)
    labels = torch.tensor([CLASSES.index(row["label"]) for row in rows])
    grounds = torch.tensor([ATTRIBUTES.index(row["attribute"]) for row in rows])
    targets = 0.15 * classes[labels] / classes[0].norm() + attributes[grounds] / attributes[0].norm()
    model.visual.proj.data = torch.linalg.lstsq(towers, targets, driver="gelsd").solution
