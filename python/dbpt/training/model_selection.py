"""The course of a training: records of epochs, the score that selects one, divergence, and warnings at the end."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import get_total_norm

from dbpt.cautions import Caution, caution
from dbpt.data.stored_features import BLOCK_ROWS, Features
from dbpt.errors import InputError
from dbpt.groups import SMALL_GROUP, group_counts, worst_group_mean
from dbpt.heads import Head
from dbpt.objectives import OBJECTIVES, Objective
from dbpt.objectives.base import EXCLUDED, class_logits
from dbpt.settings.all_settings import PROBABILITY_SELECTIONS
from dbpt.storage.typed_json import Count, Share


@torch.no_grad()
def judge(
    head: torch.nn.Module,
    features: torch.Tensor | Iterable[torch.Tensor],
    labels: torch.Tensor,
    num_classes: int | None = None,
    impossible: NDArray[np.bool_] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which rows get the right class, (N,) bool, and the probability of the right class, (N,).

    The probability of a class is the sum of those of its groups. Logits that are not finite are wrong, with
    probability NaN.

    Args:
        head: maps features to logits of classes or groups.
        features: (N, D), or the blocks of them, (b, D) each.
        labels: (N,) the right classes.
        num_classes: C, if the logits are those of groups.
        impossible: (G,) bool, the groups with probability 0.
    """
    frozen = head.frozen() if isinstance(head, Head) else head
    correct, p_true, begin = [labels.new_zeros(0, dtype=torch.bool)], [labels.new_zeros(0, dtype=torch.float32)], 0
    parts = torch.split(features, BLOCK_ROWS) if isinstance(features, torch.Tensor) else features
    for part in parts:
        labels_of_part = labels[begin : begin + len(part)]
        begin += len(part)
        logits = frozen(part)
        if impossible is not None:
            logits = logits.masked_fill(torch.from_numpy(impossible).to(logits.device), EXCLUDED)
        logits = class_logits(logits, num_classes or logits.shape[1])
        finite = logits.isfinite().all(dim=1)
        correct.append(finite & (logits.argmax(dim=1) == labels_of_part))
        of_labels = logits.softmax(dim=1).gather(1, labels_of_part[:, None]).squeeze(1)
        p_true.append(torch.where(finite, of_labels, torch.nan))
    return torch.cat(correct), torch.cat(p_true)


@dataclass(frozen=True)
class Validation:
    """The validation rows after an epoch: average accuracy, worst-group accuracy, and worst-group probability.

    ``wgp`` is the lowest of the `shrunken_means` of the probability of the true class. It is smooth where the accuracy
    of a few rows jumps. The groups are those of the model selection; both are None if no row has one. ``p_true`` is the
    mean probability of the true class, which ranks epochs with the same average accuracy: else the first of many would
    be kept, which is zero-shot. ``accuracy`` is that of each group, up to the last one with rows.
    """

    average: float
    wga: float | None
    wgp: float | None
    p_true: float = 0.0
    accuracy: list[float | None] = field(default_factory=list)

    @classmethod
    def of(cls, correct: NDArray[np.bool_], p_true: NDArray[np.float32], rows: "Rows") -> "Validation":
        """Judge N rows, of which those with group -1 count in the average only."""
        wgp = float(np.nanmin(means)) if len(means := shrunken_means(p_true, rows.labels, rows.groups)) else None
        wga, known = worst_group_mean(correct, rows.groups), rows.groups >= 0
        counts_G, right_G = (np.bincount(rows.groups[known], of) for of in (None, correct[known]))
        accuracy = [right / n if n else None for right, n in zip(right_G.tolist(), counts_G.tolist(), strict=True)]
        return cls(average=float(correct.mean()), wga=wga, wgp=wgp, p_true=float(p_true.mean()), accuracy=accuracy)


PRIOR_ROWS = 5
"""So many rows of its class's mean are added to each group: two rows of a rare group would choose by chance."""


