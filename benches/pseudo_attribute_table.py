"""Measure the pseudo attributes of each method on training rows with known true attributes.

The peers are argmax, and the majority, which gives every row the most common true attribute. For the last column CLIP's
threshold is shifted: the first logit grows by a standard deviation of the difference of the first two. Run by hand on
the demos, or on config files of `dbpt fit`:

    python benches/pseudo_attribute_table.py [my-data.toml ...]

With `--shares`, the rows of two attributes are thinned to shares of 0.5 to 50 % of each: the mean of five draws, with
the share of draws in which `guess_trust` doubts the guesses.
"""

import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import dbpt
from dbpt.data.demo import mini_clip_paths
from dbpt.guesses.catalogue import catalogue_words
from dbpt.guesses.doubts import AGREEMENT_TEMPLATES, guess_trust
from dbpt.settings.config import make_config, read_config
from dbpt.study.data import open_dataset
from dbpt.study.study import embed_dataset

CHOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("argmax", {}),
    ("proportional", {}),
    ("proportional, true proportions", {"proportions": "true"}),
    ("kmeans", {}),
)
SHARES, DRAWS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5), 5


def prepared(settings: dict[str, Any]) -> tuple[Any, Any, np.ndarray]:
    """Return the training rows, the backbone and their features."""
    config = make_config(settings)
    dataset = open_dataset(config)
    backbone = dbpt.load_backbone(config.model, config.pretrained, tokenizer=config.tokenizer)
    dataset, features, _ = embed_dataset(dataset, backbone, config)
    rows = np.flatnonzero(dataset.splits == 0)
    return dataset.take(rows), backbone, features[rows]


def zero_shot(settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits, labels and true attributes of the training rows."""
    dataset, backbone, features = prepared(settings)
    logits = dbpt.zero_shot_logits(backbone, features, *dataset.words.attribute_texts())
    return logits, dataset.labels, dataset.attributes


def choices(attributes: np.ndarray, num_attributes: int):
    """Return (name, keywords) of each row of the table."""
    for name, keywords in CHOICES:
        given = {**keywords, "method": name.partition(",")[0]}
        if keywords.get("proportions") == "true":
            given["proportions"] = np.bincount(attributes, minlength=num_attributes)
        yield name, given


def print_table(name: str, settings: dict[str, Any]) -> None:
    logits, labels, attributes = zero_shot(settings)
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


def thinned(attributes: np.ndarray, rare: int, share: float, random: np.random.Generator) -> np.ndarray:
    """Return as many rows as possible, of which ``share`` have the attribute ``rare``."""
    own, others = np.flatnonzero(attributes == rare), np.flatnonzero(attributes != rare)
    number = min(len(own), max(1, round(share / (1 - share) * len(others))))
    kept = min(len(others), round(number * (1 - share) / share))
    chosen = random.choice(own, number, replace=False), random.choice(others, kept, replace=False)
    return np.sort(np.concatenate(chosen))


def print_shares(name: str, settings: dict[str, Any]) -> None:
    """Print how right the guesses are if either of two attributes is rare."""
    dataset, backbone, features = prepared(settings)
    words, names = dataset.words, list(dataset.attribute_names)
    logits, *by_template = (
        dbpt.zero_shot_logits(backbone, features, *each.attribute_texts())
        for each in (words, *(replace(words, attribute_templates=(template,)) for template in AGREEMENT_TEMPLATES))
    )
    other_words = dbpt.zero_shot_logits(backbone, features, catalogue_words())
    print(f"\n{name}: right, share, precision, recall of the rare name\n")
    print("| rare name | true share | `proportional` | `argmax` | doubted |\n" + 5 * "|---" + "|")
    for rare in range(len(names)):
        for share in SHARES:
            figures: dict[str, list[list[float]]] = {"proportional": [], "argmax": []}
            doubted = []
            for seed in range(DRAWS):
                rows = thinned(dataset.attributes, rare, share, np.random.default_rng(seed))
                true = dataset.attributes[rows]
                for method, found in figures.items():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        guesses = dbpt.label_attributes(logits[rows], method=method).pseudo_attributes
                    guessed, both = guesses == rare, ((guesses == rare) & (true == rare)).sum()
                    precision = both / guessed.sum() if guessed.any() else np.nan
                    found.append([(guesses == true).mean(), guessed.mean(), precision, both / (true == rare).sum()])
                    if method == "proportional":
                        of_templates = [each[rows] for each in by_template]
                        evidence = (logits[rows], of_templates, other_words[rows], dataset.labels[rows], names)
                        doubted.append(bool(guess_trust(guesses, *evidence).doubts))
            cells = [
                " · ".join(f"{100 * value:.1f}" for value in np.nanmean(each, axis=0)) for each in figures.values()
            ]
            print(
                f"| {names[rare]} | {100 * share:g} % | {cells[0]} | {cells[1]} | {sum(doubted)} of {DRAWS} |",
                flush=True,
            )


def main() -> None:
    show = print_shares if "--shares" in sys.argv else print_table
    if paths := [argument for argument in sys.argv[1:] if argument != "--shares"]:
        for path in paths:
            show(path, read_config(Path(path)))
        return
    model, pretrained = map(str, mini_clip_paths())
    for name in ("demo-waterbirds", "demo-celeba", "demo-metashift"):
        with tempfile.TemporaryDirectory() as folder:
            dbpt.write_demo(name, Path(folder) / "data")
            settings = {"data": name.removeprefix("demo-"), "root": str(Path(folder) / "data"), "cache": folder}
            show(name, {**settings, "model": model, "pretrained": pretrained})


if __name__ == "__main__":
    main()
