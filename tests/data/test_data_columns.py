"""Tables whose columns are called something else: what --columns takes, in every place that takes it."""

import re

import pytest
from layouts import touch
from table_files import refused, rows

from dbpt.data import load_dataset
from dbpt.data.columns import parse_columns
from dbpt.errors import InputError

HEADER = "file,y,fold,place,label"
COLUMNS = {"path": "file", "label": "y", "split": "fold", "attribute": "place"}


@pytest.fixture
def table(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    path = tmp_path / "pets.csv"
    path.write_text(rows("a.jpg,dog,train,in,5", "b.jpg,cat,train,out,6", header=HEADER))
    return path


def test_the_named_columns_are_read_and_one_called_like_a_role_is_not(table):
    data = load_dataset(table, columns=COLUMNS)
    assert data.paths == ("a.jpg", "b.jpg")
    assert (data.class_names, data.labels.tolist()) == (("cat", "dog"), [1, 0])
    assert (data.attribute_names, data.attributes.tolist()) == (("in", "out"), [0, 1])
    assert load_dataset(table, columns=COLUMNS | {"label": "label"}).class_names == ("5", "6")


def test_an_empty_name_ignores_the_attribute(table):
    expected = load_dataset(table, columns=COLUMNS)
    columns = COLUMNS | {"attribute": ""}
    table.write_text(table.read_text().replace("place", "attribute"))
    data = load_dataset(table, columns=columns)
    assert data.attributes.tolist() == [-1, -1] and data.words.attributes == {}
    assert (data.paths, data.labels.tolist()) == (expected.paths, expected.labels.tolist())


def test_messages_say_how_columns_are_named(table):
    hint = "; name the columns with --columns ROLE=NAME ROLE=NAME (separated by spaces)"
    assert refused(table).endswith(f"columns found: 'file', 'y', 'fold', 'place', 'label'{hint}")
    assert "no column 'file,label=y'" in refused(table, columns=parse_columns(["path=file,label=y"]))
    (table.parent / "pets.jsonl").write_text('{"y": 1}')
    assert refused(table.parent / "pets.jsonl").endswith(hint)
    table.write_text(table.read_text().replace("b.jpg,cat,train,out", "b.jpg,cat,train,in"))
    assert refused(table, columns=COLUMNS).endswith("or ignore the column with --columns attribute=")


def test_messages_name_the_columns_of_the_file(table):
    assert "line 1: no column 'colour'; columns found: 'file'" in refused(table, columns=COLUMNS | {"label": "colour"})
    assert "no column 'plce'" in refused(table, columns=COLUMNS | {"attribute": "plce"})
    table.write_text(table.read_text().replace("b.jpg,cat,train", "b.jpg,dog,trian"))
    assert "line 3: fold is 'trian'" in refused(table, columns=COLUMNS)
    table.write_text(table.read_text().replace("trian", "train"))
    assert "column 'y' has only the value 'dog'" in refused(table, columns=COLUMNS)
    assert "with columns such as file, y, fold, place" in refused(table.parent / "no.csv", columns=COLUMNS)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["file"], "--columns: 'file' is not ROLE=NAME, for example 'label=y'; roles: path, label, split, "),
        ("label=y", "--columns: found 'label=y'; expected a list such as ['label=y'] or a dict"),
        (["lable=y"], "prediction_path (did you mean 'label'?)"),
        (
            ["image=path"],
            "attribute, prediction, prediction_path; write path=image",
        ),
        (["label=y", "label=z"], "--columns: 'label' is given twice; one column holds it"),
        (["label= "], "--columns: label has no column name; write label=NAME"),
        (["label=y", "split=y"], "--columns: column 'y' is given for label and for split; each needs its own"),
    ],
)
def test_one_line_for_columns_that_mean_nothing(entries, message):
    with pytest.raises(InputError, match=re.escape(message)):
        parse_columns(entries)


def test_a_column_name_may_hold_the_sign():
    assert parse_columns(["label = y=1"]) == {"label": "y=1"}


def test_two_roles_may_swap_their_names(table):
    table.write_text(rows("dog,a.jpg,train", "cat,b.jpg,train"))
    assert load_dataset(table, columns={"path": "label", "label": "path"}).paths == ("a.jpg", "b.jpg")


def test_a_known_data_set_has_columns_of_its_own(table):
    assert "data set 'waterbirds' has fixed columns" in refused("waterbirds", table.parent, columns=COLUMNS)
