"""What is to be labelled, and where the labels go: the checks of arrays that all methods share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.pseudo_attributes.result import PseudoAttributes

MOST_ROWS = 1 << 16  # of a sample: the standard error of a share is then below 0.002
MOST_VALUES = 1 << 17  # so that many attributes take no longer than a few
MAX_VALUE = 1e15
_GOLDEN_RATIO = 0.6180339887498949
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Job:
    """N rows of A logits, and which of them a method is fitted on."""

    logits: NDArray[np.float16] | NDArray[np.float32]
    fit_rows: NDArray[np.int64] | None
    """Row numbers, ascending; None for all."""
    seed: int
    num_threads: int

    @property
    def num_attributes(self) -> int:
        """A."""
        return int(self.logits.shape[1])

    def sample(self) -> NDArray[np.float64]:
        """(n, A) logits of the rows to fit on: all, or one of each of n equal stretches where they are many.

        At uneven places, so that rows that repeat are met evenly too; always the same ones.
        """
        num_rows = len(self.logits) if self.fit_rows is None else len(self.fit_rows)
        n = max(1, min(num_rows, MOST_ROWS, MOST_VALUES // self.num_attributes))
        places = np.arange(n)
        if n < num_rows:
            places = ((places + places * _GOLDEN_RATIO % 1) * (num_rows / n)).astype(np.int64)
        rows = places if self.fit_rows is None else self.fit_rows[places]
        logits = self.logits[rows].astype(np.float64)
        bad = np.argwhere(~(np.abs(logits) <= MAX_VALUE))
        if bad.size:  # in the words of the core, which checks all rows when it labels them
            position, column = bad[0]
            found = str(logits[position, column]).replace("nan", "NaN")
            raise InputError(f"logits[{rows[position]}, {column}] is {found}; expected a finite number within ±1e15")
        return logits


@dataclass(frozen=True)
class Outputs:
    """The arrays to fill; posterior and confidence may be unwanted."""

    labels: NDArray[np.integer[Any]]
    posterior: NDArray[np.float32] | None
    confidence: NDArray[np.float32] | None

    def arguments(self) -> dict[str, Any]:
        """As the functions of `_core` take them."""
        return {"labels_out": self.labels, "posterior_out": self.posterior, "confidence_out": self.confidence}


@dataclass(frozen=True)
class WantedOutputs:
    """What the caller wants filled: the arguments `out`, `posterior` and `confidence` of `label_attributes`."""

    labels: Any
    posterior: Any
    confidence: Any
    num_rows: int
    min_confidence: float

    def __post_init__(self) -> None:
        if self.labels is not None:
            _check_buffer("out", self.labels, (self.num_rows,), "iu")
            if self.min_confidence > 0 and self.labels.dtype.kind == "u":
                raise InputError(
                    f"min_confidence is {self.min_confidence} with out of {self.labels.dtype}, which has no -1 for "
                    "rows below it; expected a signed type"
                )
        if not isinstance(self.posterior, bool):
            _check_buffer("posterior", self.posterior, None, "f")
        if not isinstance(self.confidence, bool):
            _check_buffer("confidence", self.confidence, (self.num_rows,), "f")

    def allocate(self, columns: int) -> Outputs:
        """Arrays for labels 0 to ``columns`` - 1: the caller's, or new ones."""
        labels = np.empty(self.num_rows, np.int64) if self.labels is None else self.labels
        if columns - 1 > np.iinfo(labels.dtype).max:
            raise InputError(f"out has dtype {labels.dtype}; expected one that holds labels up to {columns - 1}")
        shape, posterior = (self.num_rows, columns), None
        if self.posterior is True:
            posterior = np.zeros(shape, np.float32)
        elif self.posterior is not False:
            _check_buffer("posterior", self.posterior, shape, "f")
            posterior = self.posterior
            posterior.fill(0)
        confidence = None if isinstance(self.confidence, bool) else self.confidence
        if self.confidence is True or (self.min_confidence > 0 and confidence is None):
            confidence = np.empty(self.num_rows, np.float32)
        return Outputs(labels, posterior, confidence)

    def finish(self, found: PseudoAttributes) -> PseudoAttributes:
        """Write -1 where the confidence is too low, with little memory."""
        if self.min_confidence > 0 and found.confidence is not None:
            for start in range(0, self.num_rows, _CHUNK):
                chunk = slice(start, start + _CHUNK)
                found.pseudo_attributes[chunk][found.confidence[chunk] < self.min_confidence] = -1
        return replace(found, confidence=None) if self.confidence is False else found


def _check_buffer(name: str, buffer: Any, shape: tuple[int, ...] | None, kind: str) -> None:
    what = "integers" if kind == "iu" else "float32"
    if not isinstance(buffer, np.ndarray):
        alternatives = "an array" if kind == "iu" else "True, False or an array"
        raise InputError(f"{name} is {arguments.in_one_line(buffer)}; expected {alternatives} of {what} to fill")
    right_type = buffer.dtype.kind in "iu" if kind == "iu" else buffer.dtype == np.float32
    expected = f"{'an array of' if shape is None else shape} {what} in native byte order"
    if not right_type or not buffer.dtype.isnative or (shape is not None and buffer.shape != shape):
        raise InputError(f"{name} has shape {buffer.shape} and dtype {buffer.dtype}; expected {expected}")
    flags = buffer.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise InputError(f"{name} is read-only or not contiguous; expected a contiguous array that can be written to")


def checked_logits(logits: ArrayLike) -> NDArray[np.float16] | NDArray[np.float32]:
    """The logits as they lie if the core can read them so, otherwise a float32 copy."""
    array = arguments.array("logits", logits)
    if array.ndim != 2 or array.shape[0] == 0:
        raise InputError(f"logits has shape {array.shape}; expected (N, A) with at least one row")
    if array.shape[1] < 2:
        raise InputError(f"logits has {array.shape[1]} column; expected at least 2 attributes to tell apart")
    if array.dtype.kind != "f":
        raise InputError(f"logits has dtype {array.dtype}; expected floats")
    dtype = np.float16 if array.dtype == np.float16 else np.float32
    with np.errstate(over="ignore"):  # what becomes infinite is refused by the core, with its row
        return np.require(array, dtype, ["C", "A"])


def checked_fit_rows(fit_on: ArrayLike | None, num_rows: int) -> NDArray[np.int64] | None:
    """The rows where ``fit_on`` is true; None for all."""
    if fit_on is None:
        return None
    mask = arguments.array("fit_on", fit_on)
    if mask.shape != (num_rows,) or mask.dtype != np.bool_:
        raise InputError(f"fit_on has shape {mask.shape} and dtype {mask.dtype}; expected ({num_rows},) booleans")
    if not mask.any():
        raise InputError("fit_on is False everywhere; expected at least one row to fit on")
    return None if mask.all() else np.flatnonzero(mask)
