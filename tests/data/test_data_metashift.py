"""MetaShift in SubpopBench's and DISC's layouts, whole and broken."""

import shutil

import numpy as np
import pytest
from layouts import edit, pets_metadata, touch, write_pets
from table_files import refused

from dbpt.data import load_dataset
from dbpt.data.layouts.metashift import DISC_GROUPS, FOLDER, GROUPS, disc_test_split, subpopbench_split

HOME = "/home/someone/data/metashift/"


@pytest.fixture
def pets(tmp_path):
    return write_pets(tmp_path)


def test_metashift_split_gives_the_published_counts_to_the_row():
    sizes = dict(zip(GROUPS, (1248, 1184, 294, 773), strict=True))
    groups = np.concatenate([np.full(n, 2 * GROUPS[folder][0] + GROUPS[folder][1]) for folder, n in sizes.items()])
    splits = subpopbench_split(len(groups))
    counts = [np.bincount(groups[splits == split], minlength=4).tolist() for split in range(3)]
    assert counts == [[784, 507, 196, 789], [127, 75, 33, 114], [273, 191, 65, 345]]
    # Pinned: computed once with SubpopBench's recipe; NumPy promises that RandomState's stream never changes.
    assert splits[:12].tolist() == [2, 1, 1, 0, 0, 0, 0, 2, 1, 0, 0, 0]
    assert np.flatnonzero(splits == 2)[-5:].tolist() == [3488, 3491, 3492, 3494, 3497]


def test_metashift_from_folders(pets):
    touch(pets, *(f"train/cat/cat(indoor)/{name}" for name in ("a.png", "b.JPG", "notes.txt", ".DS_Store")))
    data = load_dataset("metashift", pets)
    assert data.root == data.source == pets
    assert data.paths[:6] == (*(f"train/cat/cat(indoor)/{n}.jpg" for n in range(5)), "train/dog/dog(outdoor)/0.jpg")
    assert data.labels.tolist() == [1] * 5 + [0] * 5 + [1] * 5 + [0] * 5
    assert data.attributes.tolist() == [1] * 5 + [0] * 10 + [1] * 5
    assert np.bincount(data.splits).tolist() == [13, 2, 5]
    assert data.class_names == ("dog", "cat") and data.attribute_names == ("outdoor", "indoor")
    assert data.words.attribute_texts()[0] == ["a photo taken outdoors.", "a photo taken indoors."]
    assert data.notes[0].startswith("no metadata_metashift.csv: split as in SubpopBench")
    others = "'train/cat/cat(indoor)/a.png', 'train/cat/cat(indoor)/b.JPG', 'train/cat/cat(indoor)/notes.txt'"
    assert data.notes[1] == f"3 entries are not *.jpg files and are left out: {others}"
    assert data.where(0) == "train/cat/cat(indoor)/0.jpg"


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize("prefix", [HOME, "", "C:\\data\\", f"/a/{FOLDER}/b/"])
def test_metashift_metadata_is_relocated(pets, place, prefix):
    (pets / place / "metadata_metashift.csv").write_text(pets_metadata(pets, prefix))
    for root in (pets, pets.parent):
        data = load_dataset("metashift", root)
        assert data.root == pets
        assert data.paths[:2] == ("train/cat/cat(indoor)/0.jpg", "train/dog/dog(outdoor)/0.jpg")
        assert data.labels[:4].tolist() == [1, 0, 1, 0]
        assert data.attributes[:4].tolist() == [1, 0, 0, 1]
        assert data.splits.tolist() == [n % 3 for n in range(5) for _ in range(4)]
        assert data.lines[0] == 2


def test_metashift_metadata_written_on_windows(pets):
    text = pets_metadata(pets, "C:\\data\\").replace("/", "\\")
    (pets / "metadata_metashift.csv").write_text(text)
    assert load_dataset("metashift", pets).paths[0] == "train/cat/cat(indoor)/0.jpg"


def test_metashift_names_inside_a_renamed_folder(pets, tmp_path):
    renamed = tmp_path / "renamed"
    text = pets_metadata(pets, "").replace(FOLDER, str(renamed))
    shutil.move(pets, renamed)
    (renamed / "metadata_metashift.csv").write_text(text)
    assert load_dataset("metashift", renamed).paths[0] == "train/cat/cat(indoor)/0.jpg"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        (f"{HOME}{FOLDER}/train", "/elsewhere/train", "line 2: path '/elsewhere/train/cat/cat(indoor)/0.jpg' is outs"),
        (f"{FOLDER}/train", f"{FOLDER}/../../train", "path '../../train/cat/cat(indoor)/0.jpg' leaves the root"),
        (f"{FOLDER}/train", f"{FOLDER}//etc", "line 2: path '/etc/cat/cat(indoor)/0.jpg' is outside the root"),
        ("0.jpg,0,1,1", "0.jpg,0,0,1", "line 2: y,a is 0,1 but the folder of 'train/cat/cat(indoor)/0.jpg' means 1,1"),
    ],
)
def test_metashift_metadata_refusals(pets, old, new, part):
    (pets / "metadata_metashift.csv").write_text(pets_metadata(pets))
    edit(pets / "metadata_metashift.csv", old, new)
    assert part in refused("metashift", pets)


def test_metashift_missing_group_folder_and_no_folder_at_all(pets, tmp_path):
    shutil.rmtree(pets / "test/dog/dog(indoor)")
    assert "test/dog/dog(indoor): no *.jpg there" in refused("metashift", pets)
    message = refused("metashift", tmp_path / "..")
    assert "or test/dog/dog(indoor) here or in MetaShift-Cat-Dog-indoor-outdoor/" in message


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
    assert data.notes[0].startswith("DISC's variant of MetaShift")
    assert data.published is None


def test_disc_s_split_of_the_test_images():
    # Pinned: the last floor(0.15 N) of RandomState(0)'s permutation, which is what train_test_split takes.
    assert np.flatnonzero(disc_test_split(20) == 1).tolist() == [0, 12, 15]
    assert np.bincount(disc_test_split(144), minlength=3).tolist() == [0, 21, 123]
    assert disc_test_split(1).tolist() == [2]


def test_disc_s_missing_folder(shelves):
    shutil.rmtree(shelves / "train/dog/dog(bike)")
    assert "train/dog/dog(bike): no *.jpg there; MetaShift in DISC's layout needs" in refused("metashift", shelves)
