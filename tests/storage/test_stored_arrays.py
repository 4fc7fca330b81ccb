"""Stored arrays: what was kept is found under its key; anything else is computed again, never believed."""

import os

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.storage.tensors import StoredArrays, write_tensors

KEY, OTHER = "a" * 64, "b" * 64
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def stored(tmp_path) -> StoredArrays:
    found = StoredArrays(tmp_path / "cache" / "texts")
    assert found.get(KEY, (2, 3)) is None
    assert found.files() == []
    found.put(KEY, ARRAY)
    return found


def test_it_is_found_under_its_key_and_in_its_shape_only(stored):
    np.testing.assert_array_equal(stored.get(KEY, (2, 3)), ARRAY, strict=True)
    assert stored.get(OTHER, (2, 3)) is None
    assert stored.get(KEY, (3, 2)) is None
    assert [file.name for file in stored.files()] == [f"{KEY}.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-3]), "not a readable stored array"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"!"), "damaged"),
        (lambda file: write_tensors(file, {"values": ARRAY}, {"key": OTHER}, version=1), "another array than its name"),
        (lambda file: write_tensors(file, {"values": ARRAY / 0}, {"key": KEY}, version=1), "another array than its"),
        (lambda file: write_tensors(file, {"other": ARRAY}, {"key": KEY}, version=1), "has no 'values'"),
        (lambda file: write_tensors(file, {"values": ARRAY}, {"key": KEY}, version=2), "schema version"),
        (lambda file: (file.rename(file.with_name("x")), file.symlink_to("x")), "a link, not a file of dbpt"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "not a regular file"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered in divide")
def test_what_was_not_written_so_is_not_believed_and_written_again(stored, logged, change, message):
    (file,) = stored.files()
    change(file)
    assert stored.get(KEY, (2, 3)) is None
    (line,) = logged.messages
    assert line.startswith(f"{file}: ")
    assert message in line
    with pytest.raises(InputError, match=message):
        stored.read(file)
    stored.put(KEY, ARRAY)
    assert np.array_equal(stored.get(KEY, (2, 3)), ARRAY)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "a file").write_text("precious")
    for folder in (tmp_path / "a file", tmp_path / "a file" / "texts"):
        stored = StoredArrays(folder)
        stored.put(KEY, ARRAY)
        assert stored.get(KEY, (2, 3)) is None
        assert stored.files() == []
    assert (tmp_path / "a file").read_text() == "precious"


def test_nothing_is_written_through_a_link(stored, tmp_path):
    (tmp_path / "link").symlink_to(stored.folder)
    StoredArrays(tmp_path / "link").put(OTHER, ARRAY)
    assert [file.stem for file in stored.files()] == [KEY]
    assert StoredArrays(tmp_path / "link").files() == []
