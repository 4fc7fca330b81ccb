"""The terminal table and the HTML report: what they say, that it is true, that no data can break them."""

import re
from dataclasses import asdict
from xml.etree import ElementTree

import numpy as np
import pytest
from html_page import Page, bars, curves, unwrapped
from hypothesis import given
from hypothesis import strategies as st
from made_up_guesses import factor_guesses
from made_up_results import (
    MISTAKE,
    NASTY,
    RIGHT,
    TRUSTED,
    evaluated,
    history,
    over_groups,
    render_report,
    row,
    run,
    summarize,
    table_of,
    worded,
)

from dbpt.evaluation.of_study import titled
from dbpt.evaluation.results import Row
from dbpt.report.pictures import Example, GroupExamples, Mistake
from dbpt.report.text import points, shorten_group

pytestmark = pytest.mark.usefixtures("drawn_charts")
# --- the table


def test_table_is_exactly_this():
    metrics = run()
    assert table_of(metrics) == "\n".join(
        [
            "birds: test split, 300 images",
            "groups: true attributes; figures in per cent",
            "",
            "                                                 landbird      waterbird",
            "           worst          95 %    plain         land  water   land  water",
            "           group      interval  average   gap  n=100  n=100   n=50   n=50",
            "─────────────────────────────────────────────────────────────────────────",
            "zero-shot   40.0  [26.4, 58.5]     68.3  28.3  90.0   50.0   40.0*  90.0 ",
            "ERM         20.0  [10.0, 37.5]     72.3  52.3  99.0   60.0   20.0*  96.0 ",
            "dbpt ◂      80.0  [66.3, 91.9]     85.0   5.0  88.0   84.0   80.0*  86.0 ",
            "",
            "* worst group of the row   ◂ the requested row, which is saved",
            "interval: with 95 % confidence, the accuracy of the worst group lies here,",
            "  whichever group that is",
            "a worst group is a minimum: its accuracy is biased downward, most if groups are",
            "  small and similar",
            "average and gap: plain, over all images",
            "best epoch, by pseudo-wga: ERM 7 of 10, dbpt 7 of 10",
            "CLIP's guesses, proportional: 62 % land, 38 % water; 95.0 % are right; smallest",
            "  pseudo-group (waterbird · land, 107 images): precision 50.5 [40.6,\u00a060.3]",
        ]
    ).replace(" \n", "\n")


def test_average_and_gap_are_the_ones_asked_for_and_named():
    table = table_of(run(average="adjusted"))
    assert "dbpt ◂      80.0  [66.3, 91.9]      87.3   7.3 " in table and "adjusted" in table.splitlines()[4]
    assert "average and gap: adjusted, each group weighted by its share of the training images" in unwrapped(table)
    page = Page(render_report(run(average="adjusted"), history(run()), None))
    assert "Figures in per cent; average and gap: adjusted" in page.words
    assert "to 80.0 % (dbpt): +60.0 points [20.0, 50.0]; adjusted average 95.9 % → 87.3 %" in page.words
    assert "mean of groups is unweighted" in page.words and "over all images of the split" not in page.words


def test_groups_stand_beside_each_other_or_if_they_are_many_get_a_line_each():
    lines = table_of(run(warnings=["a warning of many words " * 9])).splitlines()
    assert max(map(len, lines)) <= 80 and "group  " not in lines[6]
    metrics = run(rows=[row(name, evaluated(range(20, 32), [40] * 12, classes=6)) for name in RIGHT])
    metrics["dataset"] |= {"classes": [f"class {i}" for i in range(6)]}
    lines = table_of(metrics).splitlines()
    assert max(map(len, lines)) <= 80
    shown = [" ".join(line.split()[:5]) for line in lines if line.startswith("class 5")]
    assert shown == ["class 5 · land n=40", "class 5 · water n=40"]
    (worst,) = [line for line in lines if line.startswith("class 0 · land")]
    assert worst.count("50.0*") == 3


def test_table_without_test_split_shows_validation_and_says_so():
    metrics = run(rows=[row(name, None, evaluated(values)) for name, values in RIGHT.items()])
    flattery = "it also selected the epochs, so the figures are too high"
    assert unwrapped(table_of(metrics)).startswith(f"birds: validation split, 300 images (no test split; {flattery})")
    last = table_of({**metrics, "model_selection": "last"}).splitlines()[0]
    assert last == "birds: validation split, 300 images (no test split)"


def test_training_rows_alone_are_shown_and_called_so():
    metrics = run(rows=[row("dbpt", None) | {"train": evaluated(RIGHT["dbpt"])}])
    table = table_of(metrics)
    where = "no other split; if the classifier was trained on it, the figures are too high"
    assert unwrapped(table).startswith(f"birds: training split, 300 images ({where}) groups:")
    assert "\ndbpt   80.0" in table
    assert "Accuracy in per cent on the training images" in Page(render_report(metrics, [], [])).words


