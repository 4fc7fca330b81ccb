"""A folder of images: what is read, and one line for what can't be."""

import pytest
import torchvision
from layouts import touch
from table_files import link_as_folder, refused, vocabulary

from dbpt.data import load_dataset


@pytest.fixture
def folder(tmp_path):
    def make(*paths):
        touch(tmp_path / "pets", *paths)
        return tmp_path / "pets"

    return make


SPLITS = ("train/dog/b.JPG", "train/dog/a.png", "train/cat/deep/c.webp", "validation/dog/d.tif", "Test/cat/a.jpeg")


def test_splits_with_classes(folder):
    pets = folder(*SPLITS)
    data = load_dataset(pets)
    assert (data.name, data.root, data.source) == ("pets", pets, pets)
    assert data.paths == (
        "train/cat/deep/c.webp",
        "train/dog/a.png",
        "train/dog/b.JPG",
        "validation/dog/d.tif",
        "Test/cat/a.jpeg",
    )
    assert (data.class_names, data.labels.tolist()) == (("cat", "dog"), [0, 1, 1, 1, 0])
    assert data.splits.tolist() == [0, 0, 0, 1, 2]
    assert not data.has_true_attributes and data.notes == ()
    assert data.where(1) == "train/dog/a.png"
    assert load_dataset(str(pets), attributes=vocabulary("in", "out")).attribute_names == ("in", "out")


def test_classes_alone_are_all_training_and_that_is_noted(folder):
    data = load_dataset(folder("dog/a.jpg", "cat/a.jpg"))
    assert (data.paths, data.splits.tolist()) == (("cat/a.jpg", "dog/a.jpg"), [0, 0])
    assert data.notes == ("no folders train, val, test: all images are in split train, and there is no test split",)


def test_other_names_of_splits(folder):
    data = load_dataset(folder("training/dog/a.jpg", "training/cat/a.jpg", "testing/cat/a.jpg"))
    assert (data.class_names, data.splits.tolist()) == (("cat", "dog"), [0, 0, 2])


def test_rows_and_classes_are_those_of_torchvision(tiny, tmp_path):
    link_as_folder(tiny, tmp_path / "squares")
    data = load_dataset(tmp_path / "squares")
    theirs = torchvision.datasets.ImageFolder(str(tmp_path / "squares/train"))
    ours = [(str(data.root / path), label) for path, label in zip(data.paths, data.labels.tolist(), strict=True)]
    assert ours[: len(theirs)] == theirs.samples
    assert data.class_names == tuple(theirs.classes)


def test_given_names_set_order_and_numbers_index_them(folder):
    names = vocabulary("dog", "cat")
    assert load_dataset(folder(*SPLITS), classes=names).labels.tolist() == [1, 0, 0, 0, 1]
    numbered = folder("../numbered/10/a.jpg", "../numbered/9/a.jpg").parent / "numbered"
    assert load_dataset(numbered).class_names == ("9", "10")
    assert "mean nothing to CLIP" in load_dataset(numbered).notes[1]
    (numbered / "9").rename(numbered / "0")
    (numbered / "10").rename(numbered / "1")
    assert load_dataset(numbered, classes=names).labels.tolist() == [0, 1]


def test_what_is_left_out_is_noted_but_for_hidden_entries(folder):
    pets = folder(*SPLITS, "train/readme.txt", "train/dog/notes.txt", ".git/x", "train/.DS_Store", "train/dog/.x.jpg")
    (pets / "train/dog/around").symlink_to(pets)
    data = load_dataset(pets)
    assert len(data) == len(SPLITS)
    shown = "'train/dog/around', 'train/dog/notes.txt', 'train/readme.txt'"
    assert data.notes == (f"3 entries are not images in a class folder: {shown}",)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("a.jpg", "train/b.jpg"), "no image in a folder of its class"),
        (("b.csv", "images.csv", "images/a.jpg"), "pets/images.csv; it can't be read as folders of classes: "),
        (("a.csv", "b.jpg"), "give its table, "),
        (("train/dog/a.jpg", "dog/a.jpg"), "'dog' beside 'train'; expected either splits, with the classes in each"),
        (("train/dog/a.jpg", "train/cat/a.jpg", "val/cow/a.jpg"), "class 'cow' has 1 rows"),
        (
            ("dog/train/a.jpg", "dog/b.jpg", "cat/Test/a.jpg"),
            "'Test', 'train' inside the folders of classes; expected spl",
        ),
    ],
)
def test_one_line_for_a_bad_folder(folder, tmp_path, paths, message):
    (tmp_path / "pets").mkdir()
    assert message in refused(folder(*paths))


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (("run.json", "config.toml"), "a run; dbpt evaluate, predict and label take it"),
        (("plan.json", "config.toml"), "a comparison; dbpt.Result.read shows its figures, dbpt compare --resume"),
        (("audit.json", "status.json"), "an audit; dbpt audit takes it as --baseline"),
        (("discover.json", "status.json"), "a discovery; its discover.html"),
        (("design.json", "sample.csv"), "a sample to label; dbpt label FOLDER --labels CSV"),
    ],
)
def test_a_folder_that_dbpt_wrote_is_no_data(folder, files, hint):
    assert f"is the folder of {hint}" in refused(folder(*files, "figures/a.png"))


def test_a_folder_that_is_none_of_the_classes(folder):
    message = refused(folder(*SPLITS), classes=vocabulary("dog", "cats"))
    assert "c.webp: label is 'cat', expected one of 'dog', 'cats'; or name the values of label: --classes 'c" in message


def test_root_and_columns_mean_nothing_to_a_folder(folder, tmp_path):
    pets = folder(*SPLITS)
    assert f"--root {tmp_path}: {pets} contains its images" in refused(pets, tmp_path)
    assert f"--columns: {pets} contains its images" in refused(pets, columns={"label": "y"})
