"""Several attributes as factors: how they are written, their words, numbers and columns."""

import re

import numpy as np
import pytest
from layouts import touch
from table_files import refused, rows

from dbpt.data import load_dataset
from dbpt.data.columns import parse_columns
from dbpt.data.words import Factor, Words, combined, factor_codes, factor_entries, joint_codes, parse_factors
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig
from dbpt.study.data import with_data

ENTRIES = ("style: photo, sketch=sketch|drawing", "place: indoor, outdoor", "place[ship]: sea, harbour=port|dock")
PLACE = {name: (name,) for name in ("indoor", "outdoor", "sea")} | {"harbour": ("port", "dock")}
STYLE = {"photo": ("photo",), "sketch": ("sketch", "drawing")}


def words(factors, classes=("car", "ship", "dog")):
    named = {name: (name,) for name in classes}
    return Words(named, combined(factors) if factors else {}, ("a photo of a {}.",), ("{}",), factors)


@pytest.fixture
def table(tmp_path):
    def write(*lines, header="path,label,split,style,place"):
        touch(tmp_path, *(line.split(",")[0] for line in lines))
        (tmp_path / "t.csv").write_text(rows(*lines, header=header))
        return tmp_path / "t.csv"

    return write


# --- how they are written


def test_an_entry_has_values_with_wordings_and_may_be_for_one_class():
    style, place = parse_factors(ENTRIES)
    assert style == Factor("style", STYLE, ("photo", "sketch"), {})
    assert place == Factor("place", PLACE, ("indoor", "outdoor"), {"ship": ("sea", "harbour")})
    assert [place.possible(name) for name in ("car", "ship")] == [[0, 1], [2, 3]]
    in_python = {
        "style": {"photo": "photo", "sketch": ["sketch", "drawing"]},
        "place": ["indoor", "outdoor"],
        "place[ship]": ["sea", "harbour=port|dock"],
    }
    assert parse_factors(in_python) == (style, place)
    assert factor_entries((style, place)) == ENTRIES


def test_shared_values_come_first_and_wordings_are_given_once():
    entries = [" place [big ship] :sea ,  land = field|wood", "a: x, y", "place: land, ice"]
    place, other = parse_factors(entries)
    assert (place.name, other.name) == ("place", "a")
    assert list(place.values.items()) == [("land", ("field", "wood")), ("ice", ("ice",)), ("sea", ("sea",))]
    assert place.shared == ("land", "ice") and place.of_class == {"big ship": ("sea", "land")}
    again = parse_factors(factor_entries((place, other)))
    assert again == (place, other) and list(again[0].values) == list(place.values)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("style: a, b", "found 'style: a, b'; expected a list of entries, or a dict"),
        ([], "none is given; write 'NAME: value, value=wording|wording'"),
        ([3], "found 3; expected text"),
        (["style"], "'style' names no values; write"),
        ([": a, b"], "'' is not the name of a factor"),
        (["a=b: c, d"], "the name 'a=b' contains '=', which separates values"),
        (["label: a, b"], "'label' is the name of a column with another meaning"),
        (["style: a, b", "Style: c, d"], "'style' and 'Style' differ only by case; write a factor's name always in"),
        (["a\tb: c, d"], "has a line break or another control character"),
        (["style: a"], "style: needs at least two names to tell apart, found only 'a'"),
        (["style: a, a"], "style: 'a' is given twice; give each name once, not for each row"),
        (["style: a, , b"], "style: a name is empty"),
        (["style: a, b=|"], "style: 'b' has an empty wording"),
        (["style: a=x, b=x"], "style: the wording 'x' is given twice (in 'a' and 'b')"),
        (["style: a, b", "style: c, d"], "'style' is given twice; write all its values in one entry"),
        (["s: a=x, b", "s[car]: a=y"], "s: 'a' has two lists of wordings, x and y; give them once"),
        ({"style": "a"}, "found 'style': 'a'; expected a list of values, or a dict of values and wordings"),
        ({"style": 3}, "found 'style': 3; expected"),
        ({3: ["a", "b"]}, "found 3: ['a', 'b']; expected"),
        ({"style": {"a,b": "x", "c": "y"}}, "style: 'a,b' contains a comma, which separates values"),
        ({"style": [1, 2]}, "style: found 1: (1,); expected names and wordings as text"),
    ],
)
def test_entries_that_are_refused(given, part):
    with pytest.raises(InputError, match=f"^--factors.*{re.escape(part)}"):
        parse_factors(given)


