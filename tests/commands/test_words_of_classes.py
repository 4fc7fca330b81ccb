"""Every command that reads the words of the classes says if CLIP doesn't know them."""

import json

import pytest
from comparisons import compare
from runs import fit, metrics_of

import dbpt

SWAPPED = {"box": "disc", "disc": "box"}


def shared(tiny, **given):
    names = ("model", "pretrained", "attributes", "cache")
    return {name: value for name, value in tiny.settings.items() if name in names} | given


def kinds(warnings):
    about_words = ("order", "class words", "class accuracy", "words of suspicious")
    return [each["kind"] for each in warnings if each["kind"] in about_words]


@pytest.mark.usefixtures("short_catalogue")
@pytest.mark.parametrize(("classes", "first"), [({}, None), ({"classes": SWAPPED}, "order")])
def test_wrong_words_are_named_by_every_command_and_right_ones_by_none(classes, first, tiny, tmp_path):
    run = fit(tiny, tmp_path / "run", head="linear", prompts="class", baselines=False, **classes)
    compared = compare(tiny, tmp_path / "c", methods=["zero-shot", "erm"], heads=("linear",), seeds=1, **classes)
    of_comparison = json.loads((tmp_path / "c" / "compare.json").read_text())["class_doubts"]
    audit = dbpt.audit(tiny.table, out=tmp_path / "a", **shared(tiny, **classes)).to_dict()["warnings"]
    words = {name: value for name, value in shared(tiny, **classes).items() if name != "attributes"}
    discovery = dbpt.discover(tiny.table, **words).to_dict()["warnings"]
    for warnings in (metrics_of(run)["class_doubts"], of_comparison, audit, discovery):
        assert next(iter(kinds(warnings)), None) == first
    others = dbpt.audit(tiny.table, predictions=["disc"] * 32, **shared(tiny, **classes))
    assert kinds(others.to_dict()["warnings"]) == ["words of suspicious"] * (first is not None)
    guessed = " ".join(dbpt.guess_attributes(tiny.table, **shared(tiny, **classes)).warnings)
    assert ("look swapped" in guessed) == (first is not None)
    said = "look swapped"
    assert any(said in each for each in compared.warnings) == (first is not None)
    for page in (run / "report.html", tmp_path / "c" / "compare.html", tmp_path / "a" / "audit.html"):
        headline = page.read_text().partition("<h1")[2].partition("</h1>")[0]
        assert (said in headline) == (first is not None)
