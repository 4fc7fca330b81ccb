"""Whatever array comes, of any type, shape and layout: the result of a plain copy of it, or one line of refusal."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import dbpt
from dbpt import evaluation, groups, label_attributes
from dbpt.errors import InputError
from dbpt.groups.ids import random_part
from dbpt.sampling import GroupSampler, WeightedSampler

NATIVE = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
DTYPES = st.one_of(
    st.sampled_from([np.dtype(dtype) for dtype in NATIVE]),
    hnp.scalar_dtypes(),
    st.sampled_from([np.dtype(object), np.dtype([("g", np.int64)]), np.dtype("V3"), np.dtype("S2"), np.dtype("U1")]),
)


def unaligned(array):
    if array.dtype.hasobject or array.size == 0:
        return array
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    raw[...] = array
    return raw


def read_only(array):
    array.flags.writeable = False
    return array


LAYOUTS = [
    lambda array: array,
    lambda array: array[..., ::-1] if array.ndim else array,
    lambda array: np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array,
    np.asfortranarray,
    unaligned,
    read_only,
    lambda array: np.broadcast_to(array, (3, *array.shape)),
]


@st.composite
def foreign_arrays(draw, dtypes=DTYPES):
    dtype = draw(dtypes)
    elements = None
    if dtype.kind in "iu" and draw(st.booleans()):
        elements = st.integers(0 if dtype.kind == "u" else -1, 5)  # mostly what is right
    one_dimension = st.tuples(st.integers(0, 9))
    shape = draw(one_dimension | hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if dtype.kind == "O":
        array = np.empty(shape, object)
        array.fill(draw(st.sampled_from([None, 1, "x", 2.5, []])))
    elif dtype.kind == "V":
        array = np.zeros(shape, dtype)
    else:
        array = draw(hnp.arrays(dtype, shape, elements=elements))
    return draw(st.sampled_from(LAYOUTS))(array)


def attempt(call, *arguments, **keywords):
    """The result, or None where the input was refused in one line."""
    try:
        return call(*arguments, **keywords)
    except InputError as error:
        assert str(error)
        return None


@pytest.mark.parametrize("method", ["argmax", "proportional", "kmeans"])
@given(array=foreign_arrays())
@settings(max_examples=80)
@example(array=np.array([[0.0, 1e300]]))
@example(array=np.array([[1.0, 2.0], [3.0, np.nan]], ">f2"))
def test_logits(method, array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fewer clusters than asked for
        found = attempt(label_attributes, array, method=method)
    with np.errstate(all="ignore"):
        is_logits = array.ndim == 2 and array.dtype.kind == "f" and array.shape[0] > 0 and array.shape[1] > 1
        fits = is_logits and bool((np.abs(array.astype(np.float32)) <= 1e15).all())
    if found is None:
        assert not fits
        return
    assert fits
    assert np.array_equal(found.confidence, found.posterior[np.arange(len(array)), found.pseudo_attributes])
    assert (found.posterior.max(axis=1) - found.confidence).max() <= 1e-6


@pytest.mark.parametrize("argument", ["fit_on", "out", "posterior", "confidence", "proportions"])
@given(array=foreign_arrays())
@settings(max_examples=40)
def test_other_arrays_of_label_attributes(argument, array):
    rows = len(array) if array.ndim and len(array) else 3
    logits = np.random.default_rng(0).normal(20, 3, (rows, 2)).astype(np.float32)
    keywords = {"proportions": [1, 1], argument: array}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one row can't be halved
        found = attempt(label_attributes, logits, **keywords)
        if found is not None and argument in ("out", "posterior", "confidence"):
            name = "pseudo_attributes" if argument == "out" else argument
            assert getattr(found, name) is array
            plain = label_attributes(logits, proportions=[1, 1])
            assert np.array_equal(array, getattr(plain, name))
        elif found is not None:
            assert array.shape == ((rows,) if argument == "fit_on" else (2,))


# --- samplers and group weights; by function: a call, and arrays it takes. Others take theirs by the same code.


GROUPS, CLASSES = np.array([0, 1, 3, 2, 3, 1]), np.array([0, 0, 1, 1, 1, 0])
UNKNOWN = GROUPS * [1, 1, 1, 1, 0, 0] - [0, 0, 0, 0, 1, 1]
SHARES, SIZES = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 2, 1, 2])
P_TRUE = np.array([0.5, 0.25, 1.0, 0.0, 0.125, 0.75])


def weighed(rule, method=None, **arrays):
    if method is not None:
        getattr(rule, method)(**arrays)
    rule.step()
    return rule.group_weights


def resumed(make, **state):
    return weighed(make(), "load_state", state={**half_way(make), **state})


def half_way(make):
    rule = make()
    for values in (P_TRUE, P_TRUE / 2):
        rule.step()
        rule.observe(GROUPS, values)
    return rule.state()


def weights():
    return dbpt.GroupWeights(SIZES, eta=1.0, momentum=0.5)


def dro():
    return dbpt.GroupDRO(SIZES, step_size=1.0)


NUMBERS = {"num_classes": 2, "num_attributes": 2}
RIGHT, ATTRIBUTES = P_TRUE > 0.3, np.array([0, -1, 1, 0, -1, 1])
GROUPED, BY_WEIGHT = (
    {"groups": UNKNOWN, "labels": CLASSES, "shares": SHARES},
    {"groups": GROUPS, "group_weights": SHARES},
)
CALLS = {
    "GroupSampler": (lambda **arrays: GroupSampler(unknown="class", **arrays).indices(), GROUPED),
    "GroupSampler by weights": (lambda **arrays: GroupSampler(**arrays).indices(), BY_WEIGHT),
    "WeightedSampler": (lambda weights: WeightedSampler(weights, 9).indices(), {"weights": SHARES}),
    "GroupWeights": (lambda counts: weighed(dbpt.GroupWeights(counts, 1.0, 0.5)), {"counts": SIZES}),
    "GroupWeights.observe": (
        lambda **rows: weighed(weights(), "observe", **rows),
        {"groups": GROUPS, "p_true": P_TRUE},
    ),
    "GroupWeights.load_state": (lambda **state: resumed(weights, **state), half_way(weights)),
    "GroupWeights.sample_weights": (
        lambda **arrays: weights().sample_weights(**arrays, num_classes=2),
        {"groups": UNKNOWN, "labels": CLASSES},
    ),
    "GroupDRO.load_state": (lambda **state: resumed(dro, **state), half_way(dro)),
    "group_metrics": (
        lambda **arrays: dbpt.group_metrics(**arrays, **NUMBERS).worst_group_accuracy,
        {"predictions": RIGHT * 1, "labels": CLASSES, "attributes": ATTRIBUTES, "confidence": P_TRUE},
    ),
    "explained_errors": (
        lambda **arrays: evaluation.explained_errors(**arrays, **NUMBERS, permutations=9, bootstraps=0).n,
        {"right": RIGHT, "labels": CLASSES, "attributes": ATTRIBUTES},
    ),
    "pseudo_attribute_quality": (
        lambda **arrays: dbpt.pseudo_attribute_quality(**arrays, **NUMBERS).confusion,
        {"pseudo_attributes": ATTRIBUTES, "attributes": CLASSES - 1, "labels": CLASSES},
    ),
    "gap_interval": (evaluation.gap_interval, {"correct": SIZES - 1, "counts": SIZES, "shares": SHARES}),
    "difference": (
        evaluation.worst_group_difference_interval,
        {"correct": RIGHT, "baseline": ~RIGHT, "groups": UNKNOWN},
    ),
    "worst_group_mean": (groups.worst_group_mean, {"values": P_TRUE, "groups": UNKNOWN}),
    "group_ids": (partial(groups.group_ids, num_attributes=2), {"labels": CLASSES, "attributes": ATTRIBUTES}),
    "group_counts": (partial(groups.group_counts, num_groups=4), {"groups": UNKNOWN}),
    "random_part": (lambda strata: random_part(strata, lambda n: n // 2, 0), {"strata": CLASSES}),
    "raked_weights": (partial(groups.raked_weights, sizes=[2]), {"counts": SHARES}),
}


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


TARGETS = [(name, argument) for name, (_, arrays) in CALLS.items() for argument in arrays]


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_work_as_they_stand(name):
    call, arrays = CALLS[name]
    assert call(**{argument: array.copy() for argument, array in arrays.items()}) is not None


@pytest.mark.parametrize(("name", "argument"), TARGETS, ids=map(".".join, TARGETS))
@given(st.data())
@settings(max_examples=20)
def test_arrays_are_used_as_they_are_or_refused(name, argument, data):
    call, arrays = CALLS[name]
    array = data.draw(foreign_arrays() | nearly(arrays[argument]))
    copy = plain(array)

    def result_of(array):
        copies = {other: given.copy() for other, given in arrays.items()}
        return attempt(call, **{**copies, argument: array})

    found = result_of(array)
    np.testing.assert_array_equal(plain(array), copy)
    if found is not None:
        np.testing.assert_equal(flat(found), flat(result_of(copy)))


# --- (N, 1) and what has no order is refused by name; other containers give the same


VECTORS = [(*CALLS[name], argument) for name, argument in TARGETS if CALLS[name][1][argument].ndim == 1]
NO_VECTORS = {
    "(N, 1)": lambda array: array[:, None],
    "(1, N)": lambda array: array[None],
    "column of a frame": lambda array: pd.DataFrame({"a": array}),
    "frame": lambda array: pd.DataFrame({"a": array, "b": array}),
    "dict": lambda array: dict(enumerate(array.tolist())),
    "set": lambda array: set(array.tolist()),
    "str": lambda array: "".join(map(str, array.astype(int))),
    "generator": lambda array: (value for value in array.tolist()),
    "tensor without data": lambda array: torch.tensor(array).to("meta"),
}


@pytest.mark.parametrize("kind", NO_VECTORS)
def test_what_is_no_vector_is_refused_by_name(kind):
    for call, arrays, argument in VECTORS:
        with pytest.raises(InputError, match=rf"^(state\W+)?{argument}\W"):
            call(**{**arrays, argument: NO_VECTORS[kind](arrays[argument])})


SAME = {
    "shuffled": lambda array: pd.Series(array, index=[f"r{row * 5 % 7}" for row in range(len(array))]),
    "categorical": lambda array: pd.Series(array).astype("category"),
    "objects": lambda array: array.astype(object),
    "tensor": lambda array: torch.tensor(array, requires_grad=array.dtype.kind == "f"),
    "tensors": lambda array: list(torch.tensor(array)),
    "None": lambda array: [None if value == -1 else value for value in array.tolist()],
    "NaN": lambda array: np.where(array == -1, np.nan, array) if (array == -1).any() else array,
    "NA": lambda array: pd.Series(array).astype("Int64").mask(array == -1) if (array == -1).any() else array,
    "masked": lambda array: np.ma.masked_equal(array, -1),
}


@pytest.mark.parametrize("kind", SAME)
def test_other_containers_and_missing_values_give_the_same(kind):
    for call, arrays, argument in VECTORS:
        found = call(**{**arrays, argument: SAME[kind](arrays[argument])})
        np.testing.assert_equal(flat(found), flat(call(**arrays)))


@pytest.mark.parametrize("name", ["group_ids", "group_metrics", "pseudo_attribute_quality"])
def test_columns_with_one_index_in_different_orders_are_refused(name):
    call, arrays = CALLS[name]
    labels, attributes = pd.Series(arrays["labels"]), pd.Series(arrays["attributes"], [5, 4, 3, 2, 1, 0])
    with pytest.raises(InputError, match=r"^(attr\w+|labels) has the index of \w+ in another order; give \w+\.loc\["):
        call(**{**arrays, "labels": labels, "attributes": attributes})
