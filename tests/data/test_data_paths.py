"""Columns: paths are normalised."""

import pytest

from dbpt.data.columns import Columns
from dbpt.data.paths import relative_path


@pytest.mark.parametrize(
    "path", ["a", "a/b.jpg", ".a/b", "a/.b", "a./b", "./a", "a//b", "a/./b", "a/../b", "a/b/..", "a/", "a/.", "é b/c~"]
)
def test_paths_are_normalised_in_a_column_as_one_by_one(path, tmp_path):
    columns = Columns(tmp_path / "t.csv", [2], {"path": [path]})
    assert columns.image_paths("path", tmp_path) == (relative_path(path, tmp_path, "here"),)
