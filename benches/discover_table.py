"""Count how often `dbpt discover` finds the attribute that errors depend on, and proposes nothing where there is none.

Ten random draws with the correlation and twenty without, of each data set and each kind of predictions. Peer: the
family that explains the largest share of the errors (p <= 0.05), without any of the checks. The true attribute's own
test, by its true values, says whether a draw has something to propose: p <= 0.05, and accuracies that differ by ten
points or more within a class. Draws with
class and attribute independent share 80 % of the smallest group, so that one chance difference there counts up to
twenty times; "new pictures" are draws of demos with other seeds, which share nothing. Run by hand, on the demos

    python benches/discover_table.py

or also on config files as `dbpt fit --config` takes them, with the families that count as the true attribute:

    python benches/discover_table.py my-data.toml=photo-or-drawing,medium
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import dbpt
from dbpt.clip.backbone import zero_shot_weights
from dbpt.data import SPLITS
from dbpt.data.demo import mini_clip_paths
from dbpt.evaluation.audited_predictions import probe_predictions
from dbpt.evaluation.explained_by_attribute import explained_errors
from dbpt.evaluation.family_guesses import Images, guess_families
from dbpt.evaluation.family_proposal import LARGEST_Q, SMALLEST_DIFFERENCE, Score
from dbpt.evaluation.family_ranking import score_families
from dbpt.evaluation.intervals import largest_difference
from dbpt.guesses.catalogue import EmbeddedFamily, embed_families, read_catalogue
from dbpt.settings.config import make_config, read_config
from dbpt.study.data import open_dataset
from dbpt.study.study import embed_dataset

TRUE = {
    "waterbirds": {"land-or-water", "landscape", "ground", "behind-the-object"},
    "celeba": {"gender"},
    "metashift": {"indoors-or-outdoors"},
}
POSITIVE, NULL = 10, 20
INDEPENDENT = "probe, class and attribute independent"
HEADER = (
    "| data | draws of | number | true attribute explains | true family first | nothing proposed | first, most often "
    "| peer: true first | peer: nothing |\n"
)


Found = tuple[str, str | None, str | None, bool]
"""The kind of a draw, the first proposed family, the peer's, and whether the true attribute itself explains errors."""


