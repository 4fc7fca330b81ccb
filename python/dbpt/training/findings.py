"""Warnings about a finished training, one line each. No limit is tuned; guessing has the loss log C."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import SMALL_GROUP, group_counts
from dbpt.objectives import Objective
from dbpt.training.records import EpochRecord, Trained

CALMER_WEIGHTS = "lower what moves the weights (--eta, --dro-step-size)"


def training_findings(
    trained: Trained, objective: Objective, *, asked_lr: float, group_names: Sequence[str]
) -> list[str]:
    """Return the warnings: lowered learning rates, divergence, groups without draws or weight, few effective rows."""
    counted = trained.history[objective.extra_epochs :]
    best = trained.history[trained.best_epoch - 1]
    lost, few = _lost_groups(counted, objective, group_names), _few_effective_rows(best, objective, group_names)
    return [*_rates(trained, asked_lr), *_divergence(counted, objective), *lost, *few]


def _rates(trained: Trained, asked_lr: float) -> list[str]:
    lines, last = [], trained.peak_rates[-1][1]
    for (_, before), (epoch, lr) in pairwise(trained.peak_rates):
        lines.append(f"the learning rate was lowered from {before:g} to {lr:g} after epoch {epoch - 1}")
    if last != asked_lr:
        lines.append(f"all epochs were trained, at learning rate {last:g}, when --lr was lowered to {asked_lr:g}")
    return lines


def _divergence(history: list[EpochRecord], objective: Objective) -> list[str]:
    """Warn if the last loss exceeds that of guessing, and the first loss by more than reweighting can explain."""
    first, last, guessing = history[0].loss, history[-1].loss, math.log(objective.training.num_classes)
    rise = 1.0
    if (start_G := objective.start_weights) is not None:  # reweighting alone can raise it so much
        weights_EG = np.array([record.group_weights for record in history], dtype=np.float64)
        rise = float((weights_EG[:, start_G > 0] / start_G[start_G > 0]).max())
    if last <= max(first * rise, guessing):
        return []
    figures = f"from {first:.3g} to {last:.3g}, where guessing has {guessing:.3g}"
    return [f"training diverged: its loss rose {figures}; lower --lr"]


def _lost_groups(history: list[EpochRecord], objective: Objective, group_names: Sequence[str]) -> list[str]:
    """Warn about groups that some epochs did not draw, and groups whose weight became 0."""
    rows_G = group_counts(objective.training.groups, objective.training.num_groups)
    undrawn, weightless = [], []
    for group in np.flatnonzero(rows_G).tolist():
        missed = [record.epoch for record in history if record.draws and not record.draws[group]]
        zero = [record.epoch for record in history if record.group_weights and record.group_weights[group] == 0]
        name, of_all = f"{group_names[group]} ({rows_G[group]} rows", f"of {len(history)} epochs"
        if missed:
            undrawn.append(f"{name}; in {len(missed)} {of_all}, first in epoch {missed[0]})")
        elif zero:
            weightless.append(f"{name}; after {len(zero)} {of_all}, first after epoch {zero[0]})")
    lines = []
    if undrawn:
        lines.append(
            f"groups without a drawn row: {', '.join(undrawn)}; these epochs learned nothing about them; --apply loss "
            "uses every row"
        )
    if weightless:
        lines.append(f"groups whose rows weigh 0: {', '.join(weightless)}; {CALMER_WEIGHTS}")
    return lines


def _few_effective_rows(best: EpochRecord, objective: Objective, group_names: Sequence[str]) -> list[str]:
    """Warn if the effective sample size under the weights of the best epoch is below `SMALL_GROUP`, or a subset is."""
    if best.group_weights is None:
        subset = objective.subset(0)
        if subset is None or not len(subset) < SMALL_GROUP <= len(objective.training.labels):
            return []
        return [f"{objective.note}; add rows of the smallest, or weight them with --objective balanced"]
    counts_G = objective.training.counts.astype(np.float64)
    weights_G = np.array(best.group_weights, dtype=np.float64)
    effective = effective_rows(weights_G, counts_G)
    if effective >= SMALL_GROUP or counts_G.sum() < SMALL_GROUP:
        return []
    heaviest = int(weights_G.argmax())
    return [
        f"its group weights make {counts_G.sum():.0f} rows count as {effective:.0f}: a row of {group_names[heaviest]} "
        f"weighs {weights_G[heaviest]:.3g}; add rows of that group, lower --max-weight, or {CALMER_WEIGHTS}"
    ]


def effective_rows(group_weights: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Return the effective sample size (Kish, 1965) of groups of ``counts`` (G,) rows: (sum w)^2 / sum w^2."""
    return float((counts @ group_weights) ** 2 / (counts @ group_weights**2))
