"""Which classes are taken for which: the matrix, or the most frequent confusions of many classes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dbpt.groups.ids import contingency_table
from dbpt.report.tables import Confusion, confusions


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_counts_are_those_of_a_loop(pairs):
    counts = np.zeros((4, 4), dtype=int)
    for label, prediction in pairs:
        counts[label, prediction] += 1
    labels, predictions = np.array(pairs).T
    assert (contingency_table(labels, predictions, (4, 4)) == counts).all()


def test_the_matrix_has_shares_of_the_true_class_and_darker_cells_for_more_mistakes():
    found = confusions([[8, 2, 0], [30, 50, 20], [0, 0, 0]], ["a", "b", "c"])
    assert found.matrix[0] == [
        Confusion("a", "a", 8, 0.8, None),
        Confusion("a", "b", 2, 0.2, 2),
        Confusion("a", "c", 0, 0.0, 0),
    ]
    assert [cell.shade for cell in found.matrix[1]] == [3, None, 2]
    assert [cell.share for cell in found.matrix[2]] == [0, 0, 0]
    frequent = [(cell.label, cell.prediction, cell.n) for cell in found.frequent]
    assert frequent == [("b", "a", 30), ("b", "c", 20), ("a", "b", 2)]


def test_many_classes_have_the_most_frequent_confusions_instead():
    counts = np.diag([100] * 13) + np.diag(range(1, 13), 1)
    counts[5, 2] = 12  # as many as the last class but one
    found = confusions(counts, [f"c{number}" for number in range(13)])
    assert found.matrix is None
    names = [(cell.label, cell.prediction) for cell in found.frequent]
    assert names[:3] == [("c5", "c2"), ("c11", "c12"), ("c10", "c11")]
    assert len(names) == 13
    assert confusions(np.diag([1] * 13), ["x"] * 13).frequent == []
    assert len(confusions(np.ones((30, 30)), ["x"] * 30).frequent) == 24
