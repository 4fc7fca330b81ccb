"""Classes and groups as sentences and prompts: templates, wordings, factors, impossible groups."""

from dataclasses import replace

import numpy as np
import pytest
from layouts import write_birds

import dbpt
from dbpt.data import DATASETS, Words, parse_factors
from dbpt.heads.class_and_group_prompts import class_prompts, group_prompts, group_texts

WORDS = Words(
    classes={"dog": ("dog", "puppy"), "bird": ("bird",)},
    attributes={"photo": ("photo",), "cartoon": ("cartoon", "drawing")},
    templates=("a photo of a {}.", "{} here"),
    attribute_templates=("a {}.",),
)
NAMED = replace(WORDS, group_templates=("a {attribute} of a {class}.", "{class}: {attribute}"))


def test_groups_have_the_class_sentences_by_default_and_their_own_if_given():
    texts, owners = group_texts(WORDS)
    assert owners.tolist() == [0] * 14 + [1] * 28 + [2] * 7 + [3] * 14
    first = ["a photo of a dog, photo.", "dog, photo here", "a dog, photo.", "a dog in a photo.", "a dog in photo."]
    assert texts[:7] == [*first, "a dog with photo.", "a photo of a dog."]
    expected = ["a cartoon of a bird.", "bird: cartoon", "a drawing of a bird.", "bird: drawing"]
    assert group_texts(NAMED)[0][-4:] == expected


def test_a_prompt_has_the_words_before_the_first_placeholder_as_context():
    prompts = group_prompts(NAMED)
    assert prompts.start == "a"
    assert prompts.wordings["dog · photo"] == ("photo of a dog", "photo of a puppy")
    assert prompts.contexts == (0, 0, 1, 1)
    assert group_prompts(WORDS).start == "a photo of a"
    assert group_prompts(WORDS).wordings["bird · cartoon"] == ("bird, cartoon", "bird, drawing")
    without_start = group_prompts(replace(WORDS, group_templates=("{attribute} {class}",)))
    assert (without_start.start, without_start.wordings["bird · photo"]) == ("a photo of a", ("photo bird",))
    assert class_prompts(WORDS).wordings == WORDS.classes
    assert class_prompts(WORDS).contexts == (0, 1)


def test_words_with_braces_stay_as_they_are():
    words = replace(NAMED, classes={"{attribute}": ("{attribute}",), "b": ("b",)})
    assert group_texts(words)[0][0] == "a photo of a {attribute}."


def test_factors_are_joined():
    factors = parse_factors(["style: photo, cartoon", "place: sea, land", "place[bird]: sea, nest"])
    words = replace(NAMED, factors=factors)
    assert list(words.attributes)[:3] == ["photo, sea", "photo, land", "photo, nest"]
    assert group_prompts(words).wordings["bird · cartoon, nest"] == ("cartoon, nest of a bird",)


def test_groups_without_words_begin_with_the_prompt_of_their_class():
    prompts = class_prompts(WORDS, 3)
    assert (prompts.wordings, prompts.contexts, prompts.copies) == (WORDS.classes, (0, 1), 3)


@pytest.mark.parametrize("template", ["a {}.", "a {class}.", "{class} {class} {attribute}", "{attribute}", ""])
def test_a_template_without_one_of_each_is_refused(template):
    with pytest.raises(dbpt.InputError, match=r"--group-template: .*; expected one \{class\} and one \{attribute\}"):
        replace(WORDS, group_templates=(template,))


@pytest.mark.parametrize("name", ["waterbirds", "celeba", "metashift"])
def test_known_data_sets_have_sentences_that_read_well(name):
    texts, owners = group_texts(DATASETS[name].words)
    assert len(np.unique(owners)) == 4
    assert not any(text.endswith((", land background.", ", male celebrity.", ", indoors.")) for text in texts)


def test_other_words_give_the_sentences_of_a_data_set_up(tmp_path):
    write_birds(tmp_path / "demo")
    own = dbpt.load_dataset("waterbirds", tmp_path / "demo", attributes={"water": "sea", "land": "land"})
    assert own.words.group_templates == DATASETS["waterbirds"].words.group_templates
    other = dbpt.load_dataset("waterbirds", tmp_path / "demo", attributes=["red", "blue"])
    assert other.words.group_templates == ()
    given = dbpt.load_dataset(
        "waterbirds", tmp_path / "demo", attributes=["red", "blue"], group_template="a {attribute} {class}"
    )
    assert given.words.group_templates == ("a {attribute} {class}",)
