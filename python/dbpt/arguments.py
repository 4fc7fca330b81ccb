"""Checks of arguments that several modules share: each returns the value in its final type, or raises `InputError`."""

import operator
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.errors import InputError


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int from `low` to `high`; bools and floats are refused."""
    expected = f"an integer, {low} or above" if high is None else f"an integer from {low} to {high}"
    try:
        result = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {in_one_line(value)}; expected {expected}") from None
    if isinstance(value, bool) or result < low or (high is not None and result > high):
        raise InputError(f"{name} is {value!r}; expected {expected}")
    return result


def boolean(name: str, value: Any) -> bool:
    """Return `value` if it is a bool, of Python or NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} is {in_one_line(value)}; expected True or False")
    return bool(value)


def in_one_line(value: Any) -> str:
    """Return the repr of `value` in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def seed(value: Any) -> int:
    """Return a seed for the Rust core, 0 to 2**64 - 1."""
    return integer("seed", value, 0, 2**64 - 1)


def num_threads(value: Any = None) -> int:
    """Return a number of threads, by default one for each processor that this process may use."""
    return available_cpus() if value is None else integer("num_threads", value, 1, 2**16)


def available_cpus() -> int:
    """Return how many processors this process may use; in a container often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number(name: str, value: Any) -> float:
    """Return `value` as a float; text is refused."""
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{name} is {value!r}; expected a number")


def probability(name: str, value: Any) -> float:
    """Return `value` as a float from 0 to 1."""
    if not isinstance(value, (int, float, np.number)) or not 0.0 <= value <= 1.0:
        raise InputError(f"{name} is {value!r}; expected a number from 0 to 1")
    return float(value)


def array(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return `values` as an array, without a copy if possible; refuse ragged lists and tensors with a gradient."""
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError(f"{name} is ragged; expected an array") from None
    except (TypeError, RuntimeError):
        raise InputError(
            f"{name} is a {type(values).__name__} that NumPy cannot read; give an array, or of a tensor .detach().cpu()"
        ) from None


def integers(name: str, values: ArrayLike, num_groups: int | None = None) -> NDArray[np.int64]:
    """Return `values` as contiguous int64 (N,), or (num_groups,)."""
    return as_int64(name, _vector(name, values, "iu", num_groups))


def as_int64(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return integers as contiguous int64; refuse larger ones, which uint64 can hold."""
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise InputError(f"{name} holds {values.max()}; expected integers up to 2**63 - 1")
    return np.ascontiguousarray(values, dtype=np.int64)


def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as contiguous float64 (N,)."""
    return np.ascontiguousarray(_vector(name, values, "iuf"), dtype=np.float64)


def floats(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return `values` (N,) as a contiguous array; types other than float16, float32 and float64 become float64."""
    array_N = _vector(name, values, "iuf")
    is_kept = array_N.dtype.type in (np.float16, np.float32, np.float64)
    return np.require(array_N, dtype=array_N.dtype.type if is_kept else np.float64, requirements=["C", "A"])


def group_numbers(name: str, values: ArrayLike, length: int) -> NDArray[np.float64]:
    """Return `values` as float64 (length,), one finite number for each group, 0 or above."""
    numbers = np.ascontiguousarray(_vector(name, values, "iuf", length), dtype=np.float64)
    check_each(name, numbers, np.isfinite(numbers) & (numbers >= 0), "a finite number, 0 or above")
    return numbers


def check_each(name: str, values: NDArray[Any], valid: NDArray[np.bool_], expected: str) -> None:
    """Refuse the first of `values` (N,) that is not `valid` (N,)."""
    for row in np.flatnonzero(~valid)[:1]:
        raise InputError(f"{name}[{row}] is {values[row]}; expected {expected}")


def _vector(name: str, values: ArrayLike, kinds: str, length: int | None = None) -> NDArray[Any]:
    vector = array(name, values)
    if length is None and vector.ndim == 1 and not vector.size:
        return np.empty(0)  # of any type: NumPy makes an empty list one of floats
    if vector.ndim != 1 or vector.dtype.kind not in kinds or length not in (None, len(vector)):
        expected = f"({'N' if length is None else length},) {'integers' if kinds == 'iu' else 'numbers'}"
        each = "" if length is None else ", one for each group"
        raise InputError(f"{name} has shape {vector.shape} and dtype {vector.dtype}; expected {expected}{each}")
    return vector


def expanded(path: str | Path, advice: str = "write the path in full, or ./ before a name that begins with ~") -> str:
    """Return a path with ``~`` or ``~user`` at its beginning replaced by the home folder."""
    text = os.path.expanduser(path)  # noqa: PTH111 (Path.expanduser raises where there is no home)
    if text.startswith("~"):
        raise InputError(f"{path}: {Path(text).parts[0]} is not a home folder here; {advice}")
    return text
