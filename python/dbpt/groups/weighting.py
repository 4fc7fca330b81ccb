"""The interface of a rule for group weights: it observes, moves, gives what samples weigh, and saves its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.soft import as_memberships, check_columns, check_rows, flat_memberships
from dbpt.groups.sums import QUANTITIES, UNIT, GroupSums, group_means, sum_over_ranks
from dbpt.groups.tensors import beside, check_length, device_of, integers, is_tensor, numbers, to_host, where

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup


class GroupWeighting(ABC):
    """What one sample of each group weighs, moved at each `step` by the group means of what was observed since.

    A rule is a subclass that names what it ``observes`` and the ``fields`` of its state, gives `group_weights`, moves
    by the means in `move`, and takes its fields back in `load_fields`.

    Arrays may be lists, NumPy arrays of any numeric type, or torch tensors on any device; gradients are left behind.
    Values on a GPU are added up there and cross to the host at `step` and `state` alone: with tensors of that device
    observing never waits for it. So the next of these refuses values out of range, and drops all that was observed
    since the last step; on the host `observe` refuses them at once and takes nothing of the batch. (MPS lacks float64:
    its tensors are copied to the host each time.) An instance is for one thread and, on a GPU, for one stream.

    Each value is rounded to a multiple of 2⁻³⁰ and the sums are exact, so the weights are the same bits for any order
    of the samples, number of batches or ranks, and device.

    Example:
        >>> class Inverse(GroupWeighting):
        ...     '''w_g = 1 / p̄_g, and 1 where the group was never observed.'''
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
    """``p_true``, predicted probabilities of the true class from 0 to 1, or ``losses`` within ±1e9."""
    fields: ClassVar[tuple[str, ...]]
    """Names of the properties, (G,) float64 each, that are the rule's state; `load_fields` takes them."""

    def __init__(self, counts: ArrayLike, **settings: float) -> None:
        self.counts = arguments.numbers("counts", to_host(counts)).copy()
        """(G,) float64 N_g."""
        bad = np.flatnonzero((self.counts != 0) & ~((self.counts >= 1e-10) & (self.counts <= 1e18)))
        if bad.size:
            raise InputError(f"counts[{bad[0]}] is {self.counts[bad[0]]:g}; expected 0, or a number from 1e-10 to 1e18")
        if not self.counts.any():
            raise InputError("the sum of counts is 0; expected at least one group with members")
        self.counts.flags.writeable = False
        self._settings = settings
        self._sums = GroupSums(len(self.counts), QUANTITIES[self.observes])

    @property
    @abstractmethod
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, the current weight of one sample of each group; 0 for an empty group."""

    @abstractmethod
    def move(self, means: NDArray[np.float64], members: NDArray[np.float64]) -> None:
        """Move the weights by the means (G,) of what was observed, NaN for a group that was not. `step` calls this.

        ``members`` (G,) is the number of samples observed, with fractions under soft membership.
        """

    @abstractmethod
    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the rule from its ``fields``, or raise `InputError` and change nothing. `load_state` calls this."""

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Accumulate (B,) groups and the value that the rule ``observes`` of each sample; group -1 doesn't count."""
        device = device_of(groups=groups, **{self.observes: values})
        self._sums.add(integers("groups", groups, device), numbers(self.observes, values, device))

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        """Accumulate ``values`` (B,) into each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        device = device_of(labels=labels, posterior=posterior, **{self.observes: values})
        rows_BA, labels_B = self._soft_rows(posterior, labels, device)
        values_B = numbers(self.observes, values, device)
        check_length(self.observes, len(values_B), len(rows_BA), "the rows of posterior")
        groups, memberships_BA = flat_memberships(rows_BA, labels_B, len(self.counts) // rows_BA.shape[1])
        fine_B = self._sums.quantity.contains(values_B)
        if device is None and not fine_B.all():
            row = int(np.argmin(fine_B))
            raise InputError(f"{self.observes}[{row}] is {values_B[row]}; expected {self._sums.quantity.expected}")
        # A device doesn't refuse a value out of range at once; its product is NaN.
        products_BA = memberships_BA * where(fine_B, values_B, values_B * np.nan)[:, None]
        self._sums.add(groups, products_BA.reshape(-1), memberships_BA.reshape(-1))

    def step(self, *, process_group: ProcessGroup | None = None) -> None:
        """Move the weights by what was observed since the last step, and start observing anew.

        With ``process_group`` (for example ``torch.distributed.group.WORLD``) all its ranks must call this, with equal
        counts and settings, and each moves by what all of them observed: their weights are those of one process, bit
        for bit. If a rank observed values out of range on a device, the step is refused on all ranks. If the exchange
        fails, nothing has changed and what was observed is kept. Without observations nothing moves.
        """
        digits = self._sums.digits()
        if process_group is not None:
            digits = sum_over_ranks(digits, process_group)
        self._check_last(digits)
        means = group_means(digits[:-1])
        means[self.counts == 0] = np.nan
        self.move(means, digits[:-1, 2] / UNIT)
        self._sums.clear()

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
        """Return the weight of each sample, (B,) float64; for a tensor of groups a float32 tensor on its device.

        A sample of group -1 weighs the mean weight of its class if ``labels`` (B,) and ``num_classes`` are given (1 for
        a class of which no sample has a group), else 1, the mean of all. With tensors of a GPU nothing waits for it; so
        a group out of range weighs NaN there, and so does a label that is needed; elsewhere they are refused.
        """
        if (labels is None) != (num_classes is None):
            raise InputError(
                "sample_weights: labels and num_classes are needed together, to know the class of a sample of group -1"
            )
        device, num_groups = device_of(labels=labels, groups=groups), len(self.counts)
        num_classes = 0 if num_classes is None else arguments.integer("num_classes", num_classes, 1, num_groups)
        weights_G, weights_C = self._weights(num_classes)
        # Groups, classes, the mean of all, and NaN for a value out of range on a device.
        entries = np.concatenate([weights_G, weights_C, [1.0, np.nan]])
        invalid, groups_B = len(entries) - 1, integers("groups", groups, device)
        outside_B: Any = num_groups + num_classes
        if labels is not None:
            labels_B = integers("labels", labels, device)
            check_length("labels", len(labels_B), len(groups_B), "the rows of groups")
            outside_B = num_groups + _within("labels", labels_B, 0, num_classes, invalid - num_groups)
        known_B = _within("groups", groups_B, -1, num_groups, invalid)
        return _like(groups, beside(entries, groups_B)[where(groups_B == -1, outside_B, known_B)])

    @overload
    def soft_sample_weights(self, posterior: torch.Tensor, labels: ArrayLike) -> torch.Tensor: ...
    @overload
    def soft_sample_weights(self, posterior: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]: ...
    def soft_sample_weights(self, posterior: Any, labels: ArrayLike) -> torch.Tensor | NDArray[np.float64]:
        """Return the mean under ``posterior`` (B, A) of the weights of the groups (label, a), as `sample_weights` does.

        Rows as in `soft_counts`. A row of NaN, unlabelled, weighs the mean weight of its class. On a GPU a row that is
        wrong, or its label, weighs NaN.
        """
        device = device_of(labels=labels, posterior=posterior)
        rows_BA, labels_B = self._soft_rows(posterior, labels, device)
        num_attributes = rows_BA.shape[1]
        num_classes = len(self.counts) // num_attributes
        memberships_BA, proper_B, unlabelled_B = as_memberships(rows_BA)
        if device is None:
            check_rows(rows_BA, labels_B, num_classes, proper_B | unlabelled_B, 0)
        known_B = _within("labels", labels_B, 0, num_classes, num_classes)
        weights_G, weights_C = self._weights(num_classes)
        # Beyond the classes NaN, for a label that is out of range on a device.
        weights_CA = beside(np.append(weights_G, [np.nan] * num_attributes).reshape(num_classes + 1, -1), labels_B)
        class_B = beside(np.append(weights_C, np.nan), labels_B)[known_B]
        mean_B = where(proper_B, (memberships_BA * weights_CA[known_B]).sum(1), class_B * np.nan)
        return _like(posterior, where(unlabelled_B, class_B, mean_B))

    def _soft_rows(self, posterior: ArrayLike, labels: ArrayLike, device: torch.device | None) -> tuple[Any, Any]:
        rows_BA, labels_B = numbers("posterior", posterior, device, ndim=2), integers("labels", labels, device)
        check_columns(rows_BA.shape, len(self.counts))
        check_length("labels", len(labels_B), len(rows_BA), "the rows of posterior")
        return rows_BA, labels_B

    def _weights(self, num_classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights (G,) of groups, and (C,) the mean of each class's samples, 1 where none has a group."""
        weights_G, num_groups = self.group_weights, len(self.counts)
        if not num_classes:
            return weights_G, np.empty(0)
        if num_groups % num_classes:
            raise InputError(f"num_classes is {num_classes}; expected a divisor of {num_groups} groups")
        rows_C = self.counts.reshape(num_classes, -1).sum(axis=1)
        mass_C = (weights_G * self.counts).reshape(num_classes, -1).sum(axis=1)
        return weights_G, np.divide(mass_C, rows_C, out=np.ones(num_classes), where=rows_C > 0)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that is needed to go on, bit for bit, as arrays fit for safetensors, and for JSON as lists.

        The rule's own ``fields``, (G,) float64 each; ``observed`` (G, 3) int64, the exact sums since the last step;
        ``counts`` (G,) and ``settings`` (S,) float64, by which `load_state` knows whose state it is.
        """
        digits = self._sums.digits()
        self._check_last(digits)
        fields: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in self.fields}
        return fields | {"observed": digits[:-1], "counts": self.counts.copy(), "settings": self._settings_array()}

    def load_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue from what `state` gave, bit for bit.

        A state of other counts, other settings, or a rule with other fields is refused and changes nothing.
        """
        for name in (*self.fields, "observed", "counts", "settings"):
            if name not in state:
                raise InputError(f'state["{name}"] is missing; expected what {type(self).__name__}.state() gives')
        for name, expected in (("counts", self.counts), ("settings", self._settings_array())):
            found = arguments.numbers(f'state["{name}"]', to_host(state[name]))
            if not np.array_equal(found, expected):
                raise InputError(
                    f'state["{name}"] is {arguments.in_one_line(found.tolist())}; expected '
                    f"{arguments.in_one_line(expected.tolist())}: a state of these groups and settings"
                )
        fields = {name: arguments.numbers(f'state["{name}"]', to_host(state[name])).copy() for name in self.fields}
        for name, values in fields.items():
            check_length(f'state["{name}"]', len(values), len(self.counts), "groups")
        sums = GroupSums(len(self.counts), self._sums.quantity)
        sums.load('state["observed"]', state["observed"])
        self.load_fields(fields)
        self._sums = sums

    def _check_last(self, digits: NDArray[np.int64]) -> None:
        """Refuse sums whose last row counts values out of range, and forget them."""
        if digits[-1, 2]:
            self._sums.clear()
            raise InputError(
                f"some rows observed on a device since the last step are out of range, or NaN; expected groups from -1 "
                f"to {len(self.counts) - 1} (labels and posteriors likewise), and {self.observes} "
                f"{self._sums.quantity.expected}"
            )

    def _settings_array(self) -> NDArray[np.float64]:
        return np.array(list(self._settings.values()), dtype=np.float64)

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self._settings.items())
        return f"{type(self).__name__}({self.counts.tolist()}{settings})"


def _within(name: str, values_B: Any, least: int, bound: int, invalid: int) -> Any:
    """Return the values (B,), those out of range refused; on a device, which isn't waited for, as ``invalid``."""
    inside_B = (values_B >= least) & (values_B < bound)
    if is_tensor(values_B):
        return where(inside_B, values_B, invalid)
    bad = np.flatnonzero(~inside_B)
    if bad.size:
        expected = f"-1 (outside) or 0 to {bound - 1}" if least else f"a class from 0 to {bound - 1}"
        raise InputError(f"{name}[{bad[0]}] is {values_B[bad[0]]}; expected {expected}")
    return values_B


def _like(argument: object, weights: Any) -> torch.Tensor | NDArray[np.float64]:
    """Return the weights as float32 on the device of ``argument`` if that is a tensor."""
    if is_tensor(weights):
        return weights.float()
    if not is_tensor(argument):
        return weights  # type: ignore[no-any-return]
    import torch

    return torch.from_numpy(weights).float().to(argument.device)
