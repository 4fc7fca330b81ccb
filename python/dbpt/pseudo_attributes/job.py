"""What is to be labelled, and where the labels go: the checks of arrays that all methods share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupIndex
from dbpt.errors import InputError
from dbpt.pseudo_attributes.result import PseudoAttributes

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Job:
    """N rows of A logits, in parts that are labelled each for itself."""

    logits: NDArray[np.float16] | NDArray[np.float32]
    index: GroupIndex | None
    """The rows of each class, to be labelled class by class; None to label all together."""
    seed: int
    num_threads: int

    @property
    def num_attributes(self) -> int:
        """A."""
        return int(self.logits.shape[1])

    def parts(self) -> Iterator[Part]:
        """All rows, or those of one class after another, classes without rows left out."""
        if self.index is None:
            yield Part(None, None, len(self.logits))
            return
        for label in np.flatnonzero(self.index.counts).tolist():
            yield Part(label, self.index.members(label), int(self.index.counts[label]))


@dataclass(frozen=True)
class Part:
    """Some rows of a `Job`."""

    label: int | None
    """Their class."""
    rows: NDArray[np.int64] | None
    """Their numbers, ascending; None for all."""
    num_rows: int

    @property
    def where(self) -> str:
        """For messages."""
        return "" if self.label is None else f" of class {self.label}"


@dataclass(frozen=True)
class Outputs:
    """The arrays to fill; posterior and confidence may be unwanted."""

    labels: NDArray[np.integer[Any]]
    posterior: NDArray[np.float32] | None
    confidence: NDArray[np.float32] | None

    def arguments(self) -> dict[str, Any]:
        """As the functions of `_core` take them."""
        return {"labels_out": self.labels, "posterior_out": self.posterior, "confidence_out": self.confidence}

    def counts(self, part: Part, length: int) -> NDArray[np.int64]:
        """(length,) rows of the part with each label, counted with little memory."""
        counts = np.zeros(length, np.int64)
        for start in range(0, part.num_rows, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            labels = self.labels[chunk] if part.rows is None else self.labels[part.rows[chunk]]
            counts += np.bincount(labels, minlength=length)
        return counts


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


def checked_index(labels: ArrayLike | None, num_rows: int, num_threads: int) -> GroupIndex:
    """The rows of each class."""
    if labels is None:
        raise InputError("labels is None with within_class=True; expected the class of each row")
    array = arguments.array("labels", labels)
    if array.shape != (num_rows,) or array.dtype.kind not in "iu":
        raise InputError(f"labels has shape {array.shape} and dtype {array.dtype}; expected ({num_rows},) integers")
    for start in range(0, num_rows, _CHUNK):
        negative = np.flatnonzero(array[start : start + _CHUNK] < 0)
        if negative.size:
            row = start + int(negative[0])
            raise InputError(f"labels[{row}] is {array[row]}; expected a class, 0 or above")
    array = np.require(array, array.dtype.newbyteorder("="), ["C", "A"])
    try:
        return GroupIndex(array, num_threads=num_threads)
    except InputError as error:
        raise InputError(str(error).replace("groups", "labels")) from None
