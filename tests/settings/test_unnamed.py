"""``--attributes auto`` and ``clusters``: how they are written, and the settings that they can't go with."""

import pytest

from dbpt import InputError
from dbpt.settings.config import make_config


@pytest.mark.parametrize(
    ("attributes", "number"),
    [
        (None, None),
        (["clusters"], 0),
        (("clusters:2",), 2),
        (["clusters:10"], 10),
        (["clusters=clusters of dots", "lines"], None),
    ],
)
def test_what_is_asked(attributes, number):
    assert make_config({"attributes": attributes}).num_clusters == number


def test_python_takes_the_word_alone():
    assert make_config({"attributes": "clusters:3"}).attributes == ("clusters:3",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attributes": ["clusters", "land"]}, "--attributes: 'clusters' with 'land': clusters need no names"),
        ({"attributes": ["land", "clusters:3"]}, "--attributes: 'clusters:3' with 'land'"),
        ({"attributes": ["clusters:2", "auto"]}, "--attributes: 'clusters:2' with 'auto': clusters need no names"),
        ({"factors": ["style: photo, sketch"]}, "--factors with --attributes"),
        ({"attributes": ["clusters", "clusters:3"]}, "--attributes: 'clusters' with 'clusters:3'"),
        *(
            ({"attributes": [f"clusters:{number}"]}, f"--attributes: 'clusters:{number}': expected a number .* 2 to 10")
            for number in ("", "0", "1", "11", "-2", "2.5", "two", "²")
        ),
        ({"attribute_template": ["a {}."]}, "--attribute-template a {}. with --attributes clusters: .* without words"),
        ({"pseudo_method": "kmeans"}, "--pseudo-method kmeans with --attributes clusters: .* drop one of the two"),
        ({"pseudo_method": "argmax"}, "--pseudo-method argmax with --attributes clusters"),
        ({"proportions": [0.5, 0.5]}, "--proportions 0.5 0.5 with --attributes clusters"),
        ({"pseudo_attributes": "a.csv"}, "--pseudo-attributes a.csv with --attributes clusters"),
        ({"guess_only_unknown": True}, "--guess-only-unknown True with --attributes clusters"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(InputError, match=message) as refused:
        make_config({"attributes": ["clusters"]} | settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "meant"), [("cluster", "clusters"), ("Clusters:3", "clusters"), ("Auto", "auto"), ("AUTO", "auto")]
)
def test_a_word_that_is_almost_one_of_the_two_gets_a_hint(word, meant):
    with pytest.raises(InputError, match=f"two names to tell apart, found only {word!r} .did you mean {meant!r}"):
        make_config({"attributes": [word]})
    make_config({"attributes": [f"{word}={word}"]})  # refused later, as a single name


@pytest.mark.parametrize(
    ("attributes", "asked"), [("auto", True), (["auto"], True), (["auto=auto|car", "bus"], False), (None, False)]
)
def test_auto_is_one_word(attributes, asked):
    assert make_config({"attributes": attributes}).asks_auto == asked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attributes": ["auto", "land"]}, "--attributes: 'auto' with 'land': auto finds the names itself"),
        ({"factors": ["style: photo, sketch"]}, "--factors with --attributes"),
        ({"attribute_template": ["a {}."]}, "--attribute-template a {}. with --attributes auto: the family that is"),
        ({"proportions": [0.5, 0.5]}, "--proportions 0.5 0.5 with --attributes auto"),
        ({"pseudo_attributes": "a.csv"}, "--pseudo-attributes a.csv with --attributes auto: .* drop one of the two"),
        ({"guess_only_unknown": True}, "--guess-only-unknown True with --attributes auto"),
    ],
)
def test_what_is_refused_with_auto(settings, message):
    with pytest.raises(InputError, match=message) as refused:
        make_config({"attributes": ["auto"]} | settings)
    assert "\n" not in str(refused.value)
