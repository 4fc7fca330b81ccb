"""A failed test shows a result as one short line with its figures, not all of its fields."""

from dataclasses import replace

import numpy as np
import pytest
from _pytest._io.saferepr import saferepr  # how pytest shows the message of a failed assert
from by_position import group_metrics
from made_up_results import ROWS
from made_up_results import comparison as compared

import dbpt
from dbpt.report.result_rows import Summary


@pytest.fixture(scope="module")
def shown(tiny, tiny_run, comparison):
    audit = dbpt.audit(tiny.table, **tiny.guessing)
    result, labels = dbpt.Result.read(tiny_run), np.arange(40) % 2
    return {
        "audit": audit,
        "gate": audit.gate(min_worst_group=1.0, max_gap=0.0, by="lower-bound"),
        "check": audit.gate(min_worst_group=0.0).checks[0],
        "verdict": audit.verdict,
        "audit.json": audit.figures,
        "group": audit.groups[0],
        "metrics": group_metrics(labels, labels, labels, num_classes=2, num_attributes=2),
        "unknown": group_metrics(labels, labels, 2 * labels - 1, num_classes=2, num_attributes=2),
        "quality": dbpt.pseudo_attribute_quality(labels, labels, labels, num_classes=2, num_attributes=2),
        "run": result,
        "row": result.metrics.rows[0],
        "metrics.json": result.metrics,
        "difference": comparison.difference("dbpt,linear", "zero-shot"),
    }


@pytest.mark.parametrize(
    ("name", "start", "figures"),
    [
        ("audit", "Audit('squares', ", ["worst group box · ", " %", "n=32", "folder=None"]),
        ("gate", "Gate(failed: worst-group ", ["bar 100.0 % by lower-bound; failed: gap +", "; 0 of 2 bars passed)"]),
        ("check", "Check(passed: worst-group ", ["bar 0.0 % by upper-bound"]),
        ("verdict", "Verdict(", [": "]),
        ("audit.json", "AuditFigures('squares', ", ["worst group "]),
        ("group", "Group(box · meadow: ", [" % [", "n=8)"]),
        (
            "metrics",
            "GroupMetrics(worst group class 0 · attribute 0 100.0 % [",
            ["average 100.0 %, gap +0.0 points, n="],
        ),
        ("unknown", "GroupMetrics(worst group class 1", ["n=40, 20 of unknown attribute)"]),
        ("quality", "PseudoQuality(100.0 % [", ["of 40 right; smallest pseudo-group 0, n=20: precision 100.0 %"]),
        ("run", "Result('squares', Row(dbpt (sampling): worst group box", ["worst group ", "average "]),
        ("row", "Row(", ["worst group "]),
        ("metrics.json", "Metrics('squares', ", [" rows, dbpt,prompt: worst group "]),
        ("difference", "Difference(to zero-shot: worst group accuracy ", ["points", "over images ["]),
    ],
)
def test_a_failed_test_shows_the_figures_of_a_result_in_one_line(shown, name, start, figures):
    text = repr(shown[name])
    assert text.startswith(start) and all(each in text for each in figures), text
    assert "\n" not in text
    if "folder" not in text or text.endswith("folder=None)"):
        assert saferepr(shown[name], maxsize=240) == text  # pytest cuts nothing out of it


@pytest.mark.parametrize("average", ["plain", "adjusted"])
def test_a_row_shows_the_average_and_the_gap_that_it_has(average):
    result = group_metrics(
        [0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0], num_classes=2, num_attributes=2, train_counts=[9, 1, 1, 1]
    )
    assert result.average != result.adjusted_average
    row = Summary(compared([replace(ROWS[1], test=result)], average=average)).rows[0]
    assert f"average {100 * row.average_accuracy:.1f} %, gap {100 * row.gap:+.1f} points" in repr(row)
    assert row.average_accuracy == (result.average if average == "plain" else result.adjusted_average)
