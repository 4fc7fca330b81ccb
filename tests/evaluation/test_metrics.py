"""Group metrics against plain loops, their edge cases, and what bad input gets."""

import math
from dataclasses import replace

import numpy as np
import pytest
from by_position import group_metrics
from runs import said

from dbpt.errors import InputError
from dbpt.evaluation import (
    exact_interval,
    merged_metrics,
    pseudo_attribute_quality,
    simultaneous_intervals,
    worst_group_interval,
)
from dbpt.evaluation.accuracy_by_group import counted_groups, merged_groups, worst_first
from dbpt.evaluation.intervals import TAIL, newcombe_margins


def metrics_of(counts, correct, **options):
    """Metrics of 2 classes x 2 attributes with the given rows and right answers in each group."""
    groups = np.repeat(np.arange(4), counts)
    rank = np.concatenate([np.arange(n) for n in counts])
    labels, attributes = groups // 2, groups % 2
    predictions = np.where(rank < np.asarray(correct)[groups], labels, 1 - labels)
    return group_metrics(predictions, labels, attributes, num_classes=2, num_attributes=2, **options)


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (642, 700), (1, 10_000)])
def test_the_margins_of_a_difference_solve_the_score_equation(correct, n):
    """Wilson's bounds are the p at which |p_hat - p| = z * sqrt(p (1 - p) / n): check it by solving the quadratic."""
    z, p = 1.959963984540054, correct / n
    roots = np.roots([1 + z * z / n, -(2 * p + z * z / n), p * p])
    value, below, above = newcombe_margins(np.array([correct]), np.array([n]), TAIL)
    assert [*(value - below), *(value + above)] == pytest.approx(sorted(roots.real), abs=1e-9)


def test_the_exact_interval_of_a_textbook_case():
    assert exact_interval(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)  # Newcombe 1998, table I, method 5
    assert exact_interval(0, 20) == pytest.approx((0, 0.1684), abs=5e-5)
    assert exact_interval(20, 20) == pytest.approx((1 - 0.1684, 1), abs=5e-5)
    for k in (0, 3, 5):
        assert exact_interval(k, 5) == worst_group_interval([k], [5]) == simultaneous_intervals([k], [5])[0]
    wide, narrow = exact_interval(5, 10, confidence=0.99), exact_interval(5, 10, confidence=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 3), (4, 3), (1, 3, 0.0), (1, 3, 95), (1, 3, math.nan)])
def test_intervals_refuse(arguments):
    with pytest.raises(InputError, match="exact_interval"):
        exact_interval(*arguments)
    for correct, counts in (([2], [1]), ([-1], [1]), ([1], [1, 2]), ([[1]], [[1]])):
        with pytest.raises(InputError, match="^(correct|counts)"):
            worst_group_interval(correct, counts)


SETTINGS = [
    ((461, 461, 139, 139), 0.98),
    ((2255, 2255, 642, 642), (0.99, 0.8, 0.75, 0.96)),
    ((30,) * 8, 0.5),
    ((100,) * 20, tuple(np.linspace(0.7, 0.99, 20))),
    ((7, 2000), (0.9, 0.9)),
    ((1000,), 0.7),
]


