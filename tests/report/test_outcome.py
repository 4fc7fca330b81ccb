"""The result of a run or a comparison in sentences, for any outcome."""

from dataclasses import replace
from pathlib import Path

import pytest
from by_position import group_metrics
from html_page import Page, unwrapped
from made_up_guesses import factor_guesses, guesses_of
from made_up_results import (
    GUESSES,
    RIGHT,
    ROWS,
    TRUSTED,
    compared,
    comparison,
    difference,
    evaluated,
    history,
    over,
    page_of,
    row,
    run,
    with_difference,
    worded,
)

from dbpt.cautions import caution
from dbpt.commands.result import Result
from dbpt.evaluation.results import Choice
from dbpt.report.page_sections import Section
from dbpt.report.result_rows import Summary
from dbpt.report.results_verdict import leads_of, outcome_of
from dbpt.report.table_notes import choice_note
from dbpt.report.tables import results_table

CLEAR, UNCLEAR = (0.2, 0.5), (-0.1, 0.2)


def lines_of(metrics, difference=CLEAR):
    """The paragraphs below the headline."""
    return said_below(with_difference(metrics, difference))


def said_below(metrics):
    leads = leads_of(Summary(metrics))
    html = "</p>".join(lead.__html__() if isinstance(lead, Section) else lead for lead in leads)
    return [unwrapped(Page(each).words) for each in html.split("</p>") if each.strip()]


def headline_of(metrics, difference=CLEAR):
    return lines_of(metrics, difference)[0]


def test_headline_when_it_rose_fell_or_cannot_be_told():
    def said(erm, dbpt, difference=CLEAR, **changes):
        return headline_of(run({"zero-shot": [90, 20, 20, 45], "erm": erm, "dbpt": dbpt}, **changes), difference)

    low, high, middle = [99, 60, 15, 48], [88, 84, 40, 43], [88, 84, 37, 43]
    for found, sentence in (
        (
            said(low, high),
            "rose from 30.0 % (ERM) to 80.0 % (dbpt): +50.0 points [20.0, 50.0]; average 74.0 % → 85.0 %",
        ),
        (
            said(high, low, (-0.5, -0.2)),
            "fell from 80.0 % (ERM) to 30.0 % (dbpt): −50.0 points [−50.0, −20.0]; average",
        ),
        (said(high, middle, UNCLEAR), "is 74.0 % (dbpt) against 80.0 % (ERM): −6.0 points [−10.0, 20.0], maybe by"),
    ):
        assert found.startswith(f"Worst-group accuracy {sentence}")
    assert "+6.0 points [−10.0, 20.0], maybe" in said(middle, high, UNCLEAR)
    assert "+6.0 points, maybe" in said(middle, high, None)
    assert said(high, high) == "Worst-group accuracy is 80.0 % with both ERM and dbpt, average 85.0 % → 85.0 %."
    assert said(low, high, average="adjusted").endswith("; adjusted average 96.0 % → 87.3 %.")
    assert said(low, high, group_kind="pseudo").startswith("Worst-group accuracy over pseudo groups rose from")


def test_a_chosen_row_worse_than_zero_shot_is_said_in_headline_table_and_report():
    metrics = run({"zero-shot": [90, 88, 43, 45], "erm": [99, 60, 10, 48], "dbpt": [88, 84, 25, 43]})
    said = "Worst-group accuracy rose from 20.0 % (ERM) to 50.0 % (dbpt): "
    assert headline_of(metrics).startswith(said)
    warning = "zero-shot has a better worst group than dbpt (86.0 against 50.0 %)"
    assert f"warning: {warning}" in results_table(metrics).splitlines()
    assert warning[1:] in Page(page_of(metrics, history(metrics))).words
    equal = run({"zero-shot": [88, 84, 25, 43], "dbpt": [88, 84, 25, 43]})
    for fine in (run(), equal, run({"zero-shot": [90, 88, 43, 45], "dbpt": [88, 84, 25, 43]}, chosen="zero-shot")):
        assert "zero-shot has a better" not in results_table(fine)


