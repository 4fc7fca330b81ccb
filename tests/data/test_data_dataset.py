"""Dataset: groups, counts for people, and where a row came from."""

from pathlib import Path

import numpy as np
import pytest

from dbpt.data import Dataset
from dbpt.data.words import Words


def dataset(attributes=(0, 1, 1, -1, 0), names=("land", "water")):
    return Dataset(
        name="birds",
        root=Path("/birds"),
        source=Path("/birds/table.csv"),
        paths=("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"),
        lines=np.array([2, 3, 4, 5, 6]),
        labels=np.array([0, 0, 1, 1, 1]),
        attributes=np.array(attributes),
        splits=np.array([0, 0, 0, 1, 2]),
        words=Words({"land bird": ("x",), "gull": ("y",)}, {name: (name,) for name in names}, ("{}",), ("{}",)),
        notes=("something to know",),
    )


def test_groups_are_label_times_a_plus_attribute_and_minus_one_where_unknown():
    data = dataset()
    groups = data.groups(data.attributes)
    assert groups.dtype == np.int64
    assert groups.tolist() == [0, 1, 3, -1, 2]
    assert data.groups(np.array([1, 1, 0, 0, -1])).tolist() == [1, 1, 2, 2, -1]
    nameless = dataset(attributes=[-1] * 5, names=())
    assert (nameless.num_groups, nameless.groups(nameless.attributes).tolist()) == (0, [-1] * 5)


def test_groups_refuse_another_length_and_values_out_of_range():
    with pytest.raises(ValueError, match=r"expected shape \(5,\), found \(2,\)"):
        dataset().groups(np.array([0, 1]))
    with pytest.raises(ValueError, match=r"expected values in -1..1, found 0..2"):
        dataset().groups(np.array([0, 1, 2, 0, 0]))
    with pytest.raises(ValueError, match=r"found -2..1"):
        dataset().groups(np.array([0, 1, -2, 0, 0]))


def test_repr_is_one_line_and_a_row_is_named_by_file_and_line():
    assert dataset().where(3) == "table.csv line 5"
    assert repr(dataset()) == "Dataset('birds', 5 images, 2 classes, 2 attributes, train 3 / val 1 / test 1)"


def test_describe_with_true_attributes():
    assert dataset().describe().split("\n") == [
        "birds: 5 images, from /birds/table.csv",
        "                      train     val    test",
        "  all                     3       1       1",
        "  land bird, land         1       0       0",
        "  land bird, water        1       0       0",
        "  gull, land              0       0       1",
        "  gull, water             1       0       0",
        "  attribute unknown       0       1       0",
        "  note: something to know",
    ]
