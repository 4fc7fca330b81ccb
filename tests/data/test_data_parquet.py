"""Parquet tables: what is read, and one line for what can't be."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import touch
from table_files import refused, vocabulary

from dbpt.data import load_dataset

COLUMNS = {"path": ["a.jpg", "b.jpg"], "label": ["dog", "cat"], "split": ["train", "val"]}
NAMES = ['odd, "name"\n.jpg', "e\u0301.jpg", "\u00e9.jpg"]


@pytest.fixture
def table(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", *NAMES)

    def write(columns, name="pets.parquet"):
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), tmp_path / name)
        return tmp_path / name

    return write


def test_text_also_as_categories_and_columns_that_nobody_asked_for(table):
    columns = COLUMNS | {"label": pa.array(["dog", "cat"]).dictionary_encode(), "image": [b"\xff", b"\xd8"]}
    data = load_dataset(table(columns, "pets.PARQUET"), training=False)
    assert data.paths == ("a.jpg", "b.jpg")
    assert (data.class_names, data.labels.tolist(), data.splits.tolist()) == (("cat", "dog"), [1, 0], [0, 1])
    assert data.where(1) == "pets.PARQUET row 2"


def test_integers_booleans_and_floats_with_gaps(table):
    columns = COLUMNS | {"path": NAMES, "label": [True, False, True], "split": [0, 0, 2]}
    columns["attribute"] = [1.0, float("nan"), None]
    data = load_dataset(table(columns), classes=vocabulary("cat", "dog"), attributes=vocabulary("out", "in"))
    assert data.paths == tuple(NAMES)
    assert (data.labels.tolist(), data.attributes.tolist()) == ([1, 0, 1], [1, -1, -1])
    assert data.splits.tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ({"path": ["a.jpg"], "lable": ["x"], "split": ["train"]}, "no column 'label'; columns found: 'path', 'lable'"),
        ({name: pa.array([], pa.string()) for name in COLUMNS}, "has columns but no rows"),
        (COLUMNS | {"path": [b"a.jpg", b"b.jpg"]}, "column 'path' holds binary, expected text, integers or booleans"),
        (COLUMNS | {"path": [{"bytes": b""}, None]}, "column 'path' holds struct<bytes: binary>, expected text"),
        (COLUMNS | {"label": [["dog"], ["cat"]]}, "column 'label' holds list<"),
        (COLUMNS | {"label": pa.array([0, 1], pa.timestamp("s"))}, "column 'label' holds timestamp["),
        (COLUMNS | {"path": ["a.jpg", None]}, "row 2: path '' names no file"),
        (pa.Table.from_arrays([pa.array(["x"])] * 4, ["path", "label", "split", "label"]), "'label' occurs 2 times"),
    ],
)
def test_one_line_for_a_bad_table(table, columns, part):
    message = refused(table(columns), training=False)
    assert "pets.parquet" in message and part in message


@pytest.mark.parametrize(
    "content", [b" ", None, b"<html>Not found</html>", b"path,label,split\n", b"PAR1" + b"\xff" * 64 + b"PAR1"]
)
def test_what_is_no_parquet_file(table, content):
    path = table(COLUMNS)
    path.write_bytes(content or path.read_bytes()[:-20])
    assert "pets.parquet: cannot be read as Parquet (" in refused(path)


def test_pyarrow_is_asked_for_where_it_is_missing_or_old(table, monkeypatch):
    path = table(COLUMNS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pets.parquet: Parquet needs pyarrow; run pip install pyarrow" in refused(path)
    monkeypatch.undo()
    monkeypatch.setattr(pa, "__version__", "14.0.0")
    assert "pyarrow 14.0.0 may unpickle what a file holds; run pip install -U pyarrow" in refused(path)
