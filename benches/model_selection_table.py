"""Worst-group accuracy of what rules of model selection make of the epochs: the table in docs/explanation/results.md.

Each training is one draw of the training and validation rows with replacement, with all rows, or with 3 or
15 in the smallest pseudo-group of each class. All rules have the same epochs of the same linear head: they choose one,
average the weights of some, or mix them with zero-shot weights. The rules are compared on the rows of training and
validation that the draw leaves out, by pseudo-groups: no true attribute and no test row decides. The test split, by
true groups, is beside it. Peers: worst-group accuracy and the others, same run.

    python benches/model_selection_table.py [draws] [my-data.toml ...]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bootstrap import bootstrapped
from controls_table import few
from numpy.typing import NDArray

from dbpt.commands.trained_methods import build_head, build_objective, training_rows
from dbpt.objectives import OBJECTIVES
from dbpt.objectives.base import class_logits
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.study.data import resolve_demo
from dbpt.study.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.study.study import Study
from dbpt.training import EpochRecord, train

DEMOS = ("demo-waterbirds", "demo-celeba", "demo-metashift")
METHODS = {"erm": "class", "balanced": "class", "dbpt": "class", "groupdro": "class", "gla": "group"}
"""The objectives, and the prompts that they train."""
SIZES = (None, 3, 15)
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Of the last epoch, in a mixture with zero-shot weights (WiSE-FT, Wortsman et al., 2022)."""
Rows = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row numbers (n,), and the group of each."""


def trajectory(study: Study, config: FitConfig) -> NDArray[np.float32]:
    """Return the logits (1 + E, N, O) of all rows, before training and after each epoch; O outputs, C or C·A."""
    study = arrange(study, config)
    head, rows = build_head(study, config.prompts), training_rows(study, OBJECTIVES[config.trained_objective])
    features, logits = torch.from_numpy(np.asarray(study.features)), []

    @torch.no_grad()
    def keep(_: EpochRecord) -> None:
        logits.append(head(features).numpy())

    objective = build_objective(study, config.trained_objective, rows[0], config.prompts)
    logits.append(head(features).detach().numpy())
    train(head, objective, *rows, study.config, on_epoch=keep)
    return np.stack(logits)


def by_group(values_EN: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (E, G) of the values in each group that occurs."""
    return np.stack([values_EN[:, groups == g].mean(axis=1) for g in np.unique(groups[groups >= 0])], axis=1)


def of_classes(logits: NDArray[np.float32], num_classes: int) -> NDArray[np.float32]:
    """Return logits (..., C) of logits (..., O)."""
    found = class_logits(torch.from_numpy(logits.reshape(-1, logits.shape[-1])), num_classes).numpy()
    return found.reshape(*logits.shape[:-1], num_classes)


def choices(found_ENO: NDArray[np.float32], labels: NDArray[np.int64], val: Rows) -> dict[str, NDArray[np.float32]]:
    """Return the logits (N, O) of the classifier that each rule makes of a `trajectory`, by the validation rows.

    The head is linear, so the mean of the logits of some epochs is that of their mean weights.
    """
    zero_shot, logits_ENO = found_ENO[0], found_ENO[1:]
    p_EG, log_loss_EG, accuracy_EG, average_E = judged(logits_ENO, labels, val)
    by_wgp = np.argsort(-p_EG.min(axis=1), kind="stable")
    last, half = logits_ENO[-1], len(logits_ENO) // 2
    mixed = np.stack([zero_shot + share * (last - zero_shot) for share in SHARES])
    return {
        "wgp": logits_ENO[by_wgp[0]],
        "wga": logits_ENO[(accuracy_EG.min(axis=1) + 1e-3 * average_E).argmax()],
        "worst-group loss": logits_ENO[log_loss_EG.max(axis=1).argmin()],
        "mean of the groups' losses": logits_ENO[log_loss_EG.mean(axis=1).argmin()],
        "average": logits_ENO[average_E.argmax()],
        "last": last,
        "mean weights of the 10 best by wgp": logits_ENO[by_wgp[:10]].mean(axis=0),
        "mean weights of the second half": logits_ENO[half:].mean(axis=0),
        "half zero-shot, half last": mixed[SHARES.index(0.5)],
        "zero-shot and last, share by wgp": mixed[judged(mixed, labels, val)[0].min(axis=1).argmax()],
    }


def judged(logits_ENO: NDArray[np.float32], labels: NDArray[np.int64], val: Rows) -> tuple[NDArray[Any], ...]:
    """Return mean probability, loss and accuracy (E, G) of the groups of the validation rows, and the average (E,)."""
    rows, groups = val
    logits_ENC = of_classes(logits_ENO[:, rows], int(labels.max()) + 1)
    right_EN = logits_ENC.argmax(axis=2) == labels[rows]
    p_EN = torch.from_numpy(logits_ENC).softmax(dim=2).numpy()[:, np.arange(len(rows)), labels[rows]]
    log_loss_EN = -np.log(np.maximum(p_EN, 1e-12))
    return by_group(p_EN, groups), by_group(log_loss_EN, groups), by_group(right_EN, groups), right_EN.mean(axis=1)


def of_draws(study: Study, config: FitConfig, size: int | None, draws: int) -> dict[str, list[tuple[float, float]]]:
    """Return the worst-group accuracy in per cent of each rule and draw, on the rows left out and on test.

    The smallest pseudo-group of each class has ``size`` rows in training and in validation, or all.
    """
    labels, pseudo, true = study.dataset.labels, study.grouping("pseudo").groups, study.grouping("true").groups
    test, learnt = study.rows("test"), np.concatenate([study.rows("train"), study.rows("val")])
    found: dict[str, list[tuple[float, float]]] = {}
    for draw in range(draws):
        cut = few(study, np.random.default_rng([draw, 17]), rows=size) if size else study
        drawn = bootstrapped(cut, draw)
        assert drawn.drawn is not None
        logits = trajectory(drawn, replace(config, seed=draw))
        val, left_out = drawn.rows("val"), np.setdiff1d(learnt, drawn.drawn)
        for rule, chosen in choices(logits, labels, (val, pseudo[val])).items():
            right_1N = (of_classes(chosen, study.dataset.num_classes).argmax(axis=1) == labels)[None]
            worst_left_out = by_group(right_1N[:, left_out], pseudo[left_out]).min()
            worst_test = by_group(right_1N[:, test], true[test]).min()
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
        study = add_pseudo_attributes(embedded, config)
        for size in SIZES:
            columns.append(f"{Path(source).stem.removeprefix('demo-')}, {size or 'all'}")
            for method, prompts in METHODS.items():
                found = of_draws(study, replace(config, objective=method, prompts=prompts), size, draws)
                for rule, pairs in found.items():
                    means = np.mean(pairs, axis=0)
                    cells.setdefault((method, rule), []).append(f"{means[0]:.1f} · {means[1]:.1f}")
    print(f"| method | rule | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for (method, rule), row in cells.items():
        print(f"| {method} | {rule} | {' | '.join(row)} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:])
