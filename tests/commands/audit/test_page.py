"""The page of an audit: what it says, that no data can break it, how it looks in a browser, and how large it is."""

import re
from dataclasses import replace

import pytest
from browser import assert_readable, looks
from html_page import Page, bars
from made_up_audit import examples_of, figures_of, sheets_of
from made_up_guesses import guesses_of
from made_up_results import LONG, NASTY, worded
from matplotlib import pyplot

from dbpt.commands.audit.page import render_audit
from dbpt.commands.audit.result import Audit
from dbpt.evaluation.audit_fields import AuditedFactor, NextStep, Search, Verdict
from dbpt.report.audit_sentences import LOOK_FIRST
from dbpt.report.group_pictures import GroupExamples
from dbpt.report.thumbnails import Picture

pytestmark = pytest.mark.usefixtures("drawn_charts")


def with_pictures(figures, folder, *first):
    """The page with pictures; the first group has those of ``first``, too."""
    group, *others = examples_of(figures, folder)
    examples = [replace(group, examples=(*first, *group.examples)), *others]
    return render_audit(figures, sheets_of(figures.data.groups, folder), examples)


def opened(figures):
    """The groups whose pictures are unfolded, of groups that are all half right."""
    picture = Picture("a.jpg", b"", None, ("dog",))
    groups = [GroupExamples(*names, 2, (1,), 0, 0, (picture,)) for names in figures.data.groups]
    html = render_audit(figures, None, groups)
    return re.findall(r'<details class="sheet" open>\n<summary><strong>(.*?)</strong>', html)


def with_factor(figures, name, of_factor):
    """The page of figures that have a factor with the same groups."""
    factor = AuditedFactor(
        name=name, values=["day", "night"], group_kind="pseudo", verdict=of_factor, groups=figures.groups,
        cramers_v=None, explained=figures.explained, explained_beyond=None,
    )  # fmt: skip
    return render_audit(replace(figures, factors=[factor]), None)


def words_of(html):
    """The words of a page that has no scripts and reaches nothing outside it."""
    page = Page(html)
    page.assert_self_contained()
    return page.words


def text_of(figures):
    return words_of(render_audit(figures, None))


def table_of(figures):
    return Audit(figures, {}, {}, None).table()


def test_the_page_says_everything_in_order(noise):
    figures = figures_of(warnings=["the moon was full"])
    text, places = words_of(with_pictures(figures, noise)), []
    for words in (
        "Bias found The classifier fails for cats at night.",
        "Audited: zero-shot CLIP (ViT-B-32 · openai), on 400 test images. A group is a class with one value of the "
        "attribute, and CLIP guessed the attribute.",
        "The moon was full.",
        "Groups, worst first",
        "Group: class · what CLIP takes it for",
        "cat · night 40.0[28.0, 53.0] 1004010.010 of 10050.0",
        "of the 100 images of “cat” with “night”, 60 are taken for “dog”: 60.0 %, in the row dog · night.",
        "Worst group40.0 %",
        "cat · night: 40 of 100 images are classified correctly",
        "Whichever group is really the worst, its accuracy is in [30.3, 53.0].",
        "305 of all 400 images",
        "Adjusted average76.2 %",
        "Gap36.2 points",
        "Association (Cramér’s V)0.25",
        "here: weak",
        "similar mix of attributes in these images. Training sees the training images, where it is 0.87: it can use",
        "Errors explained by the attribute40.0 %[31.2, 48.5]",
        "This part of 95 errors",
        "p-valuep ≤ 0.0010",
        "shuffled 999 times",
        "cat13567.5 %6532.5 %",
        "What the images of each group are taken for",
        "those with the lowest probability of the true class first",
        "cat · night: 6 of 12 images wrong. Here: all 6 wrong and 4 right.",
        "✗ dog, wrong true class",
        "The checks of the guesses found no reason for doubt. Still, the figures above are only as good as the guesses",
        "day, daylight",
        "What CLIP took for “day”",
        "cat · day: 30 images, 50.0 % of cat",
        "What CLIP took for “night”",
        "dbpt fit pets.csv",
        "dbpt label runs/pets",
        "dbpt audit pets.csv",
        "cat, kitten",
        "a photo taken at {}",
        "Bergsma",
    ):
        assert words in text, words
        places.append(text.index(words, places[-1] if places else 0))
    assert places == sorted(places)


