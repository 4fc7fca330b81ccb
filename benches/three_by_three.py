"""Draw three classes on three backgrounds, from the parts of the demos: data of a table of docs/explanation/results.md.

A landbird, a waterbird or a cat, on land, on water or indoors; each is at home on one of them. In training 150 pictures
of each class are at home and 12 on each other background; 30 and 100 of each group are for validation and testing. The
small CLIP of the demos knows all the words, but saw no bird indoors and no cat on water.

    python benches/three_by_three.py FOLDER
    dbpt compare FOLDER/images.csv --classes landbird waterbird cat --attributes land water indoor ...
"""

import csv
import sys
from pathlib import Path

import numpy as np

from dbpt.data.demo import drawings
from dbpt.data.demo.canvas import Canvas, Pose

CLASSES, BACKGROUNDS = ("landbird", "waterbird", "cat"), ("land", "water", "indoor")
ROWS = {"train": (150, 12), "val": (30, 30), "test": (100, 100)}
"""Pictures at home, and elsewhere, of each split."""


def draw(rng: np.random.Generator, kind: str, background: str) -> Canvas:
    """Draw a picture."""
    canvas, edge = Canvas(), float(rng.uniform(0.3, 0.5))
    if background == "indoor":
        drawings._room(canvas, rng, edge)
    else:
        canvas.gradient(drawings.pick(rng, drawings.SKY), drawings.pick(rng, drawings.SKY), 0.0, edge)
        (drawings._water if background == "water" else drawings._land)(canvas, rng, edge)
    canvas.pose = Pose.draw(rng, (0.32, 0.68), (0.50, 0.70), drawings.PET_SIZE if kind == "cat" else drawings.SIZE, 0.1)
    if kind == "cat":
        drawings._animal(canvas, rng, True)
    else:
        drawings._bird(canvas, rng, kind == "waterbird")
    return canvas


def main(folder: Path) -> None:
    """Write pictures and table."""
    rng, rows = np.random.default_rng(0), []
    folder.mkdir(parents=True)
    for split, (at_home, elsewhere) in ROWS.items():
        for label, kind in enumerate(CLASSES):
            for attribute, background in enumerate(BACKGROUNDS):
                for _ in range(at_home if label == attribute else elsewhere):
                    path = f"{len(rows):05d}.jpg"
                    draw(rng, kind, background).finish(rng).save(folder / path, quality=90)
                    rows.append((path, kind, background, split))
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "attribute", "split"))
        table.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
