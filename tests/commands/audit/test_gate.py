"""The gate of an audit: bars, their intervals, the baseline, exit codes and JUnit XML."""

import runpy
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tiny import options_of

import dbpt
from dbpt import InputError
from dbpt.commands.audit.gate import Check, Gate
from dbpt.evaluation import gap_interval


@pytest.fixture(scope="module")
def settings(tiny) -> dict:
    return tiny.guessing | {"split": "all"}


@pytest.fixture(scope="module")
def answers(tiny):
    """Predictions for the 106 rows of the table, right with a probability for each (label, attribute)."""

    def draw(seed: int, lowest: float, rest: float = 0.95):
        rows, random = tiny.rows(), np.random.default_rng(seed)
        chance = [lowest if (row["label"], row["attribute"]) == ("box", "lake") else rest for row in rows]
        right = random.random(len(rows)) < chance
        other = {"box": "disc", "disc": "box"}
        return [row["label"] if each else other[row["label"]] for row, each in zip(rows, right, strict=True)]

    return draw


@pytest.fixture(scope="module")
def audited(tiny, settings, answers):
    """Audits of drawn answers, each made once."""
    return cache(
        lambda seed, lowest, **more: dbpt.audit(tiny.table, predictions=answers(seed, lowest), **settings | more)
    )


def test_bad_classifiers_fail_and_good_ones_pass(audited):
    good, bad = [audited(seed, 0.95) for seed in range(5)], [audited(seed, 0.2) for seed in range(5)]
    asked = {"min_worst_group": 0.8, "max_gap": 0.15}
    assert all(each.gate(**asked).passed for each in good)
    assert not any(each.gate(**asked).passed for each in bad)
    # no 34 images of a group prove 80 %
    assert not any(each.gate(**asked, by="lower-bound").passed for each in bad)
    assert all(each.gate(min_worst_group=0.5, by="lower-bound").passed for each in good)


@pytest.mark.parametrize(
    ("by", "worst", "gap"),
    [("upper-bound", "high", "low"), ("estimate", "value", "value"), ("lower-bound", "low", "high")],
)
def test_which_part_of_the_interval_meets_the_bar(audited, by, worst, gap):
    audit = audited(0, 0.7)
    figures = audit.figures
    metrics = figures.metrics
    of_worst = {"low": metrics.worst_group_low, "value": audit.worst_group_accuracy, "high": metrics.worst_group_high}
    of_gap = {"low": figures.gap_low, "value": audit.gap, "high": figures.gap_high}
    bar, most = of_worst[worst], max(of_gap[gap], 0.0)
    assert audit.gate(min_worst_group=bar, by=by).passed
    assert not audit.gate(min_worst_group=bar + 1e-9, by=by).passed
    assert audit.gate(max_gap=most, by=by).passed
    if most > 0:
        assert not audit.gate(max_gap=most - 1e-9, by=by).passed
    checks = audit.gate(min_worst_group=0.1, max_gap=0.9, by=by).checks
    assert [check.kind for check in checks] == ["worst-group", "gap"]


def test_the_line_names_group_figure_bound_and_bar(audited):
    gate = audited(1, 0.2).gate(min_worst_group=0.9, max_gap=0.01)
    worst, gap = str(gate).split("\n")
    assert worst.startswith("gate failed: worst-group accuracy ") and "of box · lake: its upper bound, " in worst
    assert worst.endswith(" is below 90.0 (--min-worst-group)")
    assert gap.startswith("gate failed: gap ") and gap.endswith(" points, is above 1.0 (--max-gap)")
    one = Gate([replace(gate.checks[0], asked=0.0), gate.checks[1]])
    assert not gate and not one and Gate(one.checks[:1])
    assert [line[:11] for line in str(one).split("\n")] == ["gate failed", "gate passed"]


def test_the_line_says_that_groups_are_guessed(bare, settings, answers):
    audit = dbpt.audit(bare, predictions=answers(0, 0.9), **settings)
    assert audit.figures.group_kind == "pseudo" and audit.figures.has_doubts
    gate = audit.gate(min_worst_group=0.1)
    doubted = "; groups are guessed, and the guesses are doubted"
    assert str(gate).endswith(f"(--min-worst-group){doubted}") and repr(gate).endswith(f"{doubted})")


