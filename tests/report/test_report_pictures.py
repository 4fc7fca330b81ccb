"""The pages of a run with pictures: their size, and what a browser makes of them."""

from pathlib import Path

import numpy as np
import pytest
from browser import assert_readable
from html_page import Page, bars
from made_up_audit import sheets_of
from made_up_results import (
    GUESSES,
    LONG,
    NASTY,
    RIGHT,
    comparison,
    evaluated,
    history,
    many_rows,
    over,
    page_of,
    row,
    run,
)

from dbpt.evaluation import pseudo_attribute_quality
from dbpt.evaluation.results import QualityOfSplit
from dbpt.report.group_pictures import GuessSheets, group_examples
from dbpt.report.results_page import Answers, MadeBy, render_guesses
from dbpt.report.text import label_command
from dbpt.report.thumbnails import ImageFiles

pytestmark = pytest.mark.usefixtures("drawn_charts")


def many_groups(noise, num_classes=7):
    """A page of four attributes with as much noise in its pictures as a run can have."""
    classes, attributes = [NASTY, LONG, *(f"c{i}" for i in range(2, num_classes))], ["photo", LONG, "c", "d"]
    right = np.arange(4 * num_classes) % 40
    rows = [row(name, evaluated(right, [40] * right.size, num_classes)) for name in RIGHT]
    labels, true = np.divmod(np.repeat(np.arange(right.size), 10), 4)
    quality = pseudo_attribute_quality(true, true, labels, num_classes=num_classes, num_attributes=4)
    own = {"pseudo_quality": QualityOfSplit(split="training", **vars(quality))}
    metrics = run(rows=rows, warnings=[LONG], dataset=over(classes, attributes), **own)
    entries = history(run())
    for entry in entries:
        entry |= {"mean_p_true": [0.5] * right.size, "group_weights": [1.0] * right.size}
    sheets = sheets_of([(y, a) for y in classes for a in attributes], noise)
    words = [(name, [name, LONG]) for name in classes]
    made_by = MadeBy(f"dbpt fit {LONG} --classes {LONG}", words, (["a photo of a {}"], []), {NASTY: LONG})
    examples = examples_of(noise, classes, attributes)
    return page_of(metrics, entries, sheets, examples=examples, made_by=made_by)


def examples_of(noise, classes, attributes):
    """Of 12 images of each group, the first 7 are right before and the last 7 after."""
    groups, rank = np.indices((len(classes) * len(attributes), 12)).reshape(2, -1)
    labels, paths = groups // len(attributes), [f"{row % 4}.png" for row in range(len(groups))]
    before, after = (np.where(right, labels, (labels + 1) % len(classes)) for right in (rank < 7, rank >= 5))
    names = [(y, a) for y in classes for a in attributes]
    return group_examples(ImageFiles(paths, noise), groups, [before, after], group_names=names, classes=classes)


def answers_of(noise, metrics):
    """The answers of the first and the last row of a comparison."""
    num_classes = len(metrics.dataset.classes)
    examples = examples_of(noise, metrics.dataset.classes, metrics.dataset.attributes)
    counts = [9 * np.eye(num_classes, dtype=int)] * 2
    rows = [0, len(metrics.rows) - 1]
    return Answers(rows=rows, seed=0, examples=examples, confusions=counts, has_images=True)


def small_page(noise):
    """A page of four groups with everything that a page can have."""
    classes, attributes = ["landbird", "waterbird"], ["land", "water"]
    metrics = run(group_kind="pseudo", warnings=["one", "two", "three", "four", "five"])
    sheets = sheets_of([(y, a) for y in classes for a in attributes], noise)
    return page_of(metrics, history(metrics), sheets, examples=examples_of(noise, classes, attributes))


@pytest.mark.parametrize(
    ("num_classes", "pictures"),
    [
        (7, 28 * 24 + 28 * 9),
        pytest.param(25, 100 * 6 + 100 * 9, marks=pytest.mark.full),
        pytest.param(100, 768 + 1200, marks=pytest.mark.full),
        pytest.param(250, 768 + 1200, marks=pytest.mark.full),
    ],
)
def test_pages_of_many_groups_with_pictures_of_noise_stay_below_eight_megabytes(noise, num_classes, pictures):
    html = many_groups(noise, num_classes)
    assert html.count("<img ") == pictures
    assert len(html.encode()) < 8e6
    num_bars = len(bars(html, "chosen"))
    assert num_bars == min(40, 4 * num_classes)
    shown = f"The chart shows the 40 of {4 * num_classes} groups in which dbpt has the lowest"
    assert (shown in Page(html).words) == (num_bars == 40)


@pytest.mark.parametrize(("num_rows", "num_classes"), [(20, 7), pytest.param(60, 100, marks=pytest.mark.full)])
def test_pages_of_comparisons_with_pictures_of_noise_stay_below_eight_megabytes(noise, num_rows, num_classes):
    metrics = many_rows(num_rows, num_classes)
    pairs = [(y, a) for y in metrics.dataset.classes for a in metrics.dataset.attributes]
    html = page_of(metrics, sheets=sheets_of(pairs, noise), answers=answers_of(noise, metrics))
    assert html.count("is-right") > 200
    assert len(html.encode()) < 8e6


def test_nothing_sticks_out_and_no_text_is_faint_in_a_browser(plain, tmp_path):
    sheets = sheets_of([("landbird", "land"), ("landbird", "water")], plain)
    few = small_page(plain)
    before = render_guesses(GuessSheets(GUESSES, {"land": [LONG], NASTY: ["water"]}, sheets), LONG, LONG)
    shown = sheets_of([(y, a) for y in (*"abcdefg", LONG, NASTY) for a in (LONG, NASTY)], plain)
    many_before = render_guesses(GuessSheets(GUESSES, {LONG: [LONG] * 9, NASTY: ["water"]}, shown), LONG, LONG)
    rows = many_rows()
    pairs = [(y, a) for y in rows.dataset.classes[:3] for a in rows.dataset.attributes]
    answers = answers_of(plain, rows)
    compared = page_of(
        rows, sheets=sheets_of(pairs, plain), made_by=MadeBy(LONG, [], ([], []), {LONG: LONG}), answers=answers
    )
    assert_readable([few, before, many_groups(plain), many_before, compared], tmp_path)


def test_pages_have_landmarks_headers_of_cells_and_texts_for_pictures(noise):
    sheets = sheets_of([("landbird", "land"), ("landbird", "water")], noise)
    before = render_guesses(GuessSheets(GUESSES, {"land": ["land"]}, sheets), "birds", "dbpt label")
    for html in (small_page(noise), before, page_of(comparison())):
        page = Page(html)
        page.assert_accessible()
        assert "script" not in page.tags


def test_the_page_of_the_guesses_says_what_to_look_for_and_what_to_do(noise):
    sheets = sheets_of([("landbird", "land"), ("landbird", "water")], noise)
    shown = GuessSheets(GUESSES, {"land": ["forest", "field"], "water": ["lake"]}, sheets)
    words = Page(render_guesses(shown, "birds", label_command(Path("my runs/birds")))).words
    for text in (
        "What CLIP took for land and for water",
        f"Why the guesses can’t be trusted {NASTY}.",
        "land62.5 %forest, field",
        "landbird · land: 30 images, 50.0 % of landbird",
        "The 8 least sure",
        "dbpt label 'my runs/birds' --out 'my runs/birds-labels'",
    ):
        assert text in words.replace("\u00a0", " "), text
