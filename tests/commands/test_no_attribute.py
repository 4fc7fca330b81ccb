"""Objectives without groups need no attribute: the groups are then the classes, in everything that a run writes."""

import csv
import re

import pytest
from refusals import line_of
from runs import fit, groups_of, metrics_of, said, without
from tiny import ATTRIBUTES, rows_of

import dbpt
from dbpt import InputError
from dbpt.objectives import OBJECTIVES

SAID = "groups: classes (no attribute named)"


@pytest.fixture(scope="module")
def run(tiny, bare, tmp_path_factory):
    return fit(tiny, tmp_path_factory.mktemp("no-attribute") / "jtt", bare, attributes=None, objective="jtt")


def test_the_groups_are_the_classes_in_all_figures(run):
    metrics = metrics_of(run)
    data = metrics["dataset"]
    assert (data["classes"], data["attributes"], metrics["group_kind"]) == (["box", "disc"], [], "pseudo")
    assert data["counts"] == {"train": [25, 25], "val": [12, 12], "test": [16, 16]}
    assert (metrics["guesses"]["method"], metrics["guesses"]["shares"], metrics["pseudo_quality"]) == ("none", [], None)
    assert [row["method"] for row in metrics["rows"]] == ["zero-shot", "erm", "jtt"]
    for row in metrics["rows"]:
        groups = row["test"]["groups"]
        assert [group["n"] for group in groups] == [16, 16]
        assert row["test"]["worst_group_accuracy"] == min(group["accuracy"] for group in groups)
        assert row["test"]["average"] == sum(group["correct"] for group in groups) / 32


def test_the_folder_holds_no_attribute(run):
    files = {path.name for path in run.iterdir()}
    assert {"report.html", "predictions.csv", "classifier.safetensors"} <= files
    assert files.isdisjoint({"guesses.html", "pseudo_attributes.safetensors"})
    assert list(rows_of(run / "predictions.csv")[0]) == ["path", "label", "split", "prediction", "p_box", "p_disc"]
    found = [(row["class"], row["attribute"], row["group_source"], row["n_train"]) for row in groups_of(run)]
    assert found == [("box", "", "class", "25"), ("disc", "", "class", "25")]


def test_the_tables_say_so(run):
    table, page = str(dbpt.Result.read(run)), (run / "report.html").read_text()
    assert SAID in table
    assert "best epoch, by average:" in " ".join(table.split())
    assert "pseudo attributes: none" in table
    assert SAID in page
    assert "Worst-class accuracy" in page
    assert "the worst group is the worst class" in page
    for absent in ("CLIP guessed", "pseudo-group", "dbpt label", "pseudo attributes:", " · </"):
        assert absent not in page


def test_naming_attributes_changes_no_training_by_the_average(tiny, bare, tmp_path):
    """Attributes decide which epoch is best by pseudo-wgp; ERM and its epochs are the same."""
    options = {"objective": "erm", "model_selection": "average"}
    alone, named = fit(tiny, tmp_path / "a", bare, attributes=None, **options), fit(tiny, tmp_path / "b", **options)
    assert (alone / "classifier.safetensors").read_bytes() == (named / "classifier.safetensors").read_bytes()


def test_it_is_evaluated_over_classes_or_over_the_attributes_of_other_data(tiny, bare, run):
    again = dbpt.evaluate(run)
    assert SAID in str(again)
    assert again.to_dict()["rows"][0]["test"] == metrics_of(run)["rows"][2]["test"]
    by_attribute = dbpt.evaluate(run, tiny.table)
    assert "groups: true attributes" in str(by_attribute)
    assert [group.attribute for group in by_attribute.groups] == sorted(ATTRIBUTES) * 2
    assert by_attribute.average_accuracy == again.average_accuracy


def test_without_validation_rows_some_are_held_out_by_class(tiny, tmp_path):
    rows = [row | {"split": row["split"].replace("val", "train")} for row in without(tiny.rows(), "attribute")]
    found = fit(tiny, tmp_path / "run", tiny.write("no-attribute-no-val", rows), attributes=None, objective="erm")
    assert metrics_of(found)["dataset"]["counts"]["val"] == [7, 7]
    assert "stratified by class, serve" in said(metrics_of(found)["warnings"])[0]


