"""Waterbirds in its own layout, with other splits and columns, and broken."""

import pytest
from layouts import BIRDS, edit, write_birds
from table_files import refused

from dbpt.data import load_dataset


@pytest.fixture
def birds(tmp_path):
    return write_birds(tmp_path)


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
    assert data.average == "adjusted"


@pytest.mark.parametrize("folder", [".", "waterbirds/waterbird_complete95_forest2water2", "waterbirds_v1.0"])
def test_waterbirds_from_the_parent_folder(birds, folder):
    if folder != ".":
        (birds.parent / folder).parent.mkdir(exist_ok=True)
        birds = birds.rename(birds.parent / folder)
    root = birds.parent.parent if "/" in folder else birds.parent
    assert load_dataset("waterbirds", root).root == birds


def test_waterbirds_counts_are_compared_with_the_published_ones(birds):
    train, val, test = load_dataset("waterbirds", birds).notes
    assert train == "train: group counts 0/1/0/1 differ from the published 3498/184/56/1057"
    assert (val[:4], test[:5]) == ("val:", "test:")
    published = [[3498, 184, 56, 1057], [467, 466, 133, 133], [2255, 2255, 642, 642]]
    rows = [
        f"0,i/{split}{group}{n}.jpg,{group // 2},{split},{group % 2},p"
        for split, counts in enumerate(published)
        for group, count in enumerate(counts)
        for n in range(count)
    ]
    (birds / "metadata.csv").write_text(BIRDS + "\n".join(rows) + "\n")
    assert load_dataset("waterbirds", birds, check=False).notes == ()


def test_own_classes_of_a_known_data_set_go_by_index(birds):
    classes = {"bird of the land": ("land bird",), "gull": ("gull", "duck")}
    data = load_dataset("waterbirds", birds, classes=classes, attribute_template=["at {}"])
    assert data.words.classes == classes
    assert data.words.attribute_templates == ("at {}",)
    assert data.words.templates == ("This is a picture of a {}.",)
    assert data.labels.tolist() == [1, 0, 0]
    assert "--template: is empty" in refused("waterbirds", birds, template=[])


LEFT_OUT = "the true attributes of the data (land, water) are left out: other names are given "


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"attributes": ["photo", "sketch"]}, "(photo, sketch)"),
        ({"attributes": ["land", "water", "sky"]}, "(land, water, sky)"),
        ({"factors": ["style: photo, sketch"]}, "(style: photo, sketch)"),
        ({"factors": ["x: land, water, sky", "y: one, two"]}, "(x: land, water, sky; y: one, two)"),
        ({"factors": ["x: land, water", "y: water, land"]}, "(x: land, water; y: water, land)"),
    ],
)
def test_true_attributes_of_other_names_are_left_out(birds, words, named):
    data = load_dataset("waterbirds", birds, **words)
    assert not data.has_true_attributes and data.published is None
    assert data.notes[-1] == LEFT_OUT + named
    again = load_dataset(load_dataset("waterbirds", birds), **words)
    assert not again.has_true_attributes and again.notes[-1] == LEFT_OUT + named


@pytest.mark.parametrize(
    "words", [{"attributes": ["water=sea|lake", "land"]}, {"factors": ["x: water=sea|lake, land"]}]
)
def test_true_attributes_of_the_same_names_go_by_name(birds, words):
    data = load_dataset("waterbirds", birds, **words)
    assert data.words.attributes == {"water": ("sea", "lake"), "land": ("land",)}
    assert data.attributes.tolist() == [0, 0, 1] and data.published is None
    same = load_dataset("waterbirds", birds, attributes=["land=forest", "water"])
    assert same.attributes.tolist() == [1, 1, 0] and same.published is not None


def test_true_attributes_of_the_same_names_are_those_of_one_factor(birds):
    data = load_dataset("waterbirds", birds, factors=["style: photo, sketch", "x: water=sea|lake, land"])
    style, ground = data.factor_attributes
    assert style.tolist() == [-1, -1, -1] and ground.tolist() == [0, 0, 1]
    assert not data.has_true_attributes and data.published is None
    assert not any("left out" in note for note in data.notes)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("place,", "plaec,", "metadata.csv line 1: no column 'place'; columns found: 'img_id', "),
        ("y.jpg,0,0", "y.jpg,2,0", "metadata.csv line 3: y is '2', expected one of '0', '1'"),
        ("x.jpg,1,0", "x.jpg,1,3", "metadata.csv line 2: split is '3', expected one of '0', '1', '2'"),
        ("z.jpg,0,2,0", "z.jpg,0,2,", "metadata.csv line 4: place is '', expected"),
        ("1,001.A/x.jpg,1,0", "1,001.A/x.jpg,0,0", "class 'waterbird' occurs in no row"),
    ],
)
def test_waterbirds_refusals(birds, old, new, part):
    edit(birds / "metadata.csv", old, new)
    assert part in refused("waterbirds", birds)


def test_missing_root_or_metadata(birds, tmp_path):
    assert "needs --root, the folder that holds waterbird_complete95_forest2water2/" in refused("waterbirds", None)
    assert f"root {tmp_path}/no does not exist; Waterbirds needs" in refused("waterbirds", tmp_path / "no")
    assert "is a file, not a folder" in refused("waterbirds", birds / "metadata.csv")
    (birds / "metadata.csv").unlink()
    assert refused("waterbirds", birds).startswith(f"{birds}: no metadata.csv here or in waterbird_complete95")


def test_the_attribute_of_waterbirds_can_be_ignored(birds):
    known = load_dataset("waterbirds", root=birds)
    found = load_dataset("waterbirds", root=birds, columns=["attribute="], attributes=["day", "dusk", "night"])
    assert found.attribute_names == ("day", "dusk", "night") and not found.has_true_attributes
    assert found.labels.tolist() == known.labels.tolist() and found.published is None
    again = load_dataset(known, columns={"attribute": ""})
    assert again.num_attributes == 0 and not again.has_true_attributes
