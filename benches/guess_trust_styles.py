"""How often an audit doubts CLIP's guesses of four styles in images of seven classes.

Photographs and sketches are real. A third of the photographs is filtered to look painted, a third like a cartoon. Each
case is a random half of the images with one wording for each style. Run by hand, with a config file as `dbpt fit
--config` takes it, whose images are in folders STYLE/CLASS and have the attributes photo and sketch:

    python benches/guess_trust_styles.py my-data.toml
"""

import itertools
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from guess_trust_table import NONSENSE, UNRELATED, Case, prepared, right
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from dbpt.data.writing import csv_text
from dbpt.settings.config import read_config

WORDS = {
    "photo": ["photo", "photograph"],
    "art painting": ["art painting", "painting"],
    "cartoon": ["cartoon", "comic"],
    "sketch": ["sketch", "pencil sketch"],
}
DRAWS = 5


def painted(image: Image.Image) -> Image.Image:
    """The image in strokes of one colour."""
    return ImageEnhance.Color(image.filter(ImageFilter.ModeFilter(9))).enhance(1.4).filter(ImageFilter.SMOOTH)


def as_cartoon(image: Image.Image) -> Image.Image:
    """The image in few colours with black outlines."""
    flat = ImageEnhance.Color(ImageOps.posterize(image.filter(ImageFilter.MedianFilter(7)), 2)).enhance(1.8)
    edges = image.convert("L").filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.FIND_EDGES)
    flat.paste((0, 0, 0), mask=edges.point(lambda value: 255 if value > 40 else 0))
    return flat


def restyled(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the images with a third of the photographs painted and a third as cartoons; return the settings."""
    dataset, filters = prepared(settings)[0], (("photo", None), ("art painting", painted), ("cartoon", as_cartoon))
    rows = [["path", "label", "attribute", "split"]]
    for number, path in enumerate(dataset.paths):
        style, change = filters[number % 3] if Path(path).parts[-3] == "photo" else ("sketch", None)
        image = Image.open(Path(dataset.root) / path).convert("RGB")
        (image if change is None else change(image)).save(folder / f"{number}.png")
        rows.append([f"{number}.png", Path(path).parts[-2], style, "train"])
    (folder / "table.csv").write_text(csv_text(rows))
    kept = {name: settings[name] for name in ("model", "pretrained", "tokenizer") if name in settings}
    return {**kept, "data": str(folder / "table.csv"), "cache": str(folder / "cache"), "attributes": list(WORDS)}


def main(path: str) -> None:
    """Print the table."""
    random, counted = np.random.default_rng(0), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        dataset, backbone, features = prepared(restyled(read_config(path), Path(folder)))
        styles = np.array(list(dataset.attribute_names))[dataset.attributes]
        rows = np.flatnonzero((styles == "photo") | (styles == "sketch"))
        two = dataset.take(rows)
        two = two.__class__(**vars(two) | {"attributes": (styles[rows] == "sketch").astype(np.int64)})
        for _ in range(DRAWS):
            for names in itertools.product(WORDS["photo"], WORDS["sketch"]):
                case = Case(two, backbone, features[rows], random)
                doubted, unsure, hits = case.judged(list(names), "a {}")
                counted[f"photographs and sketches by two names, {right(hits)}"].append((doubted, unsure))
        for names in itertools.product(*WORDS.values()):
            case = Case(dataset, backbone, features, random)
            doubted, unsure, hits = case.judged(list(names), "a {}")
            counted[f"four styles by four names, {right(hits)}"].append((doubted, unsure))
            case = Case(two, backbone, features[rows], random)
            doubted, unsure, _ = case.judged(list(names), "a {}")
            counted["photographs and sketches by four names"].append((doubted, unsure))
            names = random.choice(NONSENSE.split(), 4, replace=False).tolist()
            found = Case(dataset, backbone, features, random).judged(names, "a {}")
            counted["four styles by names without meaning"].append(found[:2])
            names = random.choice(UNRELATED.replace("/", " ").split(), 4, replace=False).tolist()
            found = Case(dataset, backbone, features, random).judged(names, "a {}")
            counted["four styles by names that have nothing to do with them"].append(found[:2])
    print("| cases | number | doubted | mean confidence below 0.9 |\n" + 4 * "|---" + "|")
    for kind, found in counted.items():
        doubted, unsure = np.mean(found, axis=0)
        print(f"| {kind} | {len(found)} | {100 * doubted:.0f} % | {100 * unsure:.0f} % |")


if __name__ == "__main__":
    main(sys.argv[1])