@pytest.mark.parametrize(("counts", "accuracies"), SETTINGS)
def test_the_interval_of_the_worst_group_covers(counts, accuracies):
    draws = 1000
    counts_G, accuracy_G = np.array(counts), np.broadcast_to(accuracies, len(counts))
    correct_DG = np.random.default_rng(0).binomial(counts_G, accuracy_G, (draws, len(counts)))
    low_D, high_D = np.array([worst_group_interval(correct_G, counts_G) for correct_G in correct_DG]).T
    covered = ((low_D <= accuracy_G.min()) & (accuracy_G.min() <= high_D)).mean()
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / draws)
    # not wider than the widest of the groups' own intervals that allow for their number
    widest = max(np.subtract(*exact_interval(n // 2, int(n), 1 - 0.05 / len(counts))[::-1]) for n in counts)
    assert (high_D - low_D).mean() < 1.1 * widest


def test_the_interval_of_the_worst_group_is_made_of_the_groups():
    of_groups = [worst_group_interval([k], [n]) for k, n in ((40, 50), (95, 100))]
    low, high = worst_group_interval([40, 0, 95], [50, 0, 100])
    assert low == min(bounds[0] for bounds in of_groups)
    assert high > of_groups[0][1]  # two upper bounds must hold at once
    assert worst_group_interval([0, 0], [0, 0]) is None
    low, high = worst_group_interval([850_000, 9], [1_000_000, 10])
    assert 0.4 < low < 0.6 and 0.85 < high < 0.86


def test_every_quantity_by_hand():
    m = metrics_of([100, 50, 40, 200], [90, 25, 10, 190], train_counts=[3498, 184, 56, 1057])
    assert [g.accuracy for g in m.groups] == [0.9, 0.5, 0.25, 0.95]
    assert (m.groups[1].class_name, m.groups[1].attribute) == ("class 0", "attribute 1")
    assert (m.n, m.worst_group, m.worst_group_accuracy) == (390, 2, 0.25)
    assert m.average == pytest.approx(315 / 390)
    assert m.gap == pytest.approx(315 / 390 - 0.25)
    assert m.group_mean == pytest.approx(0.65)
    assert m.adjusted_average == pytest.approx((3498 * 0.9 + 184 * 0.5 + 56 * 0.25 + 1057 * 0.95) / 4795)
    assert (m.worst_group_low, m.worst_group_high) == worst_group_interval([90, 25, 10, 190], [100, 50, 40, 200])
    assert m.adjusted_gap == pytest.approx(m.adjusted_average - 0.25)
    assert m.warnings == ()


def test_each_figure_of_a_group_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    labels, predictions, attributes = rng.integers(0, 3, 300), rng.integers(0, 3, 300), rng.integers(-1, 2, 300)
    confidence = rng.random(300)
    attributes[(labels == 2) & (attributes == 1)] = 0  # an empty group
    rows, sizes = (predictions, labels, attributes), {"num_classes": 3, "num_attributes": 2}
    pairs = [(y, a) for y in "abc" for a in "xy"]
    groups = group_metrics(*rows, confidence=confidence, group_names=pairs, **sizes).groups
    assert [(one.index, one.class_name, one.attribute) for one in groups] == [(g, *pairs[g]) for g in range(6)]
    intervals = simultaneous_intervals([one.correct for one in groups], [one.n for one in groups])
    for g, one in enumerate(groups[:5]):
        rows_of = [i for i in range(300) if (labels[i], attributes[i]) == divmod(g, 2)]
        others = [i for i in range(300) if labels[i] != g // 2 and attributes[i] == g % 2]
        assert (one.n, one.n_others) == (len(rows_of), len(others))
        assert one.correct == sum(predictions[i] == labels[i] for i in rows_of)
        assert one.false_positives == sum(predictions[i] == g // 2 for i in others)
        assert one.false_positive_rate == one.false_positives / one.n_others
        assert (one.low, one.high) == intervals[g]
        assert one.confidence == pytest.approx(np.mean(confidence[rows_of]))
        assert one.calibration_gap == pytest.approx(np.mean(confidence[rows_of]) - one.correct / one.n)
    assert (groups[5].n, groups[5].confidence, groups[5].calibration_gap) == (0, None, None)
    clusters = group_metrics(*rows, group_names=pairs, shared_attributes=False, **sizes).groups
    unknown = dict.fromkeys(("false_positives", "n_others", "confidence"))
    assert clusters == tuple(replace(one, **unknown) for one in groups)
    assert clusters[0].false_positive_rate is None is clusters[0].calibration_gap


def test_merged_groups_are_those_of_the_merged_rows():
    rng = np.random.default_rng(1)
    labels, predictions, attributes = rng.integers(0, 3, 90), rng.integers(0, 3, 90), rng.integers(-1, 4, 90)
    names = [(f"class {y}", f"attribute {b}") for y in range(3) for b in range(2)]
    fine = group_metrics(predictions, labels, attributes, num_classes=3, num_attributes=4)
    coarse = group_metrics(predictions, labels, attributes // 2, num_classes=3, num_attributes=2)
    assert merged_groups(fine.groups, np.arange(12) // 2, names) == coarse.groups
    assert merged_metrics(fine, np.arange(12) // 2, names) == replace(coarse, warnings=())
    # Means over two seeds: the rounded counts of the parts must not move the accuracy of the whole.
    means = [replace(each, n=3, correct=round(3 * 0.5), accuracy=0.5) for each in fine.groups]
    assert {each.accuracy for each in merged_groups(means, np.arange(12) // 3, names[:4])} == {0.5}


def test_empty_group_is_missing_not_zero():
    m = metrics_of([50, 0, 50, 50], [40, 0, 45, 50], train_counts=[10, 1000, 10, 20])
    assert (m.groups[1].n, m.groups[1].accuracy, m.groups[1].low, m.groups[1].high) == (0, None, None, None)
    assert m.worst_group_accuracy == 0.8
    assert m.group_mean == pytest.approx((0.8 + 0.9 + 1.0) / 3)
    assert m.adjusted_average == pytest.approx((10 * 0.8 + 10 * 0.9 + 20 * 1.0) / 40)
    assert said(m.warnings) == [
        "1 group without images: 1 (class 0, attribute 1); left out of worst-group accuracy and group mean"
    ]


def test_many_empty_groups_share_one_warning():
    m = group_metrics([0, 1], [0, 0], [0, 0], num_classes=8, num_attributes=3)
    warning = said(m.warnings)[0]
    assert warning.startswith("23 groups without images: 1 (class 0, attribute 1), 2 (class 0, attribute 2), 3 ")
    assert warning.count("attribute") == 10


def test_no_group_has_rows():
    m = group_metrics([0, 1], [0, 0], [-1, -1], num_classes=2, num_attributes=2, train_counts=[1, 1, 1, 1])
    assert (m.n, m.average) == (2, 0.5)
    assert m.worst_group_accuracy is m.worst_group is m.worst_group_low is m.worst_group_high is None
    assert m.gap is m.group_mean is m.adjusted_average is m.adjusted_gap is None
    assert ("unknown attributes", {"n": 2}) in [(warning.kind, warning.values) for warning in m.warnings]


def test_no_training_row_in_the_groups_that_are_present():
    assert metrics_of([5, 5, 5, 0], [5, 4, 3, 0], train_counts=[0, 0, 0, 7]).adjusted_average is None
    assert metrics_of([5, 5, 5, 5], [5, 4, 3, 2]).adjusted_average is None


def test_small_worst_group_is_warned_about_by_name():
    names = [("land", "land"), ("land", "water"), ("water", "land"), ("water", "water")]
    (warning,) = metrics_of([99, 99, 29, 99], [98, 98, 10, 98], group_names=names).warnings
    assert str(warning) == "worst group water · land: only 29 images, one image moves it by 3.4 points"
    assert metrics_of([99, 29, 30, 99], [98, 28, 10, 98]).warnings == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": [0, 2]}, r"predictions\[1\] is 2; expected an integer in 0..1"),
        ({"predictions": [0.0, 1.0]}, "predictions has shape .* dtype float64; expected"),
        ({"predictions": [[0], [1]]}, r"predictions has shape \(2, 1\) .*; expected \(N,\) integers"),
        ({"labels": [0]}, r"labels has shape \(1,\) .*; expected \(2,\) integers"),
        ({"labels": [0, -1]}, r"labels\[1\] is -1"),
        ({"attributes": [0, 2]}, r"attributes\[1\] is 2; expected an integer in -1..1"),
        ({"train_counts": [1, 2, 3]}, r"train_counts has shape \(3,\) and dtype int64; expected \(4,\)"),
        ({"train_counts": [1, 2, math.nan, 3]}, r"train_counts\[2\] is nan"),
        ({"num_attributes": 0}, "num_attributes is 0"),
        ({"num_classes": 2.0}, "num_classes is 2.0; expected an integer, 1 or above"),
        ({"num_classes": 10**9, "num_attributes": 10}, r"= 10000000000 groups; expected up to 1048576"),
        ({"group_names": [("a", "b")]}, r"group_names has 1 names such as \[\('a', 'b'\)\]; expected 4 pairs of class"),
        ({"confidence": [0.5]}, r"confidence has shape \(1,\) .* one for each row"),
        ({"predictions": [], "labels": [], "attributes": []}, "predictions has no rows"),
    ],
)
def test_group_metrics_refuses(changes, message):
    arguments = {"predictions": [0, 1], "labels": [0, 1], "attributes": [0, 1], "num_classes": 2, "num_attributes": 2}
    with pytest.raises(InputError, match=message):
        group_metrics(**{**arguments, **changes})


def test_smallest_pseudo_group_is_half_wrong_at_95_percent():
    """DESIGN 5.4: Waterbirds' training counts, 5 % of the attributes flipped in each group."""
    counts = np.array([3498, 184, 56, 1057])
    labels, attributes = np.repeat([0, 0, 1, 1], counts), np.repeat([0, 1, 0, 1], counts)
    rank = np.concatenate([np.arange(n) for n in counts])
    flipped = rank < np.round(0.05 * counts)[labels * 2 + attributes]
    pseudo = np.where(flipped, 1 - attributes, attributes)
    quality = pseudo_attribute_quality(pseudo, attributes, labels, num_classes=2, num_attributes=2)
    assert quality.accuracy == pytest.approx(0.95, abs=0.001)
    assert quality.smallest_group == 2
    smallest = quality.groups[2]
    assert (smallest.n, smallest.n_right, smallest.n_true) == (53 + 53, 53, 56)
    assert smallest.precision == 0.5
    assert smallest.recall == 53 / 56
    assert (smallest.precision_low, smallest.precision_high) == exact_interval(53, 106)
    assert (smallest.recall_low, smallest.recall_high) == exact_interval(53, 56)


def test_unknown_and_unlabelled_rows():
    #         right  wrong  unlabelled  true unknown
    pseudo = [0, 1, -1, 1]
    true = [0, 0, 0, -1]
    quality = pseudo_attribute_quality(pseudo, true, [0, 0, 0, 0], num_classes=1, num_attributes=2)
    assert (quality.n, quality.n_right, quality.n_unlabelled, quality.accuracy) == (2, 1, 1, 0.5)
    assert (quality.low, quality.high) == exact_interval(1, 2)
    first, second = quality.groups
    assert (first.n, first.n_true, first.precision, first.recall) == (1, 3, 1.0, 1 / 3)
    assert (second.n, second.n_true, second.precision, second.recall) == (1, 0, 0.0, None)


def test_group_that_was_never_labelled_is_named():
    quality = pseudo_attribute_quality([0, 0], [0, 1], [0, 0], num_classes=2, num_attributes=2)
    assert quality.empty_groups == [1]  # groups 2 and 3 do not exist at all
    assert quality.smallest_group == 0
    nothing = pseudo_attribute_quality([0], [-1], [0], num_classes=1, num_attributes=1)
    assert nothing.accuracy is None is nothing.smallest_group


def test_confusion_tells_the_accuracy_of_named_attributes():
    pseudo, true, labels = [0, 0, 1, 2, 2, -1], [0, 1, 1, 2, 0, 1], [0, 1, 0, 1, 0, 1]
    quality = pseudo_attribute_quality(pseudo, true, labels, num_classes=2, num_attributes=3)
    assert quality.confusion == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert quality.n_right == np.trace(quality.confusion) == 3


@pytest.mark.parametrize(
    ("pseudo", "true", "labels", "message"),
    [
        ([2], [0], [0], r"pseudo_attributes\[0\] is 2"),
        ([0], [5], [0], r"attributes\[0\] is 5"),
        ([0], [0, 1], [0], r"attributes has shape \(2,\) .*; expected \(1,\)"),
        ([0], [0], [math.nan], r"labels\[0\] is nan"),
    ],
)
def test_pseudo_attribute_quality_refuses(pseudo, true, labels, message):
    with pytest.raises(InputError, match=message):
        pseudo_attribute_quality(pseudo, true, labels, num_classes=2, num_attributes=2)
    with pytest.raises(InputError, match="^num_attributes is 4097; expected an integer from 1 to 4096"):
        pseudo_attribute_quality([0], [0], [0], num_classes=2, num_attributes=4097)


def test_groups_are_ordered_by_accuracy_without_the_empty_ones():
    counts, correct = np.array([10, 0, 10, 0, 10]), np.array([5, 0, 1, 0, 9])
    groups = counted_groups([("cat", str(g)) for g in range(5)], counts, correct)
    assert [each.index for each in worst_first(groups)] == [2, 0, 4]
