"""The interface of an objective, and the training groups it is built from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.metrics import group_counts


@dataclass(frozen=True)
class TrainingGroups:
    """The groups of the N training rows: ``groups`` (N,) int64 with -1 for unknown, ``labels`` (N,) int64.

    ``num_groups`` = C * A counts the groups that could occur, ``num_classes`` = C.
    """

    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int
    num_groups: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) int64 number of rows of each group; rows of unknown group are not counted."""
        return group_counts(self.groups, self.num_groups)


class Objective(ABC):
    """Turns the per-sample losses of a batch into the loss of a step.

    An instance belongs to one training run: it may hold state, which `end_epoch` moves and a checkpoint carries.
    """

    name: ClassVar[str]
    uses_groups: ClassVar[bool]

    def __init__(self, training: TrainingGroups, *, eta: float, ema_momentum: float, device: str) -> None:
        """Build from the training rows. ``eta`` and ``ema_momentum`` are read by those objectives that have them."""
        return

    @abstractmethod
    def loss(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scalar loss from ``per_sample_loss`` (B,), ``groups`` (B,) int64 and ``labels`` (B,) int64."""

    def end_epoch(self, p_true: NDArray[np.float64]) -> None:
        """Take in the epoch: ``p_true`` (N,) is each training row's predicted probability of its true class."""
        return

    @property
    def group_weights(self) -> NDArray[np.float64] | None:
        """(G,) what one sample of each group weighs now; None if the objective has no such thing."""
        return None

    @property
    def mean_p_true(self) -> NDArray[np.float64] | None:
        """(G,) mean p_true of each group as last observed, NaN for an empty group; None if not observed."""
        return None

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint must carry to go on exactly."""
        return {}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        return
