"""Checks of arguments that several modules share: each returns the value in its final type, or raises `InputError`."""

import operator
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.errors import InputError, per_cent_hint

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs


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


def path(name: str, value: Any) -> Path:
    """Return `value` as a path; refuse what is none."""
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name} is {in_one_line(value)}; expected a path, as text or pathlib.Path")
    return Path(value)


def check_order(name: str, values: Any, way_out: str) -> None:
    """Refuse a Series of pandas whose index has different integers out of order; its values are read by position."""
    index = np.asarray(getattr(values, "index", None) if hasattr(values, "iloc") else None)
    if index.dtype.kind in "iu" and (index[1:] < index[:-1]).any() and len(np.unique(index)) == len(index):
        raise InputError(f"{name}: its index has integers out of order; {way_out}")


def check_same_order(**columns: Any) -> None:
    """Refuse columns of pandas with the same unique index in different orders; all are read by position."""
    indices = [(name, values.index) for name, values in columns.items() if hasattr(values, "iloc")]
    for (name, index), (other, moved) in pairwise(indices):
        if not moved.equals(index) and len(moved) == len(index) and moved.is_unique and moved.isin(index).all():
            way_out = f"give {other}.loc[{name}.index], or .to_numpy() of both if their rows correspond"
            raise InputError(f"{other} has the index of {name} in another order; {way_out}")


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
        raise InputError(f"{name} is {value!r}; expected a number from 0 to 1{per_cent_hint(value)}")
    return float(value)


def is_tensor(value: object) -> "TypeIs[torch.Tensor]":
    """Return whether `value` is a torch tensor, without importing torch: a tensor exists only if that was done."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and isinstance(value, tensor)


def check_backbone(backbone: object) -> None:
    """Refuse what is no `Backbone`, such as the name of one."""
    if not hasattr(type(backbone), "encoder_key"):
        raise InputError(f"backbone is {in_one_line(backbone)}; expected the Backbone that dbpt.load_backbone returns")


def to_host(name: str, value: Any) -> Any:
    """Return a tensor as a NumPy array without its gradient; types that NumPy lacks, such as bfloat16, as float32."""
    if not is_tensor(value):
        return value
    import torch

    try:
        tensor = value.detach().cpu()
        is_known = tensor.dtype in (torch.float16, torch.float32, torch.float64) or not tensor.is_floating_point()
        return (tensor if is_known else tensor.float()).numpy()
    except (RuntimeError, TypeError, ValueError):
        raise InputError(
            f"{name} is a tensor that cannot be copied to the host ({value.layout}, {value.device})"
        ) from None


def array(name: str, values: Any) -> NDArray[Any]:
    """Return `values` as an array, without a copy if possible; refuse ragged lists and what holds no rows in order.

    Masked values become None.
    """
    if np.ma.is_masked(values):
        values = np.array(values.tolist(), dtype=object)
    host = to_host(name, values)
    try:
        result = np.asarray(host)
    except (RuntimeError, TypeError, ValueError):
        if isinstance(values, list | tuple):
            raise InputError(f"{name} is ragged, or holds what NumPy cannot read; expected an array{JOIN}") from None
        result = np.empty(())
    if result.ndim == 0:  # what NumPy makes of a dict, a set, a generator or a text; or a data set of torch
        expected = "an array, a list, a tensor or a column of a data frame"
        expected += ", with a value for each row (a loss: reduction='none')" if is_tensor(values) else ""
        expected += "; groups are labels * A + result.pseudo_attributes" if hasattr(values, "pseudo_attributes") else ""
        raise InputError(f"{name} is {in_one_line(values)}, of type {type(values).__name__}; expected {expected}")
    return result


JOIN = "; torch.cat or numpy.concatenate makes one of several batches"
KINDS = {"": "values", "b": "booleans", "iu": "integers", "iuf": "numbers", "biuf": "numbers"}


def vector(
    name: str, values: ArrayLike, kinds: str, length: int | None = None, *, per: str = "group", unknown: bool = False
) -> NDArray[Any]:
    """Return `values` as an array (N,), or (length,), without a copy if possible. Nothing is flattened.

    Args:
        name: the name of the argument, for messages.
        values: an array, list, tensor or column. Integers may also be objects, as pandas holds them.
        kinds: the kinds of its dtype: one of `KINDS`, "" for any.
        length: the number of values, one for each of what ``per`` names.
        unknown: whether integers may be unknown; None, NaN and pandas' NA become -1 then.
    """
    vector = array(name, values)
    if vector.dtype == object and vector.ndim == 1 and kinds:
        vector = array(name, [np.nan if is_missing(value) else value for value in vector.tolist()])
    if kinds == "iu" and vector.ndim == 1 and vector.dtype.kind == "f" and (missing_N := np.isnan(vector)).any():
        # Beside missing values, NumPy and pandas hold integers as floats.
        with np.errstate(over="ignore"):
            vector = vector.astype(np.float64)
        valid_N = (missing_N & unknown) | ((np.abs(vector) < 2.0**53) & (vector == np.trunc(vector)))
        check_each(name, vector, valid_N, "an integer" + (", or -1, None or NaN where unknown" if unknown else ""))
        vector = np.where(missing_N, -1, vector).astype(np.int64)
    if not length and vector.ndim == 1 and not vector.size:
        return np.empty(0, {"b": np.bool_, "iu": np.int64}.get(kinds))  # NumPy makes an empty list one of floats
    is_kind = not kinds or vector.dtype.kind in kinds
    if vector.ndim != 1 or not is_kind or length not in (None, len(vector)):
        expected = f"({'N' if length is None else length},) {KINDS[kinds]}"
        expected += "" if length is None else f", one for each {per}"
        if vector.ndim == 1 and kinds == "iu" and not is_kind:
            is_number = vector.dtype.kind in "bf"
            if not is_number or (vector == np.trunc(vector)).all():  # not of scores, whose fractions would be lost
                expected += f" ({'.astype(int)' if is_number else 'numpy.unique(..., return_inverse=True)'} makes them)"
        if kinds == "iu" and vector.ndim == 2 and is_kind and (vector.sum(axis=1) == 1).all():
            expected += " (.argmax(axis=1) of one-hot rows)"
        if vector.ndim == 2 and isinstance(values, list | tuple):
            expected += JOIN
        frame = f" (a {type(values).__name__})" if hasattr(values, "columns") else ""
        expected += "; give one column, or .groupby(COLUMNS).ngroup() of several" if frame and kinds == "iu" else ""
        raise InputError(f"{name}{frame} has shape {vector.shape} and dtype {vector.dtype}; expected {expected}")
    return vector


def is_missing(value: object) -> bool:
    """Return whether a value is None, NaN, or pandas' NA or NaT."""
    is_nan = isinstance(value, (float, np.floating)) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def integers(
    name: str, values: ArrayLike, length: int | None = None, *, per: str = "group", unknown: bool = False
) -> NDArray[np.int64]:
    """Return `values` as contiguous int64 (N,), or (length,); see `vector`."""
    return as_int64(name, vector(name, values, "iu", length, per=per, unknown=unknown))