def test_every_objective_without_groups(tiny, bare, tmp_path):
    methods = [name for name, objective in OBJECTIVES.loaded.items() if not objective.uses_groups]
    assert {"afr", "class-balanced", "suby"} < set(methods)
    settings = {"methods": methods, "heads": "prompt,linear,adapter", "seeds": 1, **tiny.settings, "attributes": None}
    found = dbpt.compare(bare, out=tmp_path / "c", **settings).to_dict()
    assert {row["method"] for row in found["rows"]} == set(methods)
    assert found["failed"] == []


def test_a_comparison(tiny, bare, tmp_path):
    settings = {"methods": ["zero-shot", "erm", "jtt"], "seeds": 2, **tiny.settings, "attributes": None}
    found = dbpt.compare(bare, out=tmp_path / "c", **settings)
    assert SAID in str(found)
    assert "best epoch: by average on validation" in " ".join(str(found).split())
    asked = dbpt.compare(bare, out=tmp_path / "asked", model_selection="pseudo-wgp", **settings)
    assert "by pseudo-wgp over classes on validation" in " ".join(str(asked).split())
    (header, *_) = csv.reader((tmp_path / "c" / "compare.csv").read_text().splitlines())
    assert header[-2:] == ["accuracy of box", "accuracy of disc"]
    (tmp_path / "c" / "cells" / "jtt_prompt_seed-1.safetensors").unlink()
    again = dbpt.compare(out=tmp_path / "c", resume=True)
    assert [row.groups for row in again.rows] == [row.groups for row in found.rows]


@pytest.mark.parametrize("methods", [["dbpt"], ["erm", "groupdro"], None])
def test_one_method_with_groups_asks_for_an_attribute(tiny, bare, tmp_path, methods):
    with pytest.raises(InputError, match="bare.csv: no spurious attribute is named; .*erm"):
        dbpt.compare(bare, out=tmp_path / "c", methods=methods, **tiny.settings | {"attributes": None})
    assert not (tmp_path / "c").exists()


REFUSED = [
    (
        {"objective": "dbpt"},
        "no spurious attribute is named; name .*; only --group-source ppa and the objectives .*erm.* need none",
    ),
    ({"group_source": "true"}, "--group-source true with --objective erm: ERM uses no groups"),
    ({"model_selection": "true-wga"}, "--model-selection true-wga: .*has no attribute for any row of split 'val'"),
    ({"proportions": (0.5, 0.5)}, "--proportions 0.5 0.5: .*bare.csv names no attribute, so .* --attributes"),
    ({"pseudo_method": "kmeans"}, "--pseudo-method kmeans: .* names no attribute"),
    ({"min_confidence": 0.5}, "--min-confidence 0.5: .* names no attribute"),
    ({"pseudo_attributes": "guesses.csv"}, "--pseudo-attributes guesses.csv: .* names no attribute"),
    ({"attribute_template": ("a {}",)}, "--attribute-template a {}: .* names no attribute"),
    ({"group_template": ("{class}, {attribute}",)}, "--group-template {class}, {attribute}: .* names no attribute"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_settings_of_attributes_are_refused(tiny, bare, tmp_path, settings, message):
    line = line_of(fit, tiny, tmp_path / "run", bare, **{"attributes": None, "objective": "erm"} | settings)
    assert re.search(message, line)
    assert not (tmp_path / "run").exists()


def test_what_needs_an_attribute_says_so(tiny, run, refusal, tmp_path):
    image = tiny.table.parent / tiny.rows()[0]["path"]
    for arguments, message in (
        (["predict", run, image, "--with-attribute"], "--with-attribute: the run was trained without an attribute"),
        (["label", run, "--out", tmp_path / "labels"], "trained without an attribute; there is none to label"),
        (["audit", "--predictions", run], "trained without an attribute; name the one to audit with --attributes"),
    ):
        assert message in refusal(*arguments)
    assert dbpt.load(run).predict(image).prediction in ("box", "disc")


def test_an_audit_may_name_the_attribute(run):
    found = dbpt.audit(predictions=run, attributes=ATTRIBUTES)
    assert [group.attribute for group in found.figures.groups] == list(ATTRIBUTES) * 2
