"""Attributes from a file (``--pseudo-attributes``): what is read, and the one line that every bad file gets."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from runs import said
from table_files import rows, written

from dbpt.data import load_dataset
from dbpt.errors import InputError
from dbpt.guesses.apply_method import doubts_column, doubts_of_cells, read_pseudo_attributes

NAMES = ("img/a.jpg", "img/b.jpg", "c.jpg", "d.jpg")
GOOD = "path,attribute\nimg/a.jpg,sea\nimg/b.jpg,land\nc.jpg,sky\nd.jpg,\n"
WITH_P = (
    "path,attribute,p_land,p_sea,p_sky\nimg/a.jpg,sea,.2,.6,.2\nimg/b.jpg,land,1,0,0\nc.jpg,land,.4,.1,.5\nd.jpg,,,,\n"
)
WITH_P += "gone.jpg,sea,0,1,0\n"
THIRD = pytest.approx([1 / 3] * 3)


@pytest.fixture
def dataset(tmp_path):
    table = tmp_path / "pets.csv"
    labels = ("dog", "dog", "cat", "cat")
    table.write_text(rows(*(f"{name},{label},train" for name, label in zip(NAMES, labels, strict=True))))
    return load_dataset(table, images=False, attributes=["land", "sea", "sky"])


@pytest.fixture
def read(tmp_path, dataset):
    """Write a file of text or an array, and read its attributes."""
    return lambda content, name="mine.csv": read_pseudo_attributes(written(tmp_path / name, content), dataset)


def replaced(old, new, text=GOOD):
    assert old in text
    return text.replace(old, new, 1)


def with_column(name, cell):
    return f"path,attribute,{name}\n" + "".join(f"{path},sea,{cell}\n" for path in NAMES)


def test_an_empty_cell_is_unknown_and_rows_may_be_in_any_order(read):
    header, *lines = GOOD.splitlines(keepends=True)
    for text in (GOOD, header + "".join(lines[::-1]), GOOD.replace("d.jpg,", "d.jpg,-1"), GOOD.replace(",", ";")):
        found = read(text)
        assert found.pseudo_attributes.tolist() == [1, 0, 2, -1] and found.pseudo_attributes.dtype == np.int64
        assert found.method == found.provenance == "file" and found.warnings == ()
        assert found.posterior[:3].tolist() == np.eye(3)[[1, 0, 2]].tolist() and found.posterior[3].tolist() == THIRD
        assert found.confidence.tolist() == pytest.approx([1, 1, 1, 1 / 3])
        assert (found.posterior.dtype, found.confidence.dtype) == (np.float32, np.float32)


def test_probabilities_are_the_posterior_and_those_of_other_images_are_ignored(read):
    found = read(WITH_P)
    np.testing.assert_allclose(found.posterior[:3], [[0.2, 0.6, 0.2], [1, 0, 0], [0.4, 0.1, 0.5]], atol=1e-7)
    assert found.posterior[3].tolist() == THIRD
    assert found.pseudo_attributes.tolist() == [1, 0, 0, -1]  # the third is not the likeliest
    assert found.confidence.tolist() == pytest.approx([0.6, 1, 0.4, 1 / 3])
    assert len(found.warnings) == 1 and "1 of 5 rows are ignored" in str(found.warnings[0])


def test_what_dbpt_guess_writes_is_read_with_its_confidence(read):
    header = "path,label,split,pseudo_attribute,confidence,group\n"
    lines = ["img/a.jpg,dog,train,sea,0.9,4", "img/b.jpg,dog,train,land,0.5,3", "c.jpg,cat,test,sky,1,2"]
    found = read(header + "\n".join([*lines, "d.jpg,cat,test,,0.4,\n"]))
    assert found.pseudo_attributes.tolist() == [1, 0, 2, -1]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.5, 1, 1 / 3])
    np.testing.assert_allclose(found.posterior[0], [0.05, 0.9, 0.05], atol=1e-7)


def test_a_part_of_a_table_of_guesses_is_doubted_too():
    column = doubts_column(["odd", "few"], 3)
    assert column == ["odd | few", "yes", "yes"] and doubts_column((), 2) == ["", ""]
    assert doubts_of_cells(column) == doubts_of_cells(column[::-1]) == ("odd", "few")
    assert "doubted when they were made" in doubts_of_cells(column[1:])[0]
    assert doubts_of_cells(["", ""]) == () and doubts_column(["odd"], 0) == []


def test_doubts_beside_the_attributes_are_read_once_each(read):
    rows = "path,attribute,doubts\nimg/a.jpg,sea,odd | few\nimg/b.jpg,land,\nc.jpg,land,few | new\nd.jpg,,odd | few\n"
    assert said(read(rows).factors[0].doubts) == ["odd", "few", "new"]
    assert (
        read(rows.replace(",doubts", ",remarks")).factors[0].doubts is None
        and read(np.array([1, 0, 2, -1]), "a.npy").factors[0].doubts is None
    )
    assert (
        read(rows.replace("odd", "").replace("few", "").replace("new", "").replace(" | ", "")).factors[0].doubts == ()
    )


def test_what_dbpt_predict_writes_is_read_with_images_that_failed(read):
    header = "path,prediction,p_dog,p_cat,pseudo_attribute,p_pseudo_attribute,error\n"
    lines = [f"{name},dog,0.7,0.3,{a},0.9," for name, a in zip(NAMES[:3], ("sea", "land", "sky"), strict=True)]
    assert read(header + "\n".join([*lines, "d.jpg,,,,,,truncated\n"])).pseudo_attributes.tolist() == [1, 0, 2, -1]


def test_labels_by_hand_need_not_have_all_images(read):
    found = read("sample,path,attribute\nabcd,c.jpg,sky\nabcd,img/b.jpg,\n")
    assert found.pseudo_attributes.tolist() == [-1, -1, 2, -1]
    assert found.posterior[2].tolist() == [0, 0, 1] and found.posterior[0].tolist() == THIRD


def test_empty_lines_of_a_spreadsheet_are_no_rows(read):
    for text in (GOOD + ",\n,\n", GOOD + " ,\n", "sample,path,attribute\nabcd,c.jpg,sky\n,,\n,,\n"):
        found = read(text)
        assert found.pseudo_attributes[2] == 2 and found.warnings == ()
    with pytest.raises(InputError, match="line 6: path is empty; name the image"):
        read(GOOD + ",sky\n")


def test_an_attribute_is_a_name_or_an_index_in_every_format(read, tmp_path, dataset):
    codes = [1, 0, 2, -1]
    pq.write_table(pa.table({"path": NAMES, "attribute": codes}), tmp_path / "mine.parquet")
    for found in (
        read(rows(*(f"{name},{a}" for name, a in zip(NAMES, codes, strict=True)), header="path,attribute")),
        read_pseudo_attributes(tmp_path / "mine.parquet", dataset),
        read("".join(f'{{"path": "{n}", "attribute": {a}}}\n' for n, a in zip(NAMES, codes, strict=True)), "m.jsonl"),
        read(np.array(codes, np.int8), "mine.npy"),
        read(np.array(["sea", "land", "sky", ""]), "mine.npy"),
    ):
        assert found.pseudo_attributes.tolist() == codes
    posterior = np.array([[0.1, 0.8, 0.1], [0.9, 0, 0.1], [0, 0, 1], [0.4, 0.3, 0.3]])
    found = read(posterior, "mine.npy")
    assert found.pseudo_attributes.tolist() == [1, 0, 2, 0]
    np.testing.assert_array_equal(found.posterior, posterior.astype(np.float32))


BAD = [
    (replaced("c.jpg,sky\n", ""), "(pets.csv line 4); add a row"),
    (GOOD + "./c.jpg,sky\n", "line 6: image './c.jpg' is in line 4 already; keep one"),
    (replaced("sky", "-2"), "for 'land', 'sea', 'sky'; leave it empty where it is unknown"),
    (replaced("c.jpg,", ","), "line 4: path is empty; name the image"),
    (replaced("attribute", "atribute"), "no column 'attribute'; columns found: 'path', 'atribute' (did you mean"),
    (with_column("pseudo_attribute", "sea"), "has the columns 'attribute' and 'pseudo_attribute'; keep one"),
    (replaced(",p_sky", ",p_skies", WITH_P), "has 'p_land' but no 'p_sky'; give a probability for each attribute, or"),
    (replaced(".2,.6", "nan,.6", WITH_P), "line 2: p_land is nan, not a number; correct this row"),
    (replaced(".2,.6", ",.6", WITH_P), "line 2: p_land is '', expected a number"),
    (replaced("d.jpg,,,,", "d.jpg,,.5,.1,.1", WITH_P), "line 5: the probabilities sum to 0.7, expected 1"),
    (with_column("confidence", "90"), "line 2: confidence is 90, expected a"),
    (with_column("confidence", "nan"), "line 2: confidence is nan, not a number"),
    (with_column("confidence", "0_1"), "confidence is '0_1', expected a n"),
    ("sample,path,attribute\nabcd,c.jpg,skx\n", "line 2: attribute is 'skx', expected one of"),
    ("path,attribute\n", "has a header but no rows"),
    (np.array([0, 1, 2]), "has 3 rows, expected 4, one for each image of"),
    (np.full((4, 3), np.nan), "row 1: the probability of 'land' is nan, not a number"),
    (np.array(["sea"] * 4, object), "never loaded; save names with np.save(FILE, attributes.astype(str))"),
]


@pytest.mark.parametrize(("content", "says"), BAD)
def test_a_bad_file_gets_one_line(read, content, says):
    name = "mine.npy" if isinstance(content, np.ndarray) else "mine.csv"
    with pytest.raises(InputError, match=f"{name}.*{re.escape(says)}"):
        read(content, name)


# --- several factors

FACTORS = ("place: land, sea, sky", "style: photo, sketch", "style[cat]: photo")
EACH = "path,place,pseudo_style,confidence_style\nimg/a.jpg,sea,sketch,.8\nimg/b.jpg,land,,\nc.jpg,sky,photo,\n"
EACH += "d.jpg,,photo,1\n"


def test_factors_have_a_column_each_or_one_of_combinations(read, dataset, tmp_path, monkeypatch):
    task = load_dataset(tmp_path / "pets.csv", images=False, factors=FACTORS)

    def read_task(content):
        return read_pseudo_attributes(written(tmp_path / "factors.csv", content), task)

    found = read_task(EACH.replace("photo,\n", "photo,1\n"))
    assert found.pseudo_attributes.tolist() == [3, -1, 4, -1]
    assert [each.pseudo_attributes.tolist() for each in found.factors] == [[1, 0, 2, -1], [1, -1, 0, 0]]
    assert found.confidence[0] == pytest.approx(0.8) and found.posterior[0, 2:4].tolist() == pytest.approx([0.2, 0.8])
    joint = read_task('path,pseudo_attribute\nimg/a.jpg,"sea, sketch"\nimg/b.jpg,\nc.jpg,"sky, photo"\nd.jpg,-1\n')
    assert joint.pseudo_attributes.tolist() == found.pseudo_attributes.tolist() and joint.method == "file"
    assert [each.pseudo_attributes.tolist() for each in joint.factors] == [[1, -1, 2, -1], [1, -1, 0, -1]]
    assert [each.doubts for each in (*joint.factors, *found.factors)] == [None] * 4
    unsure = read_task(
        'path,attribute,confidence\nimg/a.jpg,"sea, sketch",0.5\nimg/b.jpg,,\nc.jpg,"sky, photo",1\nd.jpg,,\n'
    )
    # each of the five other combinations has 0.1: one of them has "sea" too, and two have "sketch"
    assert [each.confidence[0] for each in unsure.factors] == pytest.approx([0.6, 0.7])
    assert unsure.above(0.65).pseudo_attributes.tolist() == [-1, -1, 4, -1]
    lines = EACH.replace("photo,\n", "photo,1\n").splitlines()
    with_doubts = read_task(
        "\n".join([f"{lines[0]},doubts_place,doubts_style", *(f"{line},,odd" for line in lines[1:])])
    )
    assert [said(each.doubts) for each in with_doubts.factors] == [[], ["odd"]]
    for bad, part in (
        (
            EACH.replace("sky,photo", "sky,sketch").replace("sketch,\n", "sketch,1\n"),
            "factors.csv: image 'c.jpg': style is 'sketch', but class 'cat' can only have photo",
        ),
        (EACH.replace("sea", "see"), "line 2: place is 'see', expected one of 'land', 'sea', 'sky'"),
        (EACH.replace("photo,\n", "photo,2\n"), "line 4: confidence_style is 2, expected a probability from 0 to 1"),
        ('path,attribute\nimg/a.jpg,"sea; sketch"\n', "3 of 4 images have no attribute"),
        ("path,style\nimg/a.jpg,photo\n", "no column 'attribute'"),
    ):
        with pytest.raises(InputError, match=re.escape(part)):
            read_task(bad)
