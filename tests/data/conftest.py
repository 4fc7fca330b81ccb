"""Data sets that several files of tests write."""

import pytest
from layouts import touch, write_faces


@pytest.fixture
def save(tmp_path):
    """Save a Dataset or DatasetDict to a folder, and return that."""

    def save(data, **options):
        data.save_to_disk(tmp_path / "pets", **options)
        return tmp_path / "pets"

    return save


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