def test_what_config_toml_can_not_hold_is_refused():
    for wordings in (["x|y"], ["x, y"]):
        with pytest.raises(InputError, match=r"^--factors: can't be written as"):
            factor_entries(parse_factors({"a": {"b": wordings, "c": "c"}}))
    with pytest.raises(InputError, match=r"^--factors: can't be written as"):
        factor_entries(parse_factors({"a": ["b", "c"], "a[x]: y]": ["b"]}))


# --- the words of a task


def test_attributes_are_the_combinations_and_sentences_those_of_each_factor():
    task = words(parse_factors(ENTRIES))
    expected = ["photo, indoor", "photo, outdoor", "photo, sea", "photo, harbour", "sketch, indoor"]
    assert list(task.attributes)[:5] == expected
    texts, owners = task.attribute_texts()
    assert texts == ["photo", "sketch", "drawing", "indoor", "outdoor", "sea", "port", "dock"]
    assert owners.tolist() == [0, 1, 1, 2, 3, 4, 5, 5]
    assert task.vocabularies == [{(0, 1): [0, 1, 2]}, {(0, 1): [0, 2], (2, 3): [1]}]


def test_one_factor_is_an_attribute_with_a_name():
    (place,) = factors = parse_factors(ENTRIES[1:])
    assert words(factors).attributes == place.values
    plain = words(())
    assert plain.suspects == () and plain.attributes == {}


@pytest.mark.parametrize(
    ("entries", "part"),
    [
        (["a: x, y", "a[shop]: x"], "a[shop]: 'shop' is none of the classes (did you mean 'ship'?)"),
        (["a: x, y", "a[zebra]: x"], "'zebra' is none of the classes; they are car, ship, dog"),
        (["a[ship]: x, y", "a[car]: x"], "'a' has no values for class 'dog'; add 'a: VALUE, VALUE'"),
        (["a: x", "a[ship]: y"], "'a' has one value for each class, so there is nothing to guess"),
        (
            [f"{name}: {', '.join('abcdef'[:n])}" for name, n in zip("xyz", (4, 6, 6), strict=True)],
            "have 144 combinations, more than 128",
        ),
    ],
)
def test_factors_that_do_not_fit_the_classes_are_refused(entries, part):
    with pytest.raises(InputError, match=f"^--factors: .*{re.escape(part)}"):
        words(parse_factors(entries))


def test_combinations_have_the_numbers_of_a_product_of_any_sizes():
    factors = parse_factors(["a: x, y", "b: p, q, r", "c: one, two"])
    codes = [np.array(each) for each in ([0, 1, 1, -1, 0], [2, 0, 2, 1, 1], [1, 0, 1, 1, -1])]
    joint = joint_codes(codes, (2, 3, 2))
    assert joint.tolist() == [5, 6, 11, -1, -1]
    names = list(combined(factors))
    assert [names[number] for number in joint[:3]] == ["x, r, two", "y, p, one", "y, r, two"]
    for found, expected in zip(factor_codes(joint, (2, 3, 2)), codes, strict=True):
        assert found.tolist() == np.where(joint >= 0, expected, -1).tolist()


# --- data


def test_a_table_may_have_a_column_for_each_factor(table):
    path = table("a.png,car,train,photo,outdoor", "b.png,ship,train,sketch,harbour", "c.png,dog,train,,indoor")
    data = load_dataset(path, factors=ENTRIES)
    assert data.attributes.tolist() == [1, 7, -1]
    assert [data.attribute_names[code] for code in (1, 7)] == ["photo, outdoor", "sketch, harbour"]
    shown = data.describe()
    assert "ship, sketch, harbour" in shown and "ship, sketch, sea" not in shown and "attribute unknown" in shown
    renamed = table(
        "a.png,car,train,0,1", "b.png,ship,train,1,3", "c.png,dog,train,-1,0", header="path,label,split,s,p"
    )
    named = load_dataset(renamed, factors=ENTRIES, columns=["style=s", "place=p"])
    assert named.attributes.tolist() == data.attributes.tolist()
    assert (load_dataset(renamed, factors=ENTRIES, columns={"style": "s"}).attributes == -1).all()


