"""Delimited text: what is read in bulk is what is read row by row."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt.data import tables
from dbpt.data.columns import Columns
from dbpt.data.paths import relative_path

PIECES = ["path,label", "a,b", ",", "\t", '"', '""', "\n", "\n\n", "\r", " ", "é", "\x0b", "\u2028"]


@given(st.lists(st.sampled_from(PIECES), max_size=14), st.sampled_from(",\t"))
@settings(max_examples=500, deadline=None)
def test_plain_text_in_bulk(pieces, delimiter):
    text = "".join(pieces)
    cells = tables._unquoted_cells(text, delimiter)
    if cells is not None:
        expected = list(tables.separated_rows(Path("table.csv"), text, delimiter))
        assert [(line, list(row)) for line, row in enumerate(zip(*cells, strict=True), start=1)] == expected


def test_most_texts_are_plain():
    for text in ("path,label\na b,é\n", "path,label\na b,é"):
        assert tables._unquoted_cells(text, ",") == [["path", "a b"], ["label", "é"]]


@pytest.mark.parametrize(
    "path", ["a", "a/b.jpg", ".a/b", "a/.b", "a./b", "./a", "a//b", "a/./b", "a/../b", "a/b/..", "a/", "a/.", "é b/c~"]
)
def test_paths_are_normalised_in_a_column_as_one_by_one(path, tmp_path):
    columns = Columns(tmp_path / "t.csv", [2], {"path": [path]})
    assert columns.image_paths("path", tmp_path) == (relative_path(path, tmp_path, "here"),)