def test_a_baseline_is_compared_image_by_image(audited, tmp_path):
    audited(0, 0.95, out=tmp_path / "last")
    same, worse = audited(0, 0.95), audited(0, 0.3)
    assert same.gate(baseline=tmp_path / "last").passed
    gate = worse.gate(baseline=tmp_path / "last")
    assert not gate.passed
    (check,) = gate.checks
    assert check.kind == "drop" and check.high < 0 and check.low < check.value < check.high
    assert check.value == pytest.approx(worse.worst_group_accuracy - same.worst_group_accuracy)
    assert worse.gate(baseline=tmp_path / "last", max_drop=-check.high + 1e-9).passed


def test_a_baseline_of_other_images(audited, tiny, settings, answers, tmp_path):
    audited(0, 0.9, out=tmp_path / "test", split="test")
    with pytest.raises(InputError, match=r"--baseline .*images.csv: lacks \d+ of the 106 images, such as "):
        audited(0, 0.9).gate(baseline=tmp_path / "test")
    rows = tiny.rows()
    rows[0]["label"] = "disc" if rows[0]["label"] == "box" else "box"
    dbpt.audit(tiny.write("other", rows), predictions=answers(0, 0.9), out=tmp_path / "other", **settings)
    with pytest.raises(InputError, match=r"images.csv: .* has the label '\w+' there, and '\w+' here"):
        audited(0, 0.9).gate(baseline=tmp_path / "other")
    with pytest.raises(InputError, match=r"--baseline .*none: has no images.csv; name the folder of an audit"):
        audited(0, 0.9).gate(baseline=tmp_path / "none")


def test_a_long_table_of_a_baseline_is_parquet(audited, tmp_path, monkeypatch):
    audited(0, 0.9, out=tmp_path / "csv")
    monkeypatch.setattr("dbpt.data.writing.MOST_ROWS_OF_CSV", 100)
    audited(0, 0.9, out=tmp_path / "parquet")
    assert {file.name for file in tmp_path.glob("*/images.*")} == {"images.csv", "images.parquet"}
    one, other = (audited(1, 0.3).gate(baseline=folder) for folder in (tmp_path / "csv", tmp_path / "parquet"))
    assert one.checks == other.checks and not one.passed


def test_a_baseline_of_names_that_spreadsheets_would_run(tiny, settings, answers, tmp_path):
    rows, mine = [{**row, "label": f"-{row['label']}"} for row in tiny.rows()], [f"-{each}" for each in answers(0, 0.9)]
    audit = dbpt.audit(tiny.write("formulas", rows), predictions=mine, out=tmp_path / "a", **settings)
    assert audit.gate(baseline=tmp_path / "a").passed


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, r"a gate \(--by, --junit\) needs a bar: give --min-worst-group, --max-gap or --baseline"),
        ({"min_worst_group": "0.7"}, "min_worst_group: expected a fraction from 0 to 1, found '0.7'"),
        ({"max_gap": True}, "max_gap: expected a fraction from 0 to 1, found True"),
        ({"min_worst_group": 70}, "--min-worst-group 70: expected a fraction from 0 to 1; 70 per cent are 0.7"),
        ({"max_gap": float("nan")}, "--max-gap nan: expected a fraction"),
        ({"min_worst_group": 1.0000001}, "--min-worst-group 1.0000001: expected a fraction"),
        ({"max_drop": 0.1, "max_gap": 0.1}, "--max-drop 0.1: needs the audit to compare with"),
        ({"max_gap": 0.1, "by": "upper"}, r"--by 'upper': expected one of .* \(did you mean 'upper-bound'\?\)"),
    ],
)
def test_bars_that_cannot_be_meant(audited, asked, message):
    with pytest.raises(InputError, match=message):
        audited(0, 0.9).gate(**asked)


