"""JSON lines as a table: what is read, and one line for what is of another shape."""

import pytest
from table_files import refused, vocabulary

from dbpt.data import load_dataset

NAME = "pets.jsonl"
FIRST = '{"path": "a.jpg", "label": "dog", "split": "train"}\n'
LINES = FIRST + '{"split": "val", "extra": [1, {}], "label": "cat", "path": "b.jpg"}\n'


@pytest.mark.parametrize("name", [NAME, "pets.NDJSON"])
def test_keys_in_any_order_blank_lines_crlf_and_keys_that_nobody_asked_for(table, name):
    data = load_dataset(table("\ufeff" + LINES.replace("\n", "\r\n\r\n"), name), training=False)
    assert data.paths == ("a.jpg", "b.jpg")
    assert (data.class_names, data.labels.tolist(), data.splits.tolist()) == (("cat", "dog"), [1, 0], [0, 1])
    assert data.where(1) == f"{name} line 3"
    assert data.words.attributes == {}


def test_numbers_and_booleans_index_names_and_null_or_nothing_is_unknown(table):
    values = ['"label": 1, "attribute": true', '"label": 0.0, "attribute": null', '"label": 0']
    values.append('"label": 0, "attribute": NaN')
    lines = (f'{{"path": "{name}.jpg", "split": 0, {value}}}' for name, value in zip("abcd", values, strict=True))
    names = {"classes": vocabulary("cat", "dog"), "attributes": vocabulary("out", "in")}
    data = load_dataset(table("\n".join(lines), NAME), **names)
    assert (data.labels.tolist(), data.attributes.tolist()) == ([1, 0, 0, 0], [1, -1, -1, -1])


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('[{"path": "a.jpg"}]', "line 1: is a JSON array; write one object in each line"),
        ("{\n" + FIRST, "line 1: is not JSON"),
        (FIRST + '"b.jpg"\n', "line 2: is 'b.jpg', expected an object"),
        (FIRST + "[" * 100_000, "line 2: is not JSON"),
        (FIRST + "1" * 10_000, "line 2: is not JSON"),
        (FIRST + "{}\n", "line 2: no key 'path'; keys found: none"),
        (LINES.replace('"label": "cat"', '"lable": "cat"'), "line 2: no key 'label'; keys found: 'split', 'extra'"),
        (LINES.replace('"cat"', '["cat"]'), "line 2: label is a list, expected text, a number, true, false or null"),
        (LINES.replace('"b.jpg"', '{"bytes": ""}'), "line 2: path is an object, expected text"),
        (LINES.replace('"b.jpg"', '"\\ud800.jpg"'), "line 2: path is '\\ud800.jpg', expected text"),
        (LINES.replace('"b.jpg"', '"b.jpg\\u0000"'), "line 2: path is 'b.jpg\\x00', expected text"),
    ],
)
def test_one_line_for_a_bad_file(table, content, part):
    assert part in refused(table(content, NAME))


def test_a_column_that_was_named_must_be_in_every_line(table):
    content = LINES.replace('"label": "dog"', '"label": "dog", "place": "in"')
    message = refused(table(content, NAME), columns={"attribute": "place"})
    assert "line 2: no key 'place'" in message
