"""The tables of a comparison, letter by letter: for wide and narrow terminals, and as CSV."""

import csv
import io
from dataclasses import replace

from made_up_results import compared, comparison, difference, of_figures, worded

from dbpt.evaluation import Group
from dbpt.evaluation.results import FIGURES, FailedTraining, Repeat
from dbpt.report.tables import csv_table, results_table


def row(title, head, *figures, seeds=3, deviations=(), **changes):
    """``figures`` are (mean, sd) of worst-group accuracy, average and gap."""
    names = ("worst_group_accuracy", "average", "gap")
    means = dict.fromkeys(FIGURES) | {name: mean for name, (mean, _) in zip(names, figures, strict=True)}
    deviations = dict.fromkeys(FIGURES) | {name: sd for name, (_, sd) in zip(names, figures, strict=True)}
    of_none = {"class_name": "", "attribute": "", "n": 16, "correct": 8, "low": None, "high": None}
    groups = tuple(Group(index=g, accuracy=mean, **of_none) for g, mean in enumerate((0.5, 0.75, None, 1.0)))
    test = of_figures(groups, n=12345, **means)
    repeats = [Repeat(seed=seed, epochs=changes.pop("epochs", 50)) for seed in range(seeds)]
    return replace(compared(title, (), ()), head=head, test=test, deviations=deviations, repeats=repeats, **changes)


ZERO_SHOT = row("zero-shot", None, (0.496, None), (0.753, None), (0.257, None))
ZERO_SHOT = replace(ZERO_SHOT, difference=difference(-0.0001, (-0.05, 0.04), (-0.0001, -0.0001)))
ERM = row("ERM", "prompt", (0.4964, 0.012), (0.75, 0.003), (0.2536, 0.1))
ORACLE = row("Group DRO (true groups)", "prompt", (0.835, 0.1234), (0.829, 0.0), (-0.006, 0.02), group_source="true")
ORACLE = replace(ORACLE, objective="groupdro", difference=difference(0.3386, (0.2, 0.45), (0.30, 0.3772)))
DFR = row("DFR", "linear", (None, None), (0.5, None), (None, None), seeds=1, epochs=55)
COMPARISON = comparison(
    [ZERO_SHOT, ERM, ORACLE, DFR],
    ["c_1", "50%"],
    ["#a|b", "{x}"],
    group_kind="pseudo",
    pseudo_shares=[0.625, 0.375],
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


def test_the_adjusted_average_stands_in_the_same_columns_and_is_named():
    adjusted = {"adjusted_average": 0.123, "adjusted_gap": -0.321}
    rows = [replace(row, test=replace(row.test, **adjusted)) for row in COMPARISON.rows]
    table = results_table(replace(COMPARISON, average="adjusted", rows=rows), 120)
    assert "12.3" in table and "75.3" not in table and "32.1" in table
    assert "average and gap: adjusted" in table


def test_one_head_needs_no_column():
    table = results_table(replace(COMPARISON, heads=["prompt"], rows=COMPARISON.rows[:3]))
    assert "head" not in table.partition("─")[0]
    assert max(map(len, table.splitlines())) <= 110
    assert "the same head and seed, and its" in " ".join(table.split())


def test_csv_has_full_digits_and_nothing_where_there_is_nothing():
    head, *lines = csv.reader(io.StringIO(csv_table(COMPARISON)))
    first, _, oracle, last = (dict(zip(head, line, strict=True)) for line in lines)
    assert (first["method"], first["head"], first["worst_group_accuracy_mean"]) == ("zero-shot", "", "0.496")
    assert first["worst_group_accuracy_sd"] == first["group_mean_mean"] == first["gap_against_erm_mean"] == ""
    assert oracle["worst_group_accuracy_against_erm_seeds_high"] == "0.3772"
    assert oracle["worst_group_accuracy_against_erm_images_low"] == "0.2"
    assert (last["seeds"], last["worst_group_accuracy_mean"], last["accuracy of 50% · {x}"]) == ("1", "", "1.0")
    assert last["accuracy of 50% · #a|b"] == ""
