"""Saved Hugging Face data sets: which rows they have, and the one line for what they lack."""

import sys

import datasets
import pytest
from folders import change_json
from saved_datasets import made, of_splits, rewrite
from table_files import refused, vocabulary

from dbpt.data import load_dataset
from dbpt.data.paths import find_member

ONE, TWO = "data-00000-of-00001.arrow", "data-00001-of-00002.arrow"


def test_splits_of_a_dict(save):
    train = made([0, 1, 1], attribute=["in", "", "out"])
    folder = save(of_splits(train=train, validation=made([1]), test=made([0, 1])), num_shards={"train": 2})
    data = load_dataset(folder)
    expected = ("train/data-00000-of-00002.arrow/image/1", f"train/{TWO}/image/0", f"validation/{ONE}/image/0")
    assert data.paths[1:4] == expected
    assert (data.class_names, data.labels.tolist()) == (("dog", "cat"), [0, 1, 1, 1, 0, 1])
    assert (data.attribute_names, data.attributes.tolist()) == (("in", "out"), [0, -1, 1, -1, -1, -1])
    assert data.splits.tolist() == [0, 0, 0, 1, 2, 2]
    assert (data.name, data.root, data.source, data.notes) == ("pets", folder, folder, ())
    assert data.where(3) == f"validation/{ONE}/image/0"
    found = [find_member(folder / path).open().read() for path in data.paths]
    assert found == [b"0", b"1", b"2", b"0", b"0", b"1"]


@pytest.mark.parametrize(
    ("data", "splits"),
    [
        (lambda: made([0, 1, 0, 1], split=["train", "train", "validation", "test"]), [0, 0, 1, 2]),
        (lambda: of_splits(train=made([0, 1, 0], split=["train", "train", "val"])), [0, 0, 1]),  # as csv is loaded
        (lambda: of_splits(Train=made([0, 1]), VALID=made([0, 1])), [0, 0, 1, 1]),
        (lambda: of_splits(train=made([0, 1]), test=made([0, 1]).select([])), [0, 0]),
    ],
)
def test_splits_by_a_column_or_by_their_names(save, data, splits):
    found = load_dataset(save(data()))
    assert (found.splits.tolist(), found.notes) == (splits, ())


def test_of_several_splits_the_folders_count_unless_the_column_is_named(save):
    fold = {"split": ["val", "test"]}
    folder = save(of_splits(train=made([0, 1], **fold), test=made([0, 1], **fold)))
    assert load_dataset(folder).splits.tolist() == [0, 0, 2, 2]
    assert load_dataset(folder, columns={"split": "split"}, training=False).splits.tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize(("name", "code"), [(None, 0), ("test[:50%]", 2), ("test", 2), ("validation", 1), ("all", 0)])
def test_one_dataset_of_one_split(save, name, code):
    folder = save(made([0, 1]))
    change_json(folder / "state.json", _split=name)
    assert load_dataset(folder, training=False).splits.tolist() == [code, code]


def test_columns_of_other_names(save):
    rows = made([0, 1]).rename_columns({"image": "photo", "label": "y"})
    rows = with_mask(rows).add_column("fold", ["test", "train"]).add_column("place", ["in", "out"])
    folder = save(rows)
    columns = {"path": "photo", "label": "y", "split": "fold", "attribute": "place"}
    data = load_dataset(folder, columns=columns, training=False)
    assert data.paths == (f"{ONE}/photo/0", f"{ONE}/photo/1")
    assert (data.labels.tolist(), data.splits.tolist(), data.attributes.tolist()) == ([0, 1], [2, 0], [0, 1])


@pytest.mark.parametrize(
    ("labels", "classes", "names"),
    [
        (["b", "a", "b"], None, ("a", "b")),
        ([10, 9, 10], None, ("9", "10")),
        ([True, False, True], {"classes": vocabulary("no", "yes")}, ("no", "yes")),
        (["b", "a", "b"], {"classes": vocabulary("a", "b")}, ("a", "b")),
    ],
)
def test_labels_that_are_no_class_labels(save, labels, classes, names):
    data = load_dataset(save(made(labels, names=())), **(classes or {}))
    assert (data.class_names, data.labels.tolist()) == (names, [1, 0, 1])


