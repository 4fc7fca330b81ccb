"""What a pass of `WeightedSampler` draws from: weights in the form that its mode needs, known by a digest."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import AliasTable, SampleWeights, SuccessiveStream, WeightedStream
from dbpt.errors import InputError
from dbpt.sampling.rows import RowStream


class WeightLaw(ABC):
    """Weights (N,) one can draw from."""

    def __init__(self) -> None:
        self._digest: int | None = None

    @property
    def digest(self) -> int:
        """63 bits by which a state recognises the weights, computed when first asked for, in O(N)."""
        if self._digest is None:
            self._digest = self._find_digest()
        return self._digest

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _find_digest(self) -> int: ...

    @abstractmethod
    def stream(self, length: int, seed: int, epoch: int) -> RowStream:
        """Return the draws of an epoch, or raise an `InputError` if there can't be so many."""


class WithReplacement(WeightLaw):
    """An alias table."""

    def __init__(self, weights: NDArray[np.floating]) -> None:
        super().__init__()
        self._table = AliasTable(weights, arguments.num_threads())

    def __len__(self) -> int:
        return len(self._table)

    def _find_digest(self) -> int:
        return self._table.digest(arguments.num_threads())

    def stream(self, length: int, seed: int, epoch: int) -> RowStream:
        return WeightedStream(self._table, length, seed, epoch)


class WithoutReplacement(WeightLaw):
    """The weights themselves, from which each epoch makes keys."""

    def __init__(self, weights: NDArray[np.floating]) -> None:
        super().__init__()
        self._weights = SampleWeights(weights, arguments.num_threads())

    def __len__(self) -> int:
        return len(self._weights)

    def _find_digest(self) -> int:
        return self._weights.digest(arguments.num_threads())

    def stream(self, length: int, seed: int, epoch: int) -> RowStream:
        return SuccessiveStream(self._weights, length, seed, epoch)


class Awaited(WeightLaw):
    """Weights that a loaded state names but nobody has given yet."""

    def __init__(self, digest: int) -> None:
        super().__init__()
        self._digest = digest

    def __len__(self) -> int:
        raise AssertionError("the current law has the rows")

    def _find_digest(self) -> int:
        raise AssertionError("known from the state")

    def stream(self, length: int, seed: int, epoch: int) -> RowStream:
        raise InputError(
            "the weights of this pass are missing: the loaded state was saved after set_weights; call set_weights with "
            "the same weights again before the pass begins"
        )


def weight_law(weights: ArrayLike | torch.Tensor, replacement: bool, num_rows: int | None = None) -> WeightLaw:
    """Prepare `weights` (N,), of any real type; `num_rows` is what N must be."""
    array = _floats(weights)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"weights has shape {array.shape}; expected (N,) with at least one row")
    if num_rows is not None and len(array) != num_rows:
        raise InputError(f"weights has length {len(array)}; expected {num_rows}, as before")
    return WithReplacement(array) if replacement else WithoutReplacement(array)


def _floats(weights: ArrayLike | torch.Tensor) -> NDArray[np.floating]:
    """Return float64 or float32, contiguous and in native byte order: not copied if they are so."""
    if isinstance(weights, torch.Tensor):
        weights = _on_host(weights)
    array = arguments.array("weights", weights)
    if array.dtype.kind not in "iuf":
        raise InputError(f"weights has dtype {array.dtype}; expected real numbers")
    kept = array.dtype.itemsize in (4, 8) and array.dtype.kind == "f"
    with np.errstate(over="ignore"):  # longdouble beyond float64 is infinite, and refused for it
        return np.require(array, array.dtype.newbyteorder("=") if kept else np.float64, ["C", "A"])


def _on_host(weights: torch.Tensor) -> torch.Tensor:
    # NumPy has no bfloat16 and no 8-bit floats.
    kept = weights.dtype in (torch.float32, torch.float64) or not weights.dtype.is_floating_point
    try:
        return weights.detach().to("cpu") if kept else weights.detach().to("cpu", torch.float64)
    except (RuntimeError, TypeError, ValueError):
        raise InputError(
            f"weights is a tensor that cannot be copied to the host ({weights.layout}, {weights.device})"
        ) from None
