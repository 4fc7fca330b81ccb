"""The weight of a sample of each group, from counts and mean probabilities, which are exact sums by group."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import group_sums
from dbpt.errors import InputError, in_digits

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

UNIT = 2.0**30
_LOW = 2**32 - 1
LIMITS = {"p_true": (0.0, 1.0), "losses": (-1e9, 1e9)}
"""The least and the largest value of each quantity that a rule may observe."""
EPOCHS_WITHOUT_STEP = 10
"""From so many epochs of observations on, `GroupWeighting.step` is rather forgotten."""
_MANY_GROUPS = 8
"""Times as many groups as their largest count: rather the groups of rows."""
# torch.distributed backends that only add tensors on the accelerator.
_ACCELERATOR_BACKENDS = ("nccl", "xccl", "hccl")


def sum_over_ranks(digits: NDArray[np.int64], process_group: ProcessGroup) -> NDArray[np.int64]:
    """Return the sums of all ranks of ``process_group``, which all call this."""
    import torch
    import torch.distributed as dist

    if not dist.is_available() or not isinstance(process_group, dist.ProcessGroup):
        raise InputError(
            f"process_group is {process_group!r}; expected a torch.distributed process group that this process is in, "
            "for example torch.distributed.group.WORLD"
        )
    on_accelerator = dist.get_backend(process_group) in _ACCELERATOR_BACKENDS
    device = torch.accelerator.current_accelerator() if on_accelerator else torch.device("cpu")
    total = torch.tensor(digits, device=device)
    dist.all_reduce(total, group=process_group)
    sums: NDArray[np.int64] = total.cpu().numpy()
    return sums


def group_means(digits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (G,) of sums (G, 3), NaN for a group without members."""
    values, members = digits[:, 0] * 2.0**32 + digits[:, 1], digits[:, 2].astype(np.float64)
    means: NDArray[np.float64] = np.divide(values, members, out=np.full(len(digits), np.nan), where=members > 0)
    return means


