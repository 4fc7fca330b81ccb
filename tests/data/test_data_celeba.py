"""CelebA's lists: the official text, the dialects in circulation, and broken ones."""

import shutil

import pytest
from layouts import NAMES, edit
from table_files import refused

from dbpt.data import load_dataset


def check_faces(data, folder="img_align_celeba"):
    assert data.paths == tuple(f"{folder}/00000{n}.jpg" for n in (1, 2, 3, 4))
    assert data.labels.tolist() == [1, 0, 0, 1]
    assert data.attributes.tolist() == [1, 1, 0, 0]
    assert data.splits.tolist() == [0, 0, 1, 2]


def as_csv(text):
    return "\n".join(",".join(line.split()) for line in text.splitlines()) + "\n"


def test_celeba_official_text(faces):
    data = load_dataset("celeba", faces)
    check_faces(data)
    assert data.lines.tolist() == [3, 4, 5, 6]
    assert data.source == faces / "list_attr_celeba.txt"
    assert data.class_names == ("dark hair", "blond hair")
    assert data.words.class_texts()[0][1] == "A photo of a celebrity with blond hair."
    assert data.words.attribute_texts()[0] == ["A photo of a female celebrity.", "A photo of a male celebrity."]
    assert len(data.notes) == 3 and all("differ from the published" in note for note in data.notes)


@pytest.mark.parametrize("folder", ["CelebA", "data", "celebA/data"])  # group_DRO's
def test_celeba_from_the_parent_folder(faces, folder):
    above = faces.parent
    (above / folder).parent.mkdir(exist_ok=True)
    faces = faces.rename(above / folder)
    assert load_dataset("celeba", above).root == faces


@pytest.mark.parametrize("first", ["image_id,", ",", ""])
def test_celeba_comma_csvs(faces, first):
    rows = (faces / "list_attr_celeba.txt").read_text().split("\n", 2)[2]
    (faces / "list_attr_celeba.txt").unlink()
    (faces / "list_attr_celeba.csv").write_text(first + as_csv(NAMES) + as_csv(rows))
    partition = (faces / "list_eval_partition.txt").read_text()
    (faces / "list_eval_partition.txt").unlink()
    (faces / "list_eval_partition.csv").write_text("image_id,partition\r\n" + as_csv(partition))
    data = load_dataset("celeba", faces)
    check_faces(data)
    assert data.lines.tolist() == [2, 3, 4, 5]


def test_celeba_white_space_csv_with_crlf(faces):
    text = (faces / "list_attr_celeba.txt").read_text().split("\n", 1)[1]
    (faces / "list_attr_celeba.txt").unlink()
    (faces / "list_attr_celeba.csv").write_bytes(b"image_id " + text.replace("\n", "\r\n").encode())
    check_faces(load_dataset("celeba", faces))


def test_celeba_folders_of_the_official_and_the_kaggle_archives(faces):
    for folder, name in (("Anno", "list_attr_celeba.txt"), ("Eval", "list_eval_partition.txt")):
        (faces / folder).mkdir()
        shutil.move(faces / name, faces / folder / name)
    check_faces(load_dataset("celeba", faces))
    shutil.move(faces / "img_align_celeba", faces / "inner")
    (faces / "img_align_celeba").mkdir()
    shutil.move(faces / "inner", faces / "img_align_celeba/img_align_celeba")
    check_faces(load_dataset("celeba", faces), "img_align_celeba/img_align_celeba")


def test_celeba_lists_that_disagree_are_noted(faces):
    edit(faces / "list_attr_celeba.txt", "4\n", "202599\n")
    edit(faces / "list_eval_partition.txt", "000004.jpg 2\n", "000004.jpg 2\n000005.jpg 2\n")
    unused, claimed = sorted(load_dataset("celeba", faces).notes[:2])
    assert "1 images of list_eval_partition.txt" in unused and "says 202599 images, the file has 4" in claimed


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        ("attr", "Blond_Hair", "Blonde_Hair", "line 2: no column 'Blond_Hair'; columns found: '5_o_Clock_Shadow', "),
        ("attr", "000002.jpg  1 -1", "000002.jpg  1  2", "line 4: Blond_Hair is '2', expected one of '1', '-1'"),
        ("attr", "000002.jpg  1 -1", "000002.jpg -1", "line 4: has 4 fields, expected 5; is the file cut off?"),
        ("attr", "000002.jpg", "000009.jpg", "line 4: image '000009.jpg' has no row in"),
        ("attr", "4\n" + NAMES, "4\n", "line 3: no column 'Blond_Hair'"),
        ("partition", "3.jpg 1", "3.jpg 7", "line 3: found '000003.jpg 7', expected an image name and 0, 1 or 2"),
        ("partition", "000003.jpg 1", "000002.jpg 1", "line 3: image '000002.jpg' occurs twice"),
    ],
)
def test_celeba_refusals(faces, file, old, new, part):
    edit(faces / {"attr": "list_attr_celeba.txt", "partition": "list_eval_partition.txt"}[file], old, new)
    assert part in refused("celeba", faces)


@pytest.mark.parametrize("text", [f"0\n{NAMES}\n", f"{NAMES}\n", "image_id," + NAMES.replace(" ", ",") + "\n"])
def test_celeba_header_without_rows(faces, text):
    (faces / "list_attr_celeba.txt").write_text(text)
    assert "has a header but no rows" in refused("celeba", faces)


def test_celeba_missing_parts(faces):
    (faces / "img_align_celeba/000003.jpg").unlink()
    message = refused("celeba", faces)
    assert message.startswith("list_attr_celeba.txt line 5: image 'img_align_celeba/000003.jpg' is not in")
    assert "(1 of 4 images cannot be found)" in message
    shutil.rmtree(faces / "img_align_celeba")
    assert "img_align_celeba, Img/img_align_celeba is here; CelebA needs one of them" in refused("celeba", faces)
    (faces / "list_eval_partition.txt").unlink()
    assert "none of list_eval_partition.txt, " in refused("celeba", faces)
    (faces / "list_attr_celeba.txt").unlink()
    assert "no list_attr_celeba.txt or " in refused("celeba", faces)
