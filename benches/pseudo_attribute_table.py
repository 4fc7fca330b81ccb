"""Measure the pseudo attributes of each method on training rows with known true attributes.

The peers are argmax, and the majority, which gives every row the most common true attribute. For the last column CLIP's
threshold is shifted: the first logit grows by a standard deviation of the difference of the first two. Run by hand on
the demos, or on config files of `dbpt fit`:

    python benches/pseudo_attribute_table.py [my-data.toml ...]
"""

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import dbpt
from dbpt.data.demo import mini_clip_paths
from dbpt.experiments.readable import embed_dataset, open_dataset
from dbpt.settings.config import make_config, read_config

CHOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("argmax", {}),
    ("proportional", {}),
    ("proportional, true proportions", {"proportions": "true"}),
    ("kmeans", {}),
)


def prepared(settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits, labels and true attributes of the training rows."""
    config = make_config(settings)
    dataset = open_dataset(config)
    backbone = dbpt.load_backbone(config.model, config.pretrained, tokenizer=config.tokenizer)
    dataset, features, _ = embed_dataset(dataset, backbone, config)
    rows = dataset.splits == 0
    logits = dbpt.zero_shot_logits(backbone, features[rows], *dataset.words.attribute_texts())
    return logits, dataset.labels[rows], dataset.attributes[rows]


def choices(attributes: np.ndarray, num_attributes: int):
    """Return (name, keywords) of each row of the table."""
    for name, keywords in CHOICES:
        given = {**keywords, "method": name.partition(",")[0]}
        if keywords.get("proportions") == "true":
            given["proportions"] = np.bincount(attributes, minlength=num_attributes)
        yield name, given


def print_table(name: str, settings: dict[str, Any]) -> None:
    logits, labels, attributes = prepared(settings)
    classes, num_attributes = int(labels.max()) + 1, logits.shape[1]
    print(f"\n{name}, {len(logits)} training rows\n")
    print("| method | right | smallest pseudo-group right | worst recall | right, threshold off |\n" + 5 * "|---" + "|")
    shifted = logits.copy()
    shifted[:, 0] += (logits[:, 0] - logits[:, 1]).std()
    majority = np.full(len(labels), np.bincount(attributes).argmax())
    rows = [("majority", majority, majority)]
    for title, keywords in choices(attributes, num_attributes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [dbpt.label_attributes(x, **keywords).pseudo_attributes for x in (logits, shifted)]
        rows.append((title, *found))
    sizes = {"num_classes": classes, "num_attributes": num_attributes}
    for title, pseudo, pseudo_shifted in rows:
        quality = dbpt.pseudo_attribute_quality(pseudo, attributes, labels, **sizes)
        off = dbpt.pseudo_attribute_quality(pseudo_shifted, attributes, labels, **sizes)
        smallest = quality.groups[quality.smallest_group]
        recall = min(group.recall for group in quality.groups if group.recall is not None)
        print(
            f"| {title} | {100 * quality.accuracy:.1f} | "
            f"{smallest.n_right} of {smallest.n} | {100 * recall:.0f} | {100 * off.accuracy:.1f} |",
            flush=True,
        )


def main() -> None:
    if len(sys.argv) > 1:
        for path in sys.argv[1:]:
            print_table(path, read_config(Path(path)))
        return
    model, pretrained = map(str, mini_clip_paths())
    for name in ("demo-waterbirds", "demo-celeba", "demo-metashift"):
        with tempfile.TemporaryDirectory() as folder:
            dbpt.write_demo(name, Path(folder) / "data")
            settings = {"data": name.removeprefix("demo-"), "root": str(Path(folder) / "data"), "cache": folder}
            print_table(name, {**settings, "model": model, "pretrained": pretrained})


if __name__ == "__main__":
    main()
