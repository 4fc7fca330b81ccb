"""The figures over some of several factors."""

from dataclasses import replace

import numpy as np
import pytest
from by_position import group_metrics
from html_page import Page
from made_up_guesses import factor_guesses, guesses_of
from made_up_results import compared, comparison, difference, evaluated, page_of, row, run, worded

from dbpt.data import SPLITS
from dbpt.evaluation.repeats import Evaluated, groups_of_factors, with_rows
from dbpt.evaluation.results import FactorSummary
from dbpt.report.table_notes import groups_line

STYLE, PLACE = (
    FactorSummary(name="style", values=["photo", "sketch"]),
    FactorSummary(name="place", values=["sea", "land", "sky"]),
)
COUNTS = [40, 30, 0, 20, 10, 50, 30, 30, 30, 10, 10, 10]


def run_of_two(**changes):
    """A run of 2 classes, 2 styles and 3 places, over pseudo groups."""
    names = [f"{a}, {b}" for a in STYLE.values for b in PLACE.values]
    counts = {"counts": dict.fromkeys(SPLITS, COUNTS), "train_counts_pseudo": COUNTS}
    rights = {
        "zero-shot": [38, 28, 0, 9, 4, 20] + [25] * 3 + [9] * 3,
        "dbpt": [36, 26, 0, 17, 8, 41] + [24] * 3 + [9] * 3,
    }
    rows = [row(name, evaluated(right, COUNTS)) for name, right in rights.items()]
    own = {"group_kind": "pseudo", "pseudo_quality": None}
    return run(rows=rows, dataset={"attributes": names, "factors": [STYLE, PLACE], **counts}, **own | changes)


def of_factors(*doubts):
    """Guesses of both factors, each with its doubts."""
    pairs = zip((STYLE, PLACE), doubts, strict=True)
    return guesses_of(*(factor_guesses(**vars(factor), doubts=worded(*each)) for factor, each in pairs))


def run_of_factors(metrics, positions):
    """The run over some factors, as if each row had right answers where the made-up one has."""
    groups = np.repeat(np.arange(12), COUNTS)
    rows = [
        (
            replace(each, repeats=[]),
            [
                Evaluated(
                    each,
                    np.concatenate(
                        [np.arange(n) < group.correct for n, group in zip(COUNTS, each.test.groups, strict=True)]
                    ),
                    groups,
                )
            ],
        )
        for each in metrics.rows
    ]
    return with_rows(replace(metrics, rows=[]), rows, positions)


@pytest.mark.parametrize(("place", "size"), [(0, 2), (1, 3)])
def test_figures_are_those_of_the_kept_factor_as_the_only_attribute(place, size):
    metrics = run_of_two()
    groups = np.repeat(np.arange(12), COUNTS)
    labels, codes = groups // 6, (groups % 6 // 3, groups % 3)
    right = np.concatenate(
        [np.arange(n) < each.correct for n, each in zip(COUNTS, metrics.rows[0].test.groups, strict=True)]
    )
    found = run_of_factors(metrics, [place])
    shown, data = found.rows[0].test, found.dataset
    rows = (np.where(right, labels, 1 - labels), labels, codes[place])
    expected = group_metrics(*rows, num_classes=2, num_attributes=size, group_names=data.groups)
    assert shown.groups == expected.groups
    for name in ("worst_group", "worst_group_accuracy", "worst_group_low", "worst_group_high", "group_mean", "gap"):
        assert getattr(shown, name) == pytest.approx(getattr(expected, name)), name
    assert shown.adjusted_average == metrics.rows[0].test.adjusted_average
    assert data.counts["test"] == [each.n for each in expected.groups] == data.train_counts_pseudo
    assert [factor.name for factor in data.factors] == [("style", "place")[place]]
    assert len(data.groups) == len(expected.groups)
    assert (groups_of_factors(groups, metrics.dataset, [place]) == labels * size + codes[place]).all()


def test_judged_are_the_trusted_factors_or_all_of_them():
    pseudo = run_of_two()
    for doubts, judged in (([], ["no"]), [0]), ((["no"], []), [1]), ((["no"], ["no"]), [0, 1]), (([], []), [0, 1]):
        assert run_of_two(guesses=of_factors(*doubts)).judged_factors == judged
    assert run_of_two(guesses=of_factors([], ["no"]), group_kind="true").judged_factors == [0, 1]
    assert run_of_factors(pseudo, [0, 1]) == run_of_factors(pseudo, None)


def test_the_doubted_factor_is_named_whatever_its_doubt_says():
    for doubts, words in (([], ["reworded"]), "place"), ((["reworded"], ["reworded"]), "which"):
        metrics = run_of_two(guesses=of_factors(*doubts))
        assert groups_line(metrics).endswith(f", {words} can't be trusted here")


def test_page_judges_by_the_trusted_factor_and_says_which_figures_say_nothing():
    metrics, guesses = run_of_two(), of_factors([], ["no groups"])
    judged = run_of_factors(metrics, [0])
    words = Page(page_of(metrics, [], guesses=guesses, judged=judged)).words
    assert "41.2 % right with “sketch”, but 94.3 %" in words and "sea / land / sky (place) apart" in words
    assert "By style alone GroupImages" in words
    assert "By place alone Since the guesses of place can’t be trusted, these figures say nothing about place." in words
    assert "Accuracy by group Since the guesses of place can’t be trusted, the figures of combinations say" in words
    trusted = Page(page_of(metrics, [], guesses=of_factors([], []))).words
    assert "can’t be trusted, th" not in trusted and "By place alone GroupImages" in trusted


def test_page_of_a_comparison_has_each_factor_alone_and_judges_by_the_trusted_one():
    factors = [STYLE, PLACE]
    attributes = [f"{style}, {place}" for style in STYLE.values for place in PLACE.values]
    rows = [
        compared("ERM", (0.5, 0.5), [0.9, 0.9, 0.9, 0.5, 0.6, 0.7] * 2),
        compared("dbpt", (0.7, 0.7), [0.8] * 12, difference=difference(0.2, (-0.1, 0.4))),
    ]
    metrics = comparison(rows, attributes=attributes, group_kind="pseudo")
    metrics = replace(metrics, dataset=replace(metrics.dataset, factors=factors))
    clear = [rows[0], replace(rows[1], difference=difference(0.2, (0.1, 0.3)))]
    judged = replace(metrics, rows=clear, dataset=replace(metrics.dataset, factors=factors[:1]))
    doubted = of_factors([], ["no groups"])
    words = Page(page_of(metrics, judged=judged, guesses=doubted)).words.replace("\u00a0", " ")
    assert "over pseudo groups of style" in words
    named = replace(judged, dataset=replace(judged.dataset, factors=[replace(factors[0], name="Style")]))
    assert "over pseudo groups of Style" in Page(page_of(metrics, judged=named, guesses=doubted)).words
    assert "(place) apart" in words
    assert "By style alone GroupImagesERMdbpt landbird · photo12090.0[81.2, 95.6]80.0[69.4, 88.3] landbird" in words
    assert "By place alone Since the guesses of place can’t be trusted, these figures say nothing about place." in words
    assert "The seeds change no difference" in words and "95 % overseeds" not in words
