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
    assert [(one.class_name, one.attribute) for one in found] == [(y, a) for y in "abc" for a in "xy"]
    intervals = simultaneous_intervals([one.correct for one in found], [one.n for one in found])
    for g, one in enumerate(found):
        rows = [i for i in range(300) if (labels[i], attributes[i]) == divmod(g, 2)]
        others = [i for i in range(300) if labels[i] != g // 2 and attributes[i] == g % 2]
        assert (one.n, one.n_others) == (len(rows), len(others))
        assert one.correct == sum(predictions[i] == labels[i] for i in rows)
        assert one.false_positives == sum(predictions[i] == g // 2 for i in others)
        assert one.false_positive_rate == one.false_positives / one.n_others
        assert (one.low, one.high) == (intervals[g] or (None, None))
        if rows:
            confidence = np.mean([probabilities[i, predictions[i]] for i in rows])
            assert one.confidence == pytest.approx(confidence)
            assert one.calibration_gap == pytest.approx(confidence - one.correct / one.n)
    assert (found[5].n, found[5].accuracy, found[5].confidence, found[5].calibration_gap) == (0, None, None, None)
    plain = audited_groups(predictions, labels, attributes, None, **names)
    assert {one.confidence for one in plain} == {None} and [one.correct for one in plain] == [
        one.correct for one in found
    ]
