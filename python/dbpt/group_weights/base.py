"""The interface of a rule for group weights, and all that doesn't depend on the rule: observing, ranks, state."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments
from dbpt.errors import InputError
from dbpt.group_weights.sample_weights import WeightTable, class_weights
from dbpt.group_weights.soft import check_columns, posteriors
from dbpt.group_weights.tensors import device_of, integers_on, is_tensor, numbers_on, to_host

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

    from dbpt.group_weights.device_sums import DeviceSums


class GroupWeighting(ABC):
    """What one sample of each group weighs, moved at each `step` by the group means of what was observed since.

    A rule is a subclass that names what it ``observes``, gives `group_weights`, and moves by the means in ``_move``.

    Arrays may be lists, NumPy arrays, or torch tensors; gradients are left behind. What is observed on a GPU is added
    up there, as integers, and crosses to the host at `step` and `state` alone: with tensors of that device observing
    never waits for it. So values out of range are refused by the next of these, and all that was observed since the
    last step is dropped; on the host `observe` refuses them at once and takes nothing of the batch. (MPS lacks float64:
    what is there is copied to the host each time.) Any number of threads may use an instance.

    Example:
        >>> class Inverse(GroupWeighting):
        ...     '''w_g = 1 / p̄_g, and 1 where the group was never observed.'''
        ...
        ...     observes = "p_true"
        ...     _fields = ("group_weights",)
        ...     group_weights = None
        ...
        ...     def __init__(self, counts):
        ...         super().__init__(counts)
        ...         self.group_weights = np.ones(len(self.counts))
        ...
        ...     def _move(self, means):
        ...         self.group_weights = np.where(np.isnan(means), self.group_weights, 1 / means)
        ...
        ...     def _load(self, fields):
        ...         self.group_weights = fields["group_weights"]
        >>> weights = Inverse([70, 20, 10])
        >>> weights.observe([0, 0, 1], [1.0, 0.5, 0.25])
        >>> weights.step()
        >>> weights.group_weights.round(3).tolist()
        [1.333, 4.0, 1.0]
    """

    observes: ClassVar[Literal["p_true", "losses"]]
    """Probabilities from 0 to 1, in units of 2⁻³², or losses within ±1e9, in units of 2⁻²⁴."""
    _fields: ClassVar[tuple[str, ...]]
    """Names of the properties, (G,) float64 each, that are the rule's state; `_load` takes them."""

    def __init__(self, counts: ArrayLike, **settings: float) -> None:
        self.counts = arguments.numbers("counts", to_host(counts)).copy()
        """(G,) float64 N_g."""
        self.counts.flags.writeable = False
        self._settings = settings
        self._sums = _core.GroupSums(self.counts, self.observes)
        self._device_sums: dict[torch.device, DeviceSums] = {}
        self._tables: dict[int, WeightTable] = {}
        self._lock = threading.Lock()

    @property
    @abstractmethod
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, what one sample of each group weighs now."""

    @abstractmethod
    def _move(self, means: NDArray[np.float64]) -> None:
        """Move the weights by the means (G,) of what was observed, NaN for a group that was not."""

    @abstractmethod
    def _load(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the rule from what its ``_fields`` were, or raise `InputError` and change nothing."""

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Accumulate (B,) groups and what the rule observes of each sample; group -1 doesn't count."""
        self._observe(groups, values)

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        """Accumulate ``values`` (B,) into each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        self._observe_soft(posterior, labels, values)

    def step(self, *, process_group: ProcessGroup | None = None) -> None:
        """Move the weights by what was observed since the last step, and start observing anew.

        With ``process_group`` (for example ``torch.distributed.group.WORLD``) all its ranks must call this, and each
        moves by what all of them observed: their weights are those of one process, bit for bit. Without observations
        nothing moves.
        """
        if process_group is not None:
            from dbpt.group_weights.ranks import check_process_group, sum_over_ranks

            check_process_group(process_group)
        with self._lock:
            problem = self._cross()
            if process_group is not None:
                halves, problem = sum_over_ranks(*self._sums.state(), problem, process_group)
                self._sums.take_means()
                self._sums.add_halves(halves)
            means = self._sums.take_means()
            if problem is not None:
                raise InputError(problem)
            self._move(means)
            self._tables = {}

    def state(self) -> dict[str, NDArray[Any]]:
        """(G,) arrays: the rule's own, float64, and the unfinished ``sums`` and ``observed``, int64 in their units.

        Everything needed to go on, bit for bit; fit for safetensors, and for JSON as lists.
        """
        with self._lock:
            if problem := self._cross():
                self._sums.take_means()
                raise InputError(problem)
            sums, observed = self._sums.state()
            fields: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in self._fields}
        return fields | {"sums": sums, "observed": observed}

    def load_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue from what `state` gave, bit for bit; a state of other groups is refused and changes nothing."""
        for name in (*self._fields, "sums", "observed"):
            if name not in state:
                raise InputError(f'state["{name}"] is missing; expected an array (G,)')
        fields = {name: arguments.numbers(f'state["{name}"]', to_host(state[name])) for name in self._fields}
        sums = _core.GroupSums(self.counts, self.observes)
        sums.load_state(
            *(arguments.integers(f'state["{name}"]', to_host(state[name])) for name in ("sums", "observed"))
        )
        with self._lock:
            self._load(fields)
            self._sums, self._device_sums, self._tables = sums, {}, {}

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
        """Return what each sample weighs, (B,) float64; for a tensor of groups a float32 tensor on its device.

        A sample of group -1 weighs the mean weight of its class if ``labels`` (B,) and ``num_classes`` are given (1 for
        a class of which no sample has a group), else 1, the mean of all. To a GPU the weights cross once after each
        `step`, and nothing else waits for it; so a group or label out of range weighs NaN there, and is refused
        elsewhere.
        """
        if (labels is None) != (num_classes is None):
            raise InputError(
                "sample_weights: labels and num_classes are needed together, to know the class of a sample of group -1"
            )
        table = self._table(0 if num_classes is None else num_classes)
        device = device_of(labels=labels, groups=groups)
        if device is not None:
            labels_on = None if labels is None else integers_on(device, "labels", labels)
            return table.of_groups_on(device, integers_on(device, "groups", groups), labels_on)
        found = table.of_groups(
            arguments.integers("groups", to_host(groups)),
            None if labels is None else arguments.integers("labels", to_host(labels)),
        )
        return _like(found, groups)

    @overload
    def soft_sample_weights(self, posterior: torch.Tensor, labels: ArrayLike) -> torch.Tensor: ...
    @overload
    def soft_sample_weights(self, posterior: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]: ...
    def soft_sample_weights(self, posterior: Any, labels: ArrayLike) -> torch.Tensor | NDArray[np.float64]:
        """Return the mean under ``posterior`` (B, A) of the weights of the groups (label, a), as `sample_weights` does.

        A row of NaN, unlabelled, weighs the mean weight of its class. On a GPU a label out of range weighs NaN.
        """
        device = device_of(labels=labels, posterior=posterior)
        num_groups = len(self.counts)
        if device is not None:
            rows_BA = numbers_on(device, "posterior", posterior, ndim=2)
            check_columns(rows_BA.shape, num_groups)
            table = self._table(num_groups // rows_BA.shape[1])
            return table.of_posterior_on(device, rows_BA, integers_on(device, "labels", labels))
        rows = posteriors(posterior)
        check_columns(rows.shape, num_groups)
        table = self._table(num_groups // rows.shape[1])
        labels_B = arguments.integers("labels", to_host(labels))
        return _like(_core.soft_sample_weights(rows, labels_B, table.weights_G, table.weights_C), posterior)

    def _observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        device = device_of(groups=groups, **{self.observes: values})
        if device is None:
            groups_B = arguments.integers("groups", to_host(groups))
            values_B = arguments.numbers(self.observes, to_host(values))
            with self._lock:
                self._sums.observe(groups_B, values_B)
        else:
            with self._lock:
                self._sums_on(device).observe(groups, values)

    def _observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        device = device_of(labels=labels, posterior=posterior, **{self.observes: values})
        if device is None:
            rows_BA, labels_B = posteriors(posterior), arguments.integers("labels", to_host(labels))
            values_B = arguments.numbers(self.observes, to_host(values))
            with self._lock:
                self._sums.observe_soft(rows_BA, labels_B, values_B)
        else:
            with self._lock:
                self._sums_on(device).observe_soft(posterior, labels, values)

    def _sums_on(self, device: torch.device) -> DeviceSums:
        if device not in self._device_sums:
            from dbpt.group_weights.device_sums import DeviceSums

            self._device_sums[device] = DeviceSums(len(self.counts), self.observes, device)
        return self._device_sums[device]

    def _cross(self) -> str | None:
        """Bring the sums of all devices to the host; returns what was wrong with what they observed."""
        problem = None
        for sums in self._device_sums.values():
            halves, wrong = sums.take()
            try:
                self._sums.add_halves(halves)
            except InputError as error:
                wrong = wrong or str(error)
            problem = problem or wrong
        return problem

    def _table(self, num_classes: int) -> WeightTable:
        with self._lock:
            if num_classes not in self._tables:
                weights_G, num_groups = self.group_weights, len(self.counts)
                if num_classes:
                    arguments.integer("num_classes", num_classes, 1, num_groups)
                    if num_groups % num_classes:
                        raise InputError(f"num_classes is {num_classes}; expected a divisor of {num_groups} groups")
                weights_C = class_weights(weights_G, self.counts, num_classes) if num_classes else np.empty(0)
                self._tables[num_classes] = WeightTable(weights_G, weights_C)
            return self._tables[num_classes]

    def __getstate__(self) -> dict[str, Any]:
        return {"counts": self.counts, "settings": self._settings, "state": self.state()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self.__init__(pickled["counts"], **pickled["settings"])  # type: ignore[misc]
        self.load_state(pickled["state"])

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self._settings.items())
        return f"{type(self).__name__}({self.counts.tolist()}{settings})"


def _like(weights: NDArray[np.float64], values: object) -> torch.Tensor | NDArray[np.float64]:
    """``weights`` as float32 on the device of ``values`` if those are a tensor."""
    if not is_tensor(values):
        return weights
    import torch

    return torch.from_numpy(weights).float().to(values.device)