def test_groups_are_sorted_with_the_worst_first():
    figures = figures_of(right=(95, 40, 80, 90))
    html = render_audit(figures, None)
    rows = re.findall(r'<th scope="row" class="name">(\w+ · \w+)</th>\n<td>([\d.–]+)', html)
    assert rows == [("cat · night", "40.0"), ("dog · day", "80.0"), ("dog · night", "90.0"), ("cat · day", "95.0")]
    assert len(bars(html, "erm")) == 1  # that of the verdict
    assert "The orange bar is the group that the headline names" in html
    other = replace(figures, verdict=replace(figures.verdict, group=3))
    assert opened(other) == ["dog · night"]
    nothing = Verdict(kind="nothing to compare", sentence="")
    assert opened(replace(figures, verdict=nothing)) == ["cat · night"]
    assert len(bars(html, "chosen")) == 3
    uneven = replace(figures.metrics, groups=(replace(figures.groups[0], n=200), *figures.groups[1:]))
    pages = html, render_audit(replace(figures, metrics=uneven), None)
    assert ["Large groups dominate this figure" in page for page in pages] == [False, True]


def test_an_audit_plots_its_groups_worst_first():
    figures = figures_of()
    axes = Audit(figures, {}, {}, None).plot()
    names = [each.get_text() for each in axes.texts if " · " in each.get_text()]
    worst_first = sorted(figures.groups, key=lambda group: group.accuracy)
    assert names == [f"{each.class_name} · {each.attribute}" for each in worst_first]
    assert len(axes.patches) == len(names) and pyplot.gcf() is axes.figure
    pyplot.close("all")


def test_the_table_shows_the_worst_of_many_groups_and_says_where_the_others_are():
    attributes = [f"a{n}" for n in range(30)]
    figures = figures_of(attributes=attributes, right=range(40, 100))
    table = table_of(figures)
    assert re.findall(r"cat · (a\d+) ", table)[:2] == ["a0", "a1"] and "dog" not in table.partition("\n\n")[2]
    assert len(re.findall(r"cat · a\d+ ", table)) == 20
    assert "\nthe 20 worst of 60 groups with images; groups.csv in --out has all of them\n" in table
    few = table_of(figures_of(attributes=attributes[:10], right=range(40, 60)))
    assert few.count("dog · ") == 10 and "worst of 20 groups" not in few


def test_no_probabilities_no_evidence_no_sheets_and_no_worst_group():
    figures = figures_of(
        verdict=Verdict(kind="no evidence", sentence="There is no evidence."), cramers_v=None, explained=None
    )
    groups = tuple(replace(group, confidence=None) for group in figures.groups)
    figures = replace(figures, metrics=replace(figures.metrics, groups=groups))
    html, text = render_audit(figures, None), text_of(figures)
    assert "No evidence of bias There is no evidence. Audited" in text and "there are no pictures" in text
    assert "Without probabilities, the classifier’s confidence is unknown." in text and bars(html, "erm") == []
    assert not re.search("Over- ?confidence|Cramér’s V[0–]|p-value[p–]|None", text)
    none = replace(figures.metrics, worst_group=None, worst_group_accuracy=None, gap=None, adjusted_average=None)
    assert "Gap– points" in text_of(replace(figures, metrics=none))


