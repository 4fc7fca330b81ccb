"""Pseudo attributes from logits: what each method does, and what bad input gets."""

import doctest
import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import dbpt.pseudo_attributes
from dbpt.errors import InputError
from dbpt.pseudo_attributes import label_attributes
from dbpt.pseudo_attributes.matching import best_assignment


def shifted_logits(rows=2000, attributes=2, shift=3.0, seed=0):
    """Clear attributes, but CLIP's threshold is off: every row leans to attribute 0 by `shift`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, attributes, rows)
    logits = rng.normal(20, 5, (rows, 1)) + rng.normal(0, 0.3, (rows, attributes))
    logits[np.arange(rows), truth] += 2.0
    logits[:, 0] += shift
    return logits.astype(np.float32), truth


def test_docstring_example():
    found = doctest.testmod(dbpt.pseudo_attributes.label)
    assert found.failed == 0
    assert found.attempted > 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_argmax_equals_reference(dtype):
    logits = np.random.default_rng(0).normal(20, 3, (500, 3)).astype(dtype)
    found = label_attributes(logits)
    posterior = reference.softmax(logits.astype(np.float32))
    assert np.array_equal(found.pseudo_attributes, logits.astype(np.float32).argmax(axis=1))
    np.testing.assert_allclose(found.posterior, posterior, rtol=3e-7)
    assert np.array_equal(found.confidence, found.posterior.max(axis=1))
    dtypes = [a.dtype for a in (found.pseudo_attributes, found.posterior, found.confidence)]
    assert dtypes == [np.int64, np.float32, np.float32]


@pytest.mark.parametrize("attributes", [2, 3, 5])
def test_kmeans_finds_attributes_behind_a_biased_threshold(attributes):
    logits, truth = shifted_logits(attributes=attributes)
    assert (label_attributes(logits).pseudo_attributes == truth).mean() < 0.6
    found = label_attributes(logits, method="kmeans", seed=1)
    assert (found.pseudo_attributes == truth).mean() > 0.95
    rows = np.arange(len(logits))
    assert np.array_equal(found.confidence, found.posterior[rows, found.pseudo_attributes])
    np.testing.assert_allclose(found.posterior, reference.softmax(logits), rtol=3e-7)


def test_kmeans_is_the_same_for_any_number_of_threads():
    logits, _ = shifted_logits(20_000)
    one, many = (label_attributes(logits, method="kmeans", num_threads=n).pseudo_attributes for n in (1, 4))
    assert np.array_equal(one, many)


def test_kmeans_within_class_clusters_each_class_for_itself():
    first, truth_first = shifted_logits(1000, shift=3.0, seed=1)
    second, truth_second = shifted_logits(1000, shift=-3.0, seed=2)
    logits, truth = np.concatenate([first, second]), np.concatenate([truth_first, truth_second])
    labels = np.repeat([0, 3], 1000)
    shuffle = np.random.default_rng(0).permutation(2000)
    logits, truth, labels = logits[shuffle], truth[shuffle], labels[shuffle]
    within = label_attributes(logits, method="kmeans", labels=labels, within_class=True)
    assert (within.pseudo_attributes == truth).mean() > 0.95
    over_all = label_attributes(logits, method="kmeans")
    assert (over_all.pseudo_attributes == truth).mean() < 0.9


@pytest.mark.parametrize("method", ["argmax", "kmeans"])
def test_rows_below_min_confidence_are_left_unlabelled(method):
    logits, _ = shifted_logits(shift=0.0)
    everything = label_attributes(logits, method=method)
    found = label_attributes(logits, method=method, min_confidence=0.9)
    unsure = everything.confidence < 0.9
    assert 0 < unsure.sum() < len(logits)
    assert (found.pseudo_attributes[unsure] == -1).all()
    assert np.array_equal(found.pseudo_attributes[~unsure], everything.pseudo_attributes[~unsure])
    assert np.array_equal(found.confidence, everything.confidence)


def test_fewer_clusters_than_attributes_warn_and_are_still_matched():
    logits = np.array([[5, 1, 0], [5, 1, 0], [0, 1, 5]], np.float32)
    with pytest.warns(UserWarning, match="found 2 clusters, not 3: the 3 rows have fewer distinct logits"):
        found = label_attributes(logits, method="kmeans")
    assert found.pseudo_attributes.tolist() == [0, 0, 2]
    with pytest.warns(UserWarning, match="found 1 clusters, not 3"):
        label_attributes(logits[:1], method="kmeans")


def test_constant_columns_are_no_problem():
    logits, truth = shifted_logits(shift=0.0)
    logits = np.concatenate([logits, np.zeros((len(logits), 1), np.float32)], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (label_attributes(logits).pseudo_attributes == truth).mean() > 0.95


@given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 2**32))
@settings(max_examples=60)
def test_the_assignment_is_the_best_of_all(rows, more_columns, seed):
    scores = np.random.default_rng(seed).integers(-9, 9, (rows, rows + more_columns)).astype(float)
    found = best_assignment(scores)
    assert len(set(found.tolist())) == rows
    orders = itertools.permutations(range(rows + more_columns), rows)
    assert scores[np.arange(rows), found].sum() == max(scores[np.arange(rows), order].sum() for order in orders)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["argmax", "kmeans"])
def test_nan_and_infinity_name_the_row(bad, method):
    logits, _ = shifted_logits(10)
    logits[7, 1] = bad
    with pytest.raises(InputError, match=r"^logits\[7, 1\] is (NaN|-?inf); expected a finite number"):
        label_attributes(logits, method=method)
    with pytest.raises(InputError, match=r"^logits\[0, 1\] is inf"):
        label_attributes(np.array([[0.0, 1e300]]))


@pytest.mark.parametrize(
    ("logits", "kwargs", "message"),
    [
        (np.zeros((5, 1)), {}, "^logits has 1 column; expected at least 2 attributes"),
        (np.zeros(5), {}, r"^logits has shape \(5,\)"),
        (np.zeros((0, 2)), {}, r"^logits has shape \(0, 2\)"),
        (np.zeros((5, 2), int), {}, "^logits has dtype int64; expected floats"),
        (np.zeros((5, 2)), {"method": "kmean"}, r"^method is 'kmean'; .*did you mean 'kmeans'\?"),
        (np.zeros((5, 2)), {"min_confidence": 1.5}, "^min_confidence is 1.5"),
        ([[0.5], [0.5, 1.0]], {}, "^logits is ragged"),
        (np.zeros((5, 2)), {"min_confidence": "x"}, "^min_confidence is 'x'; expected a number from 0 to 1"),
        (np.zeros((5, 2)), {"min_confidence": np.nan}, "^min_confidence is nan"),
        (np.zeros((5, 2)), {"within_class": True}, "^within_class is True with method 'argmax'"),
        (np.zeros((5, 2)), {"seed": -1}, "^seed is -1"),
        (np.zeros((5, 2)), {"num_threads": 0}, "^num_threads is 0"),
        (np.zeros((5, 2)), {"within_class": True, "method": "kmeans"}, "^labels is None"),
        (np.zeros((5, 2)), {"within_class": True, "method": "kmeans", "labels": [0, 1]}, r"^labels has shape \(2,\)"),
        (np.zeros((2, 2)), {"within_class": True, "method": "kmeans", "labels": [0, -1]}, r"^labels\[1\] is -1"),
    ],
)
def test_bad_arguments_are_named(logits, kwargs, message):
    with pytest.raises(InputError, match=message):
        label_attributes(logits, **kwargs)


def test_it_needs_no_torch():
    code = "import sys, dbpt.pseudo_attributes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
