"""Count how often `dbpt discover` names the attribute that somebody else's classifier relies on, first.

Each draw has a random part of the validation and test images (of a demo, of its test images), and predictions that
don't come from CLIP: of a logistic regression on 32 x 32 pixels, of a small convolutional network, both trained on a
random part of the training images, and simulated ones whose errors depend on the true attribute alone; and as many
whose errors depend on nothing within a class. All sources are searched. Peer: the order of version 0.2.0, the share of
the errors times the spread of CLIP's logits, among the same families of words. Run by hand, on the demos

    python benches/discover_foreign.py DRAWS

or also on config files as `dbpt fit --config` takes them, with the families that count as the true attribute:

    python benches/discover_foreign.py DRAWS my-data.toml=photo-or-drawing,medium
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from dbpt.commands.discover.families import SEARCHED, families_of
from dbpt.data import SPLITS
from dbpt.evaluation.audit_subject import Subject, subject_of
from dbpt.evaluation.family_proposal import Score
from dbpt.evaluation.family_ranking import score_families
from dbpt.guesses.catalogue import read_catalogue
from dbpt.settings.all_settings import DISCOVER_SETTINGS
from dbpt.settings.config import read_config

DEMOS = {
    "demo-waterbirds": {"land-or-water"},
    "demo-celeba": {"gender"},
    "demo-metashift": {"indoors-or-outdoors"},
}
SIZE, MOST_TRAINED, EPOCHS = 32, 1500, 15
HEADER = (
    "| data | errors of | draws | true attribute first | nothing proposed | first, most often | peer: true first |\n"
)


def main(draws: int, arguments: list[str]) -> None:
    """Print the table."""
    print(HEADER + "|---" * 7 + "|", flush=True)
    tasks = {name: ({"data": name}, true) for name, true in DEMOS.items()}
    for argument in arguments:
        path, _, families = argument.partition("=")
        tasks[Path(path).stem] = (read_config(Path(path)), set(families.split(",")))
    for name, (settings, true) in tasks.items():
        found: dict[str, list[tuple[str | None, str | None]]] = {}
        for kind, first, peer in drawn(settings, draws, is_demo=name in DEMOS):
            found.setdefault(kind, []).append((first, peer))
        for kind, of_kind in found.items():
            firsts, peers = zip(*of_kind, strict=True)
            often = ", ".join(f"{family} {n}" for family, n in Counter(filter(None, firsts)).most_common(3)) or "–"
            cells = [sum(first in true for first in firsts), firsts.count(None), often, sum(p in true for p in peers)]
            print(f"| {name} | {kind} | {len(of_kind)} | {' | '.join(map(str, cells))} |", flush=True)


def drawn(settings: dict[str, Any], draws: int, *, is_demo: bool) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the kind of each classifier, the family that is named first, and the peer's."""
    read = dict(settings)
    data, true = read.pop("data"), ("attributes", "factors")
    given = {name: value for name, value in read.items() if name in DISCOVER_SETTINGS or name in true}
    subject = subject_of("zero-shot", data, given, "all", None, other_columns=True, measure=True)
    dataset, families = subject.dataset, families_of(subject, SEARCHED, read_catalogue(), None)
    pixels = np.stack([small(dataset.root / path) for path in dataset.paths])
    training = np.flatnonzero(dataset.splits == SPLITS.index("train"))
    shown = np.flatnonzero(dataset.splits == SPLITS.index("test") if is_demo else dataset.splits > 0)
    for draw in range(draws):
        random = np.random.default_rng([draw, 5])
        rows = np.sort(random.permutation(shown)[: int(0.7 * len(shown))])
        learnt = random.choice(training, min(len(training), MOST_TRAINED))
        images, labels = families.images(rows), dataset.labels[rows]
        guessed = families.of(images, rows)
        for kind, right in {
            "logistic regression on pixels": by_pixels(pixels[learnt], dataset.labels[learnt], pixels[rows]) == labels,
            "small network": by_network(pixels[learnt], dataset.labels[learnt], pixels[rows], draw) == labels,
            "the attribute alone": by_attribute(random, subject, rows, draw),
            "nothing": random.random(len(rows)) > random.uniform(0.05, 0.5, dataset.num_classes)[labels],
        }.items():
            scores = score_families(guessed, images, right, is_foreign=True, pairs=True)
            yield kind, first(scores), peer(scores)


def first(scores: list[Score]) -> str | None:
    """Return the family that is named first."""
    return scores[0].of.family.name if scores[0].is_proposed else None


def peer(scores: list[Score]) -> str | None:
    """Return the family with the largest share times spread."""

    def strength(score: Score) -> float:
        trust = None if score.of.guessed is None else score.of.guessed.trust
        return 0.0 if trust is None else score.share * trust.spread

    proposed = [score for score in scores if score.is_proposed and score.of.source == "words"]
    return max(proposed, key=strength).of.family.name if proposed else None


def small(path: Path) -> np.ndarray:
    """Return an image of 32 x 32 pixels, (32, 32, 3) from 0 to 1."""
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32) / 255


def by_pixels(pixels: np.ndarray, labels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return the classes that a logistic regression predicts."""
    model = LogisticRegression(C=0.01, max_iter=300).fit(pixels.reshape(len(pixels), -1), labels)
    return np.asarray(model.predict(shown.reshape(len(shown), -1)))


def by_network(pixels: np.ndarray, labels: np.ndarray, shown: np.ndarray, seed: int) -> np.ndarray:
    """Return the classes that a network of three convolutions predicts."""
    torch.manual_seed(seed)
    layers = [torch.nn.Conv2d(3, 16, 5, 2, 2), torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.Conv2d(32, 32, 3, 2, 1)]
    steps = [step for layer in layers for step in (layer, torch.nn.ReLU())]
    network = torch.nn.Sequential(*steps, torch.nn.Flatten(), torch.nn.Linear(32 * 16, int(labels.max()) + 1))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    trained, tested = (torch.from_numpy(part).permute(0, 3, 1, 2) - 0.5 for part in (pixels, shown))
    targets = torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(trained)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(trained[batch]), targets[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return np.asarray(network(tested).argmax(dim=1).numpy())


def by_attribute(random: np.random.Generator, subject: Subject, rows: np.ndarray, draw: int) -> np.ndarray:
    """Return which rows are right: errors depend on the attribute, or on whether it is the rarer one of the class."""
    dataset = subject.dataset
    labels, attributes = dataset.labels[rows], dataset.attributes[rows]
    counts = np.zeros((dataset.num_classes, dataset.num_attributes))
    training = dataset.splits == SPLITS.index("train")
    np.add.at(counts, (dataset.labels[training], dataset.attributes[training]), 1)
    one = random.integers(dataset.num_attributes)
    worse = attributes == one if draw % 2 else counts.argmax(axis=1)[labels] != attributes
    return random.random(len(rows)) > np.where(worse, random.uniform(0.3, 0.7), random.uniform(0.02, 0.15))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), sys.argv[2:])
