"""Pseudo attributes from logits: what each method does, and what bad input gets."""

import warnings

import numpy as np
import pytest
import reference
from traced_memory import traced

from dbpt.errors import InputError
from dbpt.guesses import label_attributes


def shifted_logits(rows=2000, attributes=2, shift=3.0, seed=0):
    """Clear attributes, but CLIP's threshold is off: every row leans to attribute 0 by `shift`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, attributes, rows)
    logits = rng.normal(20, 5, (rows, 1)) + rng.normal(0, 0.3, (rows, attributes))
    logits[np.arange(rows), truth] += 2.0
    logits[:, 0] += shift
    return logits.astype(np.float32), truth


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_argmax_equals_reference(dtype):
    logits = np.random.default_rng(0).normal(20, 3, (500, 3)).astype(dtype)
    found = label_attributes(logits, method="argmax")
    posterior = reference.softmax(logits.astype(np.float32))
    assert np.array_equal(found.pseudo_attributes, logits.astype(np.float32).argmax(axis=1))
    np.testing.assert_allclose(found.posterior, posterior, rtol=3e-7)


METHODS = ["argmax", "proportional", "kmeans"]


@pytest.mark.parametrize("method", METHODS)
def test_the_label_has_the_largest_posterior(method):
    logits, _ = shifted_logits(3000, attributes=3)
    found = label_attributes(logits, method=method)
    assert np.array_equal(found.posterior.argmax(axis=1), found.pseudo_attributes)
    assert np.array_equal(found.confidence, found.posterior.max(axis=1))
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1, rtol=1e-6)
    assert found.method == method
    dtypes = [array.dtype for array in (found.pseudo_attributes, found.posterior, found.confidence)]
    assert dtypes == [np.int64, np.float32, np.float32]


@pytest.mark.parametrize("method", METHODS)
def test_rows_below_min_confidence_are_left_unlabelled(method):
    rng = np.random.default_rng(0)
    logits = (rng.normal(0, 1, (2000, 2)) + [0, 1] + 3 * rng.integers(0, 2, (2000, 1)) * [1, -1]).astype(np.float32)
    everything = label_attributes(logits, method=method)
    found = label_attributes(logits, method=method, min_confidence=0.9)
    unsure = everything.confidence < np.float32(0.9)
    assert 0 < unsure.sum() < len(logits)
    assert (found.pseudo_attributes[unsure] == -1).all()
    assert np.array_equal(found.pseudo_attributes[~unsure], everything.pseudo_attributes[~unsure])
    assert np.array_equal(found.confidence, everything.confidence)
    unseen = label_attributes(logits, method=method, min_confidence=0.9, posterior=False, confidence=False)
    assert np.array_equal(unseen.pseudo_attributes, found.pseudo_attributes)
    assert unseen.posterior is None is unseen.confidence


def test_a_row_just_at_min_confidence_is_labelled():
    logits = np.array([[20.0, 20.0], [20.0, 20.1]])
    argmax = {"method": "argmax"}
    assert label_attributes(logits, **argmax, min_confidence=0.5).pseudo_attributes.tolist() == [0, 1]
    assert label_attributes(logits, **argmax, min_confidence=0.50001).pseudo_attributes.tolist() == [-1, 1]


@pytest.mark.parametrize(("method", "dtype"), list(zip(METHODS, [np.uint8, np.int16, np.uint64], strict=True)))
def test_buffers_get_what_new_arrays_would(method, dtype):
    logits, _ = shifted_logits(5000, attributes=3)
    expected = label_attributes(logits, method=method)
    out, posterior = np.full(5000, 77, dtype), np.full((5000, 3), np.nan, np.float32)
    confidence = np.full(5000, np.nan, np.float32)
    found = label_attributes(logits, method=method, out=out, posterior=posterior, confidence=confidence)
    assert found.pseudo_attributes is out
    assert found.posterior is posterior
    assert found.confidence is confidence
    assert np.array_equal(out, expected.pseudo_attributes)
    assert np.array_equal(posterior, expected.posterior)
    assert np.array_equal(confidence, expected.confidence)
    label_attributes(logits, method=method, out=out, posterior=False, confidence=False)
    assert np.array_equal(out, expected.pseudo_attributes)


@pytest.mark.parametrize(("method", "dtype"), list(zip(METHODS, [np.float16, np.float32, np.float16], strict=True)))
def test_files_mapped_into_memory_are_read_as_they_lie(method, dtype, tmp_path):
    logits, _ = shifted_logits(9000)
    logits.astype(dtype).tofile(tmp_path / "logits")
    mapped = np.memmap(tmp_path / "logits", dtype, "r", shape=(9000, 2))
    out = np.memmap(tmp_path / "labels", np.uint8, "w+", shape=(9000,))
    found = label_attributes(mapped, method=method, out=out, posterior=False, confidence=False)
    assert found.pseudo_attributes is out
    assert np.array_equal(out, label_attributes(logits.astype(dtype), method=method).pseudo_attributes)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_as_long_as_the_rows_is_allocated_beside_the_buffers(method, monkeypatch):
    monkeypatch.setattr("dbpt.guesses.base.ROWS_OF_FIT", 4096)  # of a fixed size, whatever the rows
    rows = 1_000_000
    logits, _ = shifted_logits(rows)
    logits, out = logits.astype(np.float16), np.zeros(rows, np.uint8)
    less = {"posterior": False, "confidence": False, "num_threads": 1}
    _, _, peak = traced(lambda: label_attributes(logits, method=method, out=out, **less))
    assert peak < rows  # not even a byte a row; the core allocates by blocks, and for few rows near ties


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_are_not_fitted_on_move_no_other(method):
    logits, truth = shifted_logits(3000, attributes=3)
    fit_on = np.random.default_rng(1).random(3000) < 0.6
    found = label_attributes(logits, method=method, fit_on=fit_on)
    assert (found.pseudo_attributes == truth).mean() > (0.3 if method == "argmax" else 0.99)
    changed = logits.copy()
    changed[~fit_on] = changed[~fit_on][::-1] - [0, 50, 0]
    alone = label_attributes(logits[fit_on], method=method)
    for other in (label_attributes(changed, method=method, fit_on=fit_on).posterior[fit_on], alone.posterior):
        assert found.posterior[fit_on].tobytes() == other.tobytes()
    if method != "argmax":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            everything = label_attributes(changed, method=method)
        assert (everything.posterior[fit_on] != found.posterior[fit_on]).any()


@pytest.mark.parametrize("method", METHODS)
def test_constant_logits_and_fewer_rows_than_attributes_are_labelled(method):
    for logits in (np.ones((50, 3)), np.ones((1, 2)), np.array([[1.0, 1, 1, 0]])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one cluster alone
            found = label_attributes(logits, method=method)
        assert (found.pseudo_attributes == 0).all()
        np.testing.assert_allclose(found.posterior.sum(axis=1), 1, rtol=1e-6)
    logits = np.array([[5, 1, 0, 0, 0], [0, 1, 5, 0, 0]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert label_attributes(logits, method=method).pseudo_attributes.tolist() == [0, 2]


@pytest.mark.parametrize(("method", "bad"), list(zip(METHODS, [np.nan, np.inf, -np.inf], strict=True)))
def test_nan_and_infinity_name_the_row(method, bad):
    logits, _ = shifted_logits(10)
    logits[7, 1] = bad
    with pytest.raises(InputError, match=r"^logits\[7, 1\] is (NaN|-?inf); expected a finite number"):
        label_attributes(logits, method=method)
    with pytest.raises(InputError, match=r"^logits\[0, 1\] is inf"):
        label_attributes(np.array([[0.0, 1e300]]), method=method)


ZEROS = np.zeros((5, 2))


@pytest.mark.parametrize(
    ("logits", "kwargs", "message"),
    [
        (np.zeros((5, 1)), {}, "^logits has 1 column; expected at least 2 attributes"),
        (np.zeros(5), {}, r"^logits has shape \(5,\)"),
        (np.zeros((0, 2)), {}, r"^logits has shape \(0, 2\)"),
        (np.zeros((5, 2), int), {}, "^logits has dtype int64; expected floats"),
        ([[0.5], [0.5, 1.0]], {}, "^logits is ragged"),
        (ZEROS, {"method": "kmean"}, r"^method is 'kmean'; expected one of 'proportional', .*did you mean 'kmeans'\?"),
        (ZEROS, {"min_confidence": 80}, "^min_confidence is 80; .*; 80 per cent are 0.8"),
        (ZEROS, {"min_confidence": "x"}, "^min_confidence is 'x'; expected a number from 0 to 1"),
        (ZEROS, {"method": "argmax", "proportions": [1, 1]}, "^proportions is given with method 'argmax'; expected "),
        (ZEROS, {"fit_on": [True, False]}, r"^fit_on has shape \(2,\) and dtype bool; expected \(5,\) booleans"),
        (ZEROS, {"fit_on": np.zeros(5, bool)}, "^fit_on is False everywhere; expected at least one row"),
        (ZEROS, {"seed": -1}, "^seed is -1"),
        (ZEROS, {"num_threads": 0}, "^num_threads is 0"),
        (ZEROS, {"out": [0] * 5}, r"^out is \[0, 0, 0, 0, 0\]; expected an array of integers to fill"),
        (ZEROS, {"out": np.zeros(4, np.int64)}, r"^out has shape \(4,\) and dtype int64; expected \(5,\) integers"),
        (ZEROS, {"out": np.zeros(5)}, r"^out has shape \(5,\) and dtype float64"),
        (ZEROS, {"out": np.zeros(5, ">i4")}, r"^out has .* in native byte order"),
        (ZEROS, {"out": np.zeros(10, np.int64)[::2]}, "^out is read-only or not contiguous"),
        (ZEROS, {"out": np.zeros(5, np.uint8), "min_confidence": 0.5}, "^min_confidence is 0.5 with out of uint8"),
        (np.zeros((5, 300)), {"out": np.zeros(5, np.uint8)}, "^out has dtype uint8; expected one that holds .* 299"),
        (ZEROS, {"posterior": np.zeros((5, 3), np.float32)}, r"^posterior has shape \(5, 3\) .*; expected \(5, 2\) f"),
        (ZEROS, {"posterior": None}, "^posterior is None; expected True, False or an array of float32 to fill"),
        (ZEROS, {"confidence": 1}, "^confidence is 1; expected True, False or an array"),
        (ZEROS, {"confidence": np.zeros(6, np.float32)}, r"^confidence has shape \(6,\)"),
    ],
)
def test_bad_arguments_are_named(logits, kwargs, message):
    with pytest.raises(InputError, match=message):
        label_attributes(logits, **kwargs)


def test_a_buffer_that_is_the_input_is_refused():
    logits = np.zeros((5, 2), np.float32)
    with pytest.raises(InputError, match="^posterior_out is being written to by another call|in use"):
        label_attributes(logits, method="argmax", posterior=logits)


def test_cosines_in_place_of_logits_and_columns_of_images_are_noticed():
    with pytest.warns(UserWarning, match="^logits are within ±1, as cosines and probabilities are"):
        label_attributes([[0.2, 0.3], [0.25, 0.1]], method="argmax")
    with pytest.warns(UserWarning, match=r"^logits has shape \(2, 200\); transpose it"):
        label_attributes(np.full((2, 200), 9.0), method="argmax")
