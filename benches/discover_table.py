"""Count how often `dbpt discover` finds the attribute that errors depend on, and proposes nothing where there is none.

Ten random draws with the correlation and twenty without, of each data set and each kind of predictions. Peer: the
family that explains the largest share of the errors (p <= 0.05), without any of the checks. Run by hand, on the demos

    python benches/discover_table.py

or also on config files as `dbpt fit --config` takes them, with the families that count as the true attribute:

    python benches/discover_table.py my-data.toml=photo-or-drawing,medium
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import dbpt
from dbpt.auditing.probe import probe_predictions
from dbpt.clip.zero_shot import zero_shot_weights
from dbpt.data import SPLITS
from dbpt.data.demo import mini_clip_paths
from dbpt.discovery.catalogue import read_catalogue
from dbpt.discovery.embedded import embed_families
from dbpt.discovery.scoring import Images, Score, guess_families, halves, score_families
from dbpt.experiments.readable import embed_dataset, open_dataset
from dbpt.settings.config import make_config, read_config

TRUE = {
    "waterbirds": {"land-or-water", "landscape", "ground", "behind-the-object"},
    "celeba": {"gender"},
    "metashift": {"indoors-or-outdoors"},
}
POSITIVE, NULL = 10, 20
HEADER = (
    "| data | draws of | number | true family first | nothing proposed | first, most often | peer: true first "
    "| peer: nothing |\n"
)


class Task:
    """A data set with features, and the families of the catalogue for its backbone."""

    def __init__(self, settings: dict[str, Any]) -> None:
        config = make_config(settings)
        dataset = open_dataset(config)
        self.backbone = dbpt.load_backbone(config.model, config.pretrained, tokenizer=config.tokenizer)
        self.dataset, self.features, _ = embed_dataset(dataset, self.backbone, config)
        self.features = np.asarray(self.features)
        self.families = embed_families(self.backbone, read_catalogue())
        self.class_weights = zero_shot_weights(self.backbone, *self.dataset.words.class_texts())

    def zero_shot(self, rows: np.ndarray) -> np.ndarray:
        """Zero-shot predictions (n,)."""
        return (self.features[rows] @ self.class_weights.T).argmax(axis=1)

    def probe(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Out-of-fold predictions (n,) of a linear probe of these rows."""
        names, labels = self.dataset.class_names, self.dataset.labels[rows]
        return probe_predictions(self.features[rows], labels, class_names=names, seed=seed).argmax(axis=1)

    def positive(self, seed: int) -> Iterator[tuple[str, list[Score]]]:
        """Draws with the correlation: the predictions by CLIP of test rows, by a probe of training rows."""
        random, splits = np.random.default_rng([seed, 0]), self.dataset.splits
        rows = half(np.flatnonzero(splits == SPLITS.index("test")), random)
        yield "zero-shot, half of test", self.guessed(rows, seed)(self.zero_shot(rows))
        rows = half(np.flatnonzero(splits == SPLITS.index("train")), random)
        yield "probe, half of train", self.guessed(rows, seed)(self.probe(rows, seed))

    def null(self, seed: int) -> Iterator[tuple[str, list[Score]]]:
        """Draws without a correlation of class and attribute, or of attribute and errors."""
        random, labels, attributes = np.random.default_rng([seed, 1]), self.dataset.labels, self.dataset.attributes
        rows = half(np.flatnonzero(attributes == seed % self.dataset.num_attributes), random)
        scored = self.guessed(rows, seed)
        yield "zero-shot, one attribute only", scored(self.zero_shot(rows))
        yield "probe, one attribute only", scored(self.probe(rows, seed))
        groups = self.dataset.groups(attributes)
        size = int(0.8 * np.bincount(groups).min())
        each = [random.permutation(np.flatnonzero(groups == g))[:size] for g in range(self.dataset.num_groups)]
        rows = np.sort(np.concatenate(each))
        scored, predicted = self.guessed(rows, seed), self.zero_shot(rows)
        yield "probe, class and attribute independent", scored(self.probe(rows, seed))
        for label in np.unique(labels):
            members = np.flatnonzero(labels[rows] == label)
            predicted[members] = predicted[random.permutation(members)]
        yield "zero-shot, errors shuffled within classes", scored(predicted)

    def guessed(self, rows: np.ndarray, seed: int) -> Callable[[np.ndarray], list[Score]]:
        """A function from predictions of the rows to the scores that `dbpt.discover` gives."""
        labels = self.dataset.labels[rows]
        images = Images(
            backbone=self.backbone,
            features=self.features[rows],
            labels=labels,
            halves=halves(labels, seed),
            num_classes=self.dataset.num_classes,
            seed=seed,
        )
        guessed = guess_families(self.families, images, self.dataset.words)
        return lambda predicted: score_families(guessed, images, predicted == labels)


def half(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random half of the rows, in their order."""
    return np.sort(random.permutation(rows)[: len(rows) // 2])


def largest_share(scores: list[Score]) -> str | None:
    """The peer: the family with the largest share, if its p-value is small."""
    tested = [each for each in scores if each.explained and (each.explained.errors.p_value or 1) <= 0.05]
    best = max(tested, key=lambda score: score.explained.errors.share or 0, default=None)
    return best and best.of.family.family.name


def main(arguments: list[str]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        model, pretrained = map(str, mini_clip_paths())
        named: dict[str, tuple[dict[str, Any], set[str]]] = {}
        for name, true in TRUE.items():
            root = f"{folder}/{name}"
            dbpt.write_demo(f"demo-{name}", root)
            settings = {"data": name, "root": root, "model": model, "pretrained": pretrained, "cache": folder}
            named[f"demo-{name}"] = (settings, true)
        for argument in arguments:
            path, _, true = argument.partition("=")
            named[path] = (read_config(path), set(true.split(",")))
        print(HEADER + "|---" * 8 + "|", flush=True)
        for name, (settings, true) in named.items():
            task = Task(settings)
            for draws, number in ((task.positive, POSITIVE), (task.null, NULL)):
                found: dict[str, list[tuple[str | None, str | None]]] = {}
                for seed in range(number):
                    for kind, scores in draws(seed):
                        best = scores[0].of.family.family.name if scores[0].is_proposed else None
                        found.setdefault(kind, []).append((best, largest_share(scores)))
                for kind, pairs in found.items():
                    print(f"| {name} | {kind} | {len(pairs)} | {' | '.join(counted(pairs, true))} |", flush=True)


def counted(pairs: list[tuple[str | None, str | None]], true: set[str]) -> Iterator[str]:
    """The cells of a row: how often the true family was first, and nothing proposed; the same for the peer."""
    first, peer = zip(*pairs, strict=True)
    yield from (str(sum(each in true for each in first)), str(first.count(None)))
    yield ", ".join(f"{family} {n}" for family, n in Counter(filter(None, first)).most_common(3)) or "–"
    yield from (str(sum(each in true for each in peer)), str(peer.count(None)))


if __name__ == "__main__":
    main(sys.argv[1:])
