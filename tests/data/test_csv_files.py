"""CSV of ours: no cell is a formula for a spreadsheet, and our own readers get back what was written."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import title_of
from hypothesis import given
from hypothesis import strategies as st

import dbpt
from dbpt.commands.label.judge import read_answers
from dbpt.commands.label.sample import Design, Stratum, read_design, write_design
from dbpt.data.text_array import BLOCK_ROWS
from dbpt.data.writing import csv_of_columns, csv_text, marked, unmarked

FORMULAS = ("=1+1", "+1", "-rf.jpg", "@SUM(A1)", "\tx", "\rx", "'=1", "''-x", "=cmd|' /C calc'!A0")
PLAIN = ("a.jpg", "", "'a", "''", "a=b", " =1", "'")
TEXTS = st.text(alphabet="'=+-@\t\r\n,\"; ax", max_size=6)


def test_formulas_are_marked_and_nothing_else():
    assert [marked(text) for text in PLAIN] == list(PLAIN) == [unmarked(text) for text in PLAIN]
    for text in FORMULAS:
        assert marked(text) == f"'{text}" and unmarked(marked(text)) == text
    assert csv_text([("=x", -0.5, -3, None)]) == "'=x,-0.5,-3,\n"


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_any_text_comes_back_and_none_begins_as_a_formula(cells):
    (row,) = csv.reader(io.StringIO(csv_text([["x", *cells]]), newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row)
    assert list(map(unmarked, row)) == ["x", *cells]


def test_columns_are_written_some_rows_at_a_time():
    n = 2 * BLOCK_ROWS + 3
    columns = {"path": [f"-{i}.jpg" for i in range(n)], "share": np.arange(n) / 8, "group": np.arange(n)}
    parts = list(csv_of_columns(columns))
    assert "".join(parts) == csv_text([list(columns), *((f"-{i}.jpg", i / 8, i) for i in range(n))])
    assert [part.count("\n") for part in parts] == [1, BLOCK_ROWS, BLOCK_ROWS, 3]
    assert list(csv_of_columns({"path": [], "group": np.arange(0)})) == ["path,group\n"]
    with pytest.raises(ValueError, match="shorter"):
        list(csv_of_columns({"path": ["a", "b"], "group": np.arange(1)}))


def test_the_page_writes_and_reads_the_same(tmp_path):
    rows = [["path", "x"], *([text, "x"] for text in (*FORMULAS, *PLAIN) if text)]
    script = Path(dbpt.__file__).with_name("report") / "templates" / "csv.js"
    code = f"{script.read_text('utf-8')}\nconst rows = {json.dumps(rows)};\n"
    code += "document.title = JSON.stringify([csvOf(rows), rowsOf(csvOf(rows))]);"
    page = f'<!doctype html><meta charset="utf-8"><title>[]</title><script>{code}</script>'
    written, read = title_of(page, tmp_path)
    of_page, of_ours = (list(csv.reader(io.StringIO(text, newline=""))) for text in (written, csv_text(rows)))
    assert of_page == of_ours
    assert read == rows


def test_a_sample_with_such_names_is_read_back(tmp_path):
    paths, names = ("=a.jpg", "'+b.jpg", "c.jpg"), ("=in", "-out")
    strata = (Stratum(0, 0, True, 0.5, 1.0, 3, 3),)
    words = {name: (name,) for name in names}
    design = Design("run", "photos", "test", 0, ("@cat", "dog"), words, strata, paths, (0, 0, 0))
    write_design(tmp_path, design)
    assert not re.search(r"(^|,)[=+@-]", (tmp_path / "sample.csv").read_text(), re.MULTILINE)
    assert read_design(tmp_path).paths == paths
    lines = [("sample", "path", "attribute"), (design.sample, "=a.jpg", "-out"), (design.sample, "'+b.jpg", "=in")]
    (tmp_path / "labels.csv").write_text(csv_text(lines))
    assert read_answers(tmp_path / "labels.csv", design).tolist() == [[1], [0], [-2]]
    raw = "".join(f"{','.join(line)}\n" for line in lines[:2])  # as somebody may have typed it
    (tmp_path / "labels.csv").write_text(raw)
    assert read_answers(tmp_path / "labels.csv", design).tolist() == [[1], [-2], [-2]]


def test_predictions_and_failures_of_such_names(tiny, tiny_run, tmp_path, command, monkeypatch):
    (tmp_path / "=1+1.png").write_text("no image")
    shutil.copy(tiny.table.parent / tiny.rows()[0]["path"], tmp_path / "@b.png")
    monkeypatch.chdir(tmp_path)
    _, printed, _ = command("predict", tiny_run, "=1+1.png", "@b.png")
    assert [line.split(",")[0] for line in printed.splitlines()] == ["path", "'=1+1.png", "'@b.png"]
    (tmp_path / "rows.csv").write_text("path,label,split\n=1+1.png,x,train\n@b.png,y,train\n")
    model = ["--model", tiny.settings["model"], "--pretrained", tiny.settings["pretrained"]]
    options = ["--max-failures", "0.9", "--failures", "failed.csv", "--cache", tmp_path / "cache"]
    code, _, told = command("embed", "rows.csv", *model, *options)
    assert code == 0, told
    assert (tmp_path / "failed.csv").read_text().splitlines()[1].startswith("'=1+1.png,")