def test_table_says_when_groups_are_pseudo():
    table = table_of(run(group_kind="pseudo", pseudo_quality=None))
    assert "groups: pseudo attributes (guessed by CLIP); figures" in table
    assert "smallest pseudo-group" not in unwrapped(table)
    assert table.endswith("CLIP's guesses, proportional: 62 % land, 38 % water")
    assert "warning" not in table
    doubts = [asdict(doubt) for doubt in worded("reworded")]
    doubted = run(group_kind="pseudo", pseudo_quality=None, pseudo_doubts=doubts)
    assert "(guessed by CLIP), which can't be trusted here; figures" in unwrapped(table_of(doubted))
    assert "which can't be trusted here" in Page(render_report(doubted, [], [])).words
    from_file = table_of(run(group_kind="pseudo", pseudo_quality=None, pseudo_method="file"))
    assert "groups: pseudo attributes (from a file); figures" in from_file


def test_table_of_an_empty_group_a_missing_row_and_an_oracle(monkeypatch):
    monkeypatch.setattr("dbpt.report.text.WIDTH", 90)
    names = [("landbird", "land"), ("landbird", "water"), ("waterbird", "land"), ("waterbird", "water")]
    small = evaluated([90, 50, 0, 20], (100, 100, 0, 25), names=names)
    metrics = run(rows=[row("zero-shot", None), row("erm", small), row("dbpt", small, source="true")])
    lines = table_of(metrics).splitlines()
    cells = {line.split("  ")[0]: line.split()[1:] for line in lines[6:]}
    assert cells["zero-shot"] == ["–"] * 7
    assert cells["ERM"][-4:] == ["90.0", "50.0*", "–", "80.0"]
    assert any(line.startswith("dbpt (true groups) ◂") for line in lines)
    assert "warning: 1 group without images: waterbird · land;" in unwrapped("\n".join(lines))
    assert sum(line.startswith("warning:") for line in lines) == 1  # both rows have it: said once, without names


@pytest.mark.parametrize(
    ("choices", "title"),
    [
        (("dbpt", "pseudo", "prompt", "class", "loss"), "dbpt"),
        (("zero-shot", None, None, None, None), "zero-shot"),
        (("erm", None, "linear", "class", None), "ERM (linear)"),
        (("groupdro", "true", "adapter", "class", "sampling"), "Group DRO (adapter, true groups, sampling)"),
        (("dbpt:group", "pseudo", "linear", "group", "loss"), "dbpt (linear, group prompts)"),
        (("dbpt", "pseudo", "prompt", "group", "loss"), "dbpt (group prompts)"),  # the field decides, not the name
        (("gla", "pseudo", "prompt", "group", "loss"), "GLA"),  # which has no others
    ],
)
def test_a_rows_title_says_what_it_differs_in_from_the_defaults(choices, title):
    fields = dict(zip(("method", "group_source", "head", "prompts", "apply"), choices, strict=True))
    assert titled(Row(**fields, title="", objective=choices[0].partition(":")[0])).title == title


def test_warnings_name_their_rows_when_not_all_share_them():
    few = evaluated([90, 80, 5, 20], (100, 100, 20, 25))
    metrics = run(rows=[row("erm", few), row("dbpt", evaluated([90, 80, 20, 5], (100, 100, 20, 25)))], warnings=["one"])
    first, *others = summarize(metrics).warnings
    assert [first, *(text.partition(" (")[0] for text in others)] == [
        "one",
        "ERM: worst group 2",
        "dbpt: worst group 3",
    ]


def test_wide_letters_are_aligned():
    metrics = run()
    before = table_of(metrics).splitlines()[3].index("waterbird")
    metrics["dataset"] |= {"classes": ["陸鳥", "waterbird"]}
    assert table_of(metrics).splitlines()[3].index("waterbird") == before - 2


@given(st.text(max_size=60), st.text(min_size=1, max_size=60), st.integers(7, 60))
def test_shortened_group_names_fit_and_keep_both_parts(label, attribute, letters):
    short = shorten_group(label, attribute, letters)
    assert len(short) <= letters and " · " in short
    if len(label) + len(attribute) + 3 <= letters:
        assert short == f"{label} · {attribute}"


def test_a_group_without_an_attribute_is_named_by_its_class():
    assert [shorten_group("waterbird", "", letters) for letters in (9, 8)] == ["waterbird", "waterbi…"]