def test_headline_without_erm_without_baselines_and_without_groups():
    zero_shot, erm, dbpt = run().rows
    none = group_metrics([0, 1], [0, 0], [-1, -1], num_classes=2, num_attributes=2)
    assert "(zero-shot) to" in headline_of(run(rows=[zero_shot, dbpt]))
    assert headline_of(run(rows=[dbpt])) == "Worst-group accuracy of dbpt is 80.0 %, average 85.0 %."
    erm_chosen = headline_of(run(rows=[zero_shot, erm], chosen="erm"), UNCLEAR)
    assert "is 20.0 % (ERM) against 40.0 % (zero-shot): −20.0 points [−10.0, 20.0], maybe by chance" in erm_chosen
    nothing = "No group could be evaluated, so there is no worst-group accuracy; the average of dbpt is 50.0 %."
    assert headline_of(run(rows=[row("dbpt", none)])) == nothing


def test_what_zero_shot_does_is_said_where_the_headline_does_not():
    assert len(lines_of(run(rows=run().rows[::2]))) == 1
    _, said = lines_of(run({**RIGHT, "erm": [99, 60, 30, 48]}))
    assert said == "Without any training (zero-shot): worst group 40.0 %, average 68.3 %."


# --- the verdict


def verdict_of(metrics, doubts=(), difference=CLEAR, factors=(), **changes):
    guesses = guesses_of(*factors, doubts=worded(*doubts), **{"values": metrics.dataset.attributes} | changes)
    found = outcome_of(Summary(with_difference(replace(metrics, guesses=guesses), difference)))
    return found.kind, found.title, unwrapped(found.sentence)


@pytest.mark.parametrize(
    ("rows", "kind", "title", "sentence"),
    [
        (
            RIGHT,
            "improved",
            "Bias reduced",
            "Of the class “waterbird”, plain training (ERM) gets 20.0 % right with “land”, but 96.0 % with “water”. "
            "Training with dbpt reduces this bias: it gets at least 80.0 % right in every group (worst: waterbird "
            "· land).",
        ),
        (
            {"erm": [50, 55, 25, 26], "dbpt": [88, 84, 40, 43]},
            "improved",
            "Worst group improved",
            "Plain training (ERM) gets 50.0 % right in its worst group, landbird · land and 1 other group. Training "
            "with dbpt helps: it gets at least 80.0 % right in every group (worst: waterbird · land).",
        ),
        (
            {"zero-shot": [99, 60, 20, 48], "dbpt": [99, 70, 23, 48]},
            "unchanged",
            "No clear change",
            "Of the class “waterbird”, zero-shot CLIP gets 40.0 % right with “land”, but 96.0 % with “water”. After "
            "training with dbpt the worst group is waterbird · land with 46.0 % right; "
            "chance alone may be the reason for the change.",
        ),
        (
            {"zero-shot": [99, 60, 20, 48], "dbpt": [99, 40, 20, 48]},
            "unchanged",
            "No change",
            "Of the class “waterbird”, zero-shot CLIP gets 40.0 % right with “land”, but 96.0 % with “water”. Training "
            "with dbpt changes nothing: 40.0 % right in landbird · water and 1 other group.",
        ),
        (
            {"zero-shot": [88, 84, 40, 43], "dbpt": [99, 60, 10, 48]},
            "bias",
            "Worse than before",
            "Zero-shot CLIP gets 80.0 % right in its worst group, waterbird · land. Training with dbpt makes it worse: "
            "20.0 % right in waterbird · land.",
        ),
    ],
)
def test_verdict_says_how_biased_it_was_and_what_training_changed(rows, kind, title, sentence):
    difference = UNCLEAR if title == "No clear change" else CLEAR
    assert verdict_of(run(rows), difference=difference) == (kind, title, sentence)
    untrained = run(rows=[*run(rows).rows[:-1], row("dbpt", evaluated(rows["dbpt"]), alpha=0.0)])  # nothing was trained
    found = verdict_of(untrained, difference=difference)[2]
    assert "raining with dbpt" not in found and "sing dbpt (α = 0.00)" in found


