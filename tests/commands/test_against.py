"""`--against`, and the difference between any two rows of a comparison: paired by seed, draw and image."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from comparisons import compare, contents
from made_up_results import ROWS, comparison

import dbpt
from dbpt import InputError
from dbpt.cli import main
from dbpt.evaluation.repeats import shared_by
from dbpt.evaluation.row_differences import Difference, FigureDifference, paired_t_interval
from dbpt.report.result_charts import charted_rows
from dbpt.report.result_rows import Summary
from dbpt.report.results_page import compared_rows
from dbpt.settings.fields import varied_in_words

ZERO_SHOT, ERM, DBPT, JTT = ROWS


@pytest.fixture(scope="module")
def against(tiny, tmp_path_factory) -> dbpt.Result:
    """Against `balanced`, with two heads; read only."""
    choices = {"methods": "zero-shot,erm,balanced,dbpt", "heads": ("prompt", "linear"), "lr": 0.05, "epochs": 8}
    return compare(tiny, tmp_path_factory.mktemp("against") / "c", against="balanced", **choices)


def test_every_row_is_compared_with_the_one_of_its_head(against):
    rows = against.metrics.rows
    others = [(row.difference.method, row.difference.head) for row in rows if row.method != "balanced"]
    assert others == [("balanced", row.head or "prompt") for row in rows if row.method != "balanced"]
    assert all(row.difference is None for row in rows if row.method == "balanced")
    page, table = (against.folder / "compare.html").read_text(), " ".join(str(against).split())
    assert "against balanced: mean difference in worst-group accuracy to balanced with the same head and seed" in table
    assert "Worst group\nagainst balanced" in page and "against ERM" not in page + table
    assert "<span>--against</span> balanced" in page
    frame = against.to_pandas()
    assert frame["gap_against_balanced_mean"].iloc[-1] == rows[-1].difference.figures["gap"].mean
    assert not [name for name in frame if "against_erm" in name]


def test_it_is_kept_by_a_resume_and_may_change_without_training(against, tmp_path):
    folder = shutil.copytree(against.folder, tmp_path / "c")
    main(["compare", "--resume", "--out", str(folder)])
    assert contents(folder) == contents(against.folder)
    with pytest.raises(InputError, match=r"was made with --against 'balanced'.* such as --against erm"):
        dbpt.compare(out=folder, resume=True, methods="zero-shot,erm")
    times = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*")}
    main(["compare", "--resume", "--out", str(folder), "--against", "erm,linear"])
    assert {path: path.stat().st_mtime_ns for path in folder.glob("cells/*")} == times
    again = dbpt.Result.read(folder)
    of_heads = {row.full_name: row.difference and row.difference.head for row in again.metrics.rows}
    assert of_heads["dbpt,prompt"] == of_heads["dbpt,linear"] == of_heads["erm,prompt"] == "linear"
    assert of_heads["erm,linear"] is None
    assert "to ERM, linear with the same seed" in " ".join(str(again).split())


def test_a_difference_of_any_two_rows_is_that_of_the_table(against):
    rows = {row.full_name: row for row in against.metrics.rows}
    for row in ("erm,linear", "dbpt,linear"):
        of_table = rows[row].difference
        for average, prefix in (("plain", ""), ("adjusted", "adjusted_")):
            shown = replace(against, metrics=replace(against.metrics, average=average))
            names = {"average_accuracy": f"{prefix}average", "gap": f"{prefix}gap"}
            names["worst_group_accuracy"] = "worst_group_accuracy"
            figures = {name: of_table.figures[figure] for name, figure in names.items()}
            assert shown.difference(row, "balanced,linear") == replace(of_table, figures=figures)
    there, back = against.difference("erm,prompt", "dbpt,linear"), against.difference("dbpt,linear", "erm,prompt")
    assert back.over_images == pytest.approx([-bound for bound in there.over_images[::-1]])
    figures = [
        np.array([repeat.figures["average"] for repeat in rows[name].repeats]) for name in ("erm,prompt", "dbpt,linear")
    ]
    found = there.figures["average_accuracy"]
    assert found.mean == pytest.approx((figures[0] - figures[1]).mean())
    assert found.over_seeds == paired_t_interval((figures[0] - figures[1]).tolist())
    wide = against.difference(against.rows[1], against.rows[-1], confidence=0.999)
    narrow = against.difference(against.rows[1], against.rows[-1])
    assert np.ptp(wide.over_images) > np.ptp(narrow.over_images)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("dbpt", "zero-shot"), r"row dbpt: several rows have this name; write dbpt,prompt or dbpt,linear$"),
        (("zero-shot", "dfr"), r"other dfr: no row has this name.*names are zero-shot erm balanced dbpt erm,prompt "),
        ((None, "zero-shot"), "row None: no row has this name"),
    ],
)
def test_names_of_no_row_or_of_several_are_refused(against, names, message):
    with pytest.raises(InputError, match=f"^{message}"):
        against.difference(*names)
    with pytest.raises(InputError, match="^confidence: found 95; .* between 0 and 1; 95 per cent are 0.95"):
        against.difference("zero-shot", "erm,linear", confidence=95)


def test_without_the_cells_or_for_a_run_there_is_no_interval_over_images(against, tiny_run, tmp_path):
    shutil.copy(against.folder / "compare.json", tmp_path)
    found = dbpt.Result.read(tmp_path).difference("dbpt,linear", "erm,linear")
    assert found == replace(against.difference("dbpt,linear", "erm,linear"), over_images=None)
    of_run = dbpt.Result.read(tiny_run).difference("dbpt", "erm")
    assert of_run.over_images is None and of_run.figures["gap"].mean is not None


def named(method, head, **varied):
    title = f"{method}{varied_in_words(varied)}"
    return replace(ERM, method=method, title=title, objective=None, head=head, varied=varied)


@pytest.mark.parametrize(
    ("against", "expected", "title"),
    [
        ("a", [1, None, None, 1, 2], "a"),
        ("a,eta=5", [2, 2, None, 2, 2], "a, eta=5"),
        ("a,linear", [1, None, None, 1, 2], "a, linear"),
        ("free", [None, 0, 0, 0, 0], "free"),
    ],
)
def test_the_settings_of_a_row_choose_among_several_unless_the_name_does(against, expected, title):
    rows = [named("free", None), named("a", "linear", eta=0), named("a", "linear", eta=5)]
    rows += [named("b", "linear", eta=0, lr=1), named("b", "linear", eta=5, lr=1)]
    metrics = comparison(rows, against=against)
    references = [metrics.reference(row) for row in metrics.rows]
    assert [next((i for i, row in enumerate(metrics.rows) if row is each), None) for each in references] == expected
    assert metrics.against_title == title


def test_charts_and_answers_have_the_row_that_is_compared_with():
    rows = [ZERO_SHOT, ERM, *(replace(DBPT, method=f"m{n}", title=f"m{n}") for n in range(5)), replace(JTT, method="z")]
    metrics = comparison(rows, leaders=[6], against="z", saved=None)
    rows[-1] = replace(rows[-1], test=replace(JTT.test, worst_group_accuracy=0.01))
    metrics = replace(metrics, rows=rows)
    assert "z" in [row.method for row in charted_rows(Summary(metrics).rows)]
    assert compared_rows(metrics, range(8)) == [7, 6]
    assert compared_rows(replace(metrics, against=None), range(8)) == [0, 6]


def test_the_best_row_is_among_the_leaders_as_often_as_said():
    """Of six equal rows none may be told from the best, but in one of twenty comparisons."""
    random, rows, missed = np.random.default_rng(0), 6, dict.fromkeys((0.95, shared_by(5)), 0)
    for draw in random.normal(size=(400, rows, 5)):
        best = draw[draw.mean(axis=1).argmax()]
        for confidence in missed:
            over_seeds = paired_t_interval((draw[0] - best).tolist(), confidence)
            figures = {"worst_group_accuracy": FigureDifference(mean=0.0, over_seeds=over_seeds)}
            found = Difference(method="m", head=None, seeds=[0], figures=figures, over_images=None)
            missed[confidence] += found.is_told(repeats=5) is True
    assert missed[shared_by(5)] < 0.05 * 400
    assert missed[0.95] > missed[shared_by(5)]


def test_leaders_need_every_interval_to_exclude_0(against):
    leaders, figure = against.metrics.leaders, "worst_group_accuracy"
    best = against.rows[leaders[0]]
    assert best.worst_group_accuracy == max(row.worst_group_accuracy for row in against.rows)
    for i, row in enumerate(against.rows):
        difference = against.difference(row, best, confidence=shared_by(6))
        assert (i in leaders) == (not difference.is_told(repeats=against.metrics.repeats))
    clear, unclear = (0.1, 0.2), (-0.1, 0.2)
    for seeds, images, told in (
        (clear, clear, True),
        (clear, unclear, False),
        (unclear, clear, False),
        (None, clear, True),
        (None, None, None),
    ):
        figures = {figure: FigureDifference(over_seeds=seeds)}
        difference = Difference(method="m", head=None, seeds=[], figures=figures, over_images=images)
        assert difference.is_told(repeats=5) is told
    assert json.loads((against.folder / "compare.json").read_text())["leaders"] == leaders
