"""Whether CLIP knows the words of the classes, within each value of the attribute."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dbpt.guesses.doubts import class_word_doubts, order_doubts

NAMES = ("box", "disc", "ring")


def drawn(n, *, C, knows, follows, shift=0.0, stands_for=0, seed=0):
    """Logits (n, C) that know the class, follow the attribute, and favour the first class by ``shift``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, C, n)
    attributes = np.where(rng.random(n) < 0.9, (labels + stands_for) % C, rng.integers(0, C, n))
    logits = rng.normal(size=(n, C)) + knows * np.eye(C)[labels] + follows * np.eye(C)[attributes]
    logits[:, 0] += shift
    return logits.astype(np.float32), labels, attributes


def kinds(*given):
    return [each.kind for each in class_word_doubts(*given, NAMES[: given[0].shape[1]])]


@pytest.mark.parametrize("C", [2, 3])
def test_words_that_clip_knows_raise_no_doubt_even_if_it_follows_the_attribute(C):
    assert kinds(*drawn(600, C=C, knows=3, follows=0)) == []
    logits, labels, attributes = drawn(600, C=C, knows=3, follows=12)
    assert (logits.argmax(axis=1) == attributes).mean() > 0.98  # biased, and not ignorant
    assert kinds(logits, labels, attributes) == []


@pytest.mark.parametrize("C", [2, 3])
def test_words_that_say_nothing_are_doubted_however_well_the_attribute_stands_for_them(C):
    logits, labels, attributes = drawn(3000, C=C, knows=0, follows=12)
    assert (logits.argmax(axis=1) == labels).mean() > 0.85
    (doubt,) = class_word_doubts(logits, labels, attributes, NAMES[:C])
    assert (doubt.kind, doubt.values["names"]) == ("class words", list(NAMES[:C]))
    assert 0.4 < doubt.values["value"] < 0.6


def test_an_accuracy_below_that_of_the_largest_class_is_doubted_if_the_mean_of_the_classes_is_low_too():
    logits, labels, attributes = drawn(600, C=2, knows=3, follows=0, shift=6.0)
    kept = (labels == 1) | (np.arange(600) % 10 == 0)
    (doubt,) = class_word_doubts(logits[kept], labels[kept], attributes[kept], NAMES[:2])
    share = 100 * (labels[kept] == 1).mean()
    assert (doubt.kind, doubt.values["share"]) == ("class accuracy", pytest.approx(share))
    assert f"({share:.1f} %)" in str(doubt)  # and not all digits
    logits, labels, attributes = drawn(600, C=2, knows=3, follows=0, shift=2.0)
    assert (logits[kept].argmax(axis=1) == labels[kept]).mean() < (labels[kept] == 1).mean()
    assert kinds(logits[kept], labels[kept], attributes[kept]) == []


@pytest.mark.parametrize(("C", "moved"), [(2, [1, 0]), (3, [1, 0, 2]), (3, [1, 2, 0])])
def test_names_in_another_order_are_doubted_and_no_bias_however_skewed_the_data_are(C, moved):
    for follows, stands_for in ((0, 0), (9, 0), (9, 1)):  # the attribute goes with its class, or with another one
        logits, labels, attributes = drawn(3000, C=C, knows=2, follows=follows, stands_for=stands_for)
        assert (attributes == (labels + stands_for) % C).mean() > 0.93
        for answers in (logits, logits.argmax(axis=1)):
            assert order_doubts(answers, labels, attributes, NAMES[:C]) == ()
            if follows == 0 or (answers is logits and stands_for == 0):
                (doubt,) = order_doubts(answers, np.array(moved)[labels], attributes, NAMES[:C])
                assert doubt.values["names"] == [NAMES[label] for label in range(C) if moved[label] != label]


def test_the_separation_is_the_area_under_the_curve_within_each_attribute_with_ties():
    logits, labels, attributes = drawn(300, C=2, knows=0.3, follows=2)
    logits = logits.round()
    margins = logits[:, 1] - logits[:, 0]
    areas, weights = [], []
    for attribute in (0, 1):
        rows = attributes == attribute
        inside = labels[rows].sum()
        areas.append(roc_auc_score(labels[rows], margins[rows]))
        weights.append(inside * (rows.sum() - inside) / rows.sum())
    (doubt,) = class_word_doubts(logits, labels, attributes, NAMES[:2])
    assert doubt.values["value"] == pytest.approx(np.average(areas, weights=weights))