def test_verdict_names_guessed_attributes_and_withholds_judgement_if_they_are_doubted():
    pseudo = run(group_kind="pseudo", pseudo_quality=None)
    assert "but 96.0 % with “water” (the attribute is guessed). Training" in verdict_of(pseudo)[2]
    assert "landbird · land and 1 other group (the attribute is guessed). " in verdict_of(
        run({"erm": [50, 55, 25, 26], "dbpt": [88, 84, 40, 43]}, group_kind="pseudo", pseudo_quality=None)
    )[2]  # fmt: skip
    assert "with “water” (the attribute comes from a file). Training" in verdict_of(pseudo, provenance="file")[2]
    kind, title, sentence = verdict_of(pseudo, doubts=["no"])
    assert (kind, title) == ("untrusted", "The guesses can’t be trusted")
    assert sentence.startswith("CLIP can't tell land / water apart in these images, so nothing follows")
    one = factor_guesses(name="style", values=["photo", "sketch"])
    other = factor_guesses(name="tone", values=["dark", "bright"], doubts=worded("no"))
    kind, title, sentence = verdict_of(pseudo, factors=[one, other])
    assert (kind, title) == ("improved", "Bias reduced")
    assert sentence.startswith("Of the class “waterbird”, plain training (ERM) gets 20.0 % right with “land”")
    assert "dark / bright (tone)" in sentence and sentence.endswith("so nothing follows about a bias there.")
    none = verdict_of(pseudo, factors=[replace(one, doubts=worded("no")), other])
    assert none[0] == "untrusted" and "photo / sketch (style) and dark / bright (tone) apart" in none[2]
    assert verdict_of(run(), doubts=["no"]) == verdict_of(run())  # over true groups


def test_if_clip_does_not_know_the_class_words_they_come_first_and_no_verdict_rests_on_zero_shot():
    doubt = caution("class words", names=["thing"], value=0.5, limit=0.7)
    metrics = run({"zero-shot": [99, 60, 20, 48], "dbpt": [99, 70, 40, 48]}, class_doubts=[doubt])
    assert verdict_of(metrics)[0] == "nothing-to-compare"
    page = Page(page_of(metrics, history(metrics))).words
    assert 0 < page.index("--classes NAME=WORDING") < page.index("Worst-group accuracy of dbpt is")
    assert "thing" in results_table(metrics)
    assert "(ERM)" in verdict_of(run(class_doubts=[doubt]))[2]


def test_verdict_without_another_row_or_any_group_is_the_headline():
    for metrics in (
        run(rows=[run().rows[2]]),
        run(rows=[row("dbpt", group_metrics([0, 1], [0, 0], [-1, -1], num_classes=2, num_attributes=2))]),
    ):
        kind, title, sentence = verdict_of(metrics)
        assert (kind, title) == ("nothing-to-compare", "Nothing to compare")
        assert sentence == headline_of(metrics)
    empty = evaluated([90, 50, 0, 45], (100, 100, 0, 50))
    alone = verdict_of(run(rows=[row("zero-shot", empty), row("dbpt", evaluated([90, 95, 0, 45], (100, 100, 0, 50)))]))
    assert alone[2].startswith("Of the class “landbird”, zero-shot CLIP gets 50.0 % right with “water”, but 90.0 %")


def test_verdict_about_classes_where_no_attribute_is_named():
    rows = [row(name, evaluated(right, (100, 100))) for name, right in (("zero-shot", [90, 40]), ("erm", [85, 80]))]
    metrics = run(rows=rows, chosen="erm", pseudo_quality=None, dataset=over(["landbird", "waterbird"], []))
    assert verdict_of(metrics) == (
        "improved",
        "Worst class improved",
        "Zero-shot CLIP gets 40.0 % right in its worst class, waterbird. Training with ERM helps: it gets at least "
        "80.0 % right in every class (worst: waterbird).",
    )


