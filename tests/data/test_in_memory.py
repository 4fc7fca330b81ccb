"""A DataFrame or a `Dataset` as DATA: read as the table of the same rows, saved as one below the cache folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import touch
from table_files import refused

from dbpt.data import load_dataset

ROWS = {"path": ["a.jpg", "b/c.jpg", "d.jpg"], "label": ["dog", "cat", "dog"], "split": ["train", "train", "test"]}
WORDS = {"cat": ["cat", "kitten"], "dog": "dog"}


@pytest.fixture
def images(tmp_path, monkeypatch):
    """The images of ROWS in the working directory, and a cache folder beside it."""
    folder = tmp_path / "images"
    touch(folder, *ROWS["path"])
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path / "cache"))
    return folder


def contents(data):
    return data.paths, data.labels.tolist(), data.attributes.tolist(), data.splits.tolist(), data.words


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label": [1.0, 0.0, 1.0], "split": [0, 0, 2]},
        {"label": pd.array([1, 0, 1], "Int64"), "attribute": pd.array([1, None, 0], "Int64")},
        {"label": [True, False, True], "attribute": [float("nan"), 2, 3]},
        {"label": pd.Categorical(["dog", "cat", "dog"]), "attribute": ["in", None, "out"]},
        {"path": [Path("a.jpg"), Path("b/c.jpg"), "d.jpg"], "label": np.array([7, 5, 7], object)},
    ],
)
def test_it_is_read_as_the_table_of_its_rows(images, changes):
    frame = pd.DataFrame(ROWS | changes, index=list("xyz"))
    frame.to_json("rows.jsonl", orient="records", lines=True, default_handler=str)
    found, expected = load_dataset(frame), load_dataset("rows.jsonl")
    assert contents(found) == contents(expected)
    assert (found.name, found.root) == ("dataframe", images)
    assert found.where(1) == "DataFrame row 2"
    assert not (images.parent / "cache").exists()


def test_words_columns_and_root_as_for_a_table(images, monkeypatch):
    frame = pd.DataFrame({"file": ROWS["path"], 1: ["1", "0", "1"], "attribute": ["p", "q", "r"]})
    monkeypatch.chdir(images.parent)
    for columns in ({"path": "file", "label": "1", "attribute": ""}, ["path=file", "label=1", "attribute="]):
        found = load_dataset(frame, images, columns=columns, classes=WORDS, attributes=["in", "out"])
        assert found.words.classes == {"cat": ("cat", "kitten"), "dog": ("dog",)}
        assert (found.labels.tolist(), found.attributes.tolist()) == ([1, 0, 1], [-1, -1, -1])
        assert found.splits.tolist() == [0, 0, 0] and "no split column" in found.notes[0]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"path": ["a.jpg"], "labels": [1]}), "(did you mean 'labels'?); name the columns"),
        (pd.DataFrame(columns=["path", "label"]), "DataFrame: has columns but no rows; expected one row per image"),
        (pd.DataFrame(), "DataFrame: no column 'path'; columns found: ; name the columns"),
        (pd.DataFrame([["a.jpg", "x", "y"]], columns=["path", "label", "label"]), "column 'label' occurs 2 times;"),
        (pd.DataFrame(ROWS | {"label": [1.0, 0, float("nan")]}), "DataFrame row 3: label is '', expected one of"),
        (pd.DataFrame(ROWS | {"label": ["dog", "cat", ["a"]]}), "DataFrame row 3: label is ['a'], expected text"),
        (pd.Series(["a.jpg"]), "expected a name, a path, a DataFrame, or a Dataset"),
    ],
)
def test_what_is_refused(images, frame, message):
    assert message in refused(frame)


def test_a_dataset_is_taken_as_it_is_but_for_the_words_that_are_given(images):
    data = load_dataset(pd.DataFrame(ROWS))
    assert contents(load_dataset(data)) == contents(data)
    words = load_dataset(data, classes=WORDS, attributes=["in", "out"], template="a {}").words
    assert words.classes == {"cat": ("cat", "kitten"), "dog": ("dog",)}
    assert (list(words.attributes), words.templates) == (["in", "out"], ("a {}",))
    assert "--classes: the data set has 2 (cat, dog, in this order), found 3" in refused(data, classes=list("abc"))
    assert "has 2 (cat, dog, in this order), found 2 ('dog', 'cat')" in refused(data, classes=["dog", "cat"])
    assert "'dataframe' has fixed columns" in refused(data, columns=["label=y"])
    assert "(3 of 3 images cannot be found)" in refused(data, images / "b")
    assert "is already at" in refused(replace(data, paths=("a.jpg", "a.jpg", "d.jpg")))
