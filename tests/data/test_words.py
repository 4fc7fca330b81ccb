"""Words: vocabularies from the command line, templates, and the sentences made of both."""

import re

import numpy as np
import pytest

from dbpt.data.words import Words, check_templates, check_vocabulary, entries_of, parse_vocabulary
from dbpt.errors import InputError


def words(**changes):
    fields = {
        "classes": {"dog": ("dog",), "cat": ("cat", "kitten")},
        "attributes": {"out": ("outdoors",), "in": ("indoors", "a room")},
        "templates": ("a photo of a {}.", "a {}"),
        "attribute_templates": ("taken {}",),
    }
    return Words(**{**fields, **changes})


def test_parse_keeps_order_wordings_and_strips():
    parsed = parse_vocabulary([" b = x y | z ", "a"], "--classes")
    assert parsed == {"b": ("x y", "z"), "a": ("a",)}
    assert list(parsed) == ["b", "a"]
    assert parse_vocabulary(["a=b=c", "d"], "--classes")["a"] == ("b=c",)


def test_a_dict_is_what_its_entries_are():
    written = {"a": "x|y", " b ": ["z"], "c": ("v", "w")}
    parsed = parse_vocabulary(written, "--classes")
    assert parsed == {"a": ("x", "y"), "b": ("z",), "c": ("v", "w")}
    assert entries_of(parsed, "--classes") == ("a=x|y", "b=z", "c=v|w")
    assert parse_vocabulary(entries_of(parsed, "--classes"), "--classes") == parsed
    assert list(parse_vocabulary(entries_of({"a,": ("x",), "b": ("b",)}, ""), "")) == ["a,", "b"]
    assert parse_vocabulary({"a=b": ("x|y",), "c": "c"}, "--classes")["a=b"] == ("x|y",)
    for name, wording in (("a=b", "x"), ("a", "x|y")):
        with pytest.raises(InputError, match=r"^--classes: 'a.*' can't be written as NAME=WORDING\|WORDING"):
            entries_of({name: (wording,)}, "--classes")


@pytest.mark.parametrize(
    ("specs", "part"),
    [
        (["dog", "dog=puppy"], "'dog' is given twice"),
        (["dog=pet", "cat=pet"], "wording 'pet' is given twice (in 'dog' and 'cat')"),
        (["dog"], "at least two names to tell apart, found only 'dog'"),
        (["dog,cat"], "found only 'dog,cat'; separate names by spaces, not commas"),
        (["dog,", "cat"], "'dog,' ends with a comma; separate names by spaces, not commas"),
        (["dog=puppy,", "cat"], "'dog=puppy,' ends with a comma"),
        ([], "found none"),
        (["", "cat"], "a name is empty"),
        (["dog=", "cat"], "'dog' has an empty wording"),
        ("dog", "found 'dog'; expected a list of names, or a dict of names and wordings"),
        (3, "found 3; expected a list of names"),
        ({"dog"}, "found {'dog'}; expected a list of names"),  # in no order
        ([1, 2], "found 1: (1,); expected names and wordings as text"),
        (
            {1: ["dog"], 2: ["cat"]},
            "found 1: ['dog']; expected names and wordings as text; give a list of names, in the",
        ),
        (["dog=puppy,cat=kitten"], "found only 'dog'; separate"),
        ({"dog": 3, "cat": "cat"}, "found 'dog': 3; expected names and wordings as text"),
        ({"dog": [None], "cat": "cat"}, "found 'dog': [None]; expected names and wordings as text"),
    ],
)
def test_parse_refuses_with_the_argument_named(specs, part):
    with pytest.raises(InputError, match=f"^--classes: .*{re.escape(part)}"):
        parse_vocabulary(specs, "--classes")


def test_a_vocabulary_from_python_with_bare_strings_is_refused():
    with pytest.raises(InputError, match="classes: 'dog' has an empty wording"):
        check_vocabulary({"dog": "dog", "cat": ("cat",)}, "classes")


def test_sentences_are_all_templates_times_wordings_with_their_index():
    texts, owners = words().class_texts()
    assert texts == ["a photo of a dog.", "a dog", "a photo of a cat.", "a cat", "a photo of a kitten.", "a kitten"]
    assert owners.dtype == np.int64
    assert owners.tolist() == [0, 0, 1, 1, 1, 1]
    texts, owners = words().attribute_texts()
    assert texts == ["taken outdoors", "taken indoors", "taken a room"]
    assert owners.tolist() == [0, 1, 1]


def test_no_attributes_give_no_sentences():
    texts, owners = words(attributes={}).attribute_texts()
    assert texts == []
    assert owners.shape == (0,)
    assert owners.dtype == np.int64


def test_wordings_with_braces_stay_as_they_are():
    assert words(classes={"a": ("{0}",), "b": ("{x}",)}).class_texts()[0][0] == "a photo of a {0}."


@pytest.mark.parametrize(
    ("template", "count"), [("a photo", 0), ("{} and {}", 2), ("a photo of {0}", 0), ("a photo of { }", 0)]
)
def test_a_template_needs_exactly_one_placeholder(template, count):
    with pytest.raises(InputError, match=f"templates: '.*' has {count} placeholders"):
        check_templates(["a {}.", template], "templates")


def test_words_check_all_four_fields():
    for change, argument in [
        ({"classes": {"dog": ("dog",)}}, "--classes"),
        ({"attributes": {"in": ("in",)}}, "--attributes"),
        ({"templates": ()}, "--template"),
        ({"attribute_templates": ("x",)}, "--attribute-template"),
    ]:
        with pytest.raises(InputError, match=f"^{argument}: "):
            words(**change)
