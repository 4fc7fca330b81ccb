"""Rows of numbers that are read from files without mapping them: as an array gives them, or one line."""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbpt.data.stored_features import StoredFeatures, read_blocks
from dbpt.errors import InputError
from dbpt.storage import row_files
from dbpt.storage.row_files import CopiedRows, RowsFile, RowsInMemory

WIDTH = 3
HEADER = 5


def write(path: Path, array: np.ndarray) -> RowsFile:
    """Write rows behind a few bytes of something else."""
    path.write_bytes(b"x" * HEADER + array.tobytes())
    return RowsFile(path, array.dtype, array.shape, HEADER)


@pytest.fixture
def file(tmp_path) -> RowsFile:
    return write(tmp_path / "rows.bin", np.arange(60, dtype=np.float32).reshape(20, WIDTH))


def read(rows: RowsFile, *numbers: int) -> np.ndarray:
    out = np.empty((len(numbers), WIDTH), rows.dtype)
    rows.read(np.array(numbers), out)
    return out


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    kinds=st.lists(st.sampled_from(["float16", "float32", "float64"]), min_size=4, max_size=4),
    picks=st.lists(st.integers(-1, 100), max_size=40),
    gap=st.integers(0, 30),
    block=st.integers(1, 11),
)
def test_several_parts_read_as_one_array(lengths, kinds, picks, gap, block, tmp_path_factory):
    """Rows in any order, with repeats and rows that are nowhere (-1), each divided by its length."""
    folder = tmp_path_factory.mktemp("rows")
    arrays = [
        np.random.default_rng(number).normal(size=(length, WIDTH)).astype(kind)
        for number, (length, kind) in enumerate(zip(lengths, kinds, strict=False))
    ]
    makers = [
        lambda array: write(folder / f"{len(list(folder.iterdir()))}.bin", array),
        RowsInMemory,
        lambda array: CopiedRows(folder, [array[:1], array[1:]]),
    ]
    parts = [makers[number % 3](array) for number, array in enumerate(arrays)]
    whole = np.concatenate([*(array.astype(np.float32) for array in arrays), np.zeros((1, WIDTH), np.float32)])
    rows = np.array([min(pick, len(whole) - 2) for pick in picks], dtype=np.int64)
    scale = np.linspace(1, 2, len(rows), dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_files, "LARGEST_GAP", gap)
        features = StoredFeatures(parts, rows, WIDTH, lengths=scale)
        expected = whole[rows] / scale[:, None]
        np.testing.assert_array_equal(features[:], expected)
        np.testing.assert_array_equal(features.take(np.arange(len(rows))[::-1])[:], expected[::-1])
        blocks = [(part, found.copy()) for part, found in read_blocks(features, size=block)]
    assert [part.start for part, _ in blocks] == list(range(0, len(rows), block))
    for part, found in blocks:
        np.testing.assert_array_equal(found, expected[part])


def changed(file: RowsFile) -> None:
    os.utime(file.path, ns=(1, 1))


def replaced(file: RowsFile) -> None:
    content = file.path.read_bytes()
    before = file.path.stat()
    file.path.unlink()
    file.path.with_name("other").write_bytes(b"")  # takes the inode
    file.path.write_bytes(content)
    os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def shrunk(file: RowsFile) -> None:
    with file.path.open("r+b") as opened:
        opened.truncate(HEADER + 100)


def gone(file: RowsFile) -> None:
    file.path.unlink()


def test_rows_are_chosen_by_slices_numbers_and_masks_only(file):
    features = StoredFeatures([file], np.arange(20), WIDTH)
    whole, mask = features[:], np.arange(20) % 3 == 0
    for rows in (mask, np.flatnonzero(mask), [3, 1], slice(2, 9, 3), np.array([-1])):
        np.testing.assert_array_equal(features[rows], whole[rows])
    for rows in (2, np.zeros((2, 2), int), mask[:5]):
        with pytest.raises(IndexError):
            features[rows]


def test_an_error_of_the_thread_that_reads_ahead_is_raised(file):
    features, blocks = StoredFeatures([file], np.arange(20), WIDTH), []
    with pytest.raises(InputError, match="was changed or replaced"):
        for _, block in read_blocks(features, size=4):
            blocks.append(block.copy())
            changed(file)
    np.testing.assert_array_equal(blocks[0], np.arange(12).reshape(4, WIDTH))
    assert len(blocks) < 3  # the second may have been read before the change


