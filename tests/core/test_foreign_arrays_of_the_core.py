"""Whatever array comes to a function of `_core`: the result of a plain copy of it, or one line that says what is wrong.

Every array argument of the stub has to be here. What the public functions do is in test_foreign_arrays.py.
"""

import ast
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_foreign_arrays import DTYPES, LAYOUTS, attempt, foreign_arrays

import dbpt
from dbpt import _core

INDEX = _core.GroupIndex(np.arange(6) % 3)
LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
LABELS, VALUES = np.array([0, 1]), np.array([0.5, 1.0])
QUOTAS, COUNTS = np.array([2, 2, 2]), np.ones(3)
ROWS, ENTRIES, SHARED = np.array([0, 2, 3, 5]), np.array([0, 1, 2], np.uint64), {"quotas": QUOTAS}
OUTPUTS = {
    "labels_out": np.zeros(6, np.int64),
    "posterior_out": np.zeros((6, 3), np.float32),
    "confidence_out": np.zeros(6, np.float32),
}
CENTERS = LOGITS[:3].astype(np.float64)


def written(function, *arguments, **arrays):
    """Return the result and the outputs as they are after the call."""
    outputs = {name: arrays[name] for name in OUTPUTS if name in arrays}
    found = function(*arguments, **arrays)
    return found, *outputs.values()


# By function: a call, and arrays it takes.
CALLS = {
    "GroupIndex.__new__": (lambda groups: _core.GroupIndex(groups).groups(), {"groups": QUOTAS}),
    "group_sums": (
        lambda **arrays: _core.group_sums(**arrays, num_groups=2, argument="values", least=0.0, most=1.0),
        {"groups": LABELS, "values": VALUES},
    ),
    "quotas": (
        lambda **arrays: _core.quotas(**arrays, num_samples=10, seed=0, epoch=0),
        {"shares": COUNTS, "counts": QUOTAS},
    ),
    "GroupStream.__new__": (lambda quotas: _core.GroupStream(INDEX, quotas, 0, 0).indices(0, 1), SHARED),
    "IndependentStream.__new__": (lambda quotas: _core.IndependentStream(INDEX, quotas, 9, 0, 0).indices(0, 9), SHARED),
    "BatchStream.__new__": (lambda quotas: _core.BatchStream(INDEX, quotas, 2, 0, 0).indices(0, 1), SHARED),
    "AliasTable.__new__": (lambda weights: _core.AliasTable(weights).entries(), {"weights": COUNTS}),
    "AliasTable.from_entries": (lambda entries: _core.AliasTable.from_entries(entries).entries(), {"entries": ENTRIES}),
    "assign_argmax": (partial(written, _core.assign_argmax), {"logits": LOGITS, "offsets": np.zeros(3), **OUTPUTS}),
    "kmeans": (_core.kmeans, {"logits": LOGITS, "centers": CENTERS, "rows": ROWS}),
    "assign_nearest": (
        partial(written, _core.assign_nearest, variance=1.0),
        {"logits": LOGITS, "centers": CENTERS, **OUTPUTS},
    ),
}
TARGETS = [(name, argument) for name, (_, arrays) in CALLS.items() for argument in arrays]


def array_arguments(function):
    arguments = [*function.args.args, *function.args.kwonlyargs]
    kinds = {argument.arg: ast.unparse(argument.annotation) for argument in arguments if argument.annotation}
    return {name for name, kind in kinds.items() if "NDArray" in kind}


def test_every_array_argument_of_the_stub_is_a_target():
    expected = set()
    for node in ast.parse(Path(dbpt.__file__).with_name("_core.pyi").read_text()).body:
        functions = {node.name: node} if isinstance(node, ast.FunctionDef) else {}
        if isinstance(node, ast.ClassDef):
            functions = {f"{node.name}.{f.name}": f for f in node.body if isinstance(f, ast.FunctionDef)}
        expected |= {(name, argument) for name, function in functions.items() for argument in array_arguments(function)}
    assert set(TARGETS) == expected


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_work_as_they_stand(name):
    call, arrays = CALLS[name]
    assert call(**{argument: array.copy() for argument, array in arrays.items()}) is not None


@st.composite
def nearly(draw, array):
    """`array` with another value somewhere, of another type, shape or layout, or some of these."""
    array = array.copy()
    with np.errstate(all="ignore"):
        if draw(st.booleans()):
            values = [0, -1, 1, 7, -2, 2**62, 0.5, 1e-300, 1e300, np.nan, np.inf, -np.inf]
            value = np.array(draw(st.sampled_from(values))).astype(array.dtype)
            array.flat[draw(st.integers(0, array.size - 1))] = value
        dtype = draw(st.just(array.dtype) | DTYPES.filter(lambda dtype: dtype.kind in "iuf"))
        array = array.astype(dtype)
    shapes = [lambda a: a, lambda a: a, lambda a: a[:-1], lambda a: a[:0], lambda a: a[None], lambda a: a[..., :1]]
    return draw(st.sampled_from(LAYOUTS))(draw(st.sampled_from(shapes))(array))


def plain(array):
    """A copy of the same values as NumPy makes arrays itself."""
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def flat(result):
    return [np.asarray(part).tolist() for part in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize(("name", "argument"), TARGETS, ids=map(".".join, TARGETS))
@given(st.data())
@settings(max_examples=60)
def test_arrays_are_used_as_they_are_or_refused(name, argument, data):
    call, arrays = CALLS[name]
    array = data.draw(foreign_arrays() | nearly(arrays[argument]))
    copy = plain(array)

    def result_of(array):
        copies = {other: given.copy() for other, given in arrays.items()}
        return attempt(call, **{**copies, argument: array})

    found = result_of(array)
    if not argument.endswith("_out"):
        np.testing.assert_array_equal(plain(array), copy)
    if found is not None:  # an output has a type of its own, but otherwise what another buffer gets
        np.testing.assert_equal(flat(found), flat(result_of(copy)))
