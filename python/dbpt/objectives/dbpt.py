"""Debiased prompt tuning: group weights that lean towards what the model still gets wrong (arXiv 2503.08368)."""

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.objectives.balanced import Balanced


class Dbpt(Balanced):
    """`Balanced` with weights that follow target_g proportional to (1 / N_g) * exp(eta * (1 - p_g)) by an EMA.

    p_g is the mean predicted probability of the true class over group g during the epoch. With ``eta`` = 0 the run is
    byte-equal to `Balanced`; the extra factor never exceeds e^eta.
    """

    name = "dbpt"

    @staticmethod
    def _eta(eta: float) -> float:
        return eta

    def end_epoch(self, p_true: NDArray[np.float64]) -> None:
        """Move the weights towards this epoch's target."""
        self._weights.observe(self.training.groups, p_true)
        self._weights.step()

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64 p_g as of the last epoch, NaN for an empty group."""
        return self._weights.mean_p_true

    def state(self) -> dict[str, torch.Tensor]:
        """The group weights and what was observed."""
        return {name: torch.from_numpy(value) for name, value in self._weights.state().items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        self._weights.load_state({name: value.numpy() for name, value in state.items()})