def test_class_labels_under_given_classes_and_names_without_rows(save):
    folder = save(made([2, 0, 2], names=("dog ", "cow", "7")))
    data = load_dataset(folder)
    assert (data.class_names, data.labels.tolist()) == (("dog", "7"), [1, 0, 1])
    assert data.notes == ("no row has 1 of the names of 'label', which are left out: 'cow'",)
    given = load_dataset(folder, classes=vocabulary("7", "dog"))
    assert (given.labels.tolist(), given.notes) == ([0, 1, 0], ())


def test_attributes_with_class_labels(save):
    kinds = made([0, 1, 0]).add_column("attribute", [1, -1, 0])
    kinds = kinds.cast_column("attribute", datasets.ClassLabel(names=["sea", "land"]))
    data = load_dataset(save(kinds))
    assert (data.attribute_names, data.attributes.tolist()) == (("sea", "land"), [1, -1, 0])


def test_a_split_without_labels_is_left_out(save):
    folder = save(of_splits(test=made([-1, -1]), train=made([0, 1])))
    data = load_dataset(folder)
    assert data.splits.tolist() == [0, 0]
    assert data.notes == ("split 'test' is left out: its 2 rows have no label (-1 or empty)",)


@pytest.mark.parametrize("kind", ["class label", "integer", "text"])
def test_rows_without_a_label(save, kind):
    labels = {"class label": [0, 1, -1], "integer": [0, 1, -1], "text": ["a", "b", " "]}[kind]
    message = refused(save(of_splits(train=made(labels, names=("a", "b") if kind == "class label" else ()))))
    value = "empty" if kind == "text" else "-1"
    assert f"pets/train/{ONE}/image/2: label is {value}, no label (1 of 3 rows); leave such rows out" in message


def test_no_labels_at_all(save):
    assert "pets: no row has a label; save rows" in refused(save(made([-1, -1])))


def test_a_bad_value_is_named_by_its_row_in_the_split(save):
    rows = made([0, 1] * 6, y=[1.0] * 11 + [float("inf")])
    folder = save(rows, num_shards=2)
    for file in (folder / "data-00000-of-00002.arrow", folder / TWO):
        rewrite(file, lambda table: table, max_chunksize=4)
    assert f"pets/{TWO}/image/5: y is inf, expected text or a number" in refused(folder, columns={"label": "y"})


@pytest.mark.parametrize(
    ("change", "columns", "part"),
    [
        (lambda rows: rows.remove_columns("image"), {}, "pets: no column has the feature Image (columns: 'label')"),
        (lambda rows: with_mask(rows), {}, "pets: 'image', 'mask' all hold images; choose one: --columns path=image"),
        (lambda rows: rows.add_column("file", ["a", "b"]), {"path": "file"}, "column 'file' has the feature Value, ex"),
        (lambda rows: rows, {"path": "imag"}, "pets: no column 'imag'; columns found: 'image', 'label' (did"),
        (lambda rows: of_splits(train=rows, dev=rows), {}, "pets: split 'dev' is none of train, training, val"),
        (lambda rows: of_splits(train=rows, test=rows.remove_columns("label")), {}, "pets/test: no column 'label'"),
        (lambda rows: of_splits(train=rows, test=rows.rename_column("image", "photo")), {}, "found: 'photo'"),
        (lambda rows: rows.add_column("y", [["a"], ["b"]]), {"label": "y"}, "image/0: y is ['a'], expected text or"),
    ],
)
def test_one_line_for_bad_rows(save, change, columns, part):
    assert part in refused(save(change(made([0, 1]))), columns=columns)


def with_mask(rows):
    return rows.add_column("mask", [None, None]).cast_column("mask", datasets.Image())


def test_datasets_is_asked_for_where_it_is_missing(save, monkeypatch):
    folder = save(made([0, 1]))
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pets: reading it needs datasets; run pip install datasets" in refused(folder)
