"""Find planted wrong labels: `label_quality` against cleanlab's list of the same length, with rare groups at stake.

Each draw has up to 1,500 training images, and some labels are replaced by those of other classes: none, a share of all,
or 10 % in the first class or attribute. The predictions are of a linear probe of CLIP's features and of a logistic
regression on 24 x 24 pixels, both out of fold on the wrong labels, and of zero-shot CLIP. Peer: cleanlab 2.9,
``find_label_issues`` for the length of the list and ``get_label_quality_scores`` for its order. Other rows: the rank of
that score within the group, the mean of both sources, and `label_quality` without attributes. Draws 0 to 102 shaped the
method; the table has others. Run by hand, on the demos, with cleanlab installed

    python benches/wrong_labels_table.py DRAWS

or also on config files as `dbpt fit --config` takes them, with true attributes in their data.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from dbpt.commands.audit.suspicious import probabilities_at_attributes
from dbpt.evaluation.audit_subject import Subject, subject_of
from dbpt.evaluation.audited_predictions import probe_predictions
from dbpt.evaluation.wrong_labels import label_quality
from dbpt.settings.all_settings import AUDIT_SETTINGS
from dbpt.settings.config import read_config

DEMOS = ("demo-waterbirds", "demo-celeba", "demo-metashift")
MOST_ROWS, SIZE, FIRST_DRAW = 1500, 24, 200
KINDS = {"none": (0.0,), "all": (0.02, 0.05, 0.1), "class": (0.1,), "attribute": (0.1,)}
"""The shares of wrong labels, of all images or of those of the first class or attribute."""


def main(draws: int, configs: list[str]) -> None:
    """Print a table for each data set, and the sums over all of them."""
    tasks = {name: {"data": name} for name in DEMOS} | {Path(path).stem: read_config(Path(path)) for path in configs}
    sums: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
    for name, settings in tasks.items():
        given = {key: value for key, value in settings.items() if key in AUDIT_SETTINGS}
        subject = subject_of("zero-shot", settings["data"], given, "train", None)
        guesses = subject.embedded.guess(subject.config, None).pseudo_attributes[subject.audited]
        sentences = probabilities_at_attributes(subject, guesses)
        pixels = np.stack([small(subject.dataset.root / subject.dataset.paths[row]) for row in subject.audited])
        for kind in ("probe", "pixels", "zero-shot"):
            for where, shares in KINDS.items():
                rows: dict[str, list[np.ndarray]] = {}
                for share in shares:
                    for draw in range(draws):
                        for row, figures in drawn(subject, pixels, sentences, kind, where, share, draw).items():
                            rows.setdefault(row, []).append(figures)
                            sums.setdefault((kind, where), {}).setdefault(row, []).append(figures)
                show(f"{name}, {kind}, wrong labels in {where}", rows)
    for (kind, where), rows in sums.items():
        show(f"all data, {kind}, wrong labels in {where}", rows)


def show(title: str, rows: dict[str, list[np.ndarray]]) -> None:
    """Print the table of some draws."""
    print(f"\n{title} ({len(next(iter(rows.values())))} draws)\n")
    print("| list | images | wrong labels found | false, rare | false, common | share expected, error of it |")
    print("|---" * 6 + "|", flush=True)
    for row, figures in rows.items():
        n, found, of, rare, common, expected, _ = np.sum(figures, axis=0)
        share = 100 * found / max(of, 1)
        error = 100 * np.mean([abs(each[5] - each[2] / each[6]) for each in figures])
        expected *= 100 / len(figures)
        print(
            f"| {row} | {n:.0f} | {found:.0f} of {of:.0f}: {share:.1f} % | {rare:.0f} | {common:.0f} "
            f"| {expected:.2f} %, {error:.2f} |"
        )


def drawn(
    subject: Subject, pixels: np.ndarray, by_sentences: np.ndarray, kind: str, where: str, share: float, draw: int
) -> dict[str, np.ndarray]:
    """Return for each list its length, the wrong labels in it and in all, correct ones of rare groups and of others.

    Then the expected share of wrong labels, and the number of all images.
    """
    dataset, random = subject.dataset, np.random.default_rng([FIRST_DRAW + draw, round(1000 * share)])
    part = np.sort(random.permutation(len(subject.audited))[:MOST_ROWS])
    rows = subject.audited[part]
    true, num_classes = dataset.labels[rows], dataset.num_classes
    attributes = dataset.attributes[rows]
    concerned = {"class": true == 0, "attribute": attributes == 0}.get(where, True)
    is_wrong = (random.random(len(rows)) < share) & concerned
    labels = np.where(is_wrong, (true + random.integers(1, num_classes, len(rows))) % num_classes, true)
    guesses = subject.embedded.guess(subject.config, None).pseudo_attributes[rows]
    counts = np.zeros((num_classes, attributes.max() + 1))
    np.add.at(counts, (true, attributes), 1)
    is_rare = 2 * counts[true, attributes] < counts.max(axis=1)[true]
    zero_shot = subject.predictions.probabilities[part]
    if kind == "probe":
        features = subject.embedded.features.take(rows)
        probabilities = probe_predictions(features, labels, class_names=dataset.class_names, seed=draw)
    elif kind == "pixels":
        folds = StratifiedKFold(5, shuffle=True, random_state=draw)
        model = LogisticRegression(C=0.01, max_iter=300)
        probabilities = cross_val_predict(model, pixels[part], labels, cv=folds, method="predict_proba")
    else:
        probabilities = zero_shot
    sources: list[Any] = [probabilities] if kind == "zero-shot" else [probabilities, zero_shot]
    with_attribute = [*sources, by_sentences[part]]
    own = probabilities[np.arange(len(rows)), labels]
    assert np.allclose(get_label_quality_scores(labels, probabilities), own)  # cleanlab's score is self_confidence
    length = int(find_label_issues(labels, probabilities).sum())
    scores = {"cleanlab": own, "its rank within the group": within(own, labels * 1000 + guesses)}
    scores["mean of both sources"] = np.mean(sources, axis=0)[np.arange(len(rows)), labels]
    scores["label_quality without attributes"] = label_quality(labels, np.zeros_like(labels), *sources).quality
    scores["label_quality without sentences of the attribute"] = label_quality(labels, guesses, *sources).quality
    found = label_quality(labels, guesses, *with_attribute)
    scores["label_quality"] = found.quality
    lists = {name: np.argsort(score, kind="stable")[:length] for name, score in scores.items()}
    lists["looks_like: wrong label"] = np.flatnonzero(found.likeliest != labels)
    return {
        name: np.array(
            [len(listed), is_wrong[listed].sum(), is_wrong.sum()]
            + [(~is_wrong & part)[listed].sum() for part in (is_rare, ~is_rare)]
            + [found.share_wrong, len(rows)]
        )
        for name, listed in lists.items()
    }


def within(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the rank of each score within its group, from 0 to 1."""
    ranks = np.empty(len(scores))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        ranks[members] = scores[members].argsort().argsort() / len(members)
    return ranks


def small(path: Path) -> np.ndarray:
    """Return the pixels of a small copy of an image, from 0 to 1."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIZE, SIZE)), np.float32).ravel() / 255


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
