"""Data sets that several files of tests write."""

import pytest
from layouts import touch, write_faces
from saved_datasets import saver


@pytest.fixture
def save(tmp_path):
    return saver(tmp_path / "pets")


@pytest.fixture
def table(tmp_path):
    """Write a table beside four images, ``a.jpg`` to ``d.jpg``."""
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")

    def write(content, name="pets.csv"):
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        return tmp_path / name

    return write


@pytest.fixture
def faces(tmp_path):
    return write_faces(tmp_path)