def test_untrusted_guesses_are_said_before_any_figure_and_given_attributes_are_named():
    guesses = guesses_of(doubts=worded("no two modes are visible"), n_known=50, accuracy=0.5, shares=[0.5, 0.5])
    verdict = Verdict(kind="untrusted", sentence="CLIP can't tell this attribute apart in these images.")
    text = text_of(figures_of(guesses=guesses, verdict=verdict))
    assert text.index("Why the guesses can’t be trusted No two modes") < text.index("What the figures mean")
    assert text.count("Since the guesses can’t be trusted, the figures by group say nothing") == 1
    html = render_audit(figures_of(guesses=guesses, verdict=verdict), None)
    assert html.count('class="value muted"') == 6 and html.count('class="value"') == 1  # the plain average
    assert text.count("This is no evidence, since the attribute can’t be trusted.") == 2
    assert "is evidence that" not in text and "worst group is bold" not in text and '<tr class="chosen"' not in html
    assert "value muted" not in render_audit(figures_of(), None)
    assert "Of the 50 images whose attribute is known, 50.0 % are guessed correctly." in text
    text = text_of(figures_of(guesses=guesses, group_kind="true"))
    assert "Doubts about the guesses (the figures below use the given attributes instead)" in text
    assert "and the attribute is given with the data." in text
    assert "Nobody labelled" not in text and "no reason for doubt" not in text and "Group: class · attribute" in text
    assert "no reason for doubt" in Audit(figures_of(), {}, {}, None).table()


def test_figures_by_groups_that_cant_be_trusted_are_folded(noise):
    """What doesn't need the attribute stays open: the average, the confusions, the mistakes, and the guesses."""
    figures = figures_of(verdict=Verdict(kind="untrusted", sentence="CLIP can't tell."))
    html = with_pictures(figures, noise)
    summary = "<summary>Figures by guessed group, which can’t be trusted</summary>"
    before, folded = html.split(f"<details>\n{summary}")
    folded, after = folded.split('<h2 id="examples">')
    for words in ('<h2 id="groups">', "cat · night</th>", 'class="bars"', "Worst group", "p-value</dt>"):
        assert words in folded and words not in before + after
    assert "Average</dt>" in before and '<h2 id="confusions">' in before and '<h2 id="guesses">' in after
    assert summary not in render_audit(figures_of(), None)


@pytest.mark.parametrize(("kind", "is_folded"), [("untrusted", True), ("bias", False)])
def test_the_figures_of_a_factor_that_cant_be_trusted_are_folded(kind, is_folded):
    told = figures_of(verdict=Verdict(kind="bias", sentence="cats", group=1, lead=["It is dark."]))
    html = with_factor(told, "time", Verdict(kind=kind, sentence="time", group=None if is_folded else 1))
    assert html.index("</h1>") < html.index("It is dark.") < html.index("<li><strong>time</strong>")
    section = html[html.index('<h2 id="factor-1">') : html.index('<h2 id="groups">')]
    assert section.count("</details>") == is_folded
    assert ("Errors explained by time" in section) is not is_folded
    folded = section.partition("<summary>Figures by guessed groups of time, which can’t be trusted</summary>")[2]
    assert ('class="bars"' in folded and "<table" in folded) is is_folded


@pytest.mark.parametrize(("doubts", "badge"), [(["no"], "Possible bias"), ([], "Bias found")])
def test_a_bias_is_only_possible_if_another_factor_in_doubt_may_be_the_reason(doubts, badge):
    figures = figures_of()
    doubted = Verdict(kind="untrusted", sentence="size", doubts=worded(*doubts))
    assert figures.verdict.kind == "bias" and f">{badge}<" in with_factor(figures, "size", doubted)


@pytest.mark.parametrize(("size", "share"), [("small", 0.14), ("strong", 0.85), ("clear", None)])
def test_the_headline_says_how_large_a_bias_is(size, share):
    figures = figures_of()
    figures = replace(figures, explained=replace(figures.explained, share=share))
    text = text_of(replace(figures, verdict=replace(figures.verdict, size=size)))
    of_errors = "" if share is None else f": {100 * share:.1f} % of the errors"
    assert f" {size.capitalize()} bias found{of_errors} The classifier fails" in text


def test_without_errors_no_group_is_the_worst():
    flawless = figures_of(right=(100,) * 4, verdict=Verdict(kind="nothing to compare", sentence="No errors."))
    html = render_audit(flawless, None)
    text = words_of(html)
    assert "Each group100.0 %[" in text and "No group has an error. Whichever group is really the worst, its" in text
    for words in ("Worst group", "smallest share of any", "worst group is bold", "Gap", '<tr class="chosen"'):
        assert words not in text + html
        assert words in text_of(figures_of()) + render_audit(figures_of(), None)
    table = table_of(flawless)
    assert "no errors in any group ([" in table and "*" not in table


