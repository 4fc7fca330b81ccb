"""`evaluate` of a finished run: on its own data and on others, in Python and on the command line."""

import json
import shutil

import numpy as np
import pytest
from folders import change_json, files_in
from runs import metrics_of, without
from safetensors.numpy import load_file

import dbpt
from dbpt import InputError


@pytest.fixture(scope="module")
def test_only(tiny):
    return tiny.write("test-only", [row for row in tiny.rows() if row["split"] == "test"])


def test_evaluate_on_the_runs_own_data_gives_its_metrics_and_does_not_change_the_run(tiny, tiny_run):
    before = files_in(tiny_run)
    result = dbpt.evaluate(tiny_run, tiny.table, cache=str(tiny.cache)).to_dict()
    row, expected = result["rows"][0], metrics_of(tiny_run)["rows"][-1]
    assert (row["val"], row["test"], row["train"]["n"]) == (expected["val"], expected["test"], 50)
    assert result["group_kind"] == "true"
    assert result["pseudo_quality"]["accuracy"] == metrics_of(tiny_run)["pseudo_quality"]["accuracy"]
    assert result["dataset"]["counts"] == metrics_of(tiny_run)["dataset"]["counts"]
    assert files_in(tiny_run) == before


def test_evaluate_on_a_table_with_nothing_but_a_test_split(tiny, tiny_run, test_only):
    result = dbpt.evaluate(tiny_run, test_only, cache=str(tiny.cache)).to_dict()
    row = result["rows"][0]
    assert row["train"] is None
    assert row["val"] is None
    assert row["test"]["n"] == 32
    expected = metrics_of(tiny_run)["rows"][-1]["test"]["adjusted_average"]  # by the run's training images
    assert row["test"]["adjusted_average"] == expected
    assert row["test"]["average"] == metrics_of(tiny_run)["rows"][-1]["test"]["average"]
    assert result["dataset"]["counts"]["train"] == [0, 0, 0, 0]
    assert result["pseudo_quality"]["split"] == "all"


def test_the_adjusted_average_needs_training_rows(tiny, tiny_run, copied, test_only, command, printed, refusal):
    cache = ("--cache", tiny.cache)
    out = printed("evaluate", tiny_run, test_only, *cache, "--average", "adjusted")
    assert "average and gap: adjusted" in " ".join(out.split())
    change_json(copied / "metrics.json", dataset={"counts": {"train": [1, 2, -3]}})
    _, out, err = command("evaluate", copied, test_only, *cache)
    assert "average and gap: plain, over all images" in out
    assert "metrics.json: " in err and "; this evaluation goes on without" in err
    line = refusal("evaluate", copied, test_only, *cache, "--average", "adjusted")
    assert "--average adjusted: " in line and "choose --average plain" in line


def test_evaluate_labels_as_the_run_did(tiny, tiny_run, test_only, copied):
    config = (copied / "config.toml").read_text()
    (copied / "config.toml").write_text(config.replace("min_confidence = 0.0", "min_confidence = 0.999999"))
    found = [dbpt.evaluate(run, test_only, cache=str(tiny.cache)).metrics for run in (tiny_run, copied)]
    assert found[0].pseudo_quality.n_unlabelled == 0 < found[1].pseudo_quality.n_unlabelled


def test_evaluate_without_attributes_uses_pseudo_groups_and_says_so(tiny, tiny_run, printed):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    table = tiny.write("test-no-attribute", without(rows, "attribute"))
    result = dbpt.evaluate(tiny_run, table, cache=str(tiny.cache)).to_dict()
    assert result["group_kind"] == "pseudo"
    assert result["pseudo_quality"] is None
    tensors = load_file(tiny_run / "pseudo_attributes.safetensors")
    labels = np.array([["box", "disc"].index(row["label"]) for row in tiny.rows()])
    groups = (labels * 2 + tensors["pseudo_attributes"])[tensors["splits"] == 2]
    assert [g["n"] for g in result["rows"][0]["test"]["groups"]] == np.bincount(groups, minlength=4).tolist()
    assert "pseudo" in printed("evaluate", tiny_run, table, "--cache", tiny.cache)


