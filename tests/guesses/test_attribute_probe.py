"""A probe that guesses attributes: what it learns, how it is judged, and the rows that are drawn for it."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dbpt.data.words import Words, combined, parse_factors
from dbpt.errors import InputError
from dbpt.guesses.base import GuessedFactors, PseudoAttributes
from dbpt.guesses.linear_probe import fitted_layer, out_of_fold
from dbpt.guesses.methods import Probe, drawn_known

NAMES = ("land", "water", "sky")


def words_of(*names):
    return Words({"a": ("a",), "b": ("b",)}, {name: (name,) for name in names}, ("{}",), ("{}",))


def known_as(codes, num_attributes):
    """Known attributes (N,), -1 where unknown."""
    posterior = np.full((len(codes), num_attributes), 1 / num_attributes, np.float32)
    return GuessedFactors((PseudoAttributes(np.array(codes), posterior, posterior[:, 0], "data"),))


def fitted(features, known, words, may_learn=None, labels=None):
    """The probe of rows that are all of class a, unless ``labels`` say otherwise."""
    labels = np.zeros(len(features), np.int64) if labels is None else labels
    may_learn = np.ones(len(features), bool) if may_learn is None else may_learn
    return Probe.fit(features, known, labels, may_learn, words, seed=0, hint="label more by hand")


def made(n, width=12, classes=3, signal=3.0, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    features = rng.normal(size=(n, width))
    features[np.arange(n), codes] += signal
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), codes


@pytest.mark.parametrize("classes", [2, 3])
def test_the_layer_is_that_of_scikit_learn_on_standardised_features(classes):
    features, codes = made(200, classes=classes)
    weights, biases = fitted_layer(features.copy(), codes, seed=0)
    assert weights.shape == (classes, 12) and biases.shape == (classes,)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    expected = LogisticRegression(C=0.1, tol=1e-3, max_iter=1000).fit(standard, codes).predict_proba(standard)
    scores = features @ weights.T + biases
    found = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=2e-3)


def test_it_guesses_rows_that_it_has_not_seen_and_is_judged_out_of_fold():
    features, codes = made(1200)
    known = np.where(np.arange(1200) < 150, codes, -1)
    probe = fitted(features, known_as(known, 3), words_of(*NAMES))
    guessed = probe.logits(features).argmax(axis=1)
    assert (guessed == codes)[150:].mean() > 0.8
    (figures,) = probe.figures
    folds = out_of_fold(features[:150], codes[:150], num_classes=3, seed=0).argmax(axis=1)
    assert figures.n_known == 150 and figures.accuracy == (folds == codes[:150]).mean() < 1
    assert figures.n_guessed == np.bincount(folds).tolist()
    assert figures.precision == [(codes[:150] == a)[folds == a].mean() for a in range(3)]
    assert abs(figures.accuracy - (guessed == codes)[150:].mean()) < 0.1


def test_precision_of_what_was_never_guessed_is_not_known():
    features, codes = made(60, classes=2, signal=0.0)
    codes[:] = 0
    codes[:2] = 1
    probe = fitted(features, known_as(codes, 2), words_of("x", "y"))
    (figures,) = probe.figures
    assert (figures.n_guessed, figures.precision) == ([60, 0], [58 / 60, None])
    assert figures.kappa == 0 and figures.counts == [58, 2]
    assert figures.doubts[0].values == {"n": 2, "group": "a · y", "limit": 5}


def test_it_is_judged_within_classes_and_by_the_groups_that_are_known():
    """The features show the class, which goes with the attribute, and nothing else."""
    labels = np.arange(200) % 2
    features, _ = made(200, signal=0.0)
    features[np.arange(200), labels] += 3
    against = np.arange(200) % 20 < 2
    codes, words = np.where(against, 1 - labels, labels), words_of("x", "y")
    (figures,) = fitted(features, known_as(codes, 2), words, labels=labels).figures
    assert [(each.group, each.n) for each in figures.groups] == [
        ("a · x", 90), ("a · y", 10), ("b · x", 10), ("b · y", 90)
    ]  # fmt: skip
    assert figures.accuracy > 0.85 and abs(figures.kappa) < 0.2
    (doubt,) = figures.doubts
    assert (doubt.kind, doubt.values["n"]) == ("out of fold", 200)
    (figures,) = fitted(features, known_as(np.where(against, -1, labels), 2), words, labels=labels).figures
    assert figures.accuracy == 1 and figures.kappa is None
    (doubt,) = figures.doubts
    assert (doubt.kind, doubt.values["n"], doubt.values["group"]) == ("few known", 0, "a · y")


def test_copies_count_once():
    features, codes = made(30, classes=2)
    ten_of_each, once = np.repeat(features, 10, axis=0), fitted(features, known_as(codes, 2), words_of("x", "y"))
    copied = fitted(ten_of_each, known_as(np.repeat(codes, 10), 2), words_of("x", "y"))
    assert copied.figures == once.figures and copied.figures[0].n_known == 30
    assert copied.weights.tobytes() == once.weights.tobytes()


def test_groups_that_no_image_can_have_are_not_doubted():
    (factor,) = parse_factors(("light: day, night", "light[b]: day, noon"))
    words = Words({"a": ("a",), "b": ("b",), "c": ("c",)}, combined((factor,)), ("{}",), ("{}",), (factor,))
    labels, codes = np.arange(60) % 2, np.arange(60) // 2 % 2
    codes[(labels == 1) & (codes == 1)] = 2
    features = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    features[np.arange(60), codes] += 20
    (figures,) = fitted(features, known_as(codes, 3), words, labels=labels).figures
    assert [each.group for each in figures.groups] == ["a · day", "a · night", "b · day", "b · noon"]
    assert not figures.doubts


def test_rows_that_it_may_not_learn_from_change_nothing():
    features, codes = made(300)
    may_learn = np.arange(300) < 200
    others = np.where(may_learn, codes, (codes + 1) % 3)
    one, other = (fitted(features, known_as(each, 3), words_of(*NAMES), may_learn) for each in (codes, others))
    assert one.weights.tobytes() == other.weights.tobytes() and one.figures == other.figures


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([0, 0, 1, 1], "0 of the 4 training and validation images .* have the attribute 'sky'"),
        ([0, 0, 1, 2, 2], "1 of the 5 training and validation images that it learns from have the attribute 'water'"),
        ([-1, -1], "no training or validation image has a known attribute; label some by hand"),
    ],
)
def test_an_attribute_of_too_few_known_rows_gets_one_line(codes, message):
    with pytest.raises(InputError, match=f"^--pseudo-method probe: {message}"):
        fitted(made(len(codes))[0], known_as(codes, 3), words_of(*NAMES))


def test_known_rows_are_drawn_by_the_seed_among_those_that_may_be_learnt_from():
    codes = np.where(np.arange(100) % 2, np.arange(100) % 3, -1)
    may_learn = np.arange(100) < 80
    one, same, other = (drawn_known(known_as(codes, 3), may_learn, 12, seed=seed) for seed in (0, 0, 1))
    drawn = np.flatnonzero(one.pseudo_attributes >= 0)
    assert len(drawn) == 12 and (drawn < 80).all()
    assert np.array_equal(one.pseudo_attributes[drawn], codes[drawn])
    assert np.array_equal(one.pseudo_attributes, same.pseudo_attributes)
    assert not np.array_equal(one.pseudo_attributes, other.pseudo_attributes)
    with pytest.raises(InputError, match=r"^--probe-rows 41: only 40 training and validation images have a known"):
        drawn_known(known_as(codes, 3), may_learn, 41, seed=0)


def test_each_factor_has_a_probe_and_a_partly_known_row_counts():
    factors = parse_factors(("style: photo, sketch", "place: land, water, sky"))
    words = Words({"a": ("a",), "b": ("b",)}, combined(factors), ("{}",), ("{}",), factors)
    features, place = made(200)
    style = (features[:, 5] > 0).astype(np.int64)
    style[:20] = -1
    known = GuessedFactors(known_as(style, 2).factors + known_as(place, 3).factors)
    probe = fitted(features, known, words)
    assert probe.weights.shape == (5, 12) and [each.n_known for each in probe.figures] == [180, 200]
    logits = probe.logits(features)
    assert (logits[:, 2:].argmax(axis=1) == place).mean() > 0.8 < (logits[20:, :2].argmax(axis=1) == style[20:]).mean()
    drawn = drawn_known(known, np.ones(200, bool), 200, seed=0)
    assert np.array_equal(drawn.factors[0].pseudo_attributes, style)
    assert np.array_equal(drawn.pseudo_attributes, known.pseudo_attributes)
