"""The interface of an objective, and the training rows it is built from.

No file of this folder imports torch by being imported: `dbpt.settings.config` reads the objectives' names, and must
stay quick.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.groups import group_counts, soft_counts

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TrainingGroups:
    """The groups of the N training rows: ``groups`` (N,) int64 with -1 for unknown, ``labels`` (N,) int64.

    ``num_groups`` = C * A counts the groups that could occur, ``num_classes`` = C. With soft membership ``posterior``
    (N, A) float32 says how far each row is in the groups of its class, NaN throughout where that is unknown.
    """

    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int
    num_groups: int
    posterior: NDArray[np.float32] | None = None

    @property
    def counts(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """(G,) number of rows of each group, with fractions under soft membership; unknown rows are not counted."""
        if self.posterior is not None:
            return soft_counts(self.posterior, self.labels, self.num_classes)
        return group_counts(self.groups, self.num_groups)


class Draws(Protocol):
    """The rows of one epoch, in order."""

    def __len__(self) -> int:
        """How many rows an epoch draws."""

    def indices(self, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start,) int64, the row numbers of these draws."""


class Objective(ABC):
    """Turns the per-sample losses of a batch into the loss of a step.

    An instance belongs to one training run. It may hold state, which `observe` and `end_epoch` move and a checkpoint
    carries. What it can be combined with is said by its class, and read by `dbpt.settings.combinations`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """As tables and reports print it."""
    about: ClassVar[str]
    """What it does, in a few words, for the documentation."""
    uses_groups: ClassVar[bool] = False
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the `FitConfig` settings that the constructor takes as keywords."""
    heads: ClassVar[tuple[str, ...] | None] = None
    """The heads it can train; None for any."""
    takes_soft_groups: ClassVar[bool] = False
    can_sample: ClassVar[bool] = False
    """Whether its weights can be applied by sampling instead of in the loss."""
    trains_on: ClassVar[str] = "train"
    """The split whose rows it is trained on."""
    refits: ClassVar[bool] = False
    """Whether a solver of its own finds the head, without the training loop (`dbpt.objectives.dfr`)."""

    start_weights: NDArray[np.float64] | None = None
    """(G,) the group weights that training starts with; None if the objective has no such thing."""

    def __init__(self, training: TrainingGroups, *, apply: str = "loss", **settings: Any) -> None:
        """Build from the training rows; ``apply`` is ``"sampling"`` only where the class `can_sample`."""
        self.training, self.apply = training, apply

    @abstractmethod
    def loss(
        self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Scalar loss from ``per_sample_loss`` (B,) of the training rows number ``rows`` (B,) int64.

        ``groups`` is (B,) int64 with -1 for unknown, or their posterior (B, A); ``labels`` is (B,) int64.
        """

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """See a batch before its `loss` is asked for. ``per_sample_loss`` has no gradient."""
        return

    def end_epoch(self, correct: Callable[[], torch.Tensor]) -> bool:
        """Take in the epoch; True if the head is to start anew, as after a stage that only looked at the data.

        `correct` costs a pass: (N,) bool, which training rows the head classifies rightly now.
        """
        return False

    @property
    def extra_epochs(self) -> int:
        """Epochs before the head starts anew, which come on top of those asked for."""
        return 0

    def draws(self, seed: int, epoch: int) -> Draws:
        """The rows of ``epoch`` (from 0), a pure function of the arguments and the state: here each row once."""
        num_rows = len(self.training.labels)
        return GroupStream(GroupIndex(np.zeros(num_rows, dtype=np.int64), 1), np.array([num_rows]), seed, epoch)

    def group_draws(self, draws: Draws) -> NDArray[np.int64] | None:
        """(G,) int64, how many of an epoch's ``draws`` are of each group; None unless weights decide that."""
        return None

    @property
    def group_weights(self) -> NDArray[np.float64] | None:
        """(G,) what one sample of each group weighs now; None if the objective has no such thing."""
        return None

    @property
    def mean_p_true(self) -> NDArray[np.float64] | None:
        """(G,) mean p_true of each group as last observed, NaN for an empty group; None if not observed."""
        return None

    @property
    def note(self) -> str | None:
        """What a user should know of it when training has ended; None if there is nothing."""
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint must carry to go on exactly."""
        return {}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore what `state` returned."""
        return
