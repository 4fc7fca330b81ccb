"""The tables of a run and of a comparison, letter by letter: for wide and narrow terminals, and as CSV."""

import csv
import io
from dataclasses import replace

import pytest
from html_page import Page, unwrapped
from hypothesis import given
from hypothesis import strategies as st
from made_up_guesses import guesses_of
from made_up_results import (
    GUESSES,
    RIGHT,
    compared,
    comparison,
    difference,
    evaluated,
    history,
    of_figures,
    page_of,
    row,
    run,
    worded,
)

from dbpt.evaluation import Group
from dbpt.evaluation.results import FIGURES, FailedTraining, Repeat, Row
from dbpt.evaluation.study_metrics import titled
from dbpt.report.result_rows import Summary
from dbpt.report.tables import csv_of_lines, results_table, table_lines
from dbpt.report.text import points, shorten_group


def test_table_is_exactly_this():
    metrics = run()
    assert results_table(metrics) == "\n".join(
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
    table = results_table(run(average="adjusted"))
    assert "dbpt ◂      80.0  [66.3, 91.9]      87.3   7.3 " in table and "adjusted" in table.splitlines()[4]
    assert "average and gap: adjusted, each group weighted by its share of the training images" in unwrapped(table)
    page = Page(page_of(run(average="adjusted"), history(run())))
    assert "Figures in per cent; average and gap: adjusted" in page.words
    assert "to 80.0 % (dbpt): +60.0 points [20.0, 50.0]; adjusted average 95.9 % → 87.3 %" in page.words
    assert "mean of groups is unweighted" in page.words and "over all images of the split" not in page.words


def test_groups_stand_beside_each_other_or_if_they_are_many_get_a_line_each():
    lines = results_table(run(warnings=["a warning of many words " * 9])).splitlines()
    assert max(map(len, lines)) <= 80 and "group  " not in lines[6]
    rows = [row(name, evaluated(range(20, 32), [40] * 12, classes=6)) for name in RIGHT]
    metrics = run(rows=rows, dataset={"classes": [f"class {i}" for i in range(6)]})
    lines = results_table(metrics).splitlines()
    assert max(map(len, lines)) <= 80
    shown = [" ".join(line.split()[:5]) for line in lines if line.startswith("class 5")]
    assert shown == ["class 5 · land n=40", "class 5 · water n=40"]
    (worst,) = [line for line in lines if line.startswith("class 0 · land")]
    assert worst.count("50.0*") == 3
    assert results_table(run({"erm": [50, 55, 25, 26]}, chosen="erm")).count("50.0*") == 2  # equal groups


def test_table_without_test_split_shows_validation_and_says_so():
    metrics = run(rows=[row(name, None, evaluated(values)) for name, values in RIGHT.items()])
    flattery = "it also selected the epochs, so the figures are too high"
    assert unwrapped(results_table(metrics)).startswith(
        f"birds: validation split, 300 images (no test split; {flattery})"
    )
    last = results_table(replace(metrics, model_selection="last")).splitlines()[0]
    assert last == "birds: validation split, 300 images (no test split)"


def test_training_rows_alone_are_shown_and_called_so():
    metrics = run(rows=[row("dbpt", None, train=evaluated(RIGHT["dbpt"]))])
    table = results_table(metrics)
    where = "no other split; if the classifier was trained on it, the figures are too high"
    assert unwrapped(table).startswith(f"birds: training split, 300 images ({where}) groups:")
    assert "\ndbpt   80.0" in table
    assert "Accuracy in per cent on the training images" in Page(page_of(metrics, [])).words


def test_table_says_when_groups_are_pseudo():
    table = results_table(run(group_kind="pseudo", pseudo_quality=None))
    assert "groups: pseudo attributes (guessed by CLIP); figures" in table
    assert "smallest pseudo-group" not in unwrapped(table)
    assert table.endswith("CLIP's guesses, proportional: 62 % land, 38 % water")
    assert "warning" not in table
    doubted = run(group_kind="pseudo", pseudo_quality=None, guesses=GUESSES)
    assert "(guessed by CLIP), which can't be trusted here; figures" in unwrapped(results_table(doubted))
    assert "which can't be trusted here" in Page(page_of(doubted, [])).words
    from_file = results_table(run(group_kind="pseudo", pseudo_quality=None, guesses=guesses_of(provenance="file")))
    assert "groups: pseudo attributes (from a file); figures" in from_file


def test_table_of_an_empty_group_a_missing_row_and_an_oracle(monkeypatch):
    monkeypatch.setattr("dbpt.report.text.WIDTH", 90)
    names = [("landbird", "land"), ("landbird", "water"), ("waterbird", "land"), ("waterbird", "water")]
    small = evaluated([90, 50, 0, 20], (100, 100, 0, 25), names=names)
    metrics = run(rows=[row("zero-shot", None), row("erm", small), row("dbpt", small, source="true")])
    lines = results_table(metrics).splitlines()
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
    first, *others = Summary(metrics).warnings
    assert [first, *(text.partition(" (")[0] for text in others)] == [
        "one",
        "ERM: worst group 2",
        "dbpt: worst group 3",
    ]


def test_wide_letters_are_aligned():
    metrics = run()
    before = results_table(metrics).splitlines()[3].index("waterbird")
    wide = run(dataset={"classes": ["陸鳥", "waterbird"]})
    assert results_table(wide).splitlines()[3].index("waterbird") == before - 2


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


# --- a comparison


def line(title, head, *figures, seeds=3, deviations=(), **changes):
    """``figures`` are (mean, sd) of worst-group accuracy, average and gap."""
    names = ("worst_group_accuracy", "average", "gap")
    means = dict.fromkeys(FIGURES) | {name: mean for name, (mean, _) in zip(names, figures, strict=True)}
    deviations = dict.fromkeys(FIGURES) | {name: sd for name, (_, sd) in zip(names, figures, strict=True)}
    of_none = {"class_name": "", "attribute": "", "n": 16, "correct": 8, "low": None, "high": None}
    groups = tuple(Group(index=g, accuracy=mean, **of_none) for g, mean in enumerate((0.5, 0.75, None, 1.0)))
    test = of_figures(groups, n=12345, **means)
    repeats = [Repeat(seed=seed, epochs=changes.pop("epochs", 50)) for seed in range(seeds)]
    return replace(compared(title, (), ()), head=head, test=test, deviations=deviations, repeats=repeats, **changes)


ZERO_SHOT = line("zero-shot", None, (0.496, None), (0.753, None), (0.257, None))
ZERO_SHOT = replace(ZERO_SHOT, difference=difference(-0.0001, (-0.05, 0.04), (-0.0001, -0.0001)))
ERM = line("ERM", "prompt", (0.4964, 0.012), (0.75, 0.003), (0.2536, 0.1))
ORACLE = line("Group DRO (true groups)", "prompt", (0.835, 0.1234), (0.829, 0.0), (-0.006, 0.02), group_source="true")
ORACLE = replace(ORACLE, objective="groupdro", difference=difference(0.3386, (0.2, 0.45), (0.30, 0.3772)))
DFR = line("DFR", "linear", (None, None), (0.5, None), (None, None), seeds=1, epochs=55)
COMPARISON = comparison(
    [ZERO_SHOT, ERM, ORACLE, DFR],
    ["c_1", "50%"],
    ["#a|b", "{x}"],
    group_kind="pseudo",
    seeds=[0, 1, 2],
    heads=["prompt", "linear"],
    left_out=["--head prompt with --objective dfr: DFR trains linear only; choose --head linear"],
    failed=[FailedTraining(method="dfr", head="linear", seed=0, draw=None, reason="the loss is nan")],
    warnings=["a ~ b^2"],
)
COMPARISON = replace(COMPARISON, dataset=replace(COMPARISON.dataset, name="A&B_100%"))
SETTINGS = replace(COMPARISON.settings, epochs=50, lr={"prompt": 0.01, "linear": 0.1})
COMPARISON = replace(COMPARISON, settings=SETTINGS)
HEADING = """\
A&B_100%: test split, 12\u202f345 images
groups: pseudo attributes (guessed by CLIP); figures in per cent, mean ± standard deviation over 3 seeds
"""

WIDE = """
                                                                       worst gr.            95 %            95 %
                                       worst       plain                 against            over            over
                         head          group     average          gap        ERM           seeds          images
────────────────────────────────────────────────────────────────────────────────────────────────────────────────
zero-shot                –       49.6         75.3        25.7               0.0      [0.0, 0.0]    [−5.0, +4.0]
ERM                      prompt  49.6 ±  1.2  75.0 ± 0.3  25.4 ± 10.0
Group DRO (true groups)  prompt  83.5 ± 12.3  82.9 ± 0.0  −0.6 ±  2.0      +33.9  [+30.0, +37.7]  [+20.0, +45.0]
DFR                      linear     –         50.0           –

"""

NARROW = """
                                       worst       plain
                         head          group     average          gap
─────────────────────────────────────────────────────────────────────
zero-shot                –       49.6         75.3        25.7
ERM                      prompt  49.6 ±  1.2  75.0 ± 0.3  25.4 ± 10.0
Group DRO (true groups)  prompt  83.5 ± 12.3  82.9 ± 0.0  −0.6 ±  2.0
DFR                      linear     –         50.0           –

                                 worst gr.            95 %            95 %
                                   against            over            over
                         head          ERM           seeds          images
──────────────────────────────────────────────────────────────────────────
zero-shot                –             0.0      [0.0, 0.0]    [−5.0, +4.0]
Group DRO (true groups)  prompt      +33.9  [+30.0, +37.7]  [+20.0, +45.0]

"""

NOTES = [
    "against ERM: mean difference in worst-group accuracy to ERM with the same head and seed (rows without training: "
    "head prompt), and its 95 % intervals",
    "over seeds: would other seeds agree? (Student's t on the paired differences)",
    "over images: would other images agree, with these classifiers? (paired answers, whichever group is worst)",
    "a worst group is a minimum: its accuracy is biased downward, most if groups are small and similar",
    "average and gap: plain, over all images",
    "every row has the same budget, except as noted below: 50 epochs, one batch of all rows, adamw, learning rate "
    "0.01 (prompt), 0.1 (linear); one training per seed, no setting tuned for a method",
    "best epoch: by pseudo-wga on validation, the same rule in every row, oracles included",
    "oracles, which see true attributes in training: Group DRO (true groups)",
    "DFR first trains 5 extra epochs",
    "DFR learns from rows of split 'val', all others from 'train'",
    "DFR, head linear: 1 of 3 seeds",
    "CLIP's guesses, proportional: 62 % #a|b, 38 % {x}",
    "left out: --head prompt with --objective dfr: DFR trains linear only; choose --head linear",
    "failed: dfr, head linear, seed 0: the loss is nan",
    "warning: a ~ b^2",
]


def test_a_wide_terminal_has_the_intervals_beside_the_figures():
    table = results_table(COMPARISON, 120)
    assert table.startswith(HEADING + WIDE + NOTES[0][:80])
    assert " ".join(table.partition(WIDE)[2].split()) == " ".join(NOTES)


def test_a_narrow_terminal_has_them_below_and_every_line_fits():
    table = results_table(COMPARISON, 80)
    assert NARROW in table
    assert max(map(len, table.splitlines())) <= 80
    assert " ".join(table.partition(NARROW)[2].split()) == " ".join(NOTES)


def test_without_erm_there_is_no_column_of_differences():
    rows = [replace(each, difference=None, objective="dbpt") for each in (ZERO_SHOT, ORACLE)]
    table = results_table(replace(COMPARISON, rows=rows), 120)
    assert "against" not in table.partition("─")[0]
    assert "no difference to ERM: erm is not among the methods" in table


def said(*rows, **changes) -> str:
    return " ".join(results_table(replace(COMPARISON, rows=list(rows), **changes)).split())


def test_an_oracle_with_several_settings_is_named_once():
    varied = [replace(ORACLE, title=f"{ORACLE.title}, eta {eta}", varied={"eta": eta}) for eta in (0, 5)]
    assert "training: Group DRO (true groups) DFR" in said(ZERO_SHOT, ERM, *varied, DFR)


def test_rows_that_seeds_do_not_move_are_named():
    still = dict.fromkeys(FIGURES, 0.0)
    assert "seeds change" not in said(ZERO_SHOT, ERM, ORACLE, DFR)
    all_still = [replace(row, deviations=still) for row in (ERM, ORACLE)]
    for rows, names in (
        ((all_still[0], ORACLE), "ERM, head prompt"),
        (all_still, "any trained row"),
        ((*all_still, ORACLE), "ERM, head prompt; Group DRO (true groups), head prompt"),
    ):
        assert f"seeds change no figure of {names} (with one batch" in said(ZERO_SHOT, *rows)
    # small batches have an order, so it must be for another reason
    of_batches = said(ZERO_SHOT, *all_still, settings=replace(SETTINGS, batch_size=32))
    assert "seeds change no figure of any trained row, so" in of_batches


WARNINGS = ([], ["diverged", "few rows"], ["diverged"])


def test_what_trainings_say_of_themselves_is_said_of_one_seed():
    repeats = [Repeat(seed=seed, warnings=worded(*texts)) for seed, texts in enumerate(WARNINGS)]
    told = said(ZERO_SHOT, replace(ERM, repeats=repeats))
    assert told.count("ERM, head prompt, seed 1 (seeds that warn: 2 of 3): ") == 2 and told.endswith("few rows")
    told = said(ZERO_SHOT, replace(ERM, repeats=[Repeat(seed=2, warnings=worded("few rows"))]))
    assert told.endswith("warning: ERM, head prompt: few rows")


def test_one_head_needs_no_column():
    table = results_table(replace(COMPARISON, heads=["prompt"], rows=COMPARISON.rows[:3]))
    assert "head" not in table.partition("─")[0]
    assert max(map(len, table.splitlines())) <= 110
    assert "the same head and seed, and its" in " ".join(table.split())


def test_csv_has_full_digits_and_nothing_where_there_is_nothing():
    head, *lines = csv.reader(io.StringIO(csv_of_lines(table_lines(COMPARISON))))
    first, _, oracle, last = (dict(zip(head, line, strict=True)) for line in lines)
    assert (first["method"], first["head"], first["worst_group_accuracy_mean"]) == ("zero-shot", "", "0.496")
    assert first["worst_group_accuracy_sd"] == first["group_mean_mean"] == first["gap_against_erm_mean"] == ""
    assert oracle["worst_group_accuracy_against_erm_seeds_high"] == "0.3772"
    assert oracle["worst_group_accuracy_against_erm_images_low"] == "0.2"
    assert (last["seeds"], last["worst_group_accuracy_mean"], last["accuracy of 50% · {x}"]) == ("1", "", "1.0")
    assert last["accuracy of 50% · #a|b"] == ""