def test_points_have_a_real_minus():
    assert [points(value) for value in (0.123, -0.123, -0.0001, None)] == ["12.3", "−12.3", "0.0", "–"]


# --- the page


def test_page_is_self_contained_and_complete():
    metrics = run(warnings=["the moon was full"])
    html = render_report(metrics, history(metrics), [MISTAKE])
    page = Page(html)
    assert page.sources == ["data:image/jpeg;base64,/9j/"]
    page.assert_self_contained()
    assert any("#" in attrs.get("href", "") for _, attrs in page.elements) and "b" not in page.tags
    style = html.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    assert page.tags.count("svg") == 4
    for words in (
        "Bias reduced Of the class “waterbird”, plain training (ERM) gets 20.0 % right with “land”, but 96.0 %",
        "Worst-group accuracy rose from 20.0 % (ERM) to 80.0 % (dbpt)",
        "Test split, 300 images · groups: true attributes · one run, seed 3",
        "The moon was full.",
        "11.3 waterbird · land",
        "best epoch: 7",
        "smallest pseudo-group is waterbird · land with 107 images; 50.5 % of them belong to it",
        "taken for landbird",
        "taken for landbird; waterbird: 12.5 %a/b.jpg",
        "a/b.jpg",
        "ViT-B-32",
        "This command makes the page: dbpt fit birds.csv --out runs/birds",
        "Words for landland, forest",
        "All settings by name eta1.0 cache–",
        "How it was computed Groups.",
        "The figure is a minimum and biased downward",
        "True attributes were used for this table, the metrics, and for nothing else.",
    ):
        assert words in page.words, words
    assert html == render_report(metrics, history(metrics), [MISTAKE])


def test_nothing_in_the_data_can_break_the_page():
    metrics = run(warnings=[NASTY])
    metrics["dataset"] |= {"name": NASTY, "classes": [NASTY, "b"], "attributes": [NASTY, "d"], "notes": [NASTY]}
    metrics["backbone"] |= {"model": NASTY}
    mistake = Mistake(f"x/{NASTY}/y_z.jpg", b"", NASTY, NASTY, NASTY, 0.5)
    html = render_report(metrics, history(metrics), [mistake])
    page = Page(html)
    assert "script" not in page.tags and NASTY in page.words and f"x/{NASTY}/y_z.jpg" in page.words
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)


def test_the_same_images_are_shown_before_and_after_with_what_each_is_taken_for():
    birds = ("waterbird", "landbird")
    pictures = (Example("a/1.jpg", b"1", birds), Example("a/2.jpg", b"2", birds[::-1]))
    groups = [
        GroupExamples("landbird", "land", 461, (452, 382), 3, 73, pictures),
        GroupExamples("landbird", "water", 2, (0, 2), 2, 0, pictures),
        GroupExamples("waterbird", "land", 1, (0, 0), 0, 0, ()),
        GroupExamples("waterbird", "water", 0, (0, 0), 0, 0, ()),
    ]
    html = render_report(run(), [], [], examples=groups)
    page = Page(html)
    for words in (
        "Before is CLIP without training (zero-shot), after is dbpt, on the test images.",
        "Wrong before, right after",
        "landbird · land461452382373",
        "landbird · land: 2 of 461 images ✗ before: waterbird, wrong ✓ after: landbird, right a/1.jpg",
        "✓ before: landbird, right ✗ after: waterbird, wrong a/2.jpg",
        "landbird · water: all 2 images",
        "1 other group has no pictures here",
    ):
        assert words in page.words, words
    shown = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(shown) == 4
    assert html.count('<details class="sheet" open>') == 2
    many = Page(render_report(run(), [], [], examples=[*groups[:2]] * 5))
    assert not [attrs for tag, attrs in many.elements if tag == "details" and "open" in attrs]
    assert "so there are no pictures" in Page(render_report(run(), [], None, examples=groups[2:] * 2)).words


def test_doubted_guesses_are_said_first_and_only_where_they_are_doubted():
    doubted = [asdict(factor_guesses(values=["land", "water"], doubts=worded("reworded")))]
    metrics = run(group_kind="pseudo", pseudo_quality=None, doubted_guesses=doubted, warnings=["two"])
    doubted, two = summarize(metrics).warnings[:2]
    assert doubted.startswith("CLIP's guesses of land / water can't be trusted: reworded; use") and two == "two"
    words = Page(render_report(metrics, [], [])).words
    assert "use other words" not in words and "Two." in words
    assert "The guesses can’t be trusted CLIP can't tell land / water apart in these images" in words
    assert words.index("Why the guesses can’t be trusted") < words.index("Accuracy by group")
    assert "Doubts about the guesses that training relied on" in Page(render_report(run(), [], [])).words
    trusted = Page(render_report(metrics, [], [], guesses=TRUSTED)).words
    assert "The guesses can’t" not in trusted and "Doubts" not in trusted


