"""The interface of a rule for group weights: what it observes, how it moves, its state in and out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.ranks import sum_over_ranks
from dbpt.groups.sample_weights import SampleWeights
from dbpt.groups.soft import check_columns, flat_memberships
from dbpt.groups.sums import QUANTITIES, UNIT, GroupSums
from dbpt.groups.tensors import check_length, device_of, integers, numbers, to_host, where

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class GroupWeighting(SampleWeights):
    """What one sample of each group weighs, moved at each `step` by the group means of what was observed since.

    A rule is a subclass that names what it ``observes`` and the ``fields`` of its state, gives `group_weights`, moves
    by the means in `move`, and takes its fields back in `load_fields`.

    Arrays may be lists, NumPy arrays, or torch tensors; gradients are left behind. What is observed on a GPU is added
    up there and crosses to the host at `step` and `state` alone: with tensors of that device observing never waits for
    it. So the next of these refuses values out of range, and drops all that was observed since the last step; on the
    host `observe` refuses them at once and takes nothing of the batch. (MPS lacks float64: what is there is copied to
    the host each time.) An instance is for one thread and, on a GPU, for one stream.

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
    """Probabilities from 0 to 1, or losses within ±1e9; both are rounded to multiples of 2⁻³⁰."""
    fields: ClassVar[tuple[str, ...]]
    """Names of the properties, (G,) float64 each, that are the rule's state; `load_fields` takes them."""

    def __init__(self, counts: ArrayLike, **settings: float) -> None:
        super().__init__(counts)
        self._settings = settings
        self._sums = GroupSums(len(self.counts), QUANTITIES[self.observes])

    @abstractmethod
    def move(self, means: NDArray[np.float64], members: NDArray[np.float64]) -> None:
        """Move the weights by the means (G,) of what was observed, NaN for a group that was not. `step` calls this.

        ``members`` (G,) says of how many samples, with fractions under soft membership.
        """

    @abstractmethod
    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the rule from what its ``fields`` were, or raise `InputError` and change nothing."""

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Accumulate (B,) groups and what the rule observes of each sample; group -1 doesn't count."""
        device = device_of(groups=groups, **{self.observes: values})
        self._sums.add(integers("groups", groups, device), numbers(self.observes, values, device))

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        """Accumulate ``values`` (B,) into each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        device = device_of(labels=labels, posterior=posterior, **{self.observes: values})
        rows_BA = numbers("posterior", posterior, device, ndim=2)
        check_columns(rows_BA.shape, len(self.counts))
        labels_B, values_B = integers("labels", labels, device), numbers(self.observes, values, device)
        for name, array in (("labels", labels_B), (self.observes, values_B)):
            check_length(name, len(array), len(rows_BA), "the rows of posterior")
        groups, memberships_BA = flat_memberships(rows_BA, labels_B, len(self.counts) // rows_BA.shape[1])
        fine_B = self._sums.quantity.contains(values_B)
        if device is None and not fine_B.all():
            row = int(np.argmin(fine_B))
            raise InputError(f"{self.observes}[{row}] is {values_B[row]}; expected {self._sums.quantity.expected}")
        # Of what is out of range, which a device doesn't tell at once, the product is NaN.
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
        means = self._sums.means(digits[:-1])
        means[self.counts == 0] = np.nan
        self.move(means, digits[:-1, 2] / UNIT)
        self._sums.clear()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that is needed to go on, bit for bit, as arrays fit for safetensors, and for JSON as lists.

        The rule's own ``fields``, (G,) float64 each; ``observed`` (G, 3) int64, the exact sums since the last step;
        ``counts`` (G,) and ``settings`` (S,) float64, by which `load_state` knows whose state it is.
        """
        digits = self._sums.digits()
        self._check_last(digits)
        fields: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in self.fields}
        return fields | {"observed": digits[:-1], "counts": self.counts.copy(), "settings": self._settings_array()}

    def _check_last(self, digits: NDArray[np.int64]) -> None:
        """Refuse sums whose last row says that something was out of range, and forget them."""
        if digits[-1, 2]:
            self._sums.clear()
            raise InputError(
                f"some rows observed on a device since the last step are out of range, or NaN; expected groups from -1 "
                f"to {len(self.counts) - 1} (labels and posteriors likewise), and {self.observes} "
                f"{self._sums.quantity.expected}"
            )

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
        fields = {name: arguments.numbers(f'state["{name}"]', to_host(state[name])) for name in self.fields}
        for name, values in fields.items():
            check_length(f'state["{name}"]', len(values), len(self.counts), "groups")
        sums = GroupSums(len(self.counts), self._sums.quantity)
        sums.load('state["observed"]', state["observed"])
        self.load_fields({name: values.copy() for name, values in fields.items()})
        self._sums = sums

    def _settings_array(self) -> NDArray[np.float64]:
        return np.array(list(self._settings.values()), dtype=np.float64)

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self._settings.items())
        return f"{type(self).__name__}({self.counts.tolist()}{settings})"


def check_field(name: str, values: NDArray[np.float64], valid: NDArray[np.bool_], expected: str) -> None:
    """Refuse the first of the values (G,) that isn't valid."""
    bad = np.flatnonzero(~valid)
    if bad.size:
        raise InputError(f"{name}[{bad[0]}] is {values[bad[0]]}; expected {expected}")
