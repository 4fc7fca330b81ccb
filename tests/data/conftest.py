"""Data sets that several files of tests write."""

import pytest
from layouts import write_faces
from saved_datasets import saver


@pytest.fixture
def save(tmp_path):
    return saver(tmp_path / "pets")


@pytest.fixture
def faces(tmp_path):
    return write_faces(tmp_path)