class Task:
    """A data set with features, and the families of the catalogue for its backbone."""

    def __init__(self, settings: dict[str, Any], families: list[EmbeddedFamily] | None = None) -> None:
        config = make_config(settings)
        dataset = open_dataset(config)
        self.backbone = dbpt.load_backbone(config.model, config.pretrained, tokenizer=config.tokenizer)
        self.dataset, self.features, _ = embed_dataset(dataset, self.backbone, config)
        self.features = np.asarray(self.features)
        self.families = embed_families(self.backbone, read_catalogue()) if families is None else families
        self.class_weights = zero_shot_weights(self.backbone, *self.dataset.words.class_texts())

    def zero_shot(self, rows: np.ndarray) -> np.ndarray:
        """Whether CLIP is right on each row, (n,)."""
        return (self.features[rows] @ self.class_weights.T).argmax(axis=1) == self.dataset.labels[rows]

    def probe(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Whether a linear probe of these rows, out of fold, is right on each, (n,)."""
        names, labels = self.dataset.class_names, self.dataset.labels[rows]
        return probe_predictions(self.features[rows], labels, class_names=names, seed=seed).argmax(axis=1) == labels

    def positive(self, seed: int) -> Iterator[Found]:
        """Draws with the correlation: of predictions by CLIP, and by a probe of training rows."""
        random, splits = np.random.default_rng([seed, 0]), self.dataset.splits
        rows = half(np.flatnonzero(splits == SPLITS.index("test")), random)
        yield self.guessed("zero-shot, half of test", rows, seed)(self.zero_shot(rows))
        rows = half(np.flatnonzero(splits == SPLITS.index("train")), random)
        yield self.guessed("probe, half of train", rows, seed)(self.probe(rows, seed))
        rows = half(np.flatnonzero(splits != SPLITS.index("test")), random)
        yield self.guessed("zero-shot, half of train and val (`auto`)", rows, seed)(self.zero_shot(rows))

    def null(self, seed: int) -> Iterator[Found]:
        """Draws without a correlation of class and attribute, or of attribute and errors."""
        random, splits, attributes = np.random.default_rng([seed, 1]), self.dataset.splits, self.dataset.attributes
        rows = half(np.flatnonzero(attributes == seed % self.dataset.num_attributes), random)
        yield self.guessed("zero-shot, one attribute only", rows, seed)(self.zero_shot(rows))
        yield self.guessed("probe, one attribute only", rows, seed)(self.probe(rows, seed))
        rows = self.balanced(random)
        yield self.guessed(INDEPENDENT, rows, seed)(self.probe(rows, seed))
        shuffled = self.shuffled(self.zero_shot(rows), rows, random)
        yield self.guessed("zero-shot, errors shuffled within classes", rows, seed)(shuffled)
        rows = half(np.flatnonzero(splits == SPLITS.index("train")), random)
        shuffled = self.shuffled(self.probe(rows, seed), rows, random)
        yield self.guessed("probe, half of train, errors shuffled within classes", rows, seed)(shuffled)

    def independent(self, seed: int) -> Found:
        """A draw with class and attribute independent, from a data set of new pictures."""
        rows = self.balanced(np.random.default_rng([seed, 1]))
        return self.guessed(f"{INDEPENDENT}, new pictures", rows, seed)(self.probe(rows, seed))

    def balanced(self, random: np.random.Generator) -> np.ndarray:
        """As many rows of each group, 80 % of the smallest one."""
        groups = self.dataset.groups(self.dataset.attributes)
        size = int(0.8 * np.bincount(groups).min())
        each = [random.permutation(np.flatnonzero(groups == g))[:size] for g in range(self.dataset.num_groups)]
        return np.sort(np.concatenate(each))

    def shuffled(self, right: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The same number of errors in each class, of random images: no attribute explains them."""
        found = right.copy()
        for label in np.unique(self.dataset.labels[rows]):
            members = np.flatnonzero(self.dataset.labels[rows] == label)
            found[members] = right[random.permutation(members)]
        return found

    def guessed(self, kind: str, rows: np.ndarray, seed: int) -> Callable[[np.ndarray], Found]:
        """A function from what is predicted right of the rows to what `dbpt.discover` and the peer find."""
        dataset, labels = self.dataset, self.dataset.labels[rows]
        images = Images(
            backbone=self.backbone,
            features=self.features[rows],
            labels=labels,
            num_classes=dataset.num_classes,
            seed=seed,
        )
        guessed = guess_families(self.families, images, dataset.words)

        def found(right: np.ndarray) -> Found:
            scores, size = score_families(guessed, images, right), (dataset.num_classes, dataset.num_attributes)
            best = scores[0].of.family.name if scores[0].is_proposed else None
            true = explained_errors(
                right, labels, dataset.attributes[rows], num_classes=size[0], num_attributes=size[1], seed=seed
            )
            groups = dataset.groups(dataset.attributes)[rows]
            tables = (np.bincount(each, minlength=size[0] * size[1]).reshape(size) for each in (groups[right], groups))
            differs = largest_difference(*tables)
            explains = (true.p_value or 1) <= LARGEST_Q and differs is not None
            explains = explains and differs.value >= SMALLEST_DIFFERENCE
            return kind, best, largest_share(scores), explains

        return found


def half(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random half of the rows, in their order."""
    return np.sort(random.permutation(rows)[: len(rows) // 2])


def largest_share(scores: list[Score]) -> str | None:
    """The peer: the family with the largest share, if its p-value is small."""
    tested = [each for each in scores if each.explained and (each.explained.errors.p_value or 1) <= 0.05]
    best = max(tested, key=lambda score: score.explained.errors.share or 0, default=None)
    return best and best.of.family.name


def main(arguments: list[str]) -> None:
    """Print the table."""
    print(HEADER + "|---" * 9 + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, true in TRUE.items():
            task = Task(demo(name, 0, folder))
            drawn = (Task(demo(name, seed, folder), task.families) for seed in range(1, NULL + 1))
            measure(f"demo-{name}", true, task, drawn)
        for argument in arguments:
            path, _, families = argument.partition("=")
            task = Task(read_config(path))
            measure(path, set(families.split(",")), task)


def demo(name: str, seed: int, folder: str) -> dict[str, Any]:
    """Draw a demo; return its settings."""
    root = f"{folder}/{name}-{seed}"
    dbpt.write_demo(f"demo-{name}", root, seed=seed)
    model, pretrained = map(str, mini_clip_paths())
    return {"data": name, "root": root, "model": model, "pretrained": pretrained, "cache": folder}


def measure(name: str, true: set[str], task: Task, new: Iterable[Task] = ()) -> None:
    """Print the rows of a data set: draws of ``task``, and one of each task of ``new`` pictures."""
    draws = [found for seed in range(POSITIVE) for found in task.positive(seed)]
    draws += [found for seed in range(NULL) for found in task.null(seed)]
    draws += [each.independent(seed) for seed, each in enumerate(new, 1)]
    for kind in dict.fromkeys(found[0] for found in draws):
        of_kind = [found for found in draws if found[0] == kind]
        print(f"| {name} | {kind} | {len(of_kind)} | {' | '.join(counted(of_kind, true))} |", flush=True)


def counted(draws: list[Found], true: set[str]) -> Iterator[str]:
    """The cells of a row: how often the true family was first, and nothing proposed; the same for the peer."""
    _, first, peer, explains = zip(*draws, strict=True)
    yield str(sum(explains))
    yield from (str(sum(each in true for each in first)), str(first.count(None)))
    yield ", ".join(f"{family} {n}" for family, n in Counter(filter(None, first)).most_common(3)) or "–"
    yield from (str(sum(each in true for each in peer)), str(peer.count(None)))


if __name__ == "__main__":
    main(sys.argv[1:])