def shrunken_means(values: NDArray[Any], labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of a value by group, pulled towards the mean of the groups of the same class.

    It is (n_g m_g + k m_y) / (n_g + k) with k = `PRIOR_ROWS`, where m_y is the mean of the means of the class's groups.

    Args:
        values: (N,) numbers or booleans.
        labels: (N,) int64, the class of each row.
        groups: (N,) int64, the group of each row; -1 where unknown.

    Returns:
        (G,) float64, NaN for a group without rows, up to the last group that has any.
    """
    known = groups >= 0
    counts_G = np.bincount(groups[known])
    has_rows = counts_G > 0
    classes = np.zeros(len(counts_G), np.int64)
    classes[groups[known]] = labels[known]
    counts, classes = counts_G[has_rows], classes[has_rows]
    means = np.bincount(groups[known], weights=values[known])[has_rows] / counts
    of_class = np.bincount(classes, weights=means)[classes] / np.bincount(classes)[classes]
    shrunken_G = np.full(len(counts_G), np.nan)
    shrunken_G[has_rows] = (counts * means + PRIOR_ROWS * of_class) / (counts + PRIOR_ROWS)
    return shrunken_G


def validation_score(model_selection: str, epoch: int, figures: Validation) -> tuple[float, float]:
    """Return the score of an epoch. The largest is best; the earlier epoch wins a tie.

    If worst-group figures select and no validation row has a group: an `InputError`.
    """
    if model_selection == "last":
        return float(epoch), figures.average
    if model_selection == "average":
        return figures.average, figures.p_true
    worst = figures.wgp if model_selection in PROBABILITY_SELECTIONS else figures.wga
    if worst is None:
        problem = "no validation row has a group, so the worst group cannot select an epoch"
        raise InputError(f"{problem}: use --model-selection average")
    return worst, figures.average


PeakRates = list[tuple[Count, float]]
"""Pairs (epoch from 1, peak learning rate from that epoch on), beginning with epoch 1."""


@dataclass(frozen=True)
class Rows:
    """N rows: ``features`` (N, D) float32, ``labels`` (N,) int64, ``groups`` (N,) int64 with -1 for unknown."""

    features: Features
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch (from 1) in history.jsonl. Lists have a value for each group; they are None if the objective has none.

    ``draws`` counts the drawn rows if weights are applied by sampling. ``val_wga`` and ``val_wgp`` are worst-group
    accuracy and probability (`dbpt.training.model_selection.Validation`), None if no validation row has a group, and
    ``val_accuracy`` is the accuracy of each group of the model selection, up to the last with rows.
    """

    epoch: Count
    lr: float
    loss: float
    group_weights: list[float | None] | None
    mean_p_true: list[float | None] | None
    draws: list[Count] | None
    val_wgp: Share | None
    val_wga: Share | None
    val_average: Share
    val_accuracy: list[Share | None] = field(default_factory=list)


@dataclass(frozen=True)
class Trained:
    """The best epoch (from 1) and the head's state after it, the record of every epoch, and the learning rates."""

    head_state: dict[str, torch.Tensor]
    best_epoch: int
    history: list[EpochRecord]
    peak_rates: PeakRates


LARGEST_LOSS = 2.0**24
"""Logits of this size are whole numbers in float32: the softmax is 0 or 1, and its gradient is useless."""


class Diverged(InputError):
    """Training diverged. ``reason`` says so without how `dbpt fit` continues, which the message adds as ``way_on``."""

    def __init__(self, reason: str, way_on: str) -> None:
        super().__init__(reason + way_on)
        self.reason = reason


@dataclass(frozen=True)
class DivergenceCheck:
    """Checks of one epoch (from 1) at the rate ``lr``. Each raises `Diverged`, which advises the peak ``lower_lr``."""

    objective: str
    epoch: int
    lr: float
    peak_lr: float
    lower_lr: float
    resumable: bool

    def check_step(
        self, number: int, per_sample_loss: torch.Tensor, loss: torch.Tensor, parameters: Iterable[torch.Tensor]
    ) -> None:
        """Refuse losses (B,), their ``loss`` and gradients in a step (from 0) that are too large or not finite."""
        gradient_norm = get_total_norm([each.grad.float() for each in parameters if each.grad is not None])
        figures = torch.stack([per_sample_loss.detach().max(), gradient_norm, loss.detach()])
        largest, gradient, of_batch = figures.tolist()  # one synchronisation with the device
        if self.objective not in OBJECTIVES.own:
            what = ""
            if (self.epoch, number) == (1, 0) and math.isnan(largest + gradient + of_batch):
                what = "its loss or the gradient of it is NaN in the first step, which no learning rate changes"
            elif math.isnan(of_batch) and math.isfinite(largest):
                what = f"its loss is NaN in epoch {self.epoch} where those of the rows are not"
            if what:
                raise InputError(
                    f"objective {self.objective!r}: {what} (the mean of an empty group?): correct its code"
                )
        self.check_loss(largest)
        self.check_loss(of_batch)
        self._check_norm("gradient", gradient)

    def check_loss(self, largest: float) -> None:
        """Refuse a ``largest`` loss of a batch that is too large or not finite."""
        # Not ``>``, so that NaN is refused too; likewise below.
        if not largest <= LARGEST_LOSS:
            raise self._error("loss", largest)

    def check_weights(self, parameters: Iterable[torch.Tensor]) -> None:
        """Refuse trained ``parameters`` whose norm is not finite."""
        self._check_norm("trained weights", get_total_norm([each.detach().float() for each in parameters]).item())

    def check_probabilities(self, p_true: NDArray[np.float32]) -> None:
        """Refuse probabilities of validation rows (N,) that contain NaN, which means logits that are not finite."""
        if bad := int(np.isnan(p_true).sum()):
            raise self._error("number of validation rows without finite logits", bad)

    def _check_norm(self, what: str, value: float) -> None:
        if not value < float("inf"):
            raise self._error(f"norm of the {what}", value)

    def _error(self, what: str, value: float) -> Diverged:
        of_peak = "" if self.lr == self.peak_lr else f" (--lr {self.peak_lr:g})"
        reason = (
            f"training diverged: the {what} of objective {self.objective!r} is {value:g} in epoch {self.epoch} at "
            f"learning rate {self.lr:g}{of_peak}: lower --lr, for example to {self.lower_lr:g}"
        )
        where = f"from the checkpoint of epoch {self.epoch - 1}" if self.epoch > 1 else "from the beginning"
        way_on = f"; dbpt fit --resume --lr {self.lower_lr:g} with the same --out continues {where}"
        return Diverged(reason, way_on if self.resumable else "")


def training_findings(
    trained: Trained, objective: Objective, *, asked_lr: float, group_names: Sequence[str], selection: str
) -> list[Caution]:
    """Return the warnings: lowered learning rates, divergence, groups without draws or weight, few effective rows.

    The best epoch says nothing about the budget if the ``selection`` is "last", or "average", which a good fit of the
    large groups keeps raising.
    """
    counted = trained.history[objective.extra_epochs :]
    best = trained.history[trained.best_epoch - 1]
    lost, few = _lost_groups(counted, objective, group_names), _few_effective_rows(best, objective, group_names)
    unfinished = [] if selection in ("last", "average") else _unfinished(trained, counted)
    if trained.best_epoch == 1 and len(counted) >= 20:
        unfinished = [caution("untrained", epochs=len(trained.history))]
    return [*_rates(trained, asked_lr), *_divergence(counted, objective), *unfinished, *lost, *few]


def _rates(trained: Trained, asked_lr: float) -> list[Caution]:
    warnings, last = [], trained.peak_rates[-1][1]
    for (_, before), (epoch, lr) in pairwise(trained.peak_rates):
        warnings.append(caution("lowered rate", before=before, lr=lr, epoch=epoch - 1))
    if last != asked_lr:
        warnings.append(caution("rate lowered too late", lr=last, asked=asked_lr))
    return warnings


def _divergence(history: list[EpochRecord], objective: Objective) -> list[Caution]:
    """Warn if the last loss exceeds that of guessing, and the first loss by more than reweighting can explain."""
    first, last, guessing = history[0].loss, history[-1].loss, math.log(objective.training.num_classes)
    rise = 1.0
    if (start_G := objective.start_weights) is not None:  # reweighting alone can raise it so much
        weights_EG = np.array([record.group_weights for record in history], dtype=np.float64)
        rise = float((weights_EG[:, start_G > 0] / start_G[start_G > 0]).max())
    if last <= max(first * rise, guessing):
        return []
    return [caution("diverged", first=first, last=last, guessing=guessing)]


LAST_EPOCHS = 0.05
"""The fraction of the epochs that are the last ones: nothing is learnt there if training has converged."""


def _unfinished(trained: Trained, history: list[EpochRecord]) -> list[Caution]:
    """Warn if the best epoch is among the last, and the score still rose there."""
    epochs = len(trained.history)
    if trained.best_epoch <= epochs - max(1, round(LAST_EPOCHS * epochs)) or len(history) < 20:
        return []
    return [caution("still improving", best=trained.best_epoch, epochs=epochs, more=5 * len(history))]


def _lost_groups(history: list[EpochRecord], objective: Objective, group_names: Sequence[str]) -> list[Caution]:
    """Warn about groups that some epochs did not draw, and groups whose weight became 0."""
    rows_G = group_counts(objective.training.groups, objective.training.num_groups)
    undrawn, weightless = [], []
    for group in np.flatnonzero(rows_G).tolist():
        missed = [record.epoch for record in history if record.draws and not record.draws[group]]
        zero = [record.epoch for record in history if record.group_weights and record.group_weights[group] == 0]
        name, epochs = f"{group_names[group]} ({rows_G[group]} rows", len(history)
        if missed:
            undrawn.append(f"{name}; in {len(missed)} of {epochs} epochs, first in epoch {missed[0]})")
        elif zero:
            weightless.append(f"{name}; after {len(zero)} of {epochs} epochs, first after epoch {zero[0]})")
    kinds = (("undrawn groups", undrawn), ("weightless groups", weightless))
    return [caution(kind, groups=groups) for kind, groups in kinds if groups]


def _few_effective_rows(best: EpochRecord, objective: Objective, group_names: Sequence[str]) -> list[Caution]:
    """Warn if the effective sample size under the weights of the best epoch is below `SMALL_GROUP`, or a subset is."""
    if best.group_weights is None:
        subset = objective.subset(0)
        if subset is None or not len(subset) < SMALL_GROUP <= len(objective.training.labels):
            return []
        return [caution("small subset", n=len(subset), of=len(objective.training.labels))]
    counts_G = objective.training.counts.astype(np.float64)
    weights_G = np.array(best.group_weights, dtype=np.float64)
    effective = effective_rows(weights_G, counts_G)
    if effective >= SMALL_GROUP or counts_G.sum() < SMALL_GROUP:
        return []
    heaviest = int(weights_G.argmax())
    of_group = {"group": group_names[heaviest], "weight": float(weights_G[heaviest])}
    return [caution("few effective rows", n=int(counts_G.sum()), effective=effective, **of_group)]


def effective_rows(group_weights: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Return the effective sample size (Kish, 1965) of groups of ``counts`` (G,) rows: (sum w)^2 / sum w^2."""
    return float((counts @ group_weights) ** 2 / (counts @ group_weights**2))
