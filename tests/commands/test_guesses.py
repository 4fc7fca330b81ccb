"""CLIP's guesses: pictures to check before training, and doubts about them as warnings."""

import re
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
from comparisons import compare
from html_page import boxes
from runs import fit
from tiny import Tiny

import dbpt
from dbpt.guesses.doubts import Trust
from dbpt.report.results_page import guess_sheets
from dbpt.settings.config import FitConfig
from dbpt.study.stages import judged_guesses, prepare

ORACLE = {"group_source": "true", "model_selection": "true-wgp"}


def doubts(warnings: list[str]) -> list[str]:
    return [text for text in warnings if "can't be trusted" in text]


def images(page: str) -> list[str]:
    return re.findall(r'<img src="([^"]+)"', page)


@pytest.mark.parametrize(
    ("train", "stopped", "run"),
    [(fit, "trained_methods.trained_result", "out"), (compare, "compare.cells.run_cell", "out-groupdro-true")],
    ids=["fit", "compare"],
)
def test_the_pictures_are_there_before_training_and_their_page_is_named_once(
    tiny, tmp_path, logged, monkeypatch, train, stopped, run
):
    out, run = tmp_path / "out", tmp_path / run
    monkeypatch.setattr(f"dbpt.commands.{stopped}", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(tiny, out)
    page = (out / "guesses.html").read_text()
    assert [path.name for path in out.glob("*.html")] == ["guesses.html"]
    assert [line for line in logged.messages if "guesses.html" in line] == [
        f"CLIP's guesses, to check before training: {out / 'guesses.html'}"
    ]
    assert len(images(page)) > 60
    assert "What CLIP took for meadow and for lake" in page
    assert "The guesses change with the sentences around the names" in page
    *steps, label = boxes(page)[0].splitlines()
    assert label == f"dbpt label {run} --out {run}-labels"
    assert [step.startswith(f"dbpt fit {tiny.table} --out {run} ") for step in steps] == [True] * (run != out)


def test_the_report_has_the_same_pictures_and_the_next_step(tiny_run):
    page, before = (tiny_run / "report.html").read_text(), (tiny_run / "guesses.html").read_text()
    assert images(page.split('<h2 id="guesses">')[1].split("</section>")[0]) == images(before)
    for text in (page, before):
        assert f"dbpt label {tiny_run} --out {tiny_run}-labels" in boxes(text)
        assert "What CLIP took for “meadow”" in text


def test_pictures_and_doubts_are_of_rows_that_are_no_test_rows(tiny, tmp_path):
    study = prepare(FitConfig(data=str(tiny.table), **tiny.settings))
    embedded, features = study.embedded, study.embedded.features[:]
    is_test = study.splits == 2
    shown = guess_sheets(study, tmp_path)
    paths = {picture.path for sheet in shown.sheets for strip in sheet.strips for picture in strip.pictures}
    assert paths.isdisjoint(np.array(study.dataset.paths)[is_test])
    for is_negated, changes in ((is_test, False), (~is_test, True)):
        negated = replace(embedded, label_features=np.where(is_negated[:, None], -features, features))
        assert (judged_guesses(negated, study.pseudo) != study.guesses) == changes
    only = study.dataset.take(np.flatnonzero(is_test))
    pseudo = study.pseudo.take(np.flatnonzero(is_test))
    judged = judged_guesses(replace(embedded, dataset=only, label_features=features[is_test]), pseudo)
    assert judged.n_known == is_test.sum()


def test_doubts_are_a_warning_with_a_way_out_in_fit_compare_and_evaluate(tiny: Tiny, tiny_run, bare, tmp_path):
    found = [
        dbpt.Result.read(tiny_run).warnings,
        compare(tiny, tmp_path / "comparison", methods=("zero-shot", "dbpt"), seeds=2).warnings,
        dbpt.evaluate(tiny_run, bare, cache=tiny.cache).warnings,
    ]
    of_comparison = dbpt.Result.read(tmp_path / "comparison").metrics
    assert [doubt.kind for doubt in of_comparison.guesses.doubts] == ["sentences", "other words"]
    for warnings in found:
        (warning,) = doubts(warnings)
        assert re.match(r"CLIP's guesses of meadow / lake can't be trusted: .* the sentences .*; other words", warning)
        assert warning.endswith(
            "; use other words, give each name more wordings, or look at the guesses with dbpt audit"
        )


def test_nothing_is_said_where_the_guesses_decide_nothing(tiny, tiny_run, tmp_path):
    assert doubts(dbpt.evaluate(tiny_run, cache=tiny.cache).warnings) == []  # its figures are over true groups
    for number, (changes, n) in enumerate([
        (ORACLE, 0),
        (ORACLE | {"model_selection": "pseudo-wga"}, 1),
        ({"objective": "erm", "model_selection": "average", "baselines": False}, 0),
    ]):  # fmt: skip
        config = FitConfig(data=str(tiny.table), **tiny.settings | changes)
        assert len(prepare(config).doubted_guesses) == n, number
    found = compare(tiny, tmp_path / "comparison", methods=("zero-shot",), seeds=1)
    assert doubts(found.warnings) == []


@pytest.fixture
def unsteady(monkeypatch):
    """Let the guesses of some names depend on the sentence, and those of all others be trusted."""
    failing = set()

    def judged(guesses, logits, by_template, other_words, labels, names, counts=None):
        figures = {"spread": 1.0, "separations": {("", ""): 1.0}, "nearer_words": 0.0}
        agreements = {name: 0.5 if name in failing else 1.0 for name in names}
        return Trust(names=tuple(names), agreements=agreements, **figures)

    monkeypatch.setattr("dbpt.guesses.doubts.guess_trust", judged)
    return failing


@pytest.fixture
def guessed(tiny, bare):
    """Guess attributes of the tiny task, with options."""
    return partial(dbpt.guess_attributes, bare, **tiny.backbone)


def test_doubts_end_with_the_names_to_leave_out_if_the_others_raise_none(guessed, unsteady):
    unsteady.add("sky")
    found = guessed(attributes=["meadow", "sky", "lake"])
    unsteady_names, leave_out = (doubt.values for doubt in found.guesses.doubts)
    assert (unsteady_names["names"], unsteady_names["value"]) == (["sky"], 0.5)
    assert leave_out == {"names": ["sky"], "kept": ["meadow", "lake"]}
    (factor,) = found.guesses.factors
    assert (factor.doubted, factor.leave_out) == (["meadow", "sky", "lake"], ["sky"])
    (warning,) = doubts(found.warnings)
    assert warning.endswith("alone raise no doubt; or look at the guesses with dbpt audit")
    unsteady.add("lake")
    two = guessed(attributes=["meadow", "sky", "lake"]).guesses
    assert two.factors[0].leave_out == [] and two.doubts[0].values["names"] == ["sky", "lake"]
    unsteady.add("meadow")
    all_of_them = guessed(attributes=["meadow", "sky", "lake"]).guesses
    assert all_of_them.factors[0].leave_out == all_of_them.doubts[0].values["names"] == []


def test_doubts_about_the_values_of_one_class_say_so(guessed, unsteady):
    unsteady.add("plate")
    factors = ["ground: meadow, lake", "kind[disc]: coin, plate, wheel", "kind[box]: crate, chest"]
    ground, kind = guessed(factors=factors).guesses.factors
    assert ground.doubts == ground.doubted == []
    assert [(doubt.kind, doubt.classes, doubt.values["names"]) for doubt in kind.doubts] == [
        ("sentences", ["disc"], ["plate"]),
        ("leave out", ["disc"], ["plate"]),
    ]
    assert kind.doubted == ["coin", "plate", "wheel"] and kind.leave_out == []  # for no command: it is of one class


def test_attributes_that_are_the_classes_are_refused(tiny, guessed):
    with pytest.raises(
        dbpt.InputError,
        match=r"^--attributes: 'Disc' and 'box' are classes or words for them, so CLIP would guess the ",
    ):
        guessed(attributes=["Disc", "box"])
    with pytest.raises(
        dbpt.InputError, match=r"^--factors: shape: 'disc' and 'box' are classes or words for them, so "
    ):
        guessed(factors=["ground: meadow, lake", "shape: disc, box"])
    assert guessed(attributes=["disc", "lake"]).guesses.shares  # one of them may be an attribute
    known = tiny.write("true-classes", [{**row, "attribute": row["label"]} for row in tiny.rows()])
    found = dbpt.guess_attributes(known, attributes=["disc", "box"], **tiny.backbone)
    assert found.guesses.n_known  # the data have them