@pytest.mark.parametrize(
    ("why", "figure", "group", "words"),
    [
        ("hedge", "wgp", "landbird · water", "in its worst group, landbird · water (40 validation images), no other"),
        ("hedge", "average", None, "on average (40 validation images), no other candidate is clearly better"),
        ("better", "wgp", "landbird · water", "is 30.0 points above that of dbpt; 10.0 would be"),
        ("few", "wgp", "landbird · water", "the rarest group of validation has 40 images, too few to prefer another"),
        ("score", "average", None, "it has the highest average accuracy on the validation images"),
        ("words", "last", None, "validation chooses nothing; the words hardly fit the images"),
    ],
)
def test_the_choice_of_auto_is_said_in_a_sentence(why, figure, group, words):
    of = {"candidates": ["erm", "dbpt"], "hedge": "dbpt", "n": 40, "lead": 0.3, "limit": 0.1}
    choice = Choice(why=why, figure=figure, group=group, **of)
    selection = figure if figure in ("last", "average") else f"pseudo-{figure}"
    metrics = run(chosen="erm", model_selection=selection)
    note = choice_note(replace(metrics, saved=replace(metrics.saved, choice=choice)))
    assert note.startswith("ERM is saved") and words in note


# --- a comparison


ZERO_SHOT, ERM, DBPT, JTT = ROWS


def said_of(*rows, guesses=TRUSTED, **changes):
    return unwrapped(outcome_of(Summary(comparison(rows, guesses=guesses, **changes))).sentence)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "rose from 50.0 % (ERM) to 81.0 % (dbpt): +31.0 points [20.0, 40.0]; average"),
        ({"difference": difference(0.31, (0.2, 0.4), (-0.02, 0.6))},
         "+31.0 points [20.0, 40.0], but other seeds may disagree: [−2.0, +60.0]; average"),
        ({"difference": difference(0.01, (-0.02, 0.05))}, "is 81.0 % (dbpt) against 50.0 % (ERM): +31.0 points [−2.0,"),
        ({"difference": difference(-0.1, (-0.2, -0.05), seeds=(0,))}, "−10.0 points [−20.0, −5.0]"),
        ({"difference": difference(0.01, None)}, "+31.0 points, maybe by chance"),
        ({"difference": None}, "+31.0 points, maybe by chance"),
    ],
)  # fmt: skip
def test_a_comparison_says_the_change_from_erm_and_whether_other_seeds_agree(changes, words):
    assert words in said_below(comparison([ZERO_SHOT, ERM, replace(DBPT, **changes)]))[0]


def test_the_verdict_of_a_comparison_is_that_of_a_run():
    sentence = said_of(ZERO_SHOT, ERM, DBPT)
    assert sentence.startswith("Of the class “waterbird”, plain training (ERM) gets 50.0 % right with “land”")
    assert "Training with dbpt reduces this bias: it gets at least 81.0 % right in every group" in sentence
    assert "over pseudo groups" in said_below(comparison([ERM, DBPT], group_kind="pseudo"))[0]
    assert "(dbpt, head prompt)" in said_below(comparison([ERM, DBPT], heads=["prompt", "linear"]))[0]
    untrusted = said_of(ERM, DBPT, group_kind="pseudo", guesses=GUESSES)
    assert untrusted.endswith("in these images, so nothing follows about a bias or its reduction.")
    assert said_of(ERM, DBPT, guesses=GUESSES) == said_of(ERM, DBPT)
    assert said_of(ERM) == "Worst-group accuracy of ERM is 50.0 %, average 75.0 %."
    assert said_of(compared("dbpt", (), ())).startswith("No group could be evaluated, so there is no worst-group")