def test_without_a_column_for_a_factor_the_true_attributes_are_unknown(table):
    path = table(
        "a.png,car,train,photo", "b.png,ship,train,sketch", "c.png,dog,train,photo", header="path,label,split,style"
    )
    data = load_dataset(path, factors=ENTRIES)
    assert (data.attributes == -1).all()
    assert [codes.tolist() for codes in data.factor_attributes] == [[0, 1, 0], [-1, -1, -1]]
    assert data.notes == ("no column for place: only style has true values",)


def test_a_known_value_is_kept_where_another_factor_is_unknown(table):
    lines = ("a.png,car,train,photo,outdoor", "b.png,ship,train,,harbour", "c.png,dog,train,sketch,-1")
    data = load_dataset(table(*lines), factors=ENTRIES)
    known = [[0, -1, 1], [1, 3, -1]]
    assert data.attributes.tolist() == [1, -1, -1]
    assert [codes.tolist() for codes in data.factor_attributes] == known
    assert [codes.tolist() for codes in data.take(np.array([2, 1])).factor_attributes] == [[1, -1], [-1, 3]]
    again = load_dataset(with_data(FitConfig(factors=ENTRIES), data).data, data.root, factors=ENTRIES)
    assert [codes.tolist() for codes in again.factor_attributes] == known
    turned = load_dataset(data, factors=["place: outdoor, indoor", ENTRIES[2], "style: sketch, photo"])
    assert [codes.tolist() for codes in turned.factor_attributes] == [[0, 3, -1], [1, -1, 0]]
    for other in (data.without_attributes(), load_dataset(data, factors=["style: photo, sketch", "size: a, b"])):
        assert all((codes == -1).all() for codes in other.factor_attributes) and not other.known_factors
    message = refused(table(*lines[:2], "c.png,dog,train,,sea"), factors=[*ENTRIES[:2], "place[dog]: indoor, sea"])
    assert "place is 'harbour', expected one of 'indoor'" in message
    message = refused(table(*lines[:1], "b.png,ship,train,,indoor", lines[2]), factors=ENTRIES)
    assert message.startswith("t.csv line 3: place is 'indoor', but class 'ship' can only have sea, harbour;")


def test_the_column_attribute_has_names_of_combinations(table):
    lines = ('a.png,car,train,"photo, indoor"', 'b.png,ship,train,"sketch, sea"', "c.png,dog,train,")
    joint = load_dataset(table(*lines, header="path,label,split,attribute"), factors=ENTRIES).attributes.tolist()
    assert joint == [0, 6, -1]
    path = table("a.png,car,train,red", "b.png,ship,train,blue", header="path,label,split,attribute")
    told = refused(path, factors=["style: photo, sketch", "p: indoor, b"])
    assert "attribute is 'red', expected one of 'photo, indoor'" in told
    assert told.endswith("; if the column is about another attribute, say which it is with --columns style=attribute")
    assert load_dataset(path, factors=["colour: red, blue", "p: indoor, b"], columns={"colour": "attribute"}).notes


def test_factors_and_attributes_exclude_each_other(table):
    path = table("a.png,car,train,photo,outdoor")
    message = refused(path, factors=ENTRIES, attributes=["a", "b"])
    assert message == "--factors with --attributes: factors replace attributes; drop one of the two"


def test_columns_of_factors_are_roles():
    factors = parse_factors(ENTRIES)
    assert parse_columns(["style=s", "place="], factors) == {"style": "s", "place": ""}
    with pytest.raises(InputError, match="'stile' is none of .*, style, place, .*did you mean 'style'"):
        parse_columns(["stile=s"], factors)
    with pytest.raises(InputError, match="'style' is none of"):
        parse_columns(["style=s"])
