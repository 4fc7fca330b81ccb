"""Warnings of all stages: each once in the log, the result, its file and the report."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from runs import said

import dbpt
from dbpt.guesses.figures import Guesses
from dbpt.report.discovery_sentences import doubts_in_words
from dbpt.storage.typed_json import typed

FEW_ROWS = "images, one image moves it by"


def once(command_output: tuple[int, str, str], result: dbpt.Result, sources: list[str]) -> None:
    """Check that each warning is logged once and not printed, and that a single one has the words of each source."""
    code, stdout, stderr = command_output
    assert code == 0 and "warning:" not in stdout, stderr
    told = [line.removeprefix("warning: ") for line in stderr.splitlines() if line.startswith("warning: ")]
    assert sorted(told) == sorted(result.warnings)
    assert len(set(told)) == len(told)
    assert {source: sum(source in text for text in told) for source in sources} == dict.fromkeys(sources, 1)


def times_kept(metrics: dict, text: str) -> int:
    """Count a warning in metrics.json; rows that share one about their figures count as one."""
    of_rows = [row["repeats"][0]["warnings"] for row in metrics["rows"]]
    of_figures = {told for row in metrics["rows"] for told in said((row["test"] or row["val"])["warnings"])}
    of_training = [f": {told}" for told in said(np.concatenate(of_rows).tolist())]
    guesses = typed(metrics["guesses"], Guesses, Path("metrics.json"), "")
    doubted = guesses.doubted_factors if metrics["relies_on_guesses"] else ()
    of_no_row = [*said(metrics["warnings"]), *map(doubts_in_words, doubted)]
    return of_no_row.count(text) + sum(map(text.endswith, [*of_training, *of_figures]))


def table_with_faults(tiny, name: str, *, kept_attributes: int, splits: tuple[str, ...]) -> str:
    """A table with four files that are no images and few known attributes."""
    rows = [row for row in tiny.rows() if row["split"] in splits]
    rows = [row | ({"attribute": ""} if i >= kept_attributes else {}) for i, row in enumerate(rows)]
    for i in range(4):
        (tiny.table.parent / f"no-image-{i}.png").write_text("no image")
        rows.insert(i, rows[0] | {"path": f"no-image-{i}.png"})
    return str(tiny.write(name, rows))


@pytest.fixture
def alike(monkeypatch):
    """Let all images be alike to the pseudo attributes."""
    ones = property(lambda self: np.ones((len(self.dataset), 2), np.float32))
    monkeypatch.setattr("dbpt.study.study.Embedded.logits", ones)


@pytest.mark.parametrize(
    ("splits", "options", "sources"),
    [
        (
            ("train", "test"),
            "--pseudo-method kmeans --up-weight 7 --batch-size 8 --apply loss --epochs 1 --optimizer adamw",
            [
                "found 1 cluster for 2 attributes",
                "no validation split: 10 of the training rows",
                "have a true attribute: figures are over pseudo groups",
                "pseudo-groups with under 10 rows in split 'val'",
                "no-image-0.png: not a JPEG",
                "further unreadable images, left out: 1",
                "--up-weight 7.0 changes nothing in this run",
                "--epochs 1: all of them are warm-up",
                "--apply loss with --optimizer adamw",
                "zero-shot has a better worst group than dbpt",
                "2 groups without images: box · lake, disc · lake;",
                FEW_ROWS,
            ],
        ),
        (
            ("train", "val", "test"),
            "--head linear --apply sampling --eta 200 --ema-momentum 0 --epochs 3 --lr 9",
            ["training diverged: its loss", "groups without a drawn row", "the effective sample size is "],
        ),
    ],
)
def test_each_warning_of_a_fit_is_once_in_each_place(tiny, tmp_path, request, command, splits, options, sources):
    if "kmeans" in options:
        request.getfixturevalue("alike")
    table = table_with_faults(tiny, f"warnings-{len(splits)}", kept_attributes=3, splits=splits)
    options = ["--max-failures", "0.1", *options.split(), "--out", tmp_path / "run"]
    output = command("fit", table, *tiny.arguments, *options)
    result = dbpt.Result.read(tmp_path / "run")
    once(output, result, sources)
    page = unescape((tmp_path / "run/report.html").read_text())
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    derived = "zero-shot has a better worst group"  # from the figures of two rows
    for text in result.warnings:
        assert str(result).count(text[:40]) >= 1
        doubts = re.findall(r"\((?:agreement|spread|separation) .*?\)", text)  # the page has each of them in a list
        assert [page.count(each) for each in doubts or [text[1:]]] == [1] * max(1, len(doubts)), text
        assert times_kept(metrics, text) == (not text.startswith(derived)), text


def test_each_warning_of_an_evaluation_is_once_in_each_place(tiny, tiny_run, alike, command):
    table = table_with_faults(tiny, "warnings-evaluate", kept_attributes=0, splits=("test",))
    result = dbpt.evaluate(tiny_run, table, max_failures=0.2, cache=str(tiny.cache))
    sources = ["no-image-0.png: not a JPEG", "further unreadable images", "the shares of the attributes cannot"]
    output = command("evaluate", tiny_run, table, "--max-failures", "0.2", "--cache", tiny.cache)
    once(output, result, [*sources, FEW_ROWS])
    for text in result.warnings:
        assert str(result).count(text[:40]) == 1
        assert times_kept(result.to_dict(), text) == 1, text


def test_each_warning_of_a_comparison_is_once_in_each_place(tiny, tmp_path, command):
    table = table_with_faults(tiny, "warnings-compare", kept_attributes=100, splits=("train", "val", "test"))
    options = "--methods erm,dbpt --heads linear --seeds 2 --max-failures 0.1 --apply sampling --eta 200 --epochs 3"
    options += " --ema-momentum 0 --up-weight 7"
    output = command("compare", table, *tiny.arguments, *options.split(), "--out", tmp_path / "c")
    result = dbpt.Result.read(tmp_path / "c")
    sources = ["0.png: not a JPEG", "under 10 rows in split 'val'", "--up-weight 7.0", "groups without a drawn row"]
    once(output, result, [*sources, FEW_ROWS])
    metrics = json.loads((tmp_path / "c/compare.json").read_text())
    for text in result.warnings:
        assert times_kept(metrics, text) == 1, text
