"""`WeightedSampler`: independent draws of row numbers, with a weight for each row."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import AliasTable, Stream, WeightedStream
from dbpt.errors import InputError
from dbpt.groups.tensors import to_host
from dbpt.sampling.epochs import MAX_DRAWS, EpochSampler
from dbpt.sampling.sharding import Shard, check_dataset, checked_seed

if TYPE_CHECKING:
    import torch


class WeightedSampler(EpochSampler[int, "_Weights"]):
    """Draw row numbers with replacement, each with a probability proportional to its weight.

    The distribution is that of `torch.utils.data.WeightedRandomSampler`, without its limit of 2**24 rows. Draw i of an
    epoch is a pure function of the weights, `seed`, the number of the epoch and i, for any ranks, workers and threads.
    It takes O(1) from an alias table of 8 bytes per row. The table is exact to 2**-39 in total variation for up to
    10**7 rows. A row with weight 0, or below 2**-64 of the sum, is never drawn.

    `EpochSampler` explains epochs and passes. A state contains only a digest of the weights, so load it into a sampler
    that was built with the same ones. If it was saved after `set_weights` during the previous pass, build the sampler
    with the weights of that pass, load the state, and call `set_weights` again. A state from the end of a pass needs
    only the new weights.

    Args:
        weights: (N,) array, list or tensor of any real type; finite, 0 or above, at least one above 0. A tensor on a
            GPU is copied to the host. The sampler reads them once and doesn't keep them.
        num_samples: draws in an epoch, over all ranks.
        seed, rank, num_replicas, drop_last, generator, dataset, num_threads: as in `EpochSampler`.

    Example:
        >>> sampler = WeightedSampler([1, 0, 3, 6], num_samples=8, seed=1)
        >>> list(sampler)
        [3, 2, 3, 3, 3, 3, 2, 3]
    """

    _drawn_from = "weights"

    def __init__(
        self,
        weights: ArrayLike | torch.Tensor,
        num_samples: int,
        *,
        seed: int | None = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
        generator: None = None,
        dataset: Sized | None = None,
        num_threads: int | None = None,
    ) -> None:
        array = _floats(weights)
        self._num_rows, threads = len(array), arguments.num_threads(num_threads)
        check_dataset(dataset, "weights", self._num_rows)
        shard = Shard.checked(rank, num_replicas, drop_last)
        super().__init__(("num_samples", num_samples), shard, checked_seed(seed, generator, shard), num_threads)
        self._distribution = _Weights.of(array, threads)

    @property
    def num_samples(self) -> int:
        """Draws in an epoch, over all ranks."""
        return self._length

    @property
    def num_rows(self) -> int:
        """N, the number of weights."""
        return self._num_rows

    def set_weights(self, weights: ArrayLike | torch.Tensor) -> None:
        """Use other weights (N,) from the next pass on. A pass that has begun or was loaded keeps its own."""
        array = _floats(weights)
        if len(array) != self._num_rows:
            raise InputError(f"weights has length {len(array)}; expected {self._num_rows}, as before")
        self._set_distribution(_Weights.of(array, self._threads()))

    def _open(self, distribution: _Weights, epoch: int) -> Stream:
        if distribution.table is None:
            raise InputError(
                "the weights of this pass are missing: the loaded state was saved after set_weights; call set_weights "
                "with the same weights again before the pass begins"
            )
        return WeightedStream(distribution.table, self.num_samples, self.seed, epoch)

    def _digest(self) -> int:
        return self._distribution.digest

    def _distributions_to_state(self, current: _Weights, upcoming: _Weights) -> dict[str, int | list[float]]:
        digests = {"weights_digest": current.digest, "next_weights_digest": upcoming.digest}
        return {**digests, "num_samples": self.num_samples}

    def _distributions_from_state(self, state: dict[str, Any]) -> tuple[_Weights, _Weights, int]:
        num_samples = arguments.integer("state['num_samples']", state["num_samples"], 1, MAX_DRAWS)
        position = arguments.integer("state['position']", state["position"], 0, num_samples)
        digests = [
            arguments.integer(f"state[{key!r}]", state[key], 0, 2**63 - 1)
            for key in ("weights_digest", "next_weights_digest")
        ]
        known = {each.digest: each for each in (self._distribution, self._next_distribution) if each is not None}
        current, upcoming = (known.get(digest) for digest in digests)
        if current is None and position == num_samples:
            current = upcoming  # the pass is finished and draws nothing more
        if current is None:
            raise InputError(
                "state['weights_digest'] differs: the state was saved with other weights; use the same ones, those of "
                "the pass it was saved in"
            )
        return current, _Weights(None, digests[1]) if upcoming is None else upcoming, num_samples

    def __repr__(self) -> str:
        return f"WeightedSampler(num_rows={self.num_rows}, num_samples={self.num_samples}, {self._shown_epoch()})"


@dataclass(frozen=True)
class _Weights:
    """An alias table and its digest. The table is None for weights that a state names but that are not set yet."""

    table: AliasTable | None
    digest: int

    @classmethod
    def of(cls, weights: NDArray[np.floating], num_threads: int) -> _Weights:
        table = AliasTable(weights, num_threads)
        return cls(table, table.digest(num_threads))


def _floats(weights: ArrayLike | torch.Tensor) -> NDArray[np.floating]:
    """Return (N,) float64 or float32, contiguous and in native byte order, without a copy if possible."""
    array = arguments.array("weights", to_host("weights", weights))
    if array.dtype.kind not in "iuf":
        raise InputError(f"weights has dtype {array.dtype}; expected real numbers")
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"weights has shape {array.shape}; expected (N,) with at least one row")
    kept = array.dtype.itemsize in (4, 8) and array.dtype.kind == "f"
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes infinite, which is refused
        return np.require(array, array.dtype.newbyteorder("=") if kept else np.float64, ["C", "A"])
