"""Whatever array comes, of any type, shape and layout: a right result, or one line that says what is wrong."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dbpt import label_attributes
from dbpt.errors import InputError

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
    except (InputError, TypeError) as error:
        assert str(error)
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("method", ["argmax", "proportional", "kmeans"])
@given(array=foreign_arrays())
@settings(max_examples=120)
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
@settings(max_examples=150)
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
