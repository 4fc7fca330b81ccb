"""MetaShift as DISC lays it out, and the original script's layout, which is not read."""

import pickle
import shutil

import numpy as np
import pytest
from layouts import refused, touch

from dbpt.data import load_dataset
from dbpt.data.metashift import DISC_GROUPS, disc_test_split


class Bomb:
    """Unpickling it would fail the test."""

    def __reduce__(self):
        return pytest.fail, ("the pickle was loaded",)


@pytest.fixture
def shelves(tmp_path):
    """DISC's layout: 4 images a training folder, 10 a test folder."""
    folder = tmp_path / "MetaDatasetCatDog"
    for group in DISC_GROUPS:
        touch(folder, *(f"{group}/{n:02}.jpg" for n in range(4 if group.startswith("train") else 10)))
    return folder


@pytest.mark.parametrize("parent", [False, True])
def test_disc(shelves, parent):
    data = load_dataset("metashift", shelves.parent if parent else shelves)
    assert data.root == shelves
    assert data.paths[:5] == (*(f"train/cat/cat(sofa)/0{n}.jpg" for n in range(4)), "train/cat/cat(bed)/00.jpg")
    assert data.class_names == ("dog", "cat")
    assert data.attribute_names == ("sofa", "bed", "bench", "bike", "shelf")
    assert data.labels.tolist() == [1] * 8 + [0] * 8 + [1] * 10 + [0] * 10
    assert data.attributes.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 20
    assert np.bincount(data.splits).tolist() == [16, 3, 17]
    assert data.notes[0].startswith("DISC's variant of MetaShift, not comparable with the other;")
    assert data.published is None


def test_disc_s_split_of_the_test_images():
    # Pinned: the last floor(0.15 N) of RandomState(0)'s permutation, which is what train_test_split takes.
    assert np.flatnonzero(disc_test_split(20) == 1).tolist() == [0, 12, 15]
    assert np.bincount(disc_test_split(144), minlength=3).tolist() == [0, 21, 123]
    assert disc_test_split(1).tolist() == [2]


def test_disc_s_missing_folder(shelves):
    shutil.rmtree(shelves / "train/dog/dog(bike)")
    assert "train/dog/dog(bike): no *.jpg there; MetaShift in DISC's layout needs" in refused("metashift", shelves)


def test_the_original_script_s_layout_is_not_read_and_its_pickle_stays_closed(tmp_path):
    folder = tmp_path / "MetaShift-subpopulation-shift"
    touch(folder, "train/cat/1.jpg", "train/dog/2.jpg", "val_out_of_domain/cat/3.jpg", "val_out_of_domain/dog/4.jpg")
    (folder / "imageID_to_group.pkl").write_bytes(pickle.dumps(Bomb()))
    assert "no train/cat/cat(indoor) or" in refused("metashift", folder)