def test_all_of_the_worst_groups_are_marked_and_the_named_one_is_unfolded():
    figures = figures_of(right=(95, 40, 80, 40), verdict=Verdict(kind="bias", sentence="dogs", group=3))
    assert '<tr class="chosen">\n<th scope="row" class="name">dog · night' in render_audit(figures, None)
    assert render_audit(figures, None).count('<tr class="chosen">') == table_of(figures).count("40.0*") == 2
    assert opened(figures) == ["dog · night"]
    assert "dog · night, as bad as 1 other group: 40 of 100" in text_of(figures)
    other = replace(figures, verdict=Verdict(kind="bias", sentence="dogs", group=2))
    assert '<tr class="chosen">\n<th scope="row" class="name">cat · night' in render_audit(other, None)


def test_images_without_splits_are_not_called_training_images():
    figures = figures_of(predictions_by="file", predictions_from="p.csv")
    undivided = replace(figures, data=replace(figures.data, split="train", is_divided=False))
    text = text_of(undivided)
    assert "on 400 images, not divided into training and test; if the classifier was trained on them, these" in text
    assert "pets: no splits, 400 images;" in table_of(undivided)
    by_clip = text_of(replace(undivided, predictions_by="zero-shot"))
    assert "on 400 images. A group is" in by_clip and "not divided" not in by_clip
    assert "on 400 test images. A group is" in text_of(figures)


def test_the_adjusted_average_is_left_out_where_all_training_images_are_audited():
    figures = figures_of(average="adjusted")
    page = text_of(figures)
    assert "Adjusted average76.2 %" in page and "the worst group is below the adjusted average" in page
    page = text_of(replace(figures, data=replace(figures.data, split="train")))
    assert "Adjusted average" not in page and "the worst group is below the average" in page
    shares = replace(figures.metrics, adjusted_average=0.7)
    shares = replace(figures, data=replace(figures.data, split="train"), metrics=shares)
    assert "Adjusted average70.0 %" in text_of(shares)


def test_a_searched_attribute_has_a_p_value_that_is_too_small():
    figures = figures_of()
    values = {"names": ["day", "night"], "explained": figures.explained, "others": 0, "may_be_class": False}
    values |= {"by": "file", "n": 9}
    search = Search(family="day-or-night", images="audited", sentence="reworded", **values)
    searched = replace(figures.data, search=search)
    words = "Here it is too small, since a search chose the attribute on these images: test it on others."
    assert words in text_of(replace(figures, data=searched))
    assert "p ≤ 0.0010, which is too small" in table_of(replace(figures, data=searched))
    assert words not in text_of(figures)
    assert "too small" not in table_of(figures)
    elsewhere = replace(figures, data=replace(figures.data, search=replace(search, images="not audited")))
    assert words not in text_of(elsewhere)
    assert "auto: reworded" in (table := table_of(elsewhere)) and "too small" not in table


@pytest.mark.parametrize(
    ("v", "of_training", "words"),
    [
        (0.2, None, "The classes have a similar mix of attributes in these images."),
        (0.4, None, "Training on them can use the attribute instead of the class."),
        (0.4, 0.1, "away. Training sees the training images, where it is 0.10."),
    ],
)
def test_training_can_use_the_attribute_only_if_it_goes_with_the_class(v, of_training, words):
    text = text_of(figures_of(cramers_v=v, training_cramers_v=of_training))
    assert words in text and ("instead of the class" in text) is ("instead of the class" in words)


def test_lead_and_caution_are_below_the_headline():
    lead = ["40 % go with it.", "A fifth are wrong.", LOOK_FIRST]
    caution = Verdict(kind="bias", sentence="night is hard", lead=lead, by_words=True, group=1)
    assert f"40 % go with it. A fifth are wrong. {LOOK_FIRST} Audited: " in text_of(figures_of(verdict=caution))
    assert str(caution) == f"night is hard 40 % go with it. A fifth are wrong. {LOOK_FIRST}"