def test_a_file_that_changes_while_it_is_read_is_named(file, monkeypatch):
    read_run = file._read_run

    def slowly(*arguments):
        read_run(*arguments)
        changed(file)

    monkeypatch.setattr(file, "_read_run", slowly)
    with pytest.raises(InputError, match="was changed or replaced"):
        read(file, 3)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (changed, "was changed or replaced"),
        (replaced, "was changed or replaced"),
        (shrunk, "was changed or replaced"),
        (gone, "cannot be read: No such file"),
    ],
)
def test_a_file_that_changes_between_reads_is_named(file, fault, words):
    assert np.array_equal(read(file, 0, 19), [[0, 1, 2], [57, 58, 59]])
    fault(file)
    with pytest.raises(InputError, match=f"^{file.path}: .*{words}"):
        read(file, 0, 19)


def test_a_file_that_ends_while_it_is_read_is_named(file, monkeypatch):
    monkeypatch.setattr(row_files, "_identity", lambda status: file._seen)  # it shrinks after the look at it
    shrunk(file)
    assert len(read(file, 0, 7)) == 2
    with pytest.raises(InputError, match="ended while it was read"):
        read(file, 0, 19)


def test_a_file_without_permission_is_named(file, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)  # root may read everything
    with pytest.raises(InputError, match=r"cannot be read: Permission denied"):
        read(file, 0)


def test_neighbours_are_read_at_once(file, monkeypatch):
    seeks, opened = [], file._opened

    class Counted:
        def __init__(self, opened):
            self.readinto, self._seek = opened.readinto, opened.seek

        def seek(self, place):
            seeks.append((place - HEADER) // (4 * WIDTH))
            return self._seek(place)

    @contextmanager
    def counted():
        with opened() as own:
            yield Counted(own)

    monkeypatch.setattr(file, "_opened", counted)
    monkeypatch.setattr(row_files, "LARGEST_GAP", 3 * 4 * WIDTH)
    assert read(file, 1, 2, 5, 9, 9, 19)[:, 0].tolist() == [3, 6, 15, 27, 27, 57]
    assert seeks == [1, 9, 19]


def test_no_copy_fits_the_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda: type("Full", (), {"write": full, "close": lambda _: None})())
    with pytest.raises(InputError, match=r"no copy of .* can be written: No space left on device; set TMPDIR"):
        CopiedRows(tmp_path / "f.parquet", [np.zeros((2, 2), np.float32)])


def test_too_many_features_are_not_taken_into_memory(monkeypatch):
    features = StoredFeatures.of(np.ones((4, WIDTH), np.float32))
    monkeypatch.setattr("dbpt.data.stored_features.MOST_BYTES", 4 * 4 * WIDTH - 1)
    with pytest.raises(InputError, match="--objective dfr: needs all 4 rows of features in memory"):
        features.whole("--objective dfr")


def test_few_features_are_kept_in_memory(file, monkeypatch):
    features = StoredFeatures([file], np.arange(20), WIDTH)
    assert features.kept().is_in_memory
    monkeypatch.setattr("dbpt.data.stored_features.KEPT_BYTES", 20 * 4 * WIDTH - 1)
    assert features.kept() is features and not features.is_in_memory


def test_a_digest_tells_rows_and_their_order_apart(file):
    features = StoredFeatures([file], np.arange(20), WIDTH)
    same = StoredFeatures.of(features[:])
    taken = [features.take(np.array(rows)) for rows in ([1, 2], [2, 1], [1, 2, 2])]
    assert len({features.digest, *(each.digest for each in taken)}) == 4
    assert features.digest == same.digest and taken[0].digest == same.take(np.array([1, 2])).digest


def test_copied_rows_are_not_for_other_processes(tmp_path, file):
    assert StoredFeatures([file], np.arange(20), WIDTH).for_other_processes()[:].shape == (20, WIDTH)
    copied = StoredFeatures([CopiedRows(tmp_path / "f.parquet", [np.ones((2, WIDTH), np.float32)])], np.arange(2), 3)
    with pytest.raises(InputError, match=r"f\.parquet: .*save them as \.npy"):
        copied.for_other_processes()
