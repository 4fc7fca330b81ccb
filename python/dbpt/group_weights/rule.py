"""The interface of a rule for group weights: what it observes, how it moves, its state in and out."""

from __future__ import annotations

import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.group_weights.observed import Observed
from dbpt.group_weights.sample_weights import SampleWeights
from dbpt.group_weights.tensors import to_host

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class GroupWeighting(SampleWeights):
    """What one sample of each group weighs, moved at each `step` by the group means of what was observed since.

    A rule is a subclass that names what it ``observes`` and the ``fields`` of its state, gives `group_weights`, moves
    by the means in `move`, and takes its fields back in `load_fields`.

    Arrays may be lists, NumPy arrays, or torch tensors; gradients are left behind. What is observed on a GPU is added
    up there, as integers, and crosses to the host at `step` and `state` alone: with tensors of that device observing
    never waits for it. So values out of range are refused by the next of these, and all that was observed since the
    last step is dropped; on the host `observe` refuses them at once and takes nothing of the batch. (MPS lacks float64:
    what is there is copied to the host each time.)

    Any number of threads may observe and weigh samples meanwhile; an observation counts for the step that begins after
    it. A forked child goes on with its copy.

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
        ...     def move(self, means):
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
    """Probabilities from 0 to 1, in units of 2⁻³², or losses within ±1e9, in units of 2⁻²⁴."""
    fields: ClassVar[tuple[str, ...]]
    """Names of the properties, (G,) float64 each, that are the rule's state; `load_fields` takes them."""

    def __init__(self, counts: ArrayLike, **settings: float) -> None:
        super().__init__(counts)
        self._settings = settings
        self._observed = Observed(self.counts, self.observes)
        # Of whatever moves or reads the whole; observing does without.
        self._lock = threading.RLock()
        _alive.add(self)

    @abstractmethod
    def move(self, means: NDArray[np.float64]) -> None:
        """Move the weights by the means (G,) of what was observed, NaN for a group that was not. `step` calls this."""

    @abstractmethod
    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the rule from what its ``fields`` were, or raise `InputError` and change nothing."""

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Accumulate (B,) groups and what the rule observes of each sample; group -1 doesn't count."""
        self._observed.observe(groups, values)

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        """Accumulate ``values`` (B,) into each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        self._observed.observe_soft(posterior, labels, values)

    def step(self, *, process_group: ProcessGroup | None = None) -> None:
        """Move the weights by what was observed since the last step, and start observing anew.

        With ``process_group`` (for example ``torch.distributed.group.WORLD``) all its ranks must call this, with equal
        counts and settings, and each moves by what all of them observed: their weights are those of one process, bit
        for bit. If a rank observed values out of range on a device, the step is refused on all ranks. If the exchange
        fails, nothing has changed and what was observed is kept. Without observations nothing moves.
        """
        if process_group is not None:
            from dbpt.group_weights.ranks import check_process_group, sum_over_ranks

            check_process_group(process_group)
        with self._lock:
            digits, problem = self._observed.digits(), self._observed.problem
            total = digits
            if process_group is not None:
                total, problem = sum_over_ranks(digits, problem, process_group)
            if problem is None:
                self.move(self._observed.means(total))
                self.forget_tables()
            self._observed.forget(digits)
        if problem is not None:
            raise InputError(problem)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that is needed to go on, bit for bit, as arrays fit for safetensors, and for JSON as lists.

        The rule's own ``fields``, (G,) float64 each; ``observed`` (G, 5) int64, the exact sums since the last step;
        ``counts`` (G,) and ``settings`` (S,) float64, by which `load_state` knows whose state it is.
        """
        with self._lock:
            digits, problem = self._observed.digits(), self._observed.problem
            if problem is not None:
                self._observed.forget(digits)
                raise InputError(problem)
            fields: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in self.fields}
        return fields | {"observed": digits, "counts": self.counts.copy(), "settings": self._settings_array()}

    def load_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue from what `state` gave, bit for bit.

        A state of other counts, other settings, or a rule with other fields is refused and changes nothing.
        """
        for name in (*self.fields, "observed", "counts", "settings"):
            if name not in state:
                raise InputError(f'state["{name}"] is missing; expected what {type(self).__name__}.state() gives')
        self._check_whose(state)
        fields = {name: arguments.numbers(f'state["{name}"]', to_host(state[name])) for name in self.fields}
        observed = Observed(self.counts, self.observes)
        observed.load('state["observed"]', state["observed"])
        with self._lock:
            self.load_fields(fields)
            self._observed = observed
            self.forget_tables()

    def _check_whose(self, state: Mapping[str, ArrayLike]) -> None:
        """Refuse a state of other groups or other settings."""
        counts = arguments.numbers('state["counts"]', to_host(state["counts"]))
        if len(counts) != len(self.counts):
            raise InputError(f'state["counts"] has length {len(counts)}; expected {len(self.counts)} (groups)')
        other = np.flatnonzero(counts != self.counts)
        if other.size:
            group = other[0]
            raise InputError(
                f'state["counts"][{group}] is {counts[group]}; expected {self.counts[group]}: a state of these groups'
            )
        settings = arguments.numbers('state["settings"]', to_host(state["settings"]))
        if not np.array_equal(settings, self._settings_array()):
            names = ", ".join(self._settings) or "no settings"
            raise InputError(
                f'state["settings"] is {settings.tolist()}; expected {self._settings_array().tolist()} ({names})'
            )

    def _settings_array(self) -> NDArray[np.float64]:
        return np.array(list(self._settings.values()), dtype=np.float64)

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings, "state": self.state()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self.__init__(pickled["state"]["counts"], **pickled["settings"])  # type: ignore[misc]
        self.load_state(pickled["state"])

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self._settings.items())
        return f"{type(self).__name__}({self.counts.tolist()}{settings})"


_alive: weakref.WeakSet[GroupWeighting] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a forked child: a thread that held a lock isn't there to open it."""
    for weighting in _alive:
        weighting._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