def test_the_table_of_untrusted_guesses_has_no_figures_before_the_verdict():
    doubted = figures_of(verdict=Verdict(kind="untrusted", sentence="Nothing follows."))
    table = table_of(doubted)
    for words in ("worst group", "p ≤", "explained", "Cramér", "*"):
        assert words not in table and words in table_of(figures_of())


def test_many_classes_get_a_list_of_confusions():
    figures = figures_of(classes=[f"c{number}" for number in range(30)], n=10, right=[9] * 59 + [0])
    html = render_audit(figures, None)
    text = words_of(html)
    assert "There are 30 classes; these are the most frequent confusions." in text and "c29c01155.0 %" in text
    assert "The chart shows the 40 worst of 60 groups." in text and len(bars(html)) == 40


def test_nothing_in_the_data_can_break_the_page(noise):
    figures = figures_of((NASTY, "b"), (NASTY, "d"), warnings=[NASTY], words={NASTY: [NASTY]}, settings={NASTY: NASTY},
                         command=NASTY, next_step=NextStep("train", NASTY, [NASTY]), predictions_by="file",
                         predictions_from=NASTY,
                         verdict=Verdict(kind="bias", sentence=NASTY), templates=[NASTY])  # fmt: skip
    html = with_pictures(figures, noise, Picture(f"x/{NASTY}/\udcff.jpg", b"", None, (NASTY,)))
    assert words_of(html).count(NASTY) > 20  # and no script element


def test_the_page_has_landmarks_headers_of_cells_and_texts_for_pictures(noise):
    page = Page(with_pictures(figures_of(), noise))
    page.assert_accessible()
    assert page.tags.count("footer") == 1


def many_groups(noise, num_classes=7):
    classes = [NASTY, LONG, "a class with a name of many short words that goes on and on"]
    classes += [f"c{number}" for number in range(3, num_classes)]
    figures = figures_of(classes, ["photo", LONG, "c", "d"], right=(90, 3, 50, 70, 0), settings={LONG: LONG},
                         command=LONG, warnings=[LONG] * 6, predictions_by="run", predictions_from=LONG)  # fmt: skip
    return with_pictures(figures, noise, Picture(LONG, b"\xff\xd8\xff", LONG, (LONG,), 0.5))


@pytest.mark.parametrize(("num_classes", "pictures"), [(7, 28 * (24 + 10)), (250, 768 + 1200)])
def test_pages_of_many_groups_with_pictures_of_noise_stay_below_eight_megabytes(noise, num_classes, pictures):
    html = many_groups(noise, num_classes)
    assert html.count("<img ") == pictures + 1
    assert len(html.encode()) < 8e6


def test_the_table_of_very_many_groups_shows_the_worst():
    figures = figures_of([f"c{number}" for number in range(150)], n=300, right=range(300))
    html = render_audit(figures, None)
    assert "The table shows the 200 worst of 300 groups; groups.csv has all of them." in words_of(html)
    assert html.split('<h2 id="numbers">')[0].count('<th scope="row" class="name">c') == 200
    assert '<th scope="row" class="name">c99 · night</th>' in html and ">c100 · day</th>" not in html


def test_a_table_that_scrolls_has_a_shadow_that_stays_where_it_is_cut():
    """What covers the shadow scrolls with the table (`local`), so that the shadow shows only where there is more."""
    style = re.search(r"\.scroll \{(.*?)\}", render_audit(figures_of(), None), re.DOTALL)[1]
    layers = re.findall(r"to (right|left), var\(--([\w-]+)\).*? (local|scroll)\b", style)
    assert layers == [(side, *layer) for layer in (("page", "local"), ("strong-rule", "scroll"))
                      for side in ("right", "left")]  # fmt: skip


def test_nothing_sticks_out_and_no_text_is_faint_in_a_browser(plain, tmp_path):
    figures = figures_of()
    few = with_pictures(figures, plain)
    assert_readable([few, many_groups(plain)], tmp_path)
    bad = few.replace("<main>", '<main><p class="bad">bad</p>')
    bad = bad.replace("</style>", ".bad { width: 2000px; max-width: none; color: var(--rule); }</style>")
    (of_page,) = looks([bad], tmp_path, dark=True)
    assert all("P bad" in found["wide"] and "P bad" in found["faint"] for found in of_page)
