"""Passes of a head over many rows, without gradient: so many at a time that what it keeps of them stays small."""

from collections.abc import Iterator

import torch
from torch import nn

from dbpt.heads import Head

ROWS_A_PASS = 1 << 14


@torch.no_grad()
def logits_in_parts(head: nn.Module, features: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield slices of the rows and the logits (n, C) of ``features`` (N, D) there, as the head is now; at least one.

    What a `Head` makes of anything but the features, as the text tower's pass, is made once.
    """
    frozen = head.frozen() if isinstance(head, Head) else head
    for begin in range(0, max(1, len(features)), ROWS_A_PASS):
        part = slice(begin, min(begin + ROWS_A_PASS, len(features)))
        yield part, frozen(features[part])


def predictions(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """(N,) int64 class of the largest logit of ``features`` (N, D); -1 where a logit is not finite."""
    parts = (logits for _, logits in logits_in_parts(head, features))
    return torch.cat([torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), -1) for logits in parts])
