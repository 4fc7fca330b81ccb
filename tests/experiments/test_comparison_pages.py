"""The pages of a comparison on the tiny task: pictures before training, commands that repeat it, and no images."""

import json
import re
import shlex
from html import unescape

import numpy as np
import pytest
from comparisons import cell, compare, contents

from dbpt.cli import main
from dbpt.experiments.comparison import jobs


def commands(page: str) -> list[list[str]]:
    """The commands in the boxes of a page."""
    lines = "\n".join(re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)).splitlines()
    return [shlex.split(unescape(line))[1:] for line in lines]


def test_the_pictures_are_there_before_training(tiny, tmp_path, logged, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "run_cell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(tiny, tmp_path / "c")
    out = tmp_path / "c"
    page = (out / "guesses.html").read_text()
    assert not (out / "compare.html").exists()
    assert f"CLIP's guesses, to check before training: {out / 'guesses.html'}" in logged.messages
    assert page.count("<img ") > 60
    fit, label = commands(page)
    assert fit[:4] == ["fit", str(tiny.table), "--out", f"{out}-dbpt"]
    assert label == ["label", f"{out}-dbpt", "--out", f"{out}-dbpt-labels"]


def test_the_commands_of_the_page_repeat_the_comparison_and_its_row(tiny, tmp_path):
    found = compare(tiny, tmp_path / "c", seeds=(3,), eta=0.5)
    page = (found.folder / "compare.html").read_text()
    assert re.findall(r'<img src="([^"]+)"', page) == re.findall(
        r'<img src="([^"]+)"', (found.folder / "guesses.html").read_text()
    )
    fit, _, guess, again = commands(page)
    main([str(tmp_path / "again") if word == str(found.folder) else word for word in again])
    assert contents(tmp_path / "again") == contents(found.folder)
    main(fit)
    metrics = json.loads((tmp_path / "c-dbpt" / "metrics.json").read_text())
    (row,) = [row for row in metrics["rows"] if row["name"] == "dbpt"]
    assert row["test"] == cell(found.folder, "dbpt_linear_seed-3")[1]["test"]
    main(guess)
    assert (tmp_path / "c-guesses.csv").is_file()


def test_an_extended_plan_writes_the_page_again(tiny, tmp_path):
    compare(tiny, tmp_path / "c", methods="erm", seeds=1)
    page = tmp_path / "c" / "compare.html"
    assert "comparison of 1 row<" in page.read_text()
    compare(tiny, tmp_path / "c", methods="erm,dbpt", seeds=2, resume=True)
    assert "comparison of 2 rows<" in page.read_text()
    assert commands(page.read_text())[-1][4:11] == ["--methods", "erm", "dbpt", "--heads", "linear", "--seeds", "2"]


def test_features_without_images_have_no_pictures(tiny, tmp_path):
    rows = len(tiny.rows())
    np.save(tmp_path / "features.npy", np.random.default_rng(0).normal(size=(rows, 16)).astype(np.float32))
    settings = {"embeddings": tmp_path / "features.npy", "methods": "zero-shot,dbpt", "seeds": 1}
    found = compare(tiny, tmp_path / "c", **settings)
    assert not (found.folder / "guesses.html").exists()
    page = (found.folder / "compare.html").read_text()
    assert "The features came without images" in page and "<img" not in page
    assert [words[0] for words in commands(page)] == ["fit", "guess", "compare"]


def test_only_zero_shot_has_no_run_to_go_on_with(tiny, tmp_path):
    found = compare(tiny, tmp_path / "c", methods="zero-shot", seeds=1)
    page = (found.folder / "compare.html").read_text()
    assert [words[0] for words in commands(page)] == ["guess", "compare"]
    assert "zero-shot is" in page