class GroupWeighting(ABC):
    """The weight of one sample of each group. Each `step` updates it by the group means observed since the last step.

    A rule is a subclass that declares what it ``observes`` and the ``fields`` of its state, returns `group_weights`,
    updates them from the means in `move`, and restores its fields in `load_fields`.

    Arrays may be lists, NumPy arrays of any numeric type, or torch tensors on any device, whose gradients are ignored.
    A batch with a value out of range is refused as a whole. An instance belongs to one thread.

    Each value is rounded to a multiple of 2⁻³⁰ and the sums are exact, so the weights have the same bits for any order
    of the samples and any number of batches or ranks.

    Args:
        counts: (G,) N_g, the number of training samples of each group: 0, or from 1e-10 to 1e18; not all 0.
        settings: the rule's own numbers, by name, which are part of its state.

    Raises:
        InputError: for other counts.

    Example:
        >>> class Inverse(GroupWeighting):
        ...     '''w_g = 1 / p̄_g, and 1 before the group is observed.'''
        ...
        ...     observes = "p_true"
        ...     fields = ("group_weights",)
        ...     group_weights = None
        ...
        ...     def __init__(self, counts):
        ...         super().__init__(counts)
        ...         self.group_weights = np.ones(len(self.counts))
        ...
        ...     def move(self, means, members):
        ...         self.group_weights = np.where(np.isnan(means), self.group_weights, 1 / means)
        ...
        ...     def load_fields(self, fields):
        ...         self.group_weights = fields["group_weights"]
        >>> weights = Inverse([70, 20, 10])
        >>> weights.observe([0, 0, 1], [1.0, 0.5, 0.25])
        >>> weights.step()
        >>> weights.group_weights.round(3).tolist()
        [1.333, 4.0, 1.0]
    """

    observes: ClassVar[Literal["p_true", "losses"]]
    """``p_true``: predicted probabilities of the true class, from 0 to 1; or ``losses``, within ±1e9."""
    fields: ClassVar[tuple[str, ...]]
    """Names of the properties, (G,) float64 each, that are the rule's state; `load_fields` restores them."""

    def __init__(self, counts: ArrayLike, **settings: float) -> None:
        arguments.check_order("counts", counts, "sort value_counts() by sort_index(), or give numpy.bincount(groups)")
        self.counts = arguments.numbers("counts", counts).copy()
        """(G,) float64 N_g."""
        bad = np.flatnonzero((self.counts != 0) & ~((self.counts >= 1e-10) & (self.counts <= 1e18)))
        if bad.size:
            raise InputError(
                f"counts[{bad[0]}] is {in_digits(self.counts[bad[0]])}; expected 0, or a number from 1e-10 to 1e18"
            )
        if not self.counts.any():
            raise InputError("the sum of counts is 0; expected at least one group with members")
        if self.counts.max() < 1 and np.isclose(self.counts.sum(), 1):
            raise InputError("counts sum to 1, as shares do; expected the numbers of samples, numpy.bincount(groups)")
        if not self.counts.all() and len(self.counts) > _MANY_GROUPS * (self.counts.max() + 1):
            found = f"counts has {len(self.counts)} values from 0 to {self.counts.max():.0f}, as groups of rows have"
            warnings.warn(f"{found}; expected the rows of each group, numpy.bincount(groups)", stacklevel=3)
        self.counts.flags.writeable = False
        self._settings = settings
        self._digits: NDArray[np.int64] = np.zeros((len(self.counts), 3), dtype=np.int64)
        """(G, 3): the sum of a group's observed values, high * 2**32 + low, and its number of members, all in units."""

    @property
    @abstractmethod
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, the current weight of one sample of each group; 0 for an empty group."""

    @abstractmethod
    def move(self, means: NDArray[np.float64], members: NDArray[np.float64]) -> None:
        """Update the weights from the observed means. `step` calls this.

        Args:
            means: (G,) float64, NaN for a group without observations.
            members: (G,) float64, the number of samples observed in each group.
        """

    @abstractmethod
    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the rule from its ``fields``. `load_state` calls this.

        Args:
            fields: (G,) float64 by name.
        """

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Accumulate the values that the rule ``observes`` by group.

        Args:
            groups: (B,) integers; group -1 doesn't count.
            values: (B,) floats in the range of what is observed.

        Raises:
            InputError: for other shapes or values; nothing is accumulated then.
        """
        least, most = LIMITS[self.observes]
        groups = arguments.integers("groups", groups, unknown=True)
        values = arguments.floats(self.observes, values, len(groups), per="row of groups")
        values = values.astype(np.float32) if values.dtype == np.float16 else values
        if self.observes == "losses" and values.max(initial=-1) < 0 < len(values):
            warnings.warn("all losses are negative; of log-likelihoods, give the negative", UserWarning, stacklevel=2)
        sums = group_sums(
            groups,
            values,
            len(self.counts),
            argument=self.observes,
            least=least,
            most=most,
            num_threads=arguments.num_threads(),
        )
        # Numbers of rows get the unit of the values, 2⁻³⁰, so that one divided by the other is the mean.
        sums[:, 2] <<= 30
        digits = self._digits + sums
        # Carry at once, so that equal sums have equal digits, whatever the batches were.
        digits[:, 0] += digits[:, 1] >> 32
        digits[:, 1] &= _LOW
        before, rows = self._digits[:, 2].sum() / UNIT, digits[:, 2].sum() / UNIT
        if before <= EPOCHS_WITHOUT_STEP * self.counts.sum() < rows:
            problem = f"{rows:.0f} rows observed since the last step(), {self.counts.sum()} are in counts"
            warnings.warn(
                f"{problem}; the weights move only in step(): call it once an epoch", UserWarning, stacklevel=3
            )
        self._digits = digits

    def step(self, *, process_group: ProcessGroup | None = None) -> None:
        """Update the weights from the observations since the last step, and forget these. Without any, do nothing.

        Args:
            process_group: for example ``torch.distributed.group.WORLD``. All its ranks must call this, with equal
                counts and settings. Each uses the observations of all ranks, so the weights are those of one process,
                bit for bit. If the exchange fails, the weights and the observations stay as they are.

        Raises:
            InputError: for anything but a process group that this process is in.
        """
        digits = self._digits
        if process_group is not None:
            digits = sum_over_ranks(digits, process_group)
        means, members = group_means(digits), digits[:, 2] / UNIT
        means[self.counts == 0] = np.nan
        self.move(means, members)
        self._digits = np.zeros_like(self._digits)

    @overload
    def sample_weights(
        self, groups: torch.Tensor, labels: ArrayLike | None = None, *, num_classes: int | None = None
    ) -> torch.Tensor: ...
    @overload
    def sample_weights(
        self, groups: ArrayLike, labels: ArrayLike | None = None, *, num_classes: int | None = None
    ) -> NDArray[np.float64]: ...
    def sample_weights(
        self, groups: Any, labels: ArrayLike | None = None, *, num_classes: int | None = None
    ) -> torch.Tensor | NDArray[np.float64]:
        """Return the weight of each sample.

        Args:
            groups: (B,) integers. A sample of group -1 has weight 1, the mean of all.
            labels: (B,) integers, the classes. A sample of group -1 then has the mean weight of its class, or 1 if no
                sample of the class has a group.
            num_classes: C, needed with ``labels``.

        Returns:
            (B,) float64; for a tensor of groups a float32 tensor on its device.

        Raises:
            InputError: for other shapes or values, and for ``labels`` without ``num_classes`` or the reverse.
        """
        if (labels is None) != (num_classes is None):
            raise InputError(
                "sample_weights: labels and num_classes are needed together, to know the class of a sample of group -1"
            )
        num_groups, groups_B = len(self.counts), arguments.integers("groups", groups, unknown=True)
        outside_B: Any = 1.0
        weights_G = self.group_weights
        if labels is not None:
            num_classes = arguments.integer("num_classes", num_classes, 1, num_groups)
            if num_groups % num_classes:
                raise InputError(f"num_classes is {num_classes}; expected a divisor of {num_groups} groups")
            rows_C, mass_C = (
                values_G.reshape(num_classes, -1).sum(axis=1) for values_G in (self.counts, weights_G * self.counts)
            )
            weights_C = np.divide(mass_C, rows_C, out=np.ones(num_classes), where=rows_C > 0)
            labels_B = arguments.integers("labels", labels, len(groups_B), per="row of groups")
            valid_B = (labels_B >= 0) & (labels_B < num_classes)
            arguments.check_each("labels", labels_B, valid_B, f"a class from 0 to {num_classes - 1}")
            outside_B = weights_C[labels_B]
        valid_B = (groups_B >= -1) & (groups_B < num_groups)
        arguments.check_each("groups", groups_B, valid_B, f"-1 (outside) or 0 to {num_groups - 1}")
        members_B = (groups_B == -1) | (self.counts[groups_B] > 0)
        expected = "a group that has members by counts, numpy.bincount(groups)"
        arguments.check_each("groups", groups_B, members_B, expected)
        weights_B = np.where(groups_B == -1, outside_B, weights_G[groups_B])
        if not arguments.is_tensor(groups):
            return weights_B
        import torch

        return torch.from_numpy(weights_B).float().to(groups.device)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state as arrays, which safetensors can store, and JSON as lists.

        It contains the rule's own ``fields``, (G,) float64 each; ``observed`` (G, 3) int64, the exact sums since the
        last step; ``counts`` (G,) and ``settings`` (S,) float64, which `load_state` compares with its own.
        """
        fields: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in self.fields}
        return fields | {
            "observed": self._digits.copy(),
            "counts": self.counts.copy(),
            "settings": self._settings_array(),
        }

    def load_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue from a `state`, bit for bit.

        Args:
            state: the arrays that `state` returned.

        Raises:
            InputError: for a state with other counts or settings, or of a rule with other fields; nothing changes then.
        """
        for name in (*self.fields, "observed", "counts", "settings"):
            if name not in state:
                raise InputError(f'state["{name}"] is missing; expected what {type(self).__name__}.state() gives')
        for name, expected in (("counts", self.counts), ("settings", self._settings_array())):
            loaded = _numbers_of(state, name)
            if not np.array_equal(loaded, expected):
                raise InputError(
                    f'state["{name}"] is {arguments.in_one_line(loaded.tolist())}; expected '
                    f"{arguments.in_one_line(expected.tolist())}: a state of these groups and settings"
                )
        fields = {name: _numbers_of(state, name, len(self.counts)).copy() for name in self.fields}
        name, shape = 'state["observed"]', self._digits.shape
        observed = arguments.array(name, state["observed"])
        if observed.shape != shape or observed.dtype.kind not in "iu":
            raise InputError(f"{name} has shape {observed.shape} and dtype {observed.dtype}; expected {shape} integers")
        digits = np.array(arguments.as_int64(name, observed))
        self.load_fields(fields)
        self._digits = digits

    def _settings_array(self) -> NDArray[np.float64]:
        return np.array(list(self._settings.values()), dtype=np.float64)

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self._settings.items())
        return f"{type(self).__name__}({arguments.in_one_line(self.counts.tolist())}{settings})"


def _numbers_of(state: Mapping[str, ArrayLike], name: str, length: int | None = None) -> NDArray[np.float64]:
    return arguments.numbers(f'state["{name}"]', state[name], length)


MIN_GROUP_COUNT = 5.0
MAX_WEIGHT = 100.0


@dataclass(frozen=True)
class Bounds:
    """Limits on the influence of a few samples; see `GroupWeights`. Zero and infinity remove them."""

    min_group_count: float = MIN_GROUP_COUNT
    max_weight: float = MAX_WEIGHT

    def __post_init__(self) -> None:
        not_negative("min_group_count", self.min_group_count)
        if not arguments.number("max_weight", self.max_weight) >= 1:
            raise InputError(f"max_weight is {self.max_weight}; expected 1 (the mean weight of a sample) or above")

    def weights(
        self, log_shares: NDArray[np.float64], counts: NDArray[np.float64], total: float
    ) -> NDArray[np.float64]:
        """Return w (G,) ∝ exp(log_shares) / max(N_g, n₀), at most ``max_weight``, with Σ N_g·w_g = ``total``.

        Weight above the cap goes to the other groups, in proportion to theirs. The weight of an empty group is 0.
        ``total`` must be at most ``max_weight`` times Σ N_g.
        """
        weights, free = np.zeros(len(counts)), np.flatnonzero(counts > 0)
        # In logarithms, because exp of a large eta overflows.
        log_weights = log_shares - np.log(np.maximum(counts, max(self.min_group_count, 1e-10)))
        while free.size:
            relative = np.exp(log_weights[free] - log_weights[free].max())
            uncapped = relative * ((total - counts @ weights) / (counts[free] @ relative))
            above = uncapped > self.max_weight
            if not above.any():
                weights[free] = uncapped
                break
            # Capping raises the weights of the others, so more of them may be above the cap in the next round.
            weights[free[above]] = self.max_weight
            free = free[~above]
        return weights


def not_negative(name: str, value: float) -> float:
    """Return a finite number that is 0 or above."""
    number = arguments.number(name, value)
    if not 0 <= number < np.inf:
        raise InputError(f"{name} is {value}; expected a finite number, 0 or above")
    return number
