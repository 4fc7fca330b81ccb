"""Just Train Twice: larger weights for the rows that ERM gets wrong (Liu et al., 2021, arXiv 2107.09044)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.objectives.base import Objective, TrainingGroups

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler


class Jtt(Objective):
    """Two stages: ERM for ``identification_epochs``, whose errors on the training rows are the error set E.

    Then the head is reset, with the paper's loss: the mean over training rows of which those of E are repeated
    ``up_weight`` times. With ``apply="sampling"`` they are drawn that often, in an epoch of N draws all the same.
    """

    name = "jtt"
    title = "JTT"
    settings = ("identification_epochs", "up_weight")
    can_sample = True

    def __init__(
        self, training: TrainingGroups, *, identification_epochs: int, up_weight: float, apply: str = "loss"
    ) -> None:
        super().__init__(training, apply=apply)
        self.extra_epochs, self._up_weight = identification_epochs, up_weight
        self.errors: NDArray[np.bool_] | None = None
        """(N,) whether each training row is in the error set; None in the first stage."""
        self._weights: torch.Tensor | None = None

    @classmethod
    def why_refused(cls, settings: Mapping[str, Any]) -> str | None:
        """Refuse a first stage that is longer than training."""
        first, epochs = settings["identification_epochs"], settings["epochs"]
        if first is None or first <= epochs:
            return None
        stage = f"--identification-epochs {first}: the first stage is the beginning of training"
        return f"{stage}; expected at most --epochs {epochs}"

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the second stage, whose mean over the training rows is 1."""
        if self.errors is None or self.apply == "sampling":
            return None
        if self._weights is None:
            import torch

            weights_N = np.where(self.errors, self._up_weight, 1.0)
            self._weights = torch.from_numpy(weights_N / weights_N.mean()).float().to(rows.device)
        return self._weights[rows]

    def end_first_stage(self, correct: torch.Tensor, p_true: torch.Tensor) -> None:
        """Find the errors."""
        self.errors = ~correct.cpu().numpy()

    def sampler(self, seed: int) -> GroupSampler | None:
        """Return a sampler that draws rows of the error set more often, in the second stage."""
        from dbpt.sampling import GroupSampler

        if self.errors is None:
            return None
        groups = self.errors.astype(np.int64)
        return GroupSampler(groups, group_weights=[1.0, self._up_weight], seed=seed, num_groups=2)

    @property
    def note(self) -> str | None:
        """The size of the error set."""
        return None if self.errors is None else f"{self.errors.sum()} of {len(self.errors)} rows are in the error set"

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the error set, once it is known."""
        return {} if self.errors is None else {"errors": self.errors}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned."""
        self.errors, self._weights = state.get("errors"), None
