"""The pages of a run and of a comparison: what they say, that it is true, that no data can break them."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from html_page import Page, bar_charts, bars, curves
from made_up_guesses import guesses_of
from made_up_results import (
    LONG,
    NASTY,
    RIGHT,
    ROWS,
    STEPS,
    TRUSTED,
    compared,
    comparison,
    evaluated,
    history,
    many_rows,
    of_figures,
    over,
    page_of,
    row,
    run,
    worded,
)

from dbpt.evaluation.results import FailedTraining
from dbpt.report.group_pictures import GroupExamples
from dbpt.report.result_rows import Summary
from dbpt.report.results_page import MadeBy
from dbpt.report.thumbnails import Picture

pytestmark = pytest.mark.usefixtures("drawn_charts")
PICTURE = Picture("a/b.jpg", b"\xff\xd8\xff", "a/b.jpg", ("landbird", "landbird"), 0.125)
EXAMPLE = GroupExamples("waterbird", "land", 9, (5, 6), 2, 1, (PICTURE,))


def test_page_is_self_contained_and_complete(monkeypatch):
    monkeypatch.setenv("DBPT_PLUGINS", "losses,heads")
    metrics = run(warnings=["the moon was full"])
    html = page_of(metrics, history(metrics), examples=[EXAMPLE])
    page = Page(html)
    assert page.sources == ["data:image/jpeg;base64,/9j/", "a/b.jpg"]
    page.assert_self_contained()
    assert any("#" in attrs.get("href", "") for _, attrs in page.elements) and "b" not in page.tags
    style = html.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    assert page.tags.count("svg") == 3
    for words in (
        "Bias reduced Of the class “waterbird”",
        "Worst-group accuracy rose from 20.0 %",
        "birds: test split, 300 images · groups: true attributes; figures in per cent · one run, seed 3",
        "The moon was full.",
        "11.3 waterbird · land",
        "best epoch: 7",
        "smallest pseudo-group is waterbird · land with 107 images; 50.5 % of them belong to it",
        "waterbird · land: 3 of 9 images wrong. Here: 1 wrong.",
        "landbird, wrong true class 12.5 %a/b.jpgoriginal, where this page was made",
        "ViT-B-32",
        "This command makes the page: dbpt fit birds.csv --out runs/birds The variable DBPT_PLUGINS was losses,heads.",
        "Words for landland, forest",
        "All settings by name eta1.0 cache–",
        "How it was computed Groups.",
        "The figure is a minimum and biased downward",
        "True attributes were used for this table, the metrics, and for nothing else.",
    ):
        assert words in page.words, words
    assert html == page_of(metrics, history(metrics), examples=[EXAMPLE])


def test_the_same_images_are_shown_before_and_after_with_what_each_is_taken_for():
    birds = ("waterbird", "landbird")
    pictures = (Picture("a/2.jpg", b"2", None, birds[::-1]), Picture("a/1.jpg", b"1", None, birds))
    groups = [
        GroupExamples("landbird", "land", 461, (452, 382), 3, 73, pictures),
        GroupExamples("landbird", "water", 2, (0, 2), 2, 0, pictures),
        GroupExamples("waterbird", "land", 1, (0, 0), 0, 0, ()),
        GroupExamples("waterbird", "water", 0, (0, 0), 0, 0, ()),
    ]
    html = page_of(run(), [], examples=groups)
    page = Page(html)
    for words in (
        "Before is CLIP without training (zero-shot), after is dbpt, on the test images.",
        "Wrong before, right after",
        "landbird · land461452382373",
        "landbird · land: 79 of 461 images wrong. Here: 1 wrong and 1 right.",
        "✗ before: waterbird, wrong ✓ after: landbird, right a/1.jpg",
        "✓ before: landbird, right ✗ after: waterbird, wrong a/2.jpg",
        "1 other group has no pictures here",
    ):
        assert words in page.words, words
    shown = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(shown) == 4
    assert html.count('<details class="sheet" open>') == 1  # that of the lowest accuracy
    assert html.index("<strong>landbird · land") < html.index("<strong>landbird · water")
    assert "so there are no pictures" in Page(page_of(run(), [], examples=groups[2:] * 2, has_images=False)).words


def test_doubted_guesses_are_said_first_and_only_where_they_are_doubted():
    guesses = guesses_of(values=["land", "water"], doubts=worded("reworded"))
    own = {"group_kind": "pseudo", "pseudo_quality": None, "relies_on_guesses": True}
    metrics = run(guesses=guesses, warnings=["two"], **own)
    doubted, two = Summary(metrics).warnings[:2]
    assert doubted.startswith("CLIP's guesses of land / water can't be trusted: reworded; use") and two == "two"
    words = Page(page_of(metrics, [])).words
    assert "use other words" not in words and "Two." in words
    assert "The guesses can’t be trusted CLIP can't tell" in words
    assert words.index("Why the guesses can’t be trusted") < words.index("Accuracy by group")
    assert "Doubts about the guesses that training relied on" in Page(page_of(run(), [])).words
    trusted = Page(page_of(metrics, [], guesses=TRUSTED)).words
    assert "The guesses can’t" not in trusted and "Doubts" not in trusted


def test_how_it_was_trained_is_said():
    erm, dbpt = (row(name, evaluated(RIGHT[name]), head="prompt") for name in ("erm", "dbpt"))
    words = Page(page_of(run(rows=[erm, dbpt]), [])).words
    for told in (
        "Training (dbpt) tunes the prompt, which are the words around the class names, and weighs the images by class",
        "by the pseudo attributes; ERM is plain training, of class prompts and without regard to groups."
        " Of all epochs, the one kept is the one",
        "highest worst-group accuracy on the validation images, over pseudo groups. No test image influenced training",
    ):
        assert told in words, told
    oracle = row("dbpt", None, evaluated(RIGHT["dbpt"]), source="true", head="linear")
    words = Page(page_of(run(rows=[oracle], model_selection="last"), [])).words
    assert "tunes a linear layer on CLIP’s features, and weighs the images" in words
    assert "by the true attributes (an oracle). Of all epochs, the one kept is the last one." in words


def test_tables_of_very_many_groups_show_the_worst():
    right = [*range(150), *range(150, 0, -1)]
    rows, data = [row("dbpt", evaluated(right, [160] * 300, classes=150))], over([f"c{i}" for i in range(150)])
    metrics = run(rows=rows, dataset=data, pseudo_quality=None)
    html = page_of(metrics, [])
    told = "The tables of this page show the 200 of 300 groups in which dbpt has the lowest accuracy; metrics.json"
    assert told in Page(html).words
    assert html.count('<th scope="row" class="name">c0 · land</th>') == 3
    assert html.count('<th scope="row" class="name">c149 · water</th>') == 3
    assert '<th scope="row" class="name">c75 · land</th>' not in html


def test_bars_have_the_length_of_the_accuracy():
    html = page_of(run(), [])
    widths = np.array(bars(html))
    accuracies = np.array([RIGHT[name][g] / (100, 100, 50, 50)[g] for g in range(4) for name in RIGHT])
    assert widths / widths[0] == pytest.approx(accuracies / accuracies[0], abs=1e-3)
    assert "waterbird · land, ERM: 20.0 % [8.1, 37.5], n = 50" in html


def test_page_without_history_gallery_truth_or_test_split():
    rows = [row(name, None, evaluated(values, (100, 100, 0, 50))) for name, values in RIGHT.items()]
    html = page_of(run(rows=rows, group_kind="pseudo", pseudo_quality=None), [])
    page = Page(html)
    assert page.tags.count("svg") == 0 and len(bar_charts(html)) == 1
    for words in ("no images", "birds: validation split, 250 images (no test split"):
        assert words in page.words
    assert "the model itself labelled them and nobody has checked them" in page.words
    assert "belong to it" not in page.words


def test_page_admits_what_true_attributes_were_used_for():
    rows = [*run().rows[:2], row("dbpt", evaluated(RIGHT["dbpt"]), source="true")]
    metrics = run(model_selection="true-wga", rows=rows)
    words = Page(page_of(metrics, [])).words
    used = "model selection (as requested), the training of dbpt (true groups) (as requested), and for nothing else"
    assert used in words


def test_weights_are_relative_to_the_first_epoch():
    metrics = run()
    entries = history(metrics, epochs=2)
    entries[-1]["group_weights"] = [2 * weight for weight in entries[-2]["group_weights"]]
    page = page_of(metrics, entries)
    assert "relative to the first epoch" in Page(page).words
    assert "22.6 waterbird · land" in Page(page).words  # 2 * 4795 / 4 / 106, of the last epoch
    (chart,) = re.findall(r'<svg[^>]*aria-label="Weight of a sample.*?</svg>', page, flags=re.DOTALL)
    found = curves(chart)
    # all double, however much they weigh
    ((first, last),) = {tuple(y for _, y in piece) for (piece,) in found.values()}
    assert len(found) == 4 and last < first


def test_curves_survive_one_epoch_gaps_and_empty_groups():
    metrics = run()
    entries = history(metrics, epochs=1)
    for entry in entries:
        entry["mean_p_true"] = [0.5, None, float("nan"), 0.7]
        entry["group_weights"] = [1.0, 0.0, None, 2.0]
        entry["val_wga"] = entry["val_wgp"] = None
    html = page_of(metrics, entries)
    assert Page(html).tags.count("svg") == 2
    assert html.split(">Training</h2>")[1].count("<use ") == 4  # points
    assert "nan" not in re.sub(r"<[^>]*>", "", html).lower().split()


@pytest.mark.parametrize(
    ("model_selection", "title"),
    [
        ("pseudo-wgp", "Worst-group probability of the true class on validation, over pseudo groups"),
        ("true-wga", "Worst-group accuracy on validation, over true groups"),
        ("average", "Average accuracy on validation"),
        ("last", "Average accuracy on validation"),
    ],
)
def test_validation_curve_says_what_it_is(model_selection, title):
    metrics = run(model_selection=model_selection)
    html = page_of(metrics, history(metrics))
    assert f"<h3>{title}</h3>" in html
    assert ("this uses no attribute labels" in html) == model_selection.startswith("pseudo")
    (piece,) = curves(html.split(f"<h3>{title}</h3>")[1])["ERM"]
    assert (len({y for _, y in piece}) == 1) == title.startswith("Average")  # val_average is constant in this history


def test_curves_of_many_groups_show_the_worst():
    rows, data = [row("dbpt", evaluated(range(20, 40), [40] * 20, classes=10))], over([f"c{i}" for i in range(10)])
    metrics = run(rows=rows, dataset=data, pseudo_quality=None)
    entries = history(metrics)
    for entry in entries:
        entry["mean_p_true"] = [0.5] * 20
        entry["group_weights"] = [1.0] * 20
    html = page_of(metrics, entries)
    assert "show the 16 with the lowest final accuracy" in Page(html).words
    chart = html.split("Mean probability of the true class, dbpt")[1].split("</svg>")[0]
    assert "c7 · water" in chart and "c8 · land" not in chart


# --- a comparison


def test_the_page_says_everything_in_order():
    failed = [FailedTraining(method="jtt", head="prompt", seed=7, draw=None, reason="the loss is nan")]
    changes = {"failed": failed, "left_out": ["no dfr"], "warnings": ["the moon was full"]}
    made_by = MadeBy("dbpt compare X", [("land", ["forest", "field"])], ([], []), {"eta": "1.0"})
    page = Page(page_of(comparison(leaders=[3, 2], **changes), made_by=made_by))
    words, places = page.words, []
    for text in (
        "birds · comparison of 4 rows",
        "Several rows tie JTT has the highest worst-group accuracy",
        "It is also the simplest of these 2 rows.",
        "Of the class “waterbird”",
        "Worst-group accuracy rose from 50.0 %",
        "birds: test split, 160 images · groups: true attributes; figures in per cent, mean ± standard deviation",
        "Doubts about the guesses",
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
        "land62.5 %land",
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
    rows, groups = bar_charts(html)
    assert 'title="dbpt, worst-group accuracy: 81.0 % [71.0, 91.0], 2 seeds"' in rows
    assert "not trained" in rows and (rows.count("<u "), rows.count("<s ")) == (4, 8)  # intervals and seeds
    assert (len(bars(rows)), len(bars(groups))) == (4, 16)
    assert 'title="landbird · water, JTT: 84.0 % [74.0, 94.0], n = 40"' in groups
    worst = re.findall(r'title="worst group of this column">([\d.]+)<', html)
    assert worst == ["48.0", "50.0", "81.0", "83.0"]
    one = page_of(comparison([replace(each, repeats=each.repeats[:1]) for each in ROWS], seeds=[0]))
    assert bar_charts(one)[0].count("<s ") == 0 and "Each ring" not in one


def test_without_attributes_the_groups_are_classes():
    rows = [replace(each, test=of_figures(each.groups[:2])) for each in ROWS]
    metrics = comparison(rows)
    metrics = replace(metrics, dataset=replace(metrics.dataset, attributes=[]))
    html = page_of(metrics, guesses=guesses_of(provenance="none"))
    words = Page(html).words
    assert "Worst-class accuracy is 75.0 %" in words
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
    assert "No group could be evaluated" in html and bar_charts(html) == []
    assert "<details open>" in html and "None" not in Page(html).words


def hostile_pages():
    data = {"name": NASTY, "classes": [NASTY, "b"], "attributes": [NASTY, "d"], "notes": [NASTY]}
    backbone, metrics = replace(run().backbone, model=NASTY), run(warnings=[NASTY], dataset=data)
    shown = replace(EXAMPLE, class_name=NASTY, attribute=NASTY)
    shown = replace(shown, examples=(Picture(f"x/{NASTY}/y_z.jpg", b"", None, (NASTY, NASTY), 0.5),))
    yield page_of(replace(metrics, backbone=backbone), history(metrics), examples=[shown]), f"x/{NASTY}/y_z.jpg"
    failed = [FailedTraining(method=NASTY, head=NASTY, seed=7, draw=None, reason=NASTY)]
    rows, changes = [replace(each, title=NASTY) for each in ROWS], {"failed": failed, "left_out": [NASTY]}
    metrics = comparison(rows, (NASTY, "b"), (NASTY, LONG), warnings=[NASTY], **changes)
    yield page_of(metrics, made_by=MadeBy(NASTY, [(NASTY, [NASTY])], ([], []), {NASTY: NASTY})), NASTY


def test_nothing_in_the_data_can_break_the_page():
    for html, name in hostile_pages():
        page = Page(html)
        assert page.scripts == [] and "script" not in page.tags and page.words.count(NASTY) > 9 and name in page.words
        for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
            ElementTree.fromstring(svg)


def test_many_rows_and_groups_stay_readable():
    html = page_of(many_rows())
    words = Page(html).words
    assert "The chart shows 5 of 20 rows: zero-shot, ERM, the one of the headline" in words
    assert "The chart shows the 24 of 28 groups" in words
    rows, groups = bar_charts(html)
    assert len(bars(rows)) == 20 and len(bars(groups)) == 120
    assert "5 more" in words
    longest = page_of(many_rows(60, 100))
    assert len(longest) < 0.6e6  # the pictures are 2.2e6
    assert "The tables of this page show the 133 of 400 groups" in longest