def test_evaluate_reads_the_table_with_the_runs_words(tiny, tiny_run):
    other = tiny.write("other-words", [row | {"label": "cone"} for row in tiny.rows()])
    with pytest.raises(InputError, match=r"other-words.csv line 2: label is 'cone', expected one of 'box', 'disc'"):
        dbpt.evaluate(tiny_run, other, cache=str(tiny.cache))
    one_class = tiny.write("one-class", [row for row in tiny.rows() if row["label"] == "disc"])
    assert dbpt.evaluate(tiny_run, one_class, cache=str(tiny.cache)).to_dict()["rows"][0]["test"]["n"] == 16


def test_evaluate_refuses_known_data_sets_of_other_classes(tiny_run, copied, tmp_path, refusal):
    line = refusal("evaluate", tiny_run, "celeba", "--root", tmp_path)
    assert "data 'celeba': its classes are dark hair, blond hair, the run's are box, disc; evaluate on a table" in line
    config = (copied / "config.toml").read_text().splitlines()
    lines = ['data = "celeba"' if line.startswith("data = ") else line for line in config]
    (copied / "config.toml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="list_attr_celeba"):  # goes on to read it
        dbpt.evaluate(copied, "celeba", root=tmp_path)
    with pytest.raises(InputError, match="evaluate on celeba or a table of the run's classes"):
        dbpt.evaluate(copied, "waterbirds", root=tmp_path)


def test_evaluate_takes_the_runs_own_data_or_a_demo(tiny, tiny_run, tmp_path, command, printed, monkeypatch):
    own = json.loads(printed("evaluate", tiny_run, "--json"))
    assert own == dbpt.evaluate(tiny_run).to_dict() == dbpt.evaluate(tiny_run, tiny.table).to_dict()
    refused = "Error: data 'waterbirds': its classes are landbird, waterbird, the run's are box, disc; evaluate on a "
    monkeypatch.setattr("dbpt.data.demo._write", lambda name, root, *_: root.mkdir(parents=True))
    code, _, said = command("evaluate", tiny_run, "demo", "--cache", tmp_path)
    assert (code, said.splitlines()[-1]) == (2, refused + "table of the run's classes")
    assert list(tmp_path.glob("demo/demo-waterbirds-*"))


def test_evaluate_takes_the_runs_own_root_and_another_cache(tiny, tmp_path):
    table = shutil.copy(tiny.table, tmp_path)
    run = dbpt.fit(table, root=tiny.table.parent, out=tmp_path / "run", **tiny.settings | {"epochs": 1})
    found = dbpt.evaluate(run.folder, cache=str(tmp_path / "cache"))
    assert found.metrics.rows[0].test == run.metrics.rows[-1].test
    assert list((tmp_path / "cache").iterdir())


def test_evaluate_misses_a_tokenizer_before_it_embeds(tiny, copied, test_only, monkeypatch):
    backbone, gone = dbpt.load(copied).backbone.spec, {"kind": "file", "path": "gone.json", "sha256": "0"}
    change_json(copied / "run.json", backbone=backbone | {"tokenizer": gone})
    monkeypatch.setattr("dbpt.study.study.embed_dataset", None)
    with pytest.raises(InputError, match=r"gone\.json: cannot read the tokenizer: No such file"):
        dbpt.evaluate(copied, test_only, cache=str(tiny.cache))
    assert next(dbpt.load(copied).predict(tiny.images(1))).error is None


def test_evaluate_shows_training_rows_where_there_are_no_others(tiny, tiny_run, printed):
    table = tiny.write("train-only", [row for row in tiny.rows() if row["split"] == "train"])
    out = printed("evaluate", tiny_run, table, "--cache", tiny.cache)
    assert out.startswith("train-only: training split, 50 images (no other split;")
