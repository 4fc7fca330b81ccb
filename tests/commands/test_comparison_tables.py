"""The tables of a comparison, letter by letter: for wide and narrow terminals, and as CSV."""

import csv
import io
import json
from pathlib import Path

from dbpt.report import comparison
from dbpt.runs.metrics import FIGURES, ComparisonMetrics
from dbpt.storage.typed_json import typed


def of_typed(table):
    """The function ``table`` for a comparison as JSON."""
    return lambda found, *rest: table(
        typed(json.loads(json.dumps(found)), ComparisonMetrics, Path("compare.json"), "compare anew"), *rest
    )


csv_table, terminal_table = map(of_typed, (comparison.csv_table, comparison.terminal_table))


def row(method, head, *figures, objective="erm", difference=None, seeds=(0, 1, 2), **more) -> dict:
    """``figures`` are (mean, sd) of worst-group accuracy, average and gap."""
    names = ("worst_group_accuracy", "average", "gap")
    found = {
        name: {"mean": mean, "sd": sd, "by_seed": [], "by_draw": []}
        for name, (mean, sd) in zip(names, figures, strict=True)
    }
    nothing = {"mean": None, "sd": None, "by_seed": [], "by_draw": []}
    every = {"class_name": "", "attribute": "", "n": 16, "correct": 8, "low": None, "high": None}
    every |= dict.fromkeys(("false_positives", "n_others", "confidence"))
    groups = [{"index": g, "accuracy": mean, **every} for g, mean in enumerate((0.5, 0.75, None, 1.0))]
    return {
        "method": method,
        "title": method,
        "objective": objective,
        "group_source": "pseudo",
        "head": head,
        "apply": None,
        "seeds": list(seeds),
        "draws": [],
        "best_epochs": [7] * len(seeds),
        "epochs": 50,
        "seconds": [1.0] * len(seeds),
        "warnings": [[]] * len(seeds),
        "figures": found | dict.fromkeys(("adjusted_average", "adjusted_gap", "group_mean"), nothing),
        "groups": groups,
        "deviations": [0.1] * 4,
        "groups_differ": False,
        "difference": difference,
        "over_images": None,
        **more,
    }


def difference(head, mean, over_seeds, over_images) -> dict:
    """In worst-group accuracy; nothing for the others."""
    figures = {name: {"mean": None, "over_seeds": None, "over_draws": None} for name in FIGURES}
    figures["worst_group_accuracy"] |= {"mean": mean, "over_seeds": over_seeds}
    return {"head": head, "seeds": [0, 1, 2], "figures": figures, "over_images": over_images}


OF_ZERO_SHOT = difference("prompt", -0.0001, [-0.0001, -0.0001], [-0.05, 0.04])
OF_ORACLE = {"objective": "groupdro", "group_source": "true"}
OF_ORACLE |= {"difference": difference("prompt", 0.3386, [0.30, 0.3772], [0.2, 0.45])}
COMPARISON = {
    "schema_version": 4,
    "dbpt_version": "0.1.0",
    "dataset": {
        "name": "A&B_100%",
        "root": "data",
        "classes": ["c_1", "50%"],
        "attributes": ["#a|b", "{x}"],
        "factors": [],
        "counts": {},
        "train_counts_pseudo": [],
        "notes": [],
        "clusters": None,
        "shots": None,
    },
    "backbone": {"model": "ViT-B-32", "pretrained": None, "embed_dim": 512, "image_precision": "bf16"},
    "group_kind": "pseudo",
    "average": "plain",
    "pseudo_method": "proportional",
    "pseudo_shares": [0.625, 0.375],
    **{"pseudo_doubts": [], "doubt_warnings": []},
    "cross_validated": [],
    "pseudo_quality": None,
    "split": "test",
    "n": 12345,
    "seeds": [0, 1, 2],
    "draws": [],
    "heads": ["prompt", "linear"],
    "model_selection": "pseudo-wga",
    "settings": {
        "epochs": 50,
        "batch_size": 0,
        "optimizer": "adamw",
        "sgd_momentum": 0.9,
        "weight_decay": 0.0,
        "warmup_epochs": 1,
        "features": "cached",
        "lr": {"prompt": 0.01, "linear": 0.1},
    },
    "rows": [
        row("zero-shot", None, (0.496, None), (0.753, None), (0.257, None), objective=None, difference=OF_ZERO_SHOT),
        row("ERM", "prompt", (0.4964, 0.012), (0.75, 0.003), (0.2536, 0.1)),
        row("Group DRO (true groups)", "prompt", (0.835, 0.1234), (0.829, 0.0), (-0.006, 0.02), **OF_ORACLE),
        row("DFR", "linear", (None, None), (0.5, None), (None, None), objective="dfr", seeds=[2], epochs=55),
    ],
    "left_out": ["--head prompt with --objective dfr: DFR trains linear only; choose --head linear"],
    "failed": [{"method": "dfr", "head": "linear", "seed": 0, "draw": None, "reason": "the loss is nan"}],
    "warnings": ["a ~ b^2"],
}

HEADING = """\
A&B_100%: test split, 12\u202f345 images
groups: pseudo attributes (labelled by the model); figures in per cent, mean ± standard deviation over 3 seeds
"""

