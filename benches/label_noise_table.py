"""Worst-group accuracy with wrong attributes, with and without ``--label-noise``: the table in docs/human_check.md.

The attributes of all images are the true ones, flipped at random, or CLIP's own. The label noise is estimated from 200
images, as many of each pseudo-group, or from all training images. Run: python benches/label_noise_table.py [seeds]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.experiments.figures import Labelled
from dbpt.experiments.methods import trained_result
from dbpt.experiments.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.groups import LabelNoise
from dbpt.pseudo_attributes.judged import JudgedNoise, error_rates
from dbpt.settings.config import make_config
from dbpt.settings.data import resolve_demo

DEMOS = ("demo-waterbirds", "demo-celeba", "demo-metashift")
RATES = (0.0, 0.05, 0.1, None)
"""Fractions of the attributes that are flipped; None for the pseudo attributes of CLIP."""
LABELLED = {"none": 0, "200": 200, "all": 10**9}
SETTINGS: Sequence[dict[str, Any]] = (
    {"objective": "dbpt"},
    {"objective": "groupdro"},
    {"objective": "dbpt", "batch_size": 64, "epochs": 20},
)


def judged(labelled: Labelled, n: int, random: np.random.Generator) -> JudgedNoise:
    """Return what a person would find who labels ``n`` training images without errors."""
    dataset, rows = labelled.dataset, labelled.rows("train")
    num_classes, num_attributes = dataset.num_classes, dataset.num_attributes
    confusion = np.zeros((num_classes, num_attributes, num_attributes))
    n_judged = np.zeros(confusion.shape[:2], dtype=np.int64)
    groups = labelled.groups("pseudo")[rows]
    for group in np.unique(groups):
        members = random.permutation(rows[groups == group])
        seen = dataset.attributes[members[: -(-n // dataset.num_groups)]]
        counts = np.bincount(seen, minlength=num_attributes)
        place = divmod(group, num_attributes)
        confusion[place], n_judged[place] = counts * (len(members) / len(seen)), len(seen)
    return JudgedNoise(LabelNoise(error_rates(confusion, n_judged)), int(n_judged.sum()), ())


def flipped(attributes: NDArray[np.int64], rate: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Return binary attributes, each the other one with probability ``rate``."""
    return np.where(random.random(len(attributes)) < rate, 1 - attributes, attributes)


def main(seeds: int) -> None:
    """Print the mean worst-group accuracy on the test split over the seeds."""
    for settings, demo in product(SETTINGS, DEMOS):
        config = resolve_demo(make_config({"data": demo, "head": "linear", "baselines": False, **settings}))
        embedded = load_and_embed([config])
        for rate in RATES:
            found: dict[str, list[float]] = {}
            for seed in range(seeds):
                chosen, random = replace(config, seed=seed), np.random.default_rng(seed)
                labelled = add_pseudo_attributes(embedded, chosen)
                if rate is not None:
                    wrong = flipped(labelled.dataset.attributes, rate, random)
                    labelled = replace(labelled, pseudo=replace(labelled.pseudo, pseudo_attributes=wrong))
                for name, n in LABELLED.items():
                    noisy = replace(labelled, label_noise=judged(labelled, n, random)) if n else labelled
                    experiment = arrange(embedded, noisy, chosen)
                    result = trained_result(experiment, chosen.objective, checkpoint_path=None, quiet=True)
                    worst = result.row.figure("worst_group_accuracy")
                    assert worst is not None
                    found.setdefault(name, []).append(100 * worst)
            means = ", ".join(f"{name} {np.mean(figures):.1f}" for name, figures in found.items())
            wrong_labels = "CLIP's own" if rate is None else f"{100 * rate:g} % flipped"
            print(f"{demo} {settings}: {wrong_labels}: {means}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
