"""The interface of a training objective, the groups of its training rows, and the simplest objective, ERM.

No file of this folder imports torch at the top: `dbpt.settings` reads the objectives' names and must stay fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import group_counts, raked_weights
from dbpt.registry import Registered

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler, WeightedSampler


@dataclass(frozen=True)
class TrainingGroups:
    """The groups of the N training rows: ``groups`` (N,) int64 with -1 for unknown, ``labels`` (N,) int64.

    ``num_groups`` = C * A counts the groups that could occur.
    """

    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int
    num_groups: int
    factor_sizes: tuple[int, ...] = ()
    """The number of values of each of several attributes, whose combinations the groups are made of."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) number of rows of each group; unknown rows are not counted."""
        return group_counts(self.groups, self.num_groups)

    def raked(self, min_group_count: float) -> tuple[NDArray[np.float64] | None, str | None]:
        """Return weights (G,) by `raked_weights`, and a note for the user, if a combination of attributes is too small.

        That is one with fewer than ``min_group_count`` rows. Else None and None.
        """
        few = int(((self.counts > 0) & (self.counts < min_group_count)).sum())
        if len(self.factor_sizes) < 2 or not few:
            return None, None
        note = f"groups with under {min_group_count:g} rows: {few}; their classes balance the values of each factor"
        return raked_weights(self.counts, self.factor_sizes, min_group_count=min_group_count), f"{note} (raking)"


class Objective(Registered):
    """Turns the per-sample losses of a batch into the loss of a step. The base class takes their plain mean.

    An instance belongs to one training run, and checkpoints contain its state. Class attributes declare the valid
    combinations, for `dbpt.settings.config`.
    """

    uses_groups: ClassVar[bool] = False
    leaves_unknown_out: ClassVar[bool] = False
    """True if it doesn't train on rows of unknown group."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the `FitConfig` settings that the constructor takes as keywords."""
    heads: ClassVar[tuple[str, ...] | None] = None
    """The heads it can train; None for any."""
    can_sample: ClassVar[bool] = False
    """True if its weights can be applied by sampling instead of in the loss."""
    trains_on: ClassVar[str] = "train"
    """The split of its training rows."""
    refits: ClassVar[bool] = False
    """True if `refit` replaces the training loop."""

    start_weights: NDArray[np.float64] | None = None
    """(G,) the group weights that training starts with; None for an objective without group weights."""
    extra_epochs: int = 0
    """Number of epochs of a first stage, before the configured ones."""
    restarts: ClassVar[bool] = True
    """True if the head is reset after the first stage; False if training goes on with it."""

    def __init__(self, training: TrainingGroups, *, apply: str = "loss", **settings: Any) -> None:
        """Build from the training rows; ``apply`` is ``"sampling"`` only if the class `can_sample`."""
        self.training, self.apply = training, apply

    def start(self, head: torch.nn.Module, features: torch.Tensor, seed: int) -> None:
        """Look at the new head and the ``features`` (N, D) of the training rows, before the first step or a resume."""

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Observe a batch before its `loss` is computed. ``per_sample_loss`` has no gradient."""

    def loss(
        self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Return the scalar loss from ``per_sample_loss`` (B,) of the training rows number ``rows`` (B,) int64.

        ``groups`` is (B,) int64 with -1 for unknown; ``labels`` is (B,) int64.
        """
        weights = self.row_weights(groups, labels, rows)
        return per_sample_loss.mean() if weights is None else (weights * per_sample_loss).mean()

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights (B,) of the losses of a batch; None means 1. The arguments are those of `loss`."""
        return None

    @classmethod
    def why_refused(cls, settings: Mapping[str, Any]) -> str | None:
        """Return the reason against the values of ``settings``, those of `FitConfig` by name, or None."""
        return None

    @classmethod
    def check_installed(cls) -> None:
        """Raise `InputError` if a required package is missing; called before any image is embedded."""

    def refit(
        self, train_features: NDArray[np.float32], features: NDArray[np.float32], seed: int
    ) -> tuple[dict[str, NDArray[np.float32]], str]:
        """Return the state of the head that fits ``features`` of its rows, and how it was found, for the log.

        ``train_features`` are those of the split ``train``. Only if the class `refits`.
        """
        raise NotImplementedError

    @property
    def group_weights(self) -> NDArray[np.float64] | None:
        """(G,) the current weight of one sample of each group; None for an objective without group weights."""
        return None

    @property
    def mean_p_true(self) -> NDArray[np.float64] | None:
        """(G,) mean p_true of each group as last observed, NaN for an empty group; None if not observed."""
        return None

    def subset(self, seed: int) -> NDArray[np.int64] | None:
        """Return the row numbers to train on, as many for any seed; None for all training rows."""
        return None

    def sampler(self, seed: int) -> GroupSampler | WeightedSampler | None:
        """Return a sampler that draws rows by weight in this epoch; None draws each row once."""
        return None

    def end_epoch(self) -> None:
        """Update the state at the end of an epoch."""

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return a scalar to add to each `loss`, once a step; None for none.

        It doesn't depend on the batch, so it is the same on all ranks.
        """
        return None

    def general_loss(self, head: torch.nn.Module, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor | None:
        """Return a second loss (B,) of a batch, whose mean gradient goes to `change_gradients`; None for none.

        ``features`` are (B, D), and ``logits`` (B, C) those of the head.
        """
        return None

    def change_gradients(self, parameters: Iterable[torch.Tensor], general: Sequence[torch.Tensor]) -> None:
        """Change the gradients of ``parameters`` before a step, by those of the `general_loss`."""

    def end_first_stage(self, correct: torch.Tensor, p_true: torch.Tensor) -> None:
        """Update the state after `extra_epochs`.

        ``correct`` (N,) bool says which training rows the head gets right; ``p_true`` (N,) is the probability of the
        true class.
        """

    @property
    def note(self) -> str | None:
        """A note for the user after training, or None."""
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a checkpoint needs to continue exactly."""
        return {}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned."""


class Erm(Objective):
    """Empirical risk minimisation: loss = (1/B) * sum_i l_i. Uses no groups."""

    name = "erm"
    title = "ERM"