WIDE = """
                                                                       worst gr.            95 %            95 %
                                       worst                             against            over            over
                         head          group     average          gap        ERM           seeds          images
────────────────────────────────────────────────────────────────────────────────────────────────────────────────
zero-shot                –       49.6         75.3        25.7               0.0      [0.0, 0.0]    [−5.0, +4.0]
ERM                      prompt  49.6 ±  1.2  75.0 ± 0.3  25.4 ± 10.0
Group DRO (true groups)  prompt  83.5 ± 12.3  82.9 ± 0.0  −0.6 ±  2.0      +33.9  [+30.0, +37.7]  [+20.0, +45.0]
DFR                      linear     –         50.0           –

"""

NARROW = """
                                       worst
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
    "over seeds: Student's t on the paired differences; would other seeds agree?",
    "over images: of the paired answers, for all groups at once; would other images agree, with these classifiers?",
    "a worst group is a minimum: its accuracy is biased downward, most if groups are small and similar",
    "average and gap: plain, over all images",
    "the same budget in every row, except as noted below: 50 epochs, one batch of all rows, adamw, learning rate "
    "0.01 (prompt), 0.1 (linear); one training a seed, no setting tuned for any method",
    "best epoch: by pseudo-wga on validation, the same rule in every row, oracles included",
    "oracles, which see true attributes in training: Group DRO (true groups)",
    "DFR has 5 epochs more, before its training proper",
    "DFR learns from rows of split 'val', all others from 'train'",
    "DFR, head linear: 1 of 3 seeds",
    "pseudo attributes: proportional, shares #a|b 0.62 {x} 0.38",
    "left out: --head prompt with --objective dfr: DFR trains linear only; choose --head linear",
    "failed: dfr, head linear, seed 0: the loss is nan",
    "warning: a ~ b^2",
]


def test_a_wide_terminal_has_the_intervals_beside_the_figures():
    table = terminal_table(COMPARISON, 120)
    assert table.startswith(HEADING + WIDE + NOTES[0][:80])
    assert " ".join(table.partition(WIDE)[2].split()) == " ".join(NOTES)


def test_a_narrow_terminal_has_them_below_and_every_line_fits():
    table = terminal_table(COMPARISON, 80)
    assert NARROW in table
    assert max(map(len, table.splitlines())) <= 80
    assert " ".join(table.partition(NARROW)[2].split()) == " ".join(NOTES)


def test_without_erm_there_is_no_column_of_differences():
    rows = [entry | {"difference": None} for entry in COMPARISON["rows"] if entry["title"] != "ERM"]
    table = terminal_table(COMPARISON | {"rows": [entry | {"objective": "dbpt"} for entry in rows]}, 120)
    assert "against" not in table.partition("─")[0]
    assert "no difference to ERM: erm is not among the methods" in table


def test_rows_that_seeds_do_not_move_are_named():
    still = {name: {"mean": 0.5, "sd": 0.0, "by_seed": [], "by_draw": []} for name in COMPARISON["rows"][1]["figures"]}
    zero_shot, erm, oracle, _ = COMPARISON["rows"]

    def said(*rows: dict, batch_size: int = 0) -> str:
        settings = COMPARISON["settings"] | {"batch_size": batch_size}
        return " ".join(terminal_table(COMPARISON | {"rows": rows, "settings": settings}).split())

    assert "seeds change" not in said(*COMPARISON["rows"])
    assert "seeds change no figure of ERM, head prompt (one batch" in said(zero_shot, erm | {"figures": still}, oracle)
    all_still = [row | {"figures": still} for row in (erm, oracle)]
    assert "seeds change no figure of any trained row (one batch" in said(zero_shot, *all_still)
    but_one = said(zero_shot, *all_still, oracle)
    assert "seeds change no figure of any trained row but Group DRO (true groups), head prompt (one batch" in but_one
    # small batches have an order, so it must be for another reason
    assert "seeds change no figure of any trained row, so" in said(zero_shot, *all_still, batch_size=32)


def test_what_trainings_say_of_themselves_is_said_of_one_seed():
    zero_shot, erm, *_ = COMPARISON["rows"]

    def said(**changes: object) -> str:
        return " ".join(terminal_table(COMPARISON | {"rows": [zero_shot, erm | changes]}).split())

    assert said(warnings=[[], ["diverged", "few rows"], ["diverged"]]).endswith(
        "warning: ERM, head prompt, seed 1 (seeds that warn: 2 of 3): diverged "
        "warning: ERM, head prompt, seed 1 (seeds that warn: 2 of 3): few rows"
    )
    assert said(seeds=[2], warnings=[["few rows"]]).endswith("warning: ERM, head prompt, seed 2: few rows")


def test_the_adjusted_average_stands_in_the_same_columns_and_is_named():
    def adjusted(row: dict) -> dict:
        figures = row["figures"] | {"adjusted_average": row["figures"]["group_mean"] | {"mean": 0.123}}
        return row | {"figures": figures | {"adjusted_gap": figures["group_mean"] | {"mean": -0.321}}}

    found = COMPARISON | {"average": "adjusted", "rows": [adjusted(row) for row in COMPARISON["rows"]]}
    table = terminal_table(found, 120)
    assert "12.3" in table and "75.3" not in table and "32.1" in table
    assert "average and gap: adjusted, each group weighted by its share of the training images" in table


def test_one_head_needs_no_column():
    alone = COMPARISON | {"heads": ["prompt"], "rows": COMPARISON["rows"][:3]}
    table = terminal_table(alone)
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
