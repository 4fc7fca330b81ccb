"""`Grouping`: ids, names, counts and uses of groups by true, guessed, clustered and missing attributes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dbpt.data import Dataset, Words
from dbpt.data.words import combined, joint_codes, parse_factors
from dbpt.guesses.base import GuessedFactors, PseudoAttributes, no_attributes
from dbpt.guesses.grouping import ANY_USE, Grouping

CLASSES = ("bird", "ship")
STYLE = np.array([0, 1, 0, 1, 0, -1])
PLACE = np.array([0, 0, 2, 2, 1, 0])
LABELS = np.array([0, 0, 1, 1, 0, 1])
ENTRIES = ("style: photo, sketch", "place: sea, land", "place[ship]: sea, harbour")


def data_of(entries=ENTRIES, codes=(STYLE, PLACE)) -> Dataset:
    factors = parse_factors(entries) if entries else ()
    words = Words({name: (name,) for name in CLASSES}, combined(factors) if entries else {}, ("{}",), ("{}",), factors)
    joint = joint_codes(codes, words.sizes) if entries else np.full(6, -1)
    n = np.zeros(6, np.int64)
    columns = {"paths": ("x",) * 6, "lines": n, "labels": LABELS, "attributes": joint, "splits": n}
    return Dataset("", Path(), Path(), **columns, words=words, known_factors=tuple(codes) if entries else ())


def guessed(*codes, method="argmax", names=None) -> GuessedFactors:
    return GuessedFactors(tuple(PseudoAttributes(np.array(each), None, None, method) for each in codes), names)


def test_several_factors_make_groups_of_their_combinations():
    grouping = Grouping.true(data_of())
    assert grouping.num_attributes == 6 and grouping.num_groups == 12
    assert grouping.sizes == {"num_classes": 2, "num_attributes": 6}
    assert grouping.codes.tolist() == [0, 3, 2, 5, 1, -1]
    assert grouping.groups.tolist() == [0, 3, 8, 11, 1, -1]
    assert [grouping.pairs[group] for group in (0, 8)] == [("bird", "photo, sea"), ("ship", "photo, harbour")]
    assert grouping.names[11] == "ship · sketch, harbour"
    assert grouping.names_of_rows(np.array([4, 5])) == ["photo, land", ""]
    assert grouping.counts(np.array([0, 0, 2])).tolist() == [2, *[0] * 7, 1, 0, 0, 0]
    assert grouping.possible.reshape(2, 6).tolist() == [[True, True, False] * 2, [True, False, True] * 2]
    assert grouping.expected.tolist() == (grouping.counts() > 0).tolist()


def test_one_of_several_factors_alone_has_its_own_values():
    place = Grouping.true(data_of()).alone(1)
    assert place.codes.tolist() == PLACE.tolist() and place.factors[0].name == "place"
    assert place.names[3:] == ("ship · sea", "ship · land", "ship · harbour")
    assert place.possible.tolist() == [True, True, False, True, False, True]


def test_groups_without_words_have_the_names_of_their_classes_and_no_true_attributes():
    dataset = data_of()
    names = (("1: sand", "2: trees"), ("1: fog", "2: sun"))
    clusters = Grouping.guessed(dataset, guessed([0, 1, 0, 1, 1, -1], method="clusters", names=names))
    assert clusters.names == ("bird · 1: sand", "bird · 2: trees", "ship · 1: fog", "ship · 2: sun")
    errors = Grouping.by_errors(dataset, np.array([0, 1, 0, 0, 1, 0]))
    assert errors.names[:2] == ("bird · probe right", "bird · probe wrong")
    single = Grouping.guessed(data_of(entries=()), no_attributes(data_of(entries=())))
    assert (single.names, single.groups.tolist()) == (CLASSES, LABELS.tolist())
    for grouping, provenance in ((clusters, "clusters"), (errors, "ppa"), (single, "none")):
        assert (grouping.provenance, grouping.kind, grouping.has_words) == (provenance, "pseudo", False)
        assert grouping.possible.all() and grouping.expected.all() and len(grouping.factors) == 1


@pytest.mark.parametrize(
    ("method", "provenance"),
    [("proportional", "words"), ("argmax", "words"), ("probe", "probe"), ("file", "file"), ("data", "data")],
)
def test_the_provenance_of_guesses_follows_from_their_method(method, provenance):
    dataset = data_of(ENTRIES[:1], (STYLE,))
    grouping = Grouping.guessed(dataset, guessed(STYLE, method=method))
    assert (grouping.provenance, grouping.kind, grouping.has_words) == (provenance, "pseudo", True)
    assert grouping.groups.tolist() == [0, 1, 2, 3, 0, -1]


def test_groups_are_true_only_if_all_factors_are():
    true = Grouping.true(data_of())
    guess = Grouping.guessed(data_of(), guessed([0] * 6, [1] * 6))
    assert (true.kind, guess.kind) == ("true", "pseudo")
    assert replace(true, factors=(true.factors[0], guess.factors[1])).kind == "pseudo"


def test_true_attributes_may_influence_only_what_is_asked_for():
    assert Grouping.true(data_of()).uses == frozenset()
    assert Grouping.true(data_of(), frozenset({"selection"})).uses == {"selection"}
    assert Grouping.guessed(data_of(ENTRIES[:1], (STYLE,)), guessed(STYLE)).uses == ANY_USE


def test_a_cluster_stands_for_the_commonest_true_attribute_of_some_of_its_rows():
    dataset = data_of(ENTRIES[:1], (np.array([1, 0, 0, 1, 1, -1]),))
    names = (("1", "2"), ("1", "2"))
    clusters = Grouping.guessed(dataset, guessed([0, 0, 1, 0, 0, 0], method="clusters", names=names))
    assert clusters.as_true_attributes(dataset, np.arange(6)).tolist() == [1, 1, 0, 1, 1, 1]
    assert clusters.as_true_attributes(dataset, np.array([1, 5])).tolist() == [0, 0, -1, -1, 0, -1]
    words = Grouping.guessed(dataset, guessed([0, 0, 1, 0, 0, 0]))
    assert words.as_true_attributes(dataset, np.array([1])).tolist() == [0, 0, 1, 0, 0, 0]