OWN, BALANCED = compared("mine", (0.81, 0.83), (0.9, 0.9, 0.82, 0.9)), compared("balanced", (0.8, 0.8), (0.9,) * 4)


@pytest.mark.parametrize(
    ("leaders", "kind", "headline", "below"),
    [
        ([3], "improved", "JTT has the highest worst-group accuracy, 83.0 %; every other row is clearly lower.", ""),
        ([3, 2], "improved", "JTT has the highest worst-group accuracy, 83.0 %, but the seeds or the images can’t "
         "tell dbpt from it.", "The simplest of these 2 rows is dbpt, with 81.0 %."),
        ([3, 2, 5, 4], "improved", "can’t tell dbpt, balanced and mine from it.",
         "The simplest of these 4 rows is balanced, with 80.0 %."),
        ([4, 2, 1], "unchanged", "mine has the highest worst-group accuracy, 82.0 %, but the seeds or the images "
         "can’t tell dbpt and ERM from it.", "The simplest of these 3 rows is ERM, with 50.0 %."),
        ([2, 3, 0], "improved", "can’t tell JTT and zero-shot from it.",
         "The simplest of these 3 rows is zero-shot, with 48.0 %."),
        ([5, 3], "unchanged", "balanced has the highest", "It is also the simplest of these 2 rows."),
    ],
)  # fmt: skip
def test_the_best_row_leads_and_those_that_cannot_be_told_from_it_are_named(leaders, kind, headline, below):
    """Whichever it is: no row is preferred for its name, and of equals the simplest is recommended."""
    jtt = replace(JTT, repeats=[replace(repeat, epochs=12) for repeat in JTT.repeats])  # its first stage
    rows = [ZERO_SHOT, ERM, DBPT, jtt, replace(OWN, objective="groupdro", difference=difference(0.32, CLEAR)), BALANCED]
    metrics = comparison(rows, leaders=leaders, seeds=list(range(5)))
    found = outcome_of(Summary(metrics))
    assert (found.kind, headline in unwrapped(found.sentence)) == (kind, True)
    last = Result(Path(), metrics).table().splitlines()[-3:]
    assert f"{found.title}: {found.sentence}" in " ".join(line.strip() for line in last)
    said = said_below(metrics)
    assert said[0].startswith(below or "Rows") and "for all rows at once" in said[0]
    assert ("maybe by chance" in said[2]) == (kind == "unchanged") != ("rose from" in said[2])


@pytest.mark.parametrize(("n", "last"), [(7, "and own6 from it"), (9, "and 3 other rows from it")])
def test_few_of_many_tied_rows_are_named(n, last):
    rows = [DBPT, *(compared(f"own{i}", (0.8, 0.8), (0.9,) * 4) for i in range(n))]
    found = outcome_of(Summary(comparison(rows, leaders=list(range(n + 1)), seeds=list(range(5)))))
    assert last in unwrapped(found.sentence)


def test_a_best_row_that_is_an_oracle_or_one_of_several_settings_is_said_to_be_so():
    oracle = replace(DBPT, group_source="true")
    assert "dbpt is an oracle" in said_below(comparison([ERM, oracle], leaders=[1]))[0]
    varied = [replace(DBPT, varied={"eta": eta}) for eta in (1, 2)]
    assert "the best on validation counts" in said_below(comparison([ERM, *varied], leaders=[1]))[0]
    one = comparison([ERM, DBPT], leaders=[1], seeds=[0])
    assert "over images must exclude 0, for all rows at once: each at 95 %" in said_below(one)[0]
    doubted = comparison([ERM, DBPT], leaders=[1, 0], group_kind="pseudo", guesses=GUESSES)
    assert said_below(doubted)[0].startswith(
        "dbpt has the highest worst-group accuracy over pseudo groups, 81.0 %, but"
    )
    assert "reduces" not in "".join(said_below(doubted))
