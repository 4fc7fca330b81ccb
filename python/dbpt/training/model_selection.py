"""Model selection: predict the validation rows and score the epoch. The test split is never used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dbpt.errors import InputError
from dbpt.groups import worst_group_mean
from dbpt.heads import Head

Selection = Literal["pseudo-wgp", "true-wgp", "pseudo-wga", "true-wga", "average", "last"]
ROWS_A_PASS = 1 << 14  # limits memory


@torch.no_grad()
def judged(head: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which of ``features`` (N, D) get the right class, (N,) bool, and the probability of ``labels``, (N,).

    Logits that are not finite are wrong, with probability NaN.
    """
    frozen = head.frozen() if isinstance(head, Head) else head
    correct, p_true = [], []
    for part, of_part in zip(torch.split(features, ROWS_A_PASS), torch.split(labels, ROWS_A_PASS), strict=True):
        logits = frozen(part)
        finite = logits.isfinite().all(dim=1)
        correct.append(finite & (logits.argmax(dim=1) == of_part))
        of_labels = logits.softmax(dim=1).gather(1, of_part[:, None]).squeeze(1)
        p_true.append(torch.where(finite, of_labels, torch.nan))
    return torch.cat(correct), torch.cat(p_true)


@dataclass(frozen=True)
class Judged:
    """The validation rows after an epoch: average accuracy, worst-group accuracy, and worst-group probability.

    The last is the lowest mean probability of the true class in a group. It is smooth where the accuracy of a few rows
    jumps. The groups are those of the model selection; both are None if no row has one.
    """

    average: float
    wga: float | None
    wgp: float | None

    @classmethod
    def of(cls, correct: NDArray[np.bool_], p_true: NDArray[np.float32], groups: NDArray[np.int64]) -> Judged:
        """Judge N rows, of which those with group -1 count in the average only."""
        wga, wgp = worst_group_mean(correct, groups), worst_group_mean(p_true, groups)
        return cls(average=float(correct.mean()), wga=wga, wgp=wgp)


def validation_score(model_selection: Selection, epoch: int, judged: Judged) -> tuple[float, float]:
    """Return the score of an epoch. The largest is best; the earlier epoch wins a tie.

    If worst-group figures select and no validation row has a group: an `InputError`.
    """
    if model_selection == "last":
        return float(epoch), judged.average
    if model_selection == "average":
        return judged.average, 0.0
    worst = judged.wgp if model_selection.endswith("wgp") else judged.wga
    if worst is None:
        raise InputError(
            "no validation row has a group, so the worst group cannot select an epoch: use --model-selection average"
        )
    return worst, judged.average
