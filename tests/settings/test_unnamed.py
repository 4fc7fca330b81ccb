"""``--attributes auto`` and ``clusters``: how they are written, and the settings that they can't go with."""

import re

import pytest

from dbpt import InputError
from dbpt.settings.config import make_config
from dbpt.settings.fields import NOT_WITH_WORD, flag_of

REFUSED = {"clusters": NOT_WITH_WORD["clusters"], "auto": NOT_WITH_WORD["auto"], "column:x": NOT_WITH_WORD["column"]}
VALUES = {
    "attribute_template": ["a {}."],
    "min_confidence": 0.5,
    "label_model": "ViT-L-14",
    "label_pretrained": "openai",
    "group_template": ["a {class} on a {attribute}."],
    "pseudo_method": "kmeans",
    "proportions": [0.5, 0.5],
    "pseudo_attributes": "a.csv",
    "guess_only_unknown": True,
}


@pytest.mark.parametrize(
    ("attributes", "number", "is_auto"),
    [
        (None, None, False),
        (["clusters"], 0, False),
        (("clusters:2",), 2, False),
        ("clusters:10", 10, False),
        (["clusters=clusters of dots", "lines"], None, False),
        ("auto", None, True),
        (["auto"], None, True),
        (["auto=auto|car", "bus"], None, False),
    ],
)
def test_what_is_asked(attributes, number, is_auto):
    config = make_config({"attributes": attributes})
    assert (config.num_clusters, config.asks_auto, config.coded) == (number, is_auto, None)


@pytest.mark.parametrize(
    ("attributes", "coded"),
    [
        ("column:camera", ("column", "camera")),
        (["measured:brightness"], ("measured", "brightness")),
        (["column: a=b: c "], ("column", "a=b: c")),
        (["column", "row"], None),
        (["column:doric=a doric column", "ionic"], None),
    ],
)
def test_a_column_or_a_property_is_asked(attributes, coded):
    config = make_config({"attributes": attributes})
    assert (config.coded, config.num_clusters, config.lacks_words) == (coded, None, coded is not None)


@pytest.mark.parametrize("role", ["attribute", "label", "split", "prediction"])
def test_a_column_has_one_use(role):
    with pytest.raises(InputError, match=f"--columns {role}=camera with --attributes column:camera: one column"):
        make_config({"attributes": "column:camera", "columns": [f"{role}=camera"]})
    make_config({"attributes": "column:camera", "columns": [f"{role}=other"]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attributes": ["clusters", "land"]}, "--attributes: 'clusters' with 'land': clusters need no names"),
        ({"attributes": ["land", "clusters:3"]}, "--attributes: 'clusters:3' with 'land'"),
        ({"attributes": ["auto", "land"]}, "--attributes: 'auto' with 'land': auto finds the names itself"),
        ({"attributes": ["clusters:2", "auto"]}, "--attributes: 'clusters:2' with 'auto': clusters need no names"),
        ({"attributes": ["clusters", "clusters:3"]}, "--attributes: 'clusters' with 'clusters:3'"),
        ({"attributes": ["clusters=3"]}, "--attributes: .clusters=3.: write a number of clusters after a colon"),
        *(
            ({"attributes": [f"clusters:{number}"]}, f"--attributes: 'clusters:{number}': expected a number .* 2 to 10")
            for number in ("", "0", "1", "11", "-2", "2.5", "two", "²")
        ),
        ({"attributes": ["column:a", "column:b"]}, "--attributes: 'column:a' with 'column:b': its values are"),
        ({"attributes": ["land", "measured:b"]}, "--attributes: 'measured:b' with 'land'"),
        ({"attributes": ["auto", "column:b"]}, "--attributes: 'auto' with 'column:b'"),
        ({"attributes": ["column:b", "clusters:2"]}, "--attributes: 'column:b' with 'clusters:2'"),
        ({"attributes": "column"}, "--attributes: 'column' has no name; write column:NAME"),
        ({"attributes": "measured: "}, "--attributes: 'measured: ' has no name"),
        ({"attributes": "measured:b", "embeddings": "a.npy"}, "--embeddings with --attributes measured:b: there is no"),
        ({"attributes": "column:b", "prompts": "group", "head": "adapter"}, "start from equal prompts"),
        ({"attributes": "column:b", "factors": ["style: photo, sketch"]}, "--factors with --attributes"),
        ({"attributes": "auto", "factors": ["style: photo, sketch"]}, "--factors with --attributes"),
        ({"attributes": "clusters", "factors": ["style: photo, sketch"]}, "--factors with --attributes"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        make_config(settings)


@pytest.mark.parametrize(("word", "setting"), [(word, name) for word, names in REFUSED.items() for name in names])
def test_a_setting_that_has_no_meaning_beside_the_word_is_refused_with_the_reason(word, setting):
    expected = rf"^{flag_of(setting)} .* with --attributes {word}: {re.escape(REFUSED[word][setting])}; drop one of"
    with pytest.raises(InputError, match=expected):
        make_config({"attributes": word, setting: VALUES[setting]})


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("colum:a", "column"),
        ("Measured:a", "measured"),
        ("cluster", "clusters"),
        ("Clusters:3", "clusters"),
        ("Auto", "auto"),
        ("AUTO", "auto"),
    ],
)
def test_a_word_that_is_almost_one_of_the_two_gets_a_hint(word, meant):
    with pytest.raises(InputError, match=f"two names to tell apart, found only {word!r} .did you mean {meant!r}"):
        make_config({"attributes": [word]})
    make_config({"attributes": [f"{word}={word}"]})  # refused later, as a single name
