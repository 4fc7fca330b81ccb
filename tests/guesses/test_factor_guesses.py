"""Guesses of several attributes: each by itself, within the values that its class may have, and combined."""

import numpy as np
import pytest
from runs import said

from dbpt.data.words import Words, combined, parse_factors
from dbpt.guesses import label_attributes
from dbpt.guesses.apply_method import by_suspect, label_suspects

ENTRIES = ("style: photo, sketch, art", "place: indoor, outdoor", "place[ship]: sea, harbour", "place[fish]: sea")
CLASSES = ("car", "ship", "dog", "fish")
SIZES = (3, 4)


def task(entries=ENTRIES):
    factors = parse_factors(entries)
    named = {name: (name,) for name in CLASSES}
    return Words(named, combined(factors), ("a photo of a {}.",), ("{}",), factors)


@pytest.fixture(scope="module")
def drawn():
    """Labels, the true value of each factor, and logits that show it with noise; all values differ in frequency."""
    draws, words, n = np.random.default_rng(0), task(), 3000
    labels = draws.integers(0, len(CLASSES), n)
    style = draws.choice(3, n, p=(0.7, 0.2, 0.1))
    place = np.where(
        labels == 1, draws.choice((2, 3), n), np.where(labels == 3, 2, draws.choice((0, 1), n, p=(0.8, 0.2)))
    )
    logits = [
        4 * np.eye(size)[true] + draws.normal(0, 0.7, (n, size))
        for size, true in zip(SIZES, (style, place), strict=True)
    ]
    logits[1][:, :2] += 9  # CLIP would take every ship for indoor or outdoor
    return words, labels, (style, place), np.concatenate(logits, axis=1).astype(np.float32)


@pytest.mark.parametrize("method", ["proportional", "argmax", "kmeans"])
def test_each_factor_is_guessed_as_if_it_were_the_only_one(drawn, method):
    words, labels, _, logits = drawn
    fit_on = np.arange(len(labels)) % 3 > 0
    found = label_suspects(logits, labels, words, method=method, fit_on=fit_on, seed=3)
    alone = label_attributes(np.ascontiguousarray(logits[:, :3]), method=method, fit_on=fit_on, seed=3)
    assert np.array_equal(found.factors[0].pseudo_attributes, alone.pseudo_attributes)
    assert np.array_equal(found.factors[0].posterior, alone.posterior)
    assert found.method == method
    ships = np.flatnonzero(labels == 1)
    of_ships = label_attributes(np.ascontiguousarray(logits[ships][:, 5:]), method=method, fit_on=fit_on[ships], seed=3)
    assert np.array_equal(found.factors[1].pseudo_attributes[ships], of_ships.pseudo_attributes + 2)
    both = np.flatnonzero((labels == 0) | (labels == 2))
    shared = label_attributes(np.ascontiguousarray(logits[both][:, 3:5]), method=method, fit_on=fit_on[both], seed=3)
    assert np.array_equal(found.factors[1].pseudo_attributes[both], shared.pseudo_attributes)


def test_a_class_gets_only_its_own_values_and_a_single_one_is_no_guess(drawn):
    words, labels, truth, logits = drawn
    found = label_suspects(logits, labels, words, method="proportional", fit_on=None)
    place = found.factors[1]
    assert set(place.pseudo_attributes[labels == 1]) == {2, 3}
    assert set(place.pseudo_attributes[np.isin(labels, (0, 2))]) == {0, 1}
    fish = labels == 3
    assert (place.pseudo_attributes[fish] == 2).all() and (place.confidence[fish] == 1).all()
    assert (place.posterior[fish] == [0, 0, 1, 0]).all()
    assert (place.posterior[labels == 1][:, :2] == 0).all()
    for guessed, true in zip(found.factors, truth, strict=True):
        assert (guessed.pseudo_attributes == true).mean() > 0.95


def test_the_combination_has_the_product_of_posteriors_and_is_unknown_where_one_is(drawn):
    words, labels, _, logits = drawn
    found = label_suspects(logits, labels, words, method="argmax", fit_on=None, min_confidence=0.9)
    style, place = found.factors
    expected = style.posterior[:, :, None] * place.posterior[:, None, :]
    assert np.allclose(found.posterior, expected.reshape(len(labels), -1), atol=1e-6)
    assert np.allclose(found.posterior.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(found.confidence, style.confidence * place.confidence)
    unsure = (style.pseudo_attributes < 0) | (place.pseudo_attributes < 0)
    assert 0 < unsure.sum() < len(labels) and (found.pseudo_attributes[unsure] == -1).all()
    joint = style.pseudo_attributes * 4 + place.pseudo_attributes
    assert np.array_equal(found.pseudo_attributes[~unsure], joint[~unsure])
    assert np.array_equal(found.pseudo_attributes[~unsure], found.posterior.argmax(axis=1)[~unsure])
    some = found.take(np.array([5, 2]))
    assert some.factors[1].pseudo_attributes.tolist() == place.pseudo_attributes[[5, 2]].tolist()
    stricter = found.above(0.99)
    assert (stricter.pseudo_attributes < 0).sum() > unsure.sum() and len(stricter.factors) == 2


def test_one_factor_with_own_values_is_guessed_by_class(drawn):
    _, labels, (_, place), logits = drawn
    words = task(ENTRIES[1:])
    found = label_suspects(np.ascontiguousarray(logits[:, 3:]), labels, words, method="proportional", fit_on=None)
    assert (found.pseudo_attributes == place).mean() > 0.95
    assert np.array_equal(found.pseudo_attributes, found.factors[0].pseudo_attributes)


def test_classes_without_a_row_to_fit_on_are_fitted_on_their_own_rows(drawn):
    words, labels, _, logits = drawn
    found = label_suspects(logits, labels, words, method="proportional", fit_on=labels != 1)
    everywhere = label_suspects(logits, labels, words, method="proportional", fit_on=None)
    ships = labels == 1
    assert np.array_equal(found.factors[1].pseudo_attributes[ships], everywhere.factors[1].pseudo_attributes[ships])
    first = np.flatnonzero(ships)[:1]
    one = label_suspects(logits[first], labels[first], words, method="argmax", fit_on=None)
    assert one.factors[1].pseudo_attributes[0] in (2, 3)


def test_warnings_name_the_factor_and_its_values(drawn):
    words, labels, _, _ = drawn
    flat = np.zeros((len(labels), 7), np.float32)
    found = label_suspects(flat, labels, words, method="proportional", fit_on=None)  # without a Python warning
    assert all("cannot be estimated, so each image gets the one" in text for text in said(found.warnings))
    assert [text.split(": ")[0] for text in said(found.warnings)] == [
        "style (photo, sketch, art)",
        "place (indoor, outdoor)",
        "place (sea, harbour)",
    ]


def test_without_factors_nothing_is_different(drawn):
    _, labels, _, logits = drawn
    plain = Words({"a": ("a",), "b": ("b",)}, {name: (name,) for name in "pqr"}, ("{}",), ("{}",))
    columns = np.ascontiguousarray(logits[:, :3])
    found = label_suspects(columns, labels % 2, plain, method="proportional", fit_on=None)
    expected = label_attributes(columns)
    assert np.array_equal(found.posterior, expected.posterior) and len(found.factors) == 1
    assert np.array_equal(found.factors[0].shares, expected.shares)
    assert [each.shape for each in by_suspect(columns, plain)] == [(len(labels), 3)]
