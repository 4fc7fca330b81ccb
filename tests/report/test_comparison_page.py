"""The page of a comparison: its verdict for any outcome, what it says in which order, and that no data can break it."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from html_page import Page, bars
from made_up_guesses import guesses_of
from made_up_results import (
    GUESSES,
    LONG,
    NASTY,
    ROWS,
    STEPS,
    TRUSTED,
    compared,
    comparison,
    difference,
    many_rows,
    of_figures,
    page_of,
)

from dbpt.evaluation.results import FailedTraining
from dbpt.report.outcome import outcome_of, second_sentence
from dbpt.report.summary import Summary

pytestmark = pytest.mark.usefixtures("drawn_charts")
ZERO_SHOT, ERM, DBPT, JTT = ROWS


def plain(text):
    return text.replace("\u00a0", " ")


def verdict_of(*rows, guesses=TRUSTED, **changes):
    return plain(outcome_of(Summary(comparison(rows, **changes)), guesses).sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "dbpt raises worst-group accuracy by 31.0 points over ERM (from 50.0 % to 81.0 %); 95 % interval over "
             "images [+20.0, +40.0]."),
        ({"difference": difference(0.31, (0.2, 0.4), (-0.02, 0.6))},
         "dbpt raises worst-group accuracy by 31.0 points over ERM (from 50.0 % to 81.0 %); 95 % interval over images "
         "[+20.0, +40.0], but other seeds may disagree: [−2.0, +60.0]."),
        ({"difference": difference(-0.1, (-0.2, -0.05), seeds=(0,))},
         "dbpt lowers worst-group accuracy by 10.0 points against ERM; 95 % interval over images [−20.0, −5.0]."),
        ({"difference": difference(0.01, (-0.02, 0.05))},
         "No difference in worst-group accuracy between dbpt and ERM is proven: +1.0 points (from 50.0 % to 81.0 %); "
         "95 % interval over images [−2.0, +5.0]."),
        ({"difference": difference(0.01, None)},
         "No difference in worst-group accuracy between dbpt and ERM is proven: +1.0 points (from 50.0 % to 81.0 %)."),
        ({"difference": difference(None, None)}, "Worst-group accuracy of dbpt is 81.0 %, average 75.0 %."),
        ({"difference": None}, "Worst-group accuracy of dbpt is 81.0 %, average 75.0 %."),
    ],
)  # fmt: skip
def test_the_verdict_says_what_the_intervals_prove(changes, sentence):
    assert verdict_of(ZERO_SHOT, ERM, replace(DBPT, **changes)) == sentence


def test_the_verdict_names_pseudo_groups_heads_and_missing_results():
    assert "worst-group accuracy over pseudo groups by 31.0" in verdict_of(ERM, DBPT, group_kind="pseudo")
    assert verdict_of(ERM, DBPT, heads=["prompt", "linear"]).startswith("dbpt, head prompt raises worst-group")
    untrusted = verdict_of(ERM, DBPT, group_kind="pseudo", guesses=GUESSES)
    assert untrusted.endswith("in these images, so the figures by group prove nothing.")
    assert verdict_of(ERM, DBPT, guesses=GUESSES).startswith("dbpt raises worst-group accuracy by")
    assert verdict_of(ERM) == "Worst-group accuracy of ERM is 50.0 %, average 75.0 %."
    assert verdict_of(compared("dbpt", (), ())).startswith("No group could be evaluated, so there is no worst-group")


def test_the_second_sentence_names_a_better_row():
    text = plain(second_sentence(Summary(comparison())))
    assert text == (
        "Average: 75.0 %, with ERM 75.0 %. The highest worst-group accuracy of all rows is 83.0 %, of JTT; the best of "
        "several rows is partly best by chance."
    )
    assert plain(second_sentence(Summary(comparison(ROWS[:3])))) == "Average: 75.0 %, with ERM 75.0 %."
    assert second_sentence(Summary(comparison([ERM]))) == ""


def test_the_page_says_everything_in_order():
    failed = [FailedTraining(method="jtt", head="prompt", seed=7, draw=None, reason="the loss is nan")]
    changes = {"failed": failed, "left_out": ["no dfr"], "warnings": ["the moon was full"]}
    page = Page(page_of(comparison(**changes), words=[("land", ["forest", "field"])], settings={"eta": "1.0"}))
    words, places = plain(page.words), []
    for text in (
        "birds · comparison of 4 rows",
        "Better than ERM dbpt raises worst-group accuracy by 31.0 points",
        "The highest worst-group accuracy of all rows is 83.0 %, of JTT",
        "birds: test split, 160 images · groups: true attributes; figures in per cent, mean ± standard deviation",
        "Doubts about the guesses (the figures below use the given attributes instead)",
        "Failed trainings: 1. The figures are over the others; dbpt compare --resume --out X tries them again.",
        "jtt, head prompt, seed 7: The loss is nan.",
        "Left out No dfr.",
        "The moon was full.",
        "Worst-group accuracy of each row",
        "Each ring is a seed.",
        "zero-shot 48.0± 2.0[38.0, 58.0] 75.0± 1.0 75.0± 1.0 −2.0[−7.0, +3.0]",
        "dbpt 81.0± 2.0[71.0, 91.0] 75.0± 1.0 75.0± 1.0 +31.0[+28.0, +34.0][+20.0, +40.0]",
        "Accuracy by group",
        "landbird · water4055.060.086.084.0",
        "How CLIP guessed the attribute",
        "land25.0 %land",
        "dbpt fit X",
        "dbpt label X-run",
        "dbpt guess X",
        "This command makes the page: dbpt compare X",
        "Data/birds",
        "BackboneViT-B-32, openai, 512 features",
        "Words for landforest, field",
        "eta1.0",
        "How it was computed",
        "Newcombe",
        "Best epoch: by pseudo-wga",
    ):
        assert text in words[places[-1] if places else 0 :], text
        places.append(words.index(text, places[-1] if places else 0))
    assert words.count("the loss is nan") + words.count("The loss is nan") == 1


def test_the_charts_have_a_bar_with_interval_for_each_row_and_group():
    html = page_of(comparison())
    rows, groups = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert "<title>dbpt, worst-group accuracy: 81.0 % [71.0, 91.0], 2 seeds</title>" in rows
    assert "not trained" in rows and rows.count("<use ") == 4 * 2 + 8  # ends of intervals, and seeds
    assert (len(bars(rows)), len(bars(groups))) == (4, 16)
    assert "<title>landbird · water, JTT: 84.0 % [74.0, 94.0], n = 40</title>" in groups
    worst = re.findall(r'title="worst group of this column">([\d.]+)<', html)
    assert worst == ["48.0", "50.0", "81.0", "83.0"]
    one = page_of(comparison([replace(each, repeats=each.repeats[:1]) for each in ROWS], seeds=[0]))
    assert re.search("<svg.*?</svg>", one, re.DOTALL)[0].count("<use ") == 4 * 2 and "Each ring" not in one


def test_without_attributes_the_groups_are_classes():
    rows = [replace(each, test=of_figures(each.groups[:2])) for each in ROWS]
    classes = comparison(rows).dataset
    metrics = comparison(rows, dataset=replace(classes, attributes=[]), pseudo_shares=[])
    html = page_of(metrics, guesses=guesses_of())
    words = plain(Page(html).words)
    assert "dbpt raises worst-class accuracy by 31.0 points" in words
    assert "No attribute was named, so the groups are the classes, and the worst group is the worst class." in words
    assert "landbird4055.0" not in words and "waterbird4055.060.086.084.0" in words
    assert "dbpt label" not in words and "dbpt guess" not in words and "How CLIP guessed" not in words


def test_without_images_pictures_and_the_step_to_label_are_missing():
    html = page_of(comparison(), guesses=TRUSTED, steps=replace(STEPS, label="", guess=""))
    assert "The features came without images" in html and "<img" not in html
    assert "dbpt label" not in html and "dbpt guess" not in html and "can’t be trusted" not in html


def test_a_comparison_without_results_has_a_page():
    rows = [compared("ERM", (), ()), compared("dbpt", (), ())]
    html = page_of(comparison(rows))
    assert "No group could be evaluated" in html and "<svg" not in html
    assert "<details open>" in html and "None" not in Page(html).words


def test_nothing_in_the_data_can_break_the_page():
    rows = [replace(each, title=NASTY) for each in ROWS]
    failed = [FailedTraining(method=NASTY, head=NASTY, seed=7, draw=None, reason=NASTY)]
    changes = {"failed": failed, "left_out": [NASTY], "warnings": [NASTY]}
    metrics = comparison(rows, (NASTY, "b"), (NASTY, LONG), **changes)
    html = page_of(metrics, command=NASTY, words=[(NASTY, [NASTY])], settings={NASTY: NASTY})
    page = Page(html)
    assert page.scripts == [] and "script" not in page.tags and page.sources == []
    assert page.words.count(NASTY) > 15
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)


def test_many_rows_and_groups_stay_readable():
    html = page_of(many_rows())
    words = Page(html).words
    assert "The chart shows 5 of 20 rows: zero-shot, ERM, the one of the headline" in words
    assert "The chart shows the 24 of 28 groups" in words
    rows, groups = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(bars(rows)) == 20 and len(bars(groups)) == 120
    assert "5 more" in words
    longest = page_of(many_rows(60, 100))
    assert len(longest) < 0.6e6  # the pictures are 2.2e6
    assert "The tables of this page show the 133 of 400 groups" in longest
