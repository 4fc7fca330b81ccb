"""The figures of each audited group against plain loops."""

import numpy as np
import pytest

from dbpt.auditing.by_group import audited_groups
from dbpt.groups import simultaneous_intervals


def test_each_figure_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    labels, predictions, attributes = rng.integers(0, 3, 300), rng.integers(0, 3, 300), rng.integers(-1, 2, 300)
    probabilities = rng.dirichlet(np.ones(3), 300)
    attributes[(labels == 2) & (attributes == 1)] = 0  # an empty group
    names = {"class_names": "abc", "attribute_names": "xy"}
    found = audited_groups(predictions, labels, attributes, probabilities, **names)
    pairs = [(y, a) for y in "abc" for a in "xy"]
    assert [one.index for one in found] == [0, 1, 2, 3, 4]  # without the empty group
    assert [(one.class_name, one.attribute) for one in found] == [pairs[one.index] for one in found]
    intervals = simultaneous_intervals([one.correct for one in found], [one.n for one in found])
    for g, one in enumerate(found):
        rows = [i for i in range(300) if (labels[i], attributes[i]) == divmod(g, 2)]
        others = [i for i in range(300) if labels[i] != g // 2 and attributes[i] == g % 2]
        assert (one.n, one.n_others) == (len(rows), len(others))
        assert one.correct == sum(predictions[i] == labels[i] for i in rows)
        assert one.false_positives == sum(predictions[i] == g // 2 for i in others)
        assert one.false_positive_rate == one.false_positives / one.n_others
        assert (one.low, one.high) == intervals[g]
        confidence = np.mean([probabilities[i, predictions[i]] for i in rows])
        assert one.confidence == pytest.approx(confidence)
        assert one.calibration_gap == pytest.approx(confidence - one.correct / one.n)
    plain = audited_groups(predictions, labels, attributes, None, **names)
    assert {one.confidence for one in plain} == {None} and [one.correct for one in plain] == [
        one.correct for one in found
    ]
