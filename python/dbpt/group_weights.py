"""`GroupWeights` for any training loop: the Rust core's, with lists, tensors and arrays of other types converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments

__all__ = ["GroupWeights"]


class GroupWeights:
    """What one sample of each group weighs, adjusted to how well the group is predicted (arXiv 2503.08368).

    ``target_g ∝ exp(eta·(1 - p̄_g)) / N_g`` over the groups observed since the last step, with the total Σ N_g·w_g
    they had; ``w_g += (1 - momentum)·(target_g - w_g)``. Starts balanced; a group that was not observed keeps its
    weight; an empty group weighs 0.

    Arrays may be lists, NumPy arrays of any numeric type, or torch tensors on the CPU that need no gradient.

    Args:
        counts: (G,) N_g, how many training samples each group has, 0 or above, not all 0.
        eta: how strongly the weights react, 0 (never) or above.
        momentum: how much of the old weights a step keeps, from 0 to 1.

    Raises:
        InputError: an argument is wrong; the message names it, the value, and what was expected.

    Example:
        >>> weights = GroupWeights([90, 10], eta=1.0, momentum=0.0)
        >>> weights.observe([0, 0, 1, -1], [0.9, 0.7, 0.2, 0.5])
        >>> weights.step()
        >>> weights.mean_p_true.tolist()
        [0.8, 0.2]
    """

    def __init__(self, counts: ArrayLike, eta: float, momentum: float) -> None:
        self._settings = (
            arguments.numbers("counts", counts).copy(),
            arguments.number("eta", eta),
            arguments.number("momentum", momentum),
        )
        self._core = _core.GroupWeights(*self._settings)

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, the current weights; Σ N_g·w_g = Σ N_g."""
        return self._core.group_weights

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64, p̄_g at the last step that observed the group, NaN where there was none."""
        return self._core.mean_p_true

    def observe(self, groups: ArrayLike, p_true: ArrayLike) -> None:
        """Accumulate (B,) groups and the predicted probabilities of the true class; group -1 doesn't count."""
        self._core.observe(arguments.integers("groups", groups), arguments.numbers("p_true", p_true))

    def step(self) -> None:
        """Move the weights towards the target of what was observed and start observing anew."""
        self._core.step()

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Four (G,) float64 arrays: group_weights, mean_p_true, sums, observed."""
        return self._core.state()

    def load_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue from what `state` gave, bit for bit."""
        self._core.load_state({name: arguments.numbers(f'state["{name}"]', state[name]) for name in state})

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings, "state": self.state()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self._settings = pickled["settings"]
        self._core = _core.GroupWeights(*self._settings)
        self._core.load_state(pickled["state"])

    def __repr__(self) -> str:
        counts, eta, momentum = self._settings
        return f"GroupWeights({counts.tolist()}, eta={eta}, momentum={momentum})"
