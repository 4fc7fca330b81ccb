"""`WeightedSampler`: row numbers by a weight of each row, with or without replacement."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.sampling.epochs import EpochSampler, checked_ranks
from dbpt.sampling.rows import Rows
from dbpt.sampling.weight_laws import Awaited, WeightLaw, weight_law

_MAX_DRAWS = 2**48


class WeightedSampler(EpochSampler[int, WeightLaw]):
    """Draw row numbers with a probability proportional to a weight of each, like `WeightedRandomSampler`.

    With replacement draw i of an epoch is a pure function of the weights, `seed`, the epoch's number and i, in O(1)
    from an alias table of 8 bytes a row. Without, the rows of an epoch are those of the smallest exponential keys
    (Efraimidis and Spirakis, 2006), in this order, which is the law of ``torch.multinomial(replacement=False)``; the
    order is made at the first draw of the epoch, and the memory is 8 bytes a row and 8 bytes a draw. There is no limit
    of 2**24 rows, a row of weight 0 is never drawn, and the draws depend neither on ranks, workers or threads nor on
    the position one starts from.

    With replacement the law is exact up to N * 2**-62 in total variation (2**-38 for 10**7 rows), for weights of any
    size from the smallest to the largest float, also where their sum is beyond it.

    Epochs and passes are those of `GroupSampler`. A state holds a digest of the weights, not the weights: build the
    sampler with the same ones to load it, and if the state was saved after `set_weights` but in the pass before, build
    it with those of that pass, load, and call `set_weights` again. A state from the end of a pass needs only the new
    ones.

    Args:
        weights: (N,) of any real type, 0 or above and finite, at least one above 0: an array, a list or a tensor. A
            tensor on a GPU is copied to the host. They are read when the sampler is made, and not kept.
        num_samples: draws in an epoch, over all ranks.
        replacement: whether a row can be drawn again. If not, no more draws than weights above 0.
        seed: an integer from 0 to 2**64 - 1.
        rank: draw only every `num_replicas`-th row of the global order, from the `rank`-th on. Leave both out where
            the framework shards (Accelerate, Trainer); with Lightning give them, and
            ``Trainer(use_distributed_sampler=False)``, as it would shuffle the draws again. If `num_samples` isn't a
            multiple of `num_replicas`, the first ranks have one draw more.
        num_replicas: the number of ranks.

    Raises:
        InputError: an argument is wrong; the message names it, the value, and what was expected.

    Example:
        >>> sampler = WeightedSampler([1, 0, 3, 6], num_samples=8, seed=1)
        >>> list(sampler)
        [3, 2, 3, 3, 3, 3, 2, 3]
        >>> list(WeightedSampler([1, 0, 3, 6], num_samples=3, replacement=False))
        [3, 2, 0]
    """

    _chunk_draws = 1 << 15
    _drawn_from = "weights"

    def __init__(
        self,
        weights: ArrayLike | torch.Tensor,
        num_samples: int,
        replacement: bool = True,
        *,
        seed: int = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        self.replacement = arguments.boolean("replacement", replacement)
        num_samples = arguments.integer("num_samples", num_samples, 1, _MAX_DRAWS)
        rank, num_replicas = checked_ranks(rank, num_replicas)
        seed = arguments.seed(seed)
        law = weight_law(weights, self.replacement)
        law.stream(num_samples, seed, 0)  # checks that there can be so many draws
        self._num_rows = len(law)
        super().__init__(law, num_samples, seed, rank, num_replicas)

    @property
    def num_samples(self) -> int:
        """Draws in an epoch, over all ranks."""
        return self._length

    @property
    def num_rows(self) -> int:
        """N, the number of weights."""
        return self._num_rows

    def set_weights(self, weights: ArrayLike | torch.Tensor) -> None:
        """Use other weights (N,) from the next pass on; a pass that has begun, or was loaded, keeps its own."""
        law = weight_law(weights, self.replacement, self._num_rows)
        law.stream(self.num_samples, self.seed, 0)
        self._set_law(law)

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return draws `start` to `stop` of the current epoch's global order, as an int64 array.

        In O(stop - start); without replacement the first call in an epoch makes its order.
        """
        start = arguments.integer("start", start, 0, self.num_samples)
        stop = self.num_samples if stop is None else arguments.integer("stop", stop, start, self.num_samples)
        stream = self._stream()
        assert isinstance(stream, Rows)
        return stream.rows(start, stop)

    def _open(self, law: WeightLaw, epoch: int) -> Rows:
        return Rows(law.stream(self.num_samples, self.seed, epoch))

    def _digest(self) -> int:
        return self._law.digest

    def _check_digest(self, digest: Any) -> None:
        """Both digests say what was drawn from; `_laws_from_state` looks for their weights."""

    def _laws_to_state(self, current: WeightLaw, upcoming: WeightLaw) -> dict[str, int | list[int]]:
        return {
            "next_weights_digest": upcoming.digest,
            "num_samples": self.num_samples,
            "replacement": self.replacement,
        }

    def _laws_from_state(self, state: dict[str, Any]) -> tuple[WeightLaw, WeightLaw, int]:
        if state["replacement"] is not self.replacement:
            raise InputError(
                f"state['replacement'] is {arguments.in_one_line(state['replacement'])}; expected {self.replacement}, "
                "as this sampler was made: the draws would differ"
            )
        num_samples = arguments.integer("state['num_samples']", state["num_samples"], 1, _MAX_DRAWS)
        position = arguments.integer("state['position']", state["position"], 0, num_samples)
        digests = [
            arguments.integer(f"state[{key!r}]", state[key], 0, 2**63 - 1)
            for key in ("weights_digest", "next_weights_digest")
        ]
        known = {law.digest: law for law in (self._law, self._next_law) if law is not None}
        current, upcoming = (known.get(digest) for digest in digests)
        if current is None and position == num_samples:
            current = upcoming  # of a finished pass there is nothing left to draw
        if current is None:
            raise InputError(
                "state['weights_digest'] differs: the state was saved with other weights; use the same ones, those of "
                "the pass it was saved in"
            )
        for law in (current, upcoming):
            if law is not None:
                law.stream(num_samples, 0, 0)
        return current, Awaited(digests[1]) if upcoming is None else upcoming, num_samples

    def __repr__(self) -> str:
        law = "" if self.replacement else ", replacement=False"
        shard = f", rank={self.rank}, num_replicas={self.num_replicas}" if self.num_replicas > 1 else ""
        return (
            f"WeightedSampler(num_rows={self.num_rows}, num_samples={self.num_samples}{law}, seed={self.seed}, "
            f"epoch={self.epoch}{shard})"
        )
