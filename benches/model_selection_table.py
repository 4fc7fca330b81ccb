"""Worst-group accuracy of the epochs that rules of model selection choose: the table in docs/results.md.

Each training is one draw of the training and validation rows (``dbpt compare --resample``), with all rows, or with 3 or
15 in the smallest pseudo-group of each class. All rules choose from the same epochs of the same linear head. The rules
are compared on the rows of training and validation that the draw leaves out, by pseudo-groups: no true attribute and no
test row decides. The test split, by true groups, is beside it. Peers: worst-group accuracy and the others, same run.

    python benches/model_selection_table.py [draws] [my-data.toml ...]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from controls_table import few
from numpy.typing import NDArray

from dbpt.experiments.comparison.resampling import resampled
from dbpt.experiments.figures import Labelled
from dbpt.experiments.methods import build_head, build_objective, settings_of, training_rows
from dbpt.experiments.stages import Embedded, add_pseudo_attributes, arrange, load_and_embed
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.settings.data import resolve_demo
from dbpt.training import EpochRecord, train

DEMOS = ("demo-waterbirds", "demo-celeba", "demo-metashift")
METHODS = ("erm", "balanced", "dbpt", "groupdro")
SIZES = (None, 3, 15)


def trajectory(embedded: Embedded, labelled: Labelled, config: FitConfig) -> NDArray[np.float32]:
    """Return the logits (E, N, C) of all rows after each epoch of a training."""
    experiment = arrange(embedded, labelled, config)
    head, rows = build_head(experiment), training_rows(experiment, OBJECTIVES[config.objective])
    features, logits = torch.from_numpy(np.asarray(embedded.features)), []

    @torch.no_grad()
    def keep(_: EpochRecord) -> None:
        logits.append(head(features).numpy())

    objective = build_objective(experiment, config.objective, rows[0])
    train(head, objective, *rows, settings_of(experiment), on_epoch=keep)
    return np.stack(logits)


def by_group(values_EN: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (E, G) of the values in each group that occurs."""
    return np.stack([values_EN[:, groups == g].mean(axis=1) for g in np.unique(groups[groups >= 0])], axis=1)


def choices(right_EN: NDArray[np.bool_], p_true_EN: NDArray[np.float32], groups: NDArray[np.int64]) -> dict[str, int]:
    """Return the epoch that each rule chooses by validation rows."""
    accuracy_EG, p_EG = by_group(right_EN, groups), by_group(p_true_EN, groups)
    average_E = right_EN.mean(axis=1)
    log_loss_EG = by_group(-np.log(np.maximum(p_true_EN, 1e-12)), groups)
    return {
        "wgp": int(p_EG.min(axis=1).argmax()),
        "wga": int((accuracy_EG.min(axis=1) + 1e-3 * average_E).argmax()),
        "worst-group loss": int(log_loss_EG.max(axis=1).argmin()),
        "mean of the groups' losses": int(log_loss_EG.mean(axis=1).argmin()),
        "average": int(average_E.argmax()),
        "last": len(average_E) - 1,
    }


def of_draws(
    embedded: Embedded, labelled: Labelled, config: FitConfig, size: int | None, draws: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the worst-group accuracy in per cent of each rule and draw, on the rows left out and on test.

    The smallest pseudo-group of each class has ``size`` rows in training and in validation, or all.
    """
    labels, pseudo, true = labelled.dataset.labels, labelled.groups("pseudo"), labelled.groups("true")
    test, learnt = labelled.rows("test"), np.concatenate([labelled.rows("train"), labelled.rows("val")])
    found: dict[str, list[tuple[float, float]]] = {}
    for draw in range(draws):
        cut = few(labelled, np.random.default_rng([draw, 17]), rows=size) if size else labelled
        drawn = resampled(cut, draw)
        assert drawn.drawn is not None
        logits = trajectory(embedded, drawn, replace(config, seed=draw))
        right_EN = logits.argmax(axis=2) == labels
        p_true_EN = torch.from_numpy(logits).softmax(dim=2).numpy()[:, np.arange(len(labels)), labels]
        val, left_out = drawn.rows("val"), np.setdiff1d(learnt, drawn.drawn)
        for rule, epoch in choices(right_EN[:, val], p_true_EN[:, val], pseudo[val]).items():
            of_epoch = right_EN[[epoch]]
            worst_left_out = by_group(of_epoch[:, left_out], pseudo[left_out]).min()
            worst_test = by_group(of_epoch[:, test], true[test]).min()
            found.setdefault(rule, []).append((100 * worst_left_out, 100 * worst_test))
    return found


def main(draws: int, sources: list[str]) -> None:
    """Print a table for each method: rules by data set and size, means over the draws."""
    columns: list[str] = []
    cells: dict[tuple[str, str], list[str]] = {}
    for source in (*DEMOS, *sources):
        shared = read_config(Path(source)) if source.endswith(".toml") else {"data": source}
        config = resolve_demo(make_config(shared | {"head": "linear", "baselines": False, "model_selection": "last"}))
        embedded = load_and_embed([config])
        labelled = add_pseudo_attributes(embedded, config)
        for size in SIZES:
            columns.append(f"{Path(source).stem.removeprefix('demo-')}, {size or 'all'}")
            for method in METHODS:
                found = of_draws(embedded, labelled, replace(config, objective=method), size, draws)
                for rule, pairs in found.items():
                    means = np.mean(pairs, axis=0)
                    cells.setdefault((method, rule), []).append(f"{means[0]:.1f} · {means[1]:.1f}")
    print(f"| method | rule | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for (method, rule), row in cells.items():
        print(f"| {method} | {rule} | {' | '.join(row)} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:])
