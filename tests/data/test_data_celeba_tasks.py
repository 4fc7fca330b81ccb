"""CelebA's tasks: any of its forty attributes against others, and the tables that merge its lists."""

import numpy as np
import pytest
from layouts import edit
from table_files import refused

from dbpt.data import load_dataset
from dbpt.data.layouts.celeba import CLAUSES, celeba_words

MERGED_USUAL = "img_id,img_filename,y,split,place,place_filename\n"


def without_lists(folder):
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (folder / name).unlink()
    return folder


# --- targets and attributes


def test_any_target_against_any_attribute(faces):
    data = load_dataset("celeba", faces, celeba_target="Young", celeba_attributes=["Blond_Hair"])
    assert data.labels.tolist() == [0, 1, 1, 1]
    assert data.attributes.tolist() == [1, 0, 0, 1]
    assert data.class_names == ("old", "young")
    assert data.words.class_texts()[0][1] == "A photo of a celebrity who is young."
    assert data.attribute_names == ("dark hair", "blond hair")
    assert data.published is None
    assert data.notes == ("train/val/test have 2/1/1 images (published 162770/19867/19962)",)


def test_several_attributes_make_groups_over_their_product(faces):
    data = load_dataset("celeba", faces, celeba_attributes=("Male", "Young"))
    male, young = np.array([1, 1, 0, 0]), np.array([0, 1, 1, 1])
    assert data.attributes.tolist() == (2 * male + young).tolist()
    assert data.attribute_names == ("female, old", "female, young", "male, old", "male, young")
    expected = [("Male", ["female", "male"]), ("Young", ["old", "young"])]
    assert [(factor.name, list(factor.values)) for factor in data.words.factors] == expected
    texts, owners = data.words.attribute_texts()
    assert texts[1:3] == ["A photo of a male celebrity.", "A photo of a celebrity who is old."]
    assert owners.tolist() == [0, 1, 2, 3]
    assert data.num_groups == 8
    assert data.class_names == ("dark hair", "blond hair")


HAIR = {"celeba_attributes": ["Blond_Hair"]}
TWO = {"celeba_attributes": ("Male", "Young")}


def test_own_classes_for_a_task_go_by_index_and_attributes_by_the_names_of_the_task(faces):
    grumpy = {"grumpy": ("grumpy face",), "fresh": ("fresh face",)}
    assert load_dataset("celeba", faces, classes=grumpy, celeba_target="Young").words.classes == grumpy
    assert not load_dataset("celeba", faces, attributes=grumpy).has_true_attributes
    swapped = load_dataset("celeba", faces, attributes=["blond hair", "dark hair"], celeba_target="Young", **HAIR)
    assert swapped.attributes.tolist() == [0, 1, 1, 0]
    joint = load_dataset(
        "celeba", faces, attributes=["male, young", "female, old", "female, young", "male, old"], **TWO
    )
    assert joint.attributes.tolist() == [3, 0, 2, 2] and joint.words.factors == ()


def test_own_factors_for_several_attributes_go_by_their_names(faces):
    own = load_dataset("celeba", faces, **TWO)
    assert own.attributes.tolist() == [2, 3, 1, 1]
    data = load_dataset("celeba", faces, factors=["Young: young, old=aged", "Male: female, male"], **TWO)
    expected = ["old, male", "young, male", "young, female", "young, female"]
    assert [data.attribute_names[code] for code in data.attributes] == expected
    assert data.words.attribute_texts()[0][1] == "A photo of a aged."
    for factors in (["sex: f, m", "age: 60=old, 20"], ["Young: female, male", "Male: old, young"]):
        others = load_dataset("celeba", faces, factors=factors, **TWO)
        assert (others.attributes == -1).all() and others.published is None
    assert others.notes[-1].endswith("left out: other names are given (Young: female, male; Male: old, young)")


def test_there_are_words_for_every_attribute_of_the_official_list():
    assert len(CLAUSES) == 40 and list(CLAUSES) == sorted(CLAUSES)
    for target in CLAUSES:
        words = celeba_words(target, [name for name in CLAUSES if name != target][:2])
        assert (len(words.classes), len(words.attributes)) == (2, 4)


@pytest.mark.parametrize(
    ("target", "attributes", "part"),
    [
        ("Smile", None, "--celeba-target: 'Smile' is none of CelebA's 40 attributes (did you mean 'Smiling'?)"),
        ("x", None, "use the names in list_attr_celeba.txt, for example Smiling"),
        (None, ["Male,Young"], "none of CelebA's 40 attributes; separate names by spaces, not commas"),
        (None, ["male"], "--celeba-attributes: 'male' is none of CelebA's 40 attributes (did you mean 'Male'?)"),
        ("Male", None, "--celeba-attributes: 'Male' is given twice (also as the target)"),
        (None, [], "--celeba-attributes: found 0; expected 1 to 5"),
        ("Smiling", None, "list_attr_celeba.txt line 2: no column 'Smiling'; columns found: '5_o_Clock_Shadow'"),
    ],
)
def test_tasks_that_are_refused(faces, target, attributes, part):
    assert part in refused("celeba", faces, celeba_target=target, celeba_attributes=attributes)