def test_how_it_was_trained_is_said():
    erm, dbpt = (row(name, evaluated(RIGHT[name])) | {"head": "prompt"} for name in ("erm", "dbpt"))
    words = Page(render_report(run(rows=[erm, dbpt]), [], [])).words
    for told in (
        "Training (dbpt) tunes the prompt, which are the words around the class names, and weighs the images by class",
        "by the pseudo attributes; ERM is plain training, of class prompts and without regard to groups."
        " Of all epochs, the one kept is the one",
        "highest worst-group accuracy on the validation images, over pseudo groups. No test image influenced training",
    ):
        assert told in words, told
    oracle = row("dbpt", None, evaluated(RIGHT["dbpt"]), source="true") | {"head": "linear"}
    words = Page(render_report(run(rows=[oracle], model_selection="last"), [], [])).words
    assert "tunes a linear layer on CLIP’s features, and weighs the images" in words
    assert "by the true attributes (an oracle). Of all epochs, the one kept is the last one." in words


def test_tables_of_very_many_groups_show_the_worst():
    right = [*range(150), *range(150, 0, -1)]
    metrics = run(rows=[row("dbpt", evaluated(right, [160] * 300, classes=150))], pseudo_quality=None)
    over_groups(metrics, [f"c{i}" for i in range(150)])
    html = render_report(metrics, [], [])
    told = "The tables of this page show the 200 of 300 groups in which dbpt has the lowest accuracy; metrics.json"
    assert told in Page(html).words
    assert html.count('<th scope="row" class="name">c0 · land</th>') == 3
    assert html.count('<th scope="row" class="name">c149 · water</th>') == 3
    assert '<th scope="row" class="name">c75 · land</th>' not in html


def test_bars_have_the_length_of_the_accuracy():
    html = render_report(run(), [], [])
    widths = np.array(bars(html))
    accuracies = np.array([RIGHT[name][g] / (100, 100, 50, 50)[g] for g in range(4) for name in RIGHT])
    assert widths / widths[0] == pytest.approx(accuracies / accuracies[0], abs=1e-3)
    assert "waterbird · land, ERM: 20.0 % [8.1, 37.5], n = 50" in html


def test_page_without_history_gallery_truth_or_test_split():
    rows = [row(name, None, evaluated(values, (100, 100, 0, 50))) for name, values in RIGHT.items()]
    page = Page(render_report(run(rows=rows, group_kind="pseudo", pseudo_quality=None), [], []))
    assert page.tags.count("svg") == 1
    for words in ("no images", "No mistakes to show.", "Validation split, 250 images (no test split"):
        assert words in page.words
    assert "the model itself labelled them and nobody has checked them" in page.words
    assert "belong to it" not in page.words


def test_page_admits_what_true_attributes_were_used_for():
    rows = [*run()["rows"][:2], row("dbpt", evaluated(RIGHT["dbpt"]), source="true")]
    metrics = run(model_selection="true-wga", rows=rows)
    words = Page(render_report(metrics, [], [])).words
    used = "model selection (as requested), the training of dbpt (true groups) (as requested), and for nothing else"
    assert used in words


def test_weights_are_relative_to_the_first_epoch():
    metrics = run()
    entries = history(metrics, epochs=2)
    entries[-1]["group_weights"] = [2 * weight for weight in entries[-2]["group_weights"]]
    page = render_report(metrics, entries, [])
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
    html = render_report(metrics, entries, [])
    assert Page(html).tags.count("svg") == 3
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
    html = render_report(metrics, history(metrics), [])
    assert f"<h3>{title}</h3>" in html
    assert ("this uses no attribute labels" in html) == model_selection.startswith("pseudo")
    (piece,) = curves(html.split(f"<h3>{title}</h3>")[1])["ERM"]
    assert (len({y for _, y in piece}) == 1) == title.startswith("Average")  # val_average is constant in this history


def test_curves_of_many_groups_show_the_worst():
    metrics = run(rows=[row("dbpt", evaluated(range(20, 40), [40] * 20, classes=10))], pseudo_quality=None)
    over_groups(metrics, [f"c{i}" for i in range(10)])
    entries = history(metrics)
    for entry in entries:
        entry["mean_p_true"] = [0.5] * 20
        entry["group_weights"] = [1.0] * 20
    html = render_report(metrics, entries, [])
    assert "show the 16 with the lowest final accuracy" in Page(html).words
    chart = html.split("Mean probability of the true class, dbpt")[1].split("</svg>")[0]
    assert "c7 · water" in chart and "c8 · land" not in chart
