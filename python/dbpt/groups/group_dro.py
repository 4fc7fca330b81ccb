"""The rule of Group DRO: a distribution over groups that moves multiplicatively towards the largest loss."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.bounds import MAX_WEIGHT, MIN_GROUP_COUNT, Bounds
from dbpt.groups.rule import GroupWeighting, check_field
from dbpt.groups.tensors import check_length, to_host

# A change of log q beyond this is cut, so that no difference of two is NaN.
_MOST = 1e300


class GroupDRO(GroupWeighting):
    """Group DRO's q and what one sample weighs under it (Sagawa et al., 2020, arXiv 1911.08731, algorithm 1).

    ``q_g ← q_g·exp(step_size·(L̂_g + size_adjustment/√N_g))`` at each step, then q is divided by its sum; it starts
    uniform over the groups that have members. L̂_g is the sum of the group's observed losses, divided by the number of
    samples of the group that so many draws contain on average: an unbiased estimate of its mean loss, 0 where the batch
    lacks the group. With the mean over the batch instead, a group would move by how often it is in a batch, and in
    small batches the rare group with the largest loss would end with the smallest q. The paper and its code draw groups
    uniformly; say so by ``shares="balanced"``. In batches with exactly these shares, and in a batch of all samples,
    L̂_g is the group's mean loss. q is kept as logarithms, so no loss is too large, and a group whose q has become 0
    comes back when its loss grows.

    q weighs the *mean losses of groups*: ``loss = Σ q_g·mean loss_g``. `group_weights` is what that means for one
    sample, ``w_g ∝ q_g / max(N_g, n₀)``, at most ``max_weight``, with Σ N_g·w_g = Σ N_g, for a mean over batches drawn
    from the training set as it is. The floor n₀ and the cap are ours: without them q_g = N_g·w_g / Σ N. Where each
    group makes up the same part of the batches, multiply by ``q_g·G`` instead.

    Each loss is rounded to a multiple of 2⁻³⁰ and the sums are exact, so q is the same bits for any order of the
    samples, number of batches or ranks, and device. Arrays as in `GroupWeighting`.

    Args:
        counts: (G,) N_g, how many training samples each group has, 0 or above, not all 0; with fractions under soft
            membership (`soft_counts`).
        step_size: how fast q moves, 0 (never) or above.
        size_adjustment: the paper's C, by which small groups count as worse than they were seen to be, 0 or above.
        min_group_count: n₀, 0 for none: a sample of a smaller group weighs as if the group had so many. The group's
            share of all weight is then N_g / n₀ of a larger group's.
        shares: what part of the observed samples each group is on average: "natural" (N_g / Σ N: batches of the
            training set as it is), "balanced" (equal shares of all groups with members) or (G,) numbers on any scale,
            above 0 for each group with members. They are not part of the state.
        max_weight: the largest weight of a sample, 1 (the mean of all) or above. The other groups get what the cap
            takes, in proportion. The effective sample size (Σ w)² / Σ w² is at least Σ N / max_weight.

    Raises:
        InputError: an argument is wrong; the message names it, the value, and what was expected.

    Example:
        >>> dro = GroupDRO([90, 10], step_size=1.0)
        >>> dro.observe([0] * 9 + [1, -1], [0.5] * 9 + [1.5, 9.0])
        >>> dro.step()
        >>> dro.q.round(3).tolist()
        [0.269, 0.731]
        >>> dro.group_weights.round(3).tolist()
        [0.299, 7.311]
    """

    observes = "losses"
    fields = ("log_q", "mean_loss")

    def __init__(
        self,
        counts: ArrayLike,
        step_size: float = 0.01,
        size_adjustment: float = 0.0,
        *,
        shares: str | ArrayLike = "natural",
        min_group_count: float = MIN_GROUP_COUNT,
        max_weight: float = MAX_WEIGHT,
    ) -> None:
        settings = {"step_size": step_size, "size_adjustment": size_adjustment}
        settings = {name: arguments.number(name, value) for name, value in settings.items()}
        for name, value in settings.items():
            if not 0 <= value < np.inf:
                raise InputError(f"{name} is {value}; expected a finite number, 0 or above")
        self._bounds = Bounds(min_group_count, max_weight)
        super().__init__(counts, **settings, **asdict(self._bounds))
        self._shares = _checked_shares(shares, self.counts)
        self._log_q: NDArray[np.float64] = np.where(self.counts > 0, 0.0, -np.inf)
        self._mean_loss: NDArray[np.float64] = np.full(len(self.counts), np.nan)

    @property
    def q(self) -> NDArray[np.float64]:
        """(G,) float64, the distribution over groups; 0 for an empty group."""
        relative = np.exp(self._log_q)
        q: NDArray[np.float64] = relative / relative.sum()
        return q

    @property
    def log_q(self) -> NDArray[np.float64]:
        """(G,) float64, log(q_g / max q), minus infinity for an empty group."""
        return np.array(self._log_q)

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, what one sample weighs; Σ N_g·w_g = Σ N_g, and 0 for an empty group."""
        return self._bounds.weights(self._log_q, self.counts, self.counts.sum())

    @property
    def mean_loss(self) -> NDArray[np.float64]:
        """(G,) float64, mean loss at the last step that observed the group, NaN where there was none."""
        return np.array(self._mean_loss)

    def observe(self, groups: ArrayLike, losses: ArrayLike) -> None:
        """Accumulate (B,) groups and losses, each within ±1e9; group -1 doesn't count."""
        super().observe(groups, losses)

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, losses: ArrayLike) -> None:
        """Accumulate ``losses`` (B,) into each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        super().observe_soft(posterior, labels, losses)

    def move(self, means: NDArray[np.float64], members: NDArray[np.float64]) -> None:
        """Move q by the means (G,) of what was observed, NaN for a group that was not. `step` calls this."""
        filled = self.counts > 0
        seen = ~np.isnan(means) & filled
        if not seen.any():
            return
        step_size, size_adjustment = self._settings["step_size"], self._settings["size_adjustment"]
        expected = members[filled].sum() * self._shares[filled]
        with np.errstate(over="ignore"):
            estimates = np.where(seen, means, 0.0)[filled] * (members[filled] / expected)
            change = step_size * (estimates + size_adjustment / np.sqrt(self.counts[filled]))
        log_q = self.log_q
        log_q[filled] += np.clip(change, -_MOST, _MOST)
        self._log_q, self._mean_loss = log_q - log_q.max(), np.where(seen, means, self._mean_loss)

    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the rule from its ``fields``. `load_state` calls this."""
        log_q, means = fields["log_q"], fields["mean_loss"]
        valid = np.where(self.counts > 0, (log_q <= 0) & np.isfinite(log_q), log_q == -np.inf)
        check_field("log_q", log_q, valid, "minus infinity for an empty group, else 0 or below")
        if log_q.max() != 0:
            raise InputError(f"the largest log_q is {log_q.max()}; expected 0")
        check_field("mean_loss", means, ~np.isinf(means), "NaN or a finite number")
        self._log_q, self._mean_loss = log_q, means


def _checked_shares(shares: str | ArrayLike, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares (G,) with sum 1, 0 for an empty group."""
    filled = counts > 0
    if isinstance(shares, str):
        if shares not in ("natural", "balanced"):
            raise InputError(f"shares is {shares!r}; expected 'natural', 'balanced' or an array (G,)")
        found = counts if shares == "natural" else filled.astype(np.float64)
    else:
        found = arguments.numbers("shares", to_host(shares))
        check_length("shares", len(found), len(counts), "groups")
        check_field("shares", found, ~filled | ((found > 0) & (found < np.inf)), "a finite number above 0")
    found = np.where(filled, found, 0.0)
    checked: NDArray[np.float64] = found / found.sum()
    return checked