def test_exit_codes_and_junit(command, printed, tiny, settings, answers, tmp_path):
    np.save(tmp_path / "mine.npy", np.array([("disc", "box").index(each) for each in answers(0, 0.2)]))
    audit = ["audit", tiny.table, *options_of(settings), "--predictions", tmp_path / "mine.npy"]
    good = ["--min-worst-group", "0.1", "--junit", tmp_path / "good.xml", "--out", tmp_path / "a"]
    assert "\ngate passed: worst-group accuracy" in printed(*audit, *good)
    code, out, _ = command(*audit, "--min-worst-group", "0.9", "--max-gap", "0.01", "--junit", tmp_path / "bad.xml")
    assert code == 3 and out.count("\ngate failed: ") == 2
    for name, failures in (("good", 0), ("bad", 2)):
        suite = ElementTree.parse(tmp_path / f"{name}.xml").getroot()
        assert int(suite.get("failures")) == failures == len(suite.findall("testcase/failure"))
        assert next(case.get("name") for case in suite) == "min-worst-group"
    out = printed(*audit, "--baseline", tmp_path / "a", "--out", tmp_path / "b")
    assert "gate passed: worst-group accuracy 0.0 points" in out
    code, _, error = command(*audit, "--baseline", tmp_path / "a", "--out", tmp_path / "a", "--overwrite")
    assert code == 2 and "is the --baseline too, which would be lost" in error
    code, _, error = command(*audit, "--junit", tmp_path / "x.xml")
    assert code == 2 and "needs a bar" in error and not (tmp_path / "x.xml").exists()
    names = ("none/x.xml", "mine.npy", "a/audit.json", "a/new.xml", "b/figures/new.xml")
    for file in (tiny.table, *(tmp_path / name for name in names)):
        before = file.read_bytes() if file.exists() else None
        code, _, error = command(*audit, "--max-gap", "0.1", "--junit", file, "--out", tmp_path / "a", "--overwrite")
        assert code == 2 and "--junit" in error and (file.read_bytes() if file.exists() else None) == before
        assert "--overwrite" not in error


def test_the_page_has_the_probabilities_of_fixed_bars():
    root = Path(__file__).parents[3]
    rows = list(runpy.run_path(str(root / "benches/gate_power_table.py"))["rows_of_fixed_bars"]())
    assert "\n".join(rows) in (root / "docs/how_to/gate.md").read_text(encoding="utf-8")


def test_the_junit_file_is_xml_whatever_the_names():
    check = Check("gap", 0.1, 0.2, 0.15, 0.25, "estimate", "box · mea\uffffdow\x01\ud800 <lake>", 9)
    message = ElementTree.fromstring(Gate([check]).junit())[0][0].get("message")
    assert r"box · mea\uffffdow\x01\ud800 <lake>: this" in message


@pytest.mark.parametrize(
    ("accuracies", "counts"),
    [
        ([0.9, 0.9, 0.9, 0.9], [70, 70, 70, 70]),
        ([0.99, 0.99, 0.99, 0.99], [500, 500, 10, 10]),
        ([0.8, 0.8, 0.6, 0.6, 0.9], [2000, 200, 50, 500, 3]),
        ([0.9] * 9, [30] * 9),
    ],
    ids=["equal", "small", "unequal", "nine"],
)
@pytest.mark.parametrize("adjusted", [False, True])
def test_the_interval_of_the_gap_covers_it(accuracies, counts, adjusted):
    random, accuracies, counts = np.random.default_rng(0), np.array(accuracies), np.array(counts)
    shares = np.arange(1, len(counts) + 1) if adjusted else counts
    gap = shares @ accuracies / shares.sum() - accuracies.min()
    missed = 0
    for correct in random.binomial(counts, accuracies, size=(300, len(counts))):
        low, high = gap_interval(correct, counts, shares)
        assert low <= shares @ (correct / counts) / shares.sum() - (correct / counts).min() <= high
        missed += not low <= gap <= high
    assert missed <= 15


def test_the_gap_of_empty_groups_and_of_rows_without_a_group():
    assert gap_interval([0, 0], [0, 0], [1, 1]) is None and gap_interval([1], [2], [0]) is None
    assert gap_interval([9, 0, 4], [10, 0, 5], [10, 7, 5]) == gap_interval([9, 4], [10, 5], [10, 5])
    without, with_rest = gap_interval([9, 4], [10, 5], [10, 5]), gap_interval([9, 4], [10, 5], [10, 5], rest=(50, 50))
    assert with_rest[0] > without[0] and with_rest[1] > without[1]
    with pytest.raises(InputError, match=r"^correct\[0\] is 3; expected 0 to counts"):
        gap_interval([3], [2], [1])
