"""Waterbirds, CelebA and MetaShift in their own layouts, whole, in dialects, and broken."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dbpt.data import load_dataset
from dbpt.data.metashift import FOLDER, GROUPS, subpopbench_split
from dbpt.errors import InputError

BIRDS = "img_id,img_filename,y,split,place,place_filename\n"
NAMES = "5_o_Clock_Shadow Blond_Hair Male Young"


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def refused(name, root, **options):
    with pytest.raises(InputError) as error:
        load_dataset(name, root, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def birds(tmp_path):
    folder = tmp_path / "waterbird_complete95_forest2water2"
    touch(folder, "001.A/x.jpg", "001.A/y.jpg", "002.B/z.jpg")
    rows = "1,001.A/x.jpg,1,0,1,/o/a.jpg\n2,001.A/y.jpg,0,0,1,/o/b.jpg\n3,002.B/z.jpg,0,2,0,/o/c.jpg\n"
    (folder / "metadata.csv").write_text(BIRDS + rows)
    return folder


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "celeba"
    touch(folder, *(f"img_align_celeba/00000{n}.jpg" for n in (1, 2, 3, 4)))
    rows = ["000001.jpg -1  1  1 -1", "000002.jpg  1 -1  1  1", "000003.jpg -1 -1 -1  1", "000004.jpg -1  1 -1  1"]
    (folder / "list_attr_celeba.txt").write_text("\n".join(["4", NAMES + " ", *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 0\n000003.jpg 1\n000004.jpg 2\n")
    return folder


@pytest.fixture
def pets(tmp_path):
    folder = tmp_path / FOLDER
    touch(folder, *(f"{group}/{n}.jpg" for group in GROUPS for n in range(5)))
    return folder


def pets_metadata(folder, prefix="/home/someone/data/metashift/"):
    rows = [
        f"{index},{prefix}{FOLDER}/{group}/{n}.jpg,{n % 3},{y},{a}"
        for index, (n, (group, (y, a))) in enumerate((n, item) for n in range(5) for item in GROUPS.items())
    ]
    return "id,filename,split,y,a\n" + "\n".join(rows) + "\n"


def edit(path, old, new):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


# --- Waterbirds


def test_waterbirds(birds):
    data = load_dataset("waterbirds", birds)
    assert (data.name, data.root, data.source) == ("waterbirds", birds, birds / "metadata.csv")
    assert data.paths == ("001.A/x.jpg", "001.A/y.jpg", "002.B/z.jpg")
    assert (data.labels.tolist(), data.attributes.tolist(), data.splits.tolist()) == ([1, 0, 0], [1, 1, 0], [0, 0, 2])
    assert data.lines.tolist() == [2, 3, 4]
    assert data.class_names == ("landbird", "waterbird")
    assert data.words.attributes == {"land": ("land background", "forest"), "water": ("water background", "ocean")}
    assert data.words.class_texts()[0] == ["This is a picture of a landbird.", "This is a picture of a waterbird."]
    assert data.words.attribute_texts()[0][0] == "This is a land background."


def test_waterbirds_from_the_parent_folder(birds):
    assert load_dataset("waterbirds", birds.parent).root == birds


def test_waterbirds_counts_are_compared_with_the_published_ones(birds):
    (note,) = load_dataset("waterbirds", birds).notes
    assert note.startswith("counts differ from the published ones: train 0/1/0/1 (published 3498/184/56/1057); val 0/")
    published = [[3498, 184, 56, 1057], [467, 466, 133, 133], [2255, 2255, 642, 642]]
    rows = [
        f"0,i/{split}{group}{n}.jpg,{group // 2},{split},{group % 2},p"
        for split, counts in enumerate(published)
        for group, count in enumerate(counts)
        for n in range(count)
    ]
    (birds / "metadata.csv").write_text(BIRDS + "\n".join(rows) + "\n")
    touch(birds, *(row.split(",")[1] for row in rows))
    assert load_dataset("waterbirds", birds).notes == ()


def test_own_words_for_a_known_data_set_go_by_index(birds):
    classes = {"bird of the land": ("land bird",), "gull": ("gull", "duck")}
    data = load_dataset("waterbirds", birds, classes=classes, attribute_templates=["at {}"])
    assert data.words.classes == classes
    assert data.words.attribute_templates == ("at {}",)
    assert data.words.templates == ("This is a picture of a {}.",)
    assert data.labels.tolist() == [1, 0, 0]
    three = {"a": ("a",), "b": ("b",), "c": ("c",)}
    message = refused("waterbirds", birds, attributes=three)
    assert message == "attributes: the data set has 2 (land, water, in this order), found 3 ('a', 'b', 'c')"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("place,", "plaec,", "metadata.csv line 1: no column 'place'; columns found: 'img_id', "),
        ("y.jpg,0,0", "y.jpg,2,0", "metadata.csv line 3: y is '2', expected one of '0', '1'"),
        ("x.jpg,1,0", "x.jpg,1,3", "metadata.csv line 2: split is '3', expected one of '0', '1', '2'"),
        ("z.jpg,0,2,0", "z.jpg,0,2,", "metadata.csv line 4: place is '', expected"),
        ("002.B/z", "002.B/q", "metadata.csv line 4: image '002.B/q.jpg' is not in"),
        ("002.B/z", "../z", "metadata.csv line 4: path '../z.jpg' leaves the root"),
        ("1,001.A/x.jpg,1,0", "1,001.A/x.jpg,1,1", "class 'waterbird' has 1 rows but none in training"),
        ("1,001.A/x.jpg,1,0", "1,001.A/x.jpg,0,0", "class 'waterbird' occurs in no row"),
        ("img_id", "<!DOCTYPE html>", "is a web page"),
    ],
)
def test_waterbirds_refusals(birds, old, new, part):
    edit(birds / "metadata.csv", old, new)
    assert part in refused("waterbirds", birds)


def test_missing_root_or_metadata(birds, tmp_path):
    assert "needs root, the folder that holds waterbird_complete95_forest2water2/" in refused("waterbirds", None)
    assert f"root {tmp_path}/no does not exist; Waterbirds needs" in refused("waterbirds", tmp_path / "no")
    assert "is a file, not a folder" in refused("waterbirds", birds / "metadata.csv")
    (birds / "metadata.csv").unlink()
    assert refused("waterbirds", birds).startswith(f"{birds}: no metadata.csv here or in waterbird_complete95")
    assert "does not exist" in refused("waterbirds", "x" * 5000)


# --- CelebA


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
    assert len(data.notes) == 1 and data.notes[0].startswith("counts differ")


def test_celeba_from_the_parent_folder(faces):
    assert load_dataset("celeba", faces.parent).root == faces


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


def test_celeba_count_line_that_disagrees_is_noted(faces):
    edit(faces / "list_attr_celeba.txt", "4\n", "202599\n")
    notes = load_dataset("celeba", faces).notes
    assert notes[0] == "line 1 of list_attr_celeba.txt says 202599 images, the file has 4 rows"


def test_celeba_partition_of_more_images_is_noted(faces):
    with (faces / "list_eval_partition.txt").open("a") as file:
        file.write("000005.jpg 2\n")
    notes = load_dataset("celeba", faces).notes
    assert notes[0] == "1 images of list_eval_partition.txt have no row in list_attr_celeba.txt and are left out"


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        ("attr", "Blond_Hair", "Blonde_Hair", "line 2: no attribute 'Blond_Hair'; found: '5_o_Clock_Shadow', "),
        ("attr", "000002.jpg  1 -1", "000002.jpg  1  2", "line 4: Blond_Hair is '2', expected 1 or -1"),
        ("attr", "000002.jpg  1 -1", "000002.jpg -1", "line 4: has 4 fields, expected 5; is the file cut off?"),
        ("attr", "000002.jpg", "000009.jpg", "line 4: image '000009.jpg' has no row in"),
        ("attr", "000002.jpg", "000001.jpg", "line 4: 'img_align_celeba/000001.jpg' stands already at"),
        (
            "attr",
            "4\n",
            "<html><head><title>Google Drive - Quota exceeded</title>\n",
            "list_attr_celeba.txt: is a web page",
        ),
        ("attr", "4\n" + NAMES, "4\n", "line 3: no attribute 'Blond_Hair'"),
        (
            "partition",
            "000003.jpg 1",
            "000003.jpg 7",
            "line 3: found '000003.jpg 7', expected an image name and 0, 1 or 2",
        ),
        ("partition", "000003.jpg 1", "000003.jpg", "line 3: found '000003.jpg', expected"),
        ("partition", "000003.jpg 1", "000002.jpg 1", "line 3: image '000002.jpg' occurs twice"),
        ("partition", "000003.jpg 1\n", "", "list_attr_celeba.txt line 5: image '000003.jpg' has no row in"),
        ("partition", "000001.jpg", "\n\n<!doctype html>", "list_eval_partition.txt: is a web page"),
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
    assert "(1 of 4 images are missing)" in message
    shutil.rmtree(faces / "img_align_celeba")
    assert "img_align_celeba, Img/img_align_celeba is here; CelebA needs one of them" in refused("celeba", faces)
    (faces / "list_eval_partition.txt").unlink()
    assert "none of list_eval_partition.txt, " in refused("celeba", faces)
    (faces / "list_attr_celeba.txt").unlink()
    assert "no list_attr_celeba.txt or " in refused("celeba", faces)


# --- MetaShift


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
    (pets / "train/cat/cat(indoor)/notes.txt").touch()
    data = load_dataset("metashift", pets)
    assert data.root == data.source == pets
    assert data.paths[:6] == (*(f"train/cat/cat(indoor)/{n}.jpg" for n in range(5)), "train/dog/dog(outdoor)/0.jpg")
    assert data.labels.tolist() == [1] * 5 + [0] * 5 + [1] * 5 + [0] * 5
    assert data.attributes.tolist() == [1] * 5 + [0] * 10 + [1] * 5
    assert np.bincount(data.splits).tolist() == [13, 2, 5]
    assert data.class_names == ("dog", "cat") and data.attribute_names == ("outdoor", "indoor")
    assert data.words.attribute_texts()[0] == ["a photo taken outdoors.", "a photo taken indoors."]
    assert data.notes[0].startswith("no metadata_metashift.csv: split drawn as SubpopBench does")
    assert data.where(0) == "train/cat/cat(indoor)/0.jpg"


def test_metashift_does_not_depend_on_the_file_system_s_order(pets, monkeypatch):
    listed = Path.glob
    expected = load_dataset("metashift", pets).paths
    monkeypatch.setattr(Path, "glob", lambda self, pattern: sorted(listed(self, pattern), reverse=True))
    assert load_dataset("metashift", pets).paths == expected


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize("prefix", ["/home/someone/data/metashift/", "", "C:\\data\\", f"/a/{FOLDER}/b/"])
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
        (
            f"/home/someone/data/metashift/{FOLDER}/train",
            "/elsewhere/train",
            "line 2: filename '/elsewhere/train/cat/cat",
        ),
        (
            f"{FOLDER}/train",
            f"{FOLDER}/../../train",
            "line 2: path '../../train/cat/cat(indoor)/0.jpg' leaves the root",
        ),
        (f"{FOLDER}/train", f"{FOLDER}//etc", "line 2: path '/etc/cat/cat(indoor)/0.jpg' is outside the root"),
        ("0.jpg,0,1,1", "0.jpg,0,0,1", "line 2: y,a is 0,1 but the folder of 'train/cat/cat(indoor)/0.jpg' means 1,1"),
        ("0.jpg,0,1,1", "0.jpg,0,1,5", "line 2: a is '5', expected one of '0', '1'"),
        ("0.jpg,0,1,1", "7.jpg,0,1,1", "line 2: image 'train/cat/cat(indoor)/7.jpg' is not in"),
        ("filename", "file", "no column 'filename'; columns found: 'id', 'file'"),
    ],
)
def test_metashift_metadata_refusals(pets, old, new, part):
    (pets / "metadata_metashift.csv").write_text(pets_metadata(pets))
    edit(pets / "metadata_metashift.csv", old, new)
    assert part in refused("metashift", pets)


def test_metashift_missing_group_folder_and_other_layouts(pets, tmp_path):
    shutil.rmtree(pets / "test/dog/dog(indoor)")
    assert "test/dog/dog(indoor): no *.jpg there" in refused("metashift", pets)
    other = tmp_path / "original"
    touch(other, "train/cat/1.jpg", "val_out_of_domain/dog/2.jpg")
    (other / "imageID_to_group.pkl").write_bytes(b"\x80\x04never loaded")
    message = refused("metashift", other)
    assert "pickle imageID_to_group.pkl, which is never loaded; write a table" in message
    assert "or test/dog/dog(indoor) here or in MetaShift-Cat-Dog-indoor-outdoor/" in refused(
        "metashift", tmp_path / ".."
    )
