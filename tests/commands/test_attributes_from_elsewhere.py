"""Pseudo attributes that the trained CLIP has not guessed: from a file, or by another model (``--label-model``)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import contents, fit, metrics_of, pseudo_attributes, said, without
from tiny import ATTRIBUTES

import dbpt
from dbpt import InputError, Result
from dbpt.report.discovery_sentences import doubts_in_words

OTHER = {"path": "nobody.png", "attribute": ATTRIBUTES[0]}
ORACLE = {"group_source": "true", "model_selection": "true-wga"}


def write_attributes(path: Path, rows: list[dict[str, str]]) -> Path:
    pd.DataFrame(rows, columns=["path", "attribute"]).to_csv(path, index=False)
    return path


@pytest.fixture
def true_file(tiny, tmp_path) -> Path:
    """The true attributes, in another order."""
    return write_attributes(tmp_path / "attributes.csv", [*tiny.rows()[::-1], OTHER])


# --- a file -----------------------------------------------------------------------------------------------------------


def test_true_attributes_in_a_file_train_what_the_oracle_trains(tiny, true_file, tmp_path):
    run = fit(tiny, tmp_path / "run", pseudo_attributes=true_file)
    oracle = fit(tiny, tmp_path / "oracle", **ORACLE)
    ours, theirs = contents(run), contents(oracle)
    assert all(ours[name] == theirs[name] for name in ("classifier.safetensors", "prompt.safetensors"))
    pairs = zip(metrics_of(run)["rows"], metrics_of(oracle)["rows"], strict=True)
    assert all(one[name] == other[name] for one, other in pairs for name in ("method", "val", "test"))
    metrics = metrics_of(run)
    assert (metrics["guesses"]["method"], metrics["pseudo_quality"]["accuracy"]) == ("file", 1)
    assert any("1 of 107 rows are ignored" in warning for warning in said(metrics["warnings"]))
    assert {path: ATTRIBUTES[a] for path, a in pseudo_attributes(run).items()} == {
        row["path"]: row["attribute"] for row in tiny.rows()
    }


def test_a_changed_file_refuses_to_resume_a_run(tiny, true_file, tmp_path):
    out = fit(tiny, tmp_path / "run", pseudo_attributes=true_file)
    before = contents(out)
    write_attributes(true_file, tiny.rows())  # another order, and one row less
    assert contents(dbpt.fit(out=out, resume=True).folder) == before
    rows = tiny.rows()
    first = next(row for row in rows if row["split"] == "train")
    first["attribute"] = next(name for name in ATTRIBUTES if name != first["attribute"])
    write_attributes(true_file, rows)
    with pytest.raises(InputError, match="made with other groups than"):
        dbpt.fit(out=out, resume=True)


def test_a_comparison_is_the_fits_of_its_settings_and_refuses_a_changed_file(tiny, true_file, tmp_path):
    settings = {"methods": "zero-shot,dbpt", "seeds": 1, "pseudo_attributes": true_file, **tiny.settings}
    found = dbpt.compare(tiny.table, out=tmp_path / "compare", **settings)
    run = fit(tiny, tmp_path / "run", pseudo_attributes=true_file, baselines=False)
    worst = [row["test"]["worst_group_accuracy"] for row in found.to_dict()["rows"]]
    assert worst == [row["test"]["worst_group_accuracy"] for row in metrics_of(run)["rows"]]
    assert found.to_dict()["guesses"]["method"] == "file"
    dbpt.compare(out=tmp_path / "compare", resume=True)
    rows = tiny.rows()
    next(row for row in rows if row["split"] == "test")["attribute"] = ""
    write_attributes(true_file, rows)
    with pytest.raises(InputError, match="was started with other images, labels, words or weights"):
        dbpt.compare(out=tmp_path / "compare", resume=True)


def test_groups_of_an_audit_are_those_of_the_file(tiny, bare, true_file, tmp_path, printed):
    by_file = dbpt.audit(bare, pseudo_attributes=true_file, out=tmp_path / "audit", **tiny.guessing)
    by_truth = dbpt.audit(tiny.table, **tiny.guessing)
    assert by_file.groups == by_truth.groups and by_file.figures.explained == by_truth.figures.explained
    assert by_file.figures.group_kind == "pseudo" and by_file.figures.guesses.doubts == []
    page = (tmp_path / "audit/audit.html").read_text()
    assert "CLIP guessed" not in page and "the attribute comes from" in page
    assert "groups: attributes from a file" in str(by_file)
    arguments = by_file.figures.command.split()
    assert str(true_file) in arguments
    assert str(by_file) in printed(*arguments[1:], "--overwrite")


@pytest.fixture
def whole(tiny) -> dict:
    """The settings of an audit of all images, which guesses the same as `dbpt.guess_attributes`."""
    return tiny.guessing | {"split": "all"}


def test_guesses_that_were_written_are_doubted_as_if_they_were_made_again(tiny, bare, whole, tmp_path):
    whole["attributes"] = ("tuesday", "honest")
    direct = dbpt.audit(bare, **whole)
    told = dbpt.guess_attributes(bare, out=tmp_path / "guesses.csv", **without([whole], "split")[0]).warnings
    assert direct.verdict.kind == "untrusted" and len(told) == 1 and "tuesday / honest can't be trusted" in told[0]
    found = dbpt.audit(bare, pseudo_attributes=tmp_path / "guesses.csv", **whole)
    assert str(found.verdict) == str(direct.verdict) and "not checked" not in str(found)
    of_file = {"attributes": whole["attributes"], "pseudo_attributes": tmp_path / "guesses.csv"}
    run = fit(tiny, tmp_path / "run", data=bare, **of_file)
    assert told == tuple(map(doubts_in_words, Result.read(run).metrics.doubted_guesses))
    found = dbpt.audit(bare, pseudo_attributes=run / "predictions.csv", **whole)
    assert str(found.verdict) == str(direct.verdict)


def test_attributes_are_not_checked_unless_their_file_says_so(tiny, true_file, bare, whole, tmp_path):
    folder = tmp_path / "audit"
    found = dbpt.audit(bare, pseudo_attributes=true_file, out=folder, **whole)
    assert "as the file has them (not checked)" in found.verdict.sentence
    assert "dbpt label RUN has you label a sample" in " ".join(str(found).split())
    assert "they were not checked" in (folder / "audit.html").read_text()
    assert "doubts" not in (folder / "images.csv").read_text().splitlines()[0]
    lines = true_file.read_text().splitlines()
    true_file.write_text("\n".join([f"{lines[0]},doubts", *(f"{line}," for line in lines[1:]), ""]))
    judged = dbpt.audit(bare, pseudo_attributes=true_file, out=folder, overwrite=True, **whole)
    assert "as the file has them:" in judged.verdict.sentence
    assert "not checked" not in str(judged) + (folder / "audit.html").read_text()
    assert judged.groups == found.groups and judged.images["doubts"] == [""] * len(tiny.rows())


def test_a_run_is_evaluated_with_its_file_and_other_data_without(tiny, bare, true_file, tmp_path):
    run = fit(tiny, tmp_path / "run", data=bare, pseudo_attributes=true_file)
    expected = metrics_of(run)["rows"][-1]["test"]
    assert dbpt.evaluate(run).to_dict()["rows"][0]["test"] == expected
    copy = tiny.write("copy", without(tiny.rows(), "attribute"))
    assert dbpt.evaluate(run, copy).to_dict()["guesses"]["method"] == "proportional"
    true_file.unlink()
    with pytest.raises(InputError, match=r"attributes.csv: cannot read the attributes: No such file"):
        dbpt.evaluate(run)


# --- another model ----------------------------------------------------------------------------------------------------


def test_one_model_labels_and_another_is_trained(tiny, tiny_run, other, label_model, tmp_path, logged):
    run = fit(tiny, tmp_path / "run", **other, **label_model)
    described, alone = (json.loads((folder / "run.json").read_text()) for folder in (run, tiny_run))
    assert alone["label_model"] is None and described["label_model"] == alone["backbone"] != described["backbone"]
    assert pseudo_attributes(run) == pseudo_attributes(tiny_run)
    alone = fit(tiny, tmp_path / "alone", **other)
    assert pseudo_attributes(alone) != pseudo_attributes(run)
    assert metrics_of(run)["guesses"]["method"] == "proportional by tiny"
    assert metrics_of(run)["rows"][0] == metrics_of(alone)["rows"][0]  # zero-shot is that of the model
    assert "features in float32: 106 images, 0 embedded now, 0 unreadable" in logged.messages  # those of the labeller
    with pytest.raises(InputError, match="made with other groups than"):
        dbpt.fit(out=run, resume=True, label_model=other["model"], label_pretrained=other["pretrained"])


def test_a_model_labels_images_while_features_are_trained_on_and_those_it_cannot_read_are_left_out(
    tiny, tiny_run, other, label_model, tmp_path
):
    features, rows, expected = tmp_path / "features.npy", tiny.rows(), pseudo_attributes(tiny_run)
    np.save(features, np.random.default_rng(0).normal(size=(len(rows), 16)).astype(np.float32))
    del expected[rows[7]["path"]]
    rows[7]["path"] = "no-image-to-label.png"
    (tiny.table.parent / rows[7]["path"]).write_bytes(b"no image")
    table = tiny.write("one-unreadable", rows)
    run = fit(tiny, tmp_path / "run", table, embeddings=features, max_failures=0.1, **other, **label_model)
    assert metrics_of(run)["failed_images"] == 1 and set(pseudo_attributes(run)) == set(expected)
    assert np.mean([code == expected[path] for path, code in pseudo_attributes(run).items()]) > 0.95  # of other shares
    assert any("one-unreadable.csv line 9" in warning for warning in said(metrics_of(run)["warnings"]))


def test_the_model_that_labels_is_judged_by_an_audit(tiny, other, label_model):
    settings = tiny.guessing | {"columns": {"attribute": ""}}
    found = dbpt.audit(tiny.table, **settings | other | label_model).figures
    of_labeller = dbpt.audit(tiny.table, **settings).figures
    assert found.guesses.shares == of_labeller.guesses.shares and found.guesses.doubts == of_labeller.guesses.doubts
    assert found.confusion != of_labeller.confusion
