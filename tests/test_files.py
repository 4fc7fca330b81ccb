"""What stands under its final name is complete."""

import os

import pytest

from dbpt.errors import InputError
from dbpt.files import write_atomically


def test_writes_text_and_bytes_readable_for_all(tmp_path):
    write_atomically(tmp_path / "a.txt", "größer\n")
    write_atomically(tmp_path / "b.bin", b"\x00\xff")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "größer\n"
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.bin"]


def test_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    seen = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append((tmp_path / "a").exists()), real(handle)))
    write_atomically(tmp_path / "a", "x")
    assert seen == [False]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    write_atomically(tmp_path / "a", "old")

    def fail(handle):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        write_atomically(tmp_path / "a", "new")
    if isinstance(error, OSError):
        assert str(caught.value).startswith(f"{tmp_path / 'a'}: cannot write: No space left on device")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "old")]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot write: No such file or directory"):
        write_atomically(tmp_path / "none" / "a", "x")
