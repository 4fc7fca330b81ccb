"""MetaShift as DISC and as the original script lay it out."""

import pickle
import shutil

import numpy as np
import pytest
from layouts import refused, touch, write_pets

from dbpt.data import load_dataset
from dbpt.data.metashift import disc, original
from dbpt.data.metashift.disc import disc_test_split


class Bomb:
    """Unpickling it would fail the test."""

    def __reduce__(self):
        return pytest.fail, ("the pickle was loaded",)


@pytest.fixture
def shelves(tmp_path):
    """DISC's layout: 4 images a training folder, 10 a test folder."""
    folder = tmp_path / "MetaDatasetCatDog"
    touch(folder, *(f"{group}/{n:02}.jpg" for group in disc.TRAIN for n in range(4)))
    touch(folder, *(f"{group}/{n:02}.jpg" for group in disc.TEST for n in range(10)))
    return folder


@pytest.fixture
def mixed(tmp_path):
    """The original layout: of each folder, images 1 and 2 outdoors, 3 indoors."""
    folder = tmp_path / "MetaShift-subpopulation-shift"
    for number, name in enumerate(original.FOLDER_CODES):
        touch(folder, *(f"{name}/{number}{n}.jpg" for n in (1, 2, 3)))
    (folder / "imageID_to_group.pkl").write_bytes(pickle.dumps(Bomb()))
    return folder


def write_groups(folder, name="imageID_to_group.csv"):
    rows = [
        f"{number}{n}{'.jpg' * (n == 1)},{path.rpartition('/')[2]}({'indoor' if n == 3 else 'outdoor'})"
        for number, path in enumerate(original.FOLDER_CODES)
        for n in (1, 2, 3)
    ]
    (folder / name).write_text("image,group\n" + "\n".join(rows) + "\n")


# --- DISC


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
    assert data.notes[0].startswith("DISC's variant of MetaShift, not comparable with the others")
    assert data.published is None


def test_disc_s_split_of_the_test_images():
    # Pinned: the last floor(0.15 N) of RandomState(0)'s permutation, which is what train_test_split takes.
    assert np.flatnonzero(disc_test_split(20) == 1).tolist() == [0, 12, 15]
    assert np.bincount(disc_test_split(144), minlength=3).tolist() == [0, 21, 123]
    assert disc_test_split(1).tolist() == [2]


def test_disc_s_missing_folder(shelves):
    shutil.rmtree(shelves / "train/dog/dog(bike)")
    assert "train/dog/dog(bike): no *.jpg there; MetaShift in DISC's layout needs" in refused("metashift", shelves)


# --- the original script


@pytest.mark.parametrize("source", ["imageID_to_group.csv", "train/imageID_to_group.csv"])
def test_original_with_a_table_of_groups(mixed, source):
    write_groups(mixed, source)
    for root in (mixed, mixed.parent):
        data = load_dataset("metashift", root)
        assert data.paths[:4] == ("train/cat/01.jpg", "train/cat/02.jpg", "train/cat/03.jpg", "train/dog/11.jpg")
        assert data.labels.tolist() == [1] * 3 + [0] * 3 + [1] * 3 + [0] * 3
        assert data.attributes.tolist() == [0, 0, 1] * 4
        assert data.splits.tolist() == [0] * 6 + [2] * 6
        assert data.attribute_names == ("outdoor", "indoor")
        assert "not comparable with SubpopBench's; groups from" in data.notes[0]
        assert data.notes[1] == "train: group counts 2/1/2/1 differ from the published 750/100/100/750"


def test_original_with_the_unmixed_folders_beside_it(mixed):
    unmixed = write_pets(mixed.parent)
    for number, path in enumerate(original.FOLDER_CODES):
        kind = path.rpartition("/")[2]
        for n in (1, 2, 3):
            place = "indoor" if n == 3 else "outdoor"
            usual = "train" if (kind == "cat") == (place == "indoor") else "test"
            touch(unmixed, f"{usual}/{kind}/{kind}({place})/{number}{n}.jpg")
    data = load_dataset("metashift", mixed)
    assert data.root == mixed
    assert data.attributes.tolist() == [0, 0, 1] * 4


def test_original_with_the_pickle_alone_is_refused_and_the_pickle_stays_closed(mixed):
    message = refused("metashift", mixed)
    assert "pickle imageID_to_group.pkl, which is never loaded; write them into imageID_to_group.csv there" in message
    assert "or put the script's folder MetaShift-Cat-Dog-indoor-outdoor beside it" in message


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("03,cat(indoor)", "03,cat(indoors)", "line 4: group is 'cat(indoors)', expected one of 'dog(outdoor)'"),
        ("03,cat(indoor)", "03,dog(indoor)", "train/cat/03.jpg: "),
        ("03,cat(indoor)", "04,cat(indoor)", "train/cat/03.jpg: image '03' has no group in"),
        ("03,cat(indoor)", "02,cat(indoor)", "line 4: image '02' has had another group before"),
        ("image,group", "id,group", "line 1: no column 'image'"),
    ],
)
def test_tables_of_groups_that_are_refused(mixed, old, new, part):
    write_groups(mixed)
    table = mixed / "imageID_to_group.csv"
    table.write_text(table.read_text().replace(old, new))
    assert part in refused("metashift", mixed)