def as_int64(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return integers as contiguous int64; refuse larger ones, which uint64 can hold."""
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise InputError(f"{name} holds {values.max()}; expected integers up to 2**63 - 1")
    return np.ascontiguousarray(values, dtype=np.int64)


def numbers(name: str, values: ArrayLike, length: int | None = None, *, per: str = "group") -> NDArray[np.float64]:
    """Return `values` as contiguous float64 (N,), or (length,); see `vector`."""
    return np.ascontiguousarray(vector(name, values, "iuf", length, per=per), dtype=np.float64)


def floats(name: str, values: ArrayLike, length: int | None = None, *, per: str = "group") -> NDArray[Any]:
    """Return `values` as a contiguous array, see `vector`; other types than float16 to float64 become float64."""
    array_N = vector(name, values, "iuf", length, per=per)
    is_kept = array_N.dtype.type in (np.float16, np.float32, np.float64)
    return np.require(array_N, dtype=array_N.dtype.type if is_kept else np.float64, requirements=["C", "A"])


def group_numbers(name: str, values: ArrayLike, length: int, *, per: str = "group") -> NDArray[np.float64]:
    """Return `values` as float64 (length,), a finite number for each of what ``per`` names, 0 or above."""
    numbers_G = numbers(name, values, length, per=per)
    check_each(name, numbers_G, np.isfinite(numbers_G) & (numbers_G >= 0), "a finite number, 0 or above")
    return numbers_G


def check_each(name: str, values: NDArray[Any], valid: NDArray[np.bool_], expected: str) -> None:
    """Refuse the first of `values` (N,) that is not `valid` (N,)."""
    for row in np.flatnonzero(~valid)[:1]:
        raise InputError(f"{name}[{row}] is {values[row]}; expected {expected}")


def expanded(path: str | Path, advice: str = "write the path in full, or ./ before a name that begins with ~") -> str:
    """Return a path with ``~`` or ``~user`` at its beginning replaced by the home folder."""
    text = os.path.expanduser(path)  # noqa: PTH111 (Path.expanduser raises where there is no home)
    if text.startswith("~"):
        raise InputError(f"{path}: {Path(text).parts[0]} is not a home folder here; {advice}")
    return text
