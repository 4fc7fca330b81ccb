"""Model selection: predict the validation rows and score the epoch. The test split is never used."""

from typing import Literal

import torch
from torch import nn

from dbpt.errors import InputError
from dbpt.heads import Head

Selection = Literal["pseudo-wga", "true-wga", "average", "last"]
ROWS_A_PASS = 1 << 14  # limits memory


@torch.no_grad()
def predictions(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return the class with the largest logit of ``features`` (N, D), (N,) int64; -1 if a logit is not finite."""
    frozen = head.frozen() if isinstance(head, Head) else head
    parts = (frozen(part) for part in torch.split(features, ROWS_A_PASS))
    return torch.cat([torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), -1) for logits in parts])


@torch.no_grad()
def judged(head: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which of ``features`` (N, D) get the right class, (N,) bool, and the probability of ``labels``, (N,)."""
    frozen = head.frozen() if isinstance(head, Head) else head
    correct, p_true = [], []
    for part, of_part in zip(torch.split(features, ROWS_A_PASS), torch.split(labels, ROWS_A_PASS), strict=True):
        logits = frozen(part)
        correct.append(logits.isfinite().all(dim=1) & (logits.argmax(dim=1) == of_part))
        p_true.append(logits.softmax(dim=1).gather(1, of_part[:, None]).squeeze(1))
    return torch.cat(correct), torch.cat(p_true)


def validation_score(model_selection: Selection, epoch: int, wga: float | None, average: float) -> tuple[float, float]:
    """Return the score of an epoch. The largest is best; the earlier epoch wins a tie.

    ``wga`` is over the groups of ``model_selection``. If it is None, no validation row has a group: an `InputError`.
    """
    if model_selection == "last":
        return float(epoch), average
    if model_selection == "average":
        return average, 0.0
    if wga is None:
        raise InputError(
            "no validation row has a group, so worst-group accuracy cannot select an epoch: use --model-selection "
            "average"
        )
    return wga, average