def test_only_celeba_has_a_task(tmp_path):
    message = refused("waterbirds", tmp_path, celeba_target="Young")
    assert message == "--celeba-target 'Young' with data 'waterbirds': only celeba has attributes to choose; drop it"
    assert "--celeba-attributes ('Male',) with data" in refused("x.csv", None, celeba_attributes=("Male",))


# --- merged tables


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "metadata.csv",
            MERGED_USUAL + "0,000001.jpg,1,0,1,x\n1,000002.jpg,0,0,1,x\n2,000003.jpg,0,1,0,x\n3,000004.jpg,1,2,0,x\n",
        ),
        (
            "celeba_metadata.csv",
            "id,filename,split,y,a\n1,000001.jpg,0,1,1\n2,000002.jpg,0,0,1\n3,000003.jpg,1,0,0\n4,000004.jpg,2,1,0\n",
        ),
        (
            "metadata_celeba.csv",
            "image_id,Male,Blond_Hair,partition\r\n000001.jpg,1,1,0\r\n000002.jpg,1,-1,0\r\n"
            "000003.jpg,-1,-1,1\r\n000004.jpg,0,1.0,2\r\n",
        ),
    ],
)
def test_merged_tables(faces, name, text):
    expected = load_dataset("celeba", faces)
    (without_lists(faces) / name).write_bytes(text.encode())
    data = load_dataset("celeba", faces)
    assert (data.source, data.paths) == (faces / name, expected.paths)
    for column in ("labels", "attributes", "splits"):
        assert getattr(data, column).tolist() == getattr(expected, column).tolist()


def test_a_merged_table_in_the_image_folder_or_with_names_of_another_machine(faces):
    expected = load_dataset("celeba", faces).paths
    images = without_lists(faces) / "img_align_celeba"
    rows = [f"/data/celeba/img_align_celeba/00000{n}.jpg,{n % 2},{n // 4},0" for n in (1, 2, 3, 4)]
    (images / "metadata.csv").write_text("img_filename,y,split,place\n" + "\n".join(rows) + "\n")
    assert load_dataset("celeba", faces).paths == expected
    inside = load_dataset("celeba", images)
    assert (inside.root, inside.paths) == (images, ("000001.jpg", "000002.jpg", "000003.jpg", "000004.jpg"))


def test_the_lists_count_more_than_a_merged_table(faces):
    (faces / "metadata.csv").write_text("nothing of use\n")
    assert load_dataset("celeba", faces).source == faces / "list_attr_celeba.txt"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("img_filename", "image", "has none of the columns 'img_filename', 'image_id', 'filename'"),
        ("split", "fold", "has none of the columns 'split', 'partition'"),
        ("000002.jpg", "001.Albatross/x.jpg", "line 3: '001.Albatross/x.jpg' is not the name of a CelebA image"),
        ("000002.jpg", "../000002.jpg", "line 3: '../000002.jpg' is not the name of a CelebA image"),
        ("000002.jpg", "000001.jpg", "line 3: 'img_align_celeba/000001.jpg' is already at metadata.csv line 2"),
        ("000002.jpg,0", "000002.jpg,2", "line 3: y is '2', expected one of '1', '-1'"),
        ("000002.jpg", "000009.jpg", "line 3: image 'img_align_celeba/000009.jpg' is not in"),
    ],
)
def test_merged_tables_that_are_refused(faces, old, new, part):
    rows = "0,000001.jpg,1,0,1,x\n1,000002.jpg,0,0,1,x\n2,000003.jpg,0,1,0,x\n"
    (without_lists(faces) / "metadata.csv").write_text(MERGED_USUAL + rows)
    edit(faces / "metadata.csv", old, new)
    assert part in refused("celeba", faces)


def test_a_merged_table_of_the_usual_task_has_no_other(faces):
    (without_lists(faces) / "metadata.csv").write_text(MERGED_USUAL + "0,000001.jpg,1,0,1,x\n")
    message = refused("celeba", faces, celeba_target="Young")
    assert "has none of the columns 'Young'; a merged table of CelebA needs one, or give list_attr_celeba" in message
    (faces / "metadata.csv").write_text(MERGED_USUAL)
    assert "has a header but no rows" in refused("celeba", faces)
