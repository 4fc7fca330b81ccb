"""Automatic feature reweighting: refit the last layer on rows that ERM predicts badly (Qiu et al., 2023).

arXiv 2306.11074, by the procedure of the authors' code, but on CLIP's frozen features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.groups.permutation import random_part
from dbpt.objectives.base import Objective, TrainingGroups

if TYPE_CHECKING:
    import torch

HELD_OUT = 0.2
"""The authors' share of the training rows for the second stage."""


class Afr(Objective):
    """Two stages of ``epochs`` each: ERM on four fifths of the training rows, and then, from there, on the rest.

    The loss of the second stage is sum_i mu_i * l_i + ``afr_pull`` * ||theta - theta_ERM||^2. The weights mu_i are
    proportional to exp(-``afr_gamma`` * p_i) / N_y, where p_i is ERM's probability of the class y of row i, and N_y
    counts the rows of that class in the second stage. They are set once, with sum 1.
    """

    name = "afr"
    title = "AFR"
    settings = ("epochs", "afr_gamma", "afr_pull")
    heads = ("linear",)
    restarts = False

    def __init__(
        self, training: TrainingGroups, *, epochs: int, afr_gamma: float, afr_pull: float, apply: str = "loss"
    ) -> None:
        super().__init__(training, apply=apply)
        self.extra_epochs, self._gamma, self._pull = epochs, afr_gamma, afr_pull
        self.p_true: NDArray[np.float64] | None = None
        """(N,) the probability of the class of each training row by ERM; None in the first stage."""
        self._start: list[torch.Tensor] | None = None
        self._weights: torch.Tensor | None = None

    def subset(self, seed: int) -> NDArray[np.int64]:
        """Return the rows of the stage; each class has its share of both."""
        held_out = held_out_rows(self.training.labels, seed)
        if self.p_true is None:
            return np.flatnonzero(~held_out)
        if self._weights is None:
            import torch

            self._weights = torch.from_numpy(row_weights(self.p_true, self.training.labels, held_out, self._gamma))
        return np.flatnonzero(held_out)

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the second stage, whose mean over its rows is 1."""
        if self._weights is None:
            return None
        self._weights = self._weights.to(rows.device)
        return self._weights[rows].float()

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return ``afr_pull`` times the squared distance from ERM's layer, in the second stage."""
        if self.p_true is None:
            return None
        now = list(head.parameters())
        if self._start is None:  # before the first step
            self._start = [parameter.detach().clone() for parameter in now]
        distance = now[0].new_zeros(())
        for parameter, before in zip(now, self._start, strict=True):
            distance = distance + (parameter - before.to(parameter.device)).square().sum()
        return self._pull * distance

    def end_first_stage(self, correct: torch.Tensor, p_true: torch.Tensor) -> None:
        """Keep ERM's probabilities."""
        self.p_true = p_true.double().cpu().numpy()

    @property
    def note(self) -> str | None:
        """The size of the second stage."""
        if self.p_true is None:
            return None
        return f"the last layer is refitted on {len(self.subset(0))} of {len(self.p_true)} rows"

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the probabilities and ERM's layer, once they are known."""
        start = [] if self._start is None else self._start
        layers = {f"start_{number}": tensor.cpu().numpy() for number, tensor in enumerate(start)}
        return layers if self.p_true is None else {"p_true": self.p_true, **layers}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned."""
        import torch

        self.p_true, self._weights = state.get("p_true"), None
        layers = [state[name] for name in sorted(state) if name.startswith("start_")]
        self._start = [torch.from_numpy(layer) for layer in layers] or None


def held_out_rows(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return whether each row (N,) is in the second stage: `HELD_OUT` of each class, but never all of it."""
    return random_part(labels, lambda n: min(max(1, round(HELD_OUT * n)), n - 1), seed)


def row_weights(
    p_true: NDArray[np.float64], labels: NDArray[np.int64], held_out: NDArray[np.bool_], gamma: float
) -> NDArray[np.float64]:
    """Return the weights (N,) of the held-out rows, with mean 1 over them; 0 for the others."""
    counts = np.bincount(labels[held_out])
    weights: NDArray[np.float64] = np.where(held_out, np.exp(-gamma * p_true), 0.0)
    weights[held_out] /= counts[labels[held_out]]
    weights *= held_out.sum() / weights.sum()
    return weights
