"""A file under its final name is complete."""

import json
import os

import pytest

from dbpt.errors import InputError
from dbpt.storage.files import write_atomically, write_json


def test_writes_text_and_bytes_readable_for_all(tmp_path):
    write_atomically(tmp_path / "a.txt", "größer\n")
    write_atomically(tmp_path / "b.bin", b"\x00\xff")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "größer\n"
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.bin"]


def test_content_in_parts_becomes_one_file_or_none(tmp_path):
    write_atomically(tmp_path / "a", iter(["größer\n", "", "x\n"]))
    assert (tmp_path / "a").read_text(encoding="utf-8") == "größer\nx\n"

    def broken():
        yield "new"
        raise RuntimeError("the second part")

    with pytest.raises(RuntimeError, match="the second part"):
        write_atomically(tmp_path / "a", broken())
    assert [(p.name, p.read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [("a", "größer\nx\n")]


def test_a_file_name_that_is_not_utf8_keeps_its_bytes(tmp_path):
    write_atomically(tmp_path / "a", os.fsdecode(b"caf\xe9.jpg") + " ö\n")
    assert (tmp_path / "a").read_bytes() == b"caf\xe9.jpg \xc3\xb6\n"


def test_json_is_utf8_whatever_a_file_is_called(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg") + " ö"
    write_json(tmp_path / "a", {"name": name})
    assert "ö" in (tmp_path / "a").read_text("utf-8")
    assert json.loads((tmp_path / "a").read_text("utf-8")) == {"name": name}


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
