"""`dbpt label` of a run with several factors: a question, figures and a column of the table for each."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import test_label
from html_page import Page
from runs import fit, metrics_of
from test_label_page import design_of, images, in_browser  # noqa: F401 (fixtures)
from tiny import ATTRIBUTES, CLASSES, rows_of

import dbpt
from dbpt import InputError
from dbpt.commands.label.judge import read_answers
from dbpt.commands.label.sample import Design, label_page

FACTORS = ("ground: meadow, lake", "light: day, night=night|dusk")
LIGHT = ("day", "night")


def write_labels(sample: Path, answers: dict[str, tuple[str, ...]], columns: str = "ground,light") -> Path:
    joined = {path: ",".join(each) for path, each in answers.items()}
    return test_label.write_labels(sample.parent / "labels.csv", sample, joined, columns)


@pytest.fixture(scope="module")
def truth(tiny) -> dict[str, tuple[str, str]]:
    draws = np.random.default_rng(0).integers(2, size=len(tiny.rows())).tolist()
    return {row["path"]: (row["attribute"], LIGHT[draw]) for row, draw in zip(tiny.rows(), draws, strict=True)}


@pytest.fixture(scope="module")
def settings(tiny) -> dict:
    fast = {"head": "linear", "epochs": 2, "batch_size": 0, "baselines": False}
    return tiny.settings | fast | {"attributes": None, "factors": FACTORS}


def write_table(tiny, name, truth, columns=("ground", "light")) -> Path:
    of = {path: dict(zip(("ground", "light"), values, strict=True)) for path, values in truth.items()}
    rows = [{name: row[name] for name in ("path", "label", "split")} for row in tiny.rows()]
    return tiny.write(name, [row | {column: of[row["path"]][column] for column in columns} for row in rows])


@pytest.fixture(scope="module")
def run(tiny, truth, settings, tmp_path_factory) -> Path:
    return fit(tiny, tmp_path_factory.mktemp("factors") / "run", write_table(tiny, "label-factors", truth), **settings)


@pytest.fixture
def sample(tiny, run, tmp_path) -> Path:
    """All test images."""
    dbpt.draw_label_sample(run, out=tmp_path / "sample", n=32, cache=str(tiny.cache))
    return tmp_path / "sample"


def answers_of(sample: Path, truth) -> dict[str, tuple[str, str]]:
    return {row["path"]: truth[row["path"]] for row in rows_of(sample / "sample.csv")}


def test_a_person_is_asked_for_each_factor_and_finds_the_true_figures_of_each(run, sample, truth, command):
    page = Page((sample / "index.html").read_text())
    assert json.loads(page.scripts[0])["questions"] == [["ground", list(ATTRIBUTES)], ["light", list(LIGHT)]]
    assert "meadow, day" not in page.rawdata.split('id="sample"')[0]
    labels = write_labels(sample, answers_of(sample, truth))
    result = dbpt.judge_labels(sample, labels).to_dict()
    test = metrics_of(run)["rows"][-1]["test"]
    assert result["corrected"]["worst_group_accuracy"]["value"] == test["worst_group_accuracy"]
    tested = pd.read_csv(run / "predictions.csv").query("split == 'test'")
    for place, (factor, name) in enumerate(zip(result["factors"], ("ground", "light"), strict=True)):
        values, true = (ATTRIBUTES, LIGHT)[place], tested["path"].map(lambda path, place=place: truth[path][place])
        assert (factor["name"], tuple(factor["values"]), factor["n_labelled"]) == (name, values, 32)
        assert factor["pseudo_accuracy"]["value"] == pytest.approx((tested[f"pseudo_{name}"] == true).mean())
        of_groups = (tested["prediction"] == tested["label"]).groupby([tested["label"], true])
        for group in factor["groups"]:
            right = of_groups.get_group((sorted(CLASSES)[group["label"]], values[group["attribute"]]))
            assert (group["n_labelled"], group["accuracy"]["value"]) == (len(right), pytest.approx(right.mean()))
    _, printed, _ = command("label", sample, "--labels", labels)
    shown = printed.splitlines()
    titles = [shown.index(line) for line in ("ground:", "light:", "combinations of ground and light:")]
    assert titles == sorted(titles) and printed.count("pseudo attributes right ") == 3


def test_what_can_not_be_told_of_one_factor_still_counts_for_the_other(sample, truth):
    answers = answers_of(sample, truth)
    unsure = list(answers)[:8]
    result = dbpt.judge_labels(sample, write_labels(sample, answers | {path: (truth[path][0], "") for path in unsure}))
    assert (result.n_labelled, result.n_cannot_tell, result.n_not_labelled) == (24, 8, 0)
    assert [factor.n_labelled for factor in result.factors] == [32, 24]
    warned = [warning for warning in result.warnings if warning.kind == "unsure labels"]
    assert [(warning.of, warning.values) for warning in warned] == [("light", {"n": 8, "of": 32})]
    none = write_labels(sample, {path: (truth[path][0], "") for path in answers})
    with pytest.raises(InputError, match=r"labels.csv: no image has a value of each of ground, light, so"):
        dbpt.judge_labels(sample, none)
    one = write_labels(sample, {path: values[:1] for path, values in answers.items()}, "ground")
    with pytest.raises(InputError, match="no column 'light'"):
        dbpt.judge_labels(sample, one)
    wrong = write_labels(sample, answers | {unsure[0]: ("meadow", "dusk")})
    with pytest.raises(InputError, match="light is 'dusk', expected one of 'day', 'night'"):
        dbpt.judge_labels(sample, wrong)


@pytest.mark.parametrize("columns", [(), ("light",)])
def test_the_table_has_a_column_for_each_factor_and_a_refit_keeps_the_labels(
    tiny, truth, settings, columns, tmp_path, command
):
    """Of the first labelled image the person tells only the ground; all other answers are the wrong way round."""
    name = f"label-columns-{len(columns)}"
    table = write_table(tiny, name, truth, columns)
    run = fit(tiny, tmp_path / "run", table, **settings)
    dbpt.draw_label_sample(run, out=tmp_path / "sample", n=20, split="train", cache=str(tiny.cache))
    turned = {path: (ATTRIBUTES[a == ATTRIBUTES[0]], LIGHT[b == LIGHT[0]]) for path, (a, b) in truth.items()}
    answers = answers_of(tmp_path / "sample", turned)
    first = next(iter(answers))
    answers[first] = (answers[first][0], "")
    labels = write_labels(tmp_path / "sample", answers)
    _, printed, _ = command("label", tmp_path / "sample", "--labels", labels, "--table", tmp_path / "new.csv")
    found = {row["path"]: row for row in rows_of(tmp_path / "new.csv")}
    assert list(found[first]) == ["path", "label", "split", "ground", "light"]
    for path, row in found.items():  # nothing of the truth in the table, which only evaluates
        assert (row["ground"], row["light"]) == answers.get(path, ("", ""))
    assert command(*shlex.split(printed.splitlines()[-1].removeprefix("fit again with: "))[1:])[0] == 0
    before, after = (
        {row["path"]: row for row in rows_of(folder / "predictions.csv")} for folder in (run, tmp_path / "run-refit")
    )
    for path, row in after.items():
        for factor in ("ground", "light"):
            assert row[f"pseudo_{factor}"] == (found[path][factor] or before[path][f"pseudo_{factor}"])


# --- in a browser -----------------------------------------------------------------------------------------------------


def two_questions() -> Design:
    factors = {"style": {"photo": ("photo",), "sketch": ("sketch",)}, "1": {name: (name,) for name in ("a", "b", "c")}}
    return Design(**vars(design_of()) | {"factors": factors})


def test_keys_answer_one_question_after_the_other(images, in_browser, tmp_path):  # noqa: F811
    design = two_questions()
    page = label_page(design, images)
    found = in_browser(
        page,
        """
        const current = () => rows.map((row) => row.classList.contains("current"));
        found.start = [at, current()];
        press("3");  // the first question has only two answers
        press("2");
        found.half = [at, current(), text("count"), text("last"), byId("save").disabled, rowsOf(labelsCsv()).length];
        press("3");
        const [tile] = tiles;
        found.whole = [at, [...answers[0]], text("count"), tile.textContent.trim(), tile.getAttribute("aria-label")];
        press("0"); press("0"); press("1"); choices[5].click();
        press("Backspace", "Backspace");
        found.undone = [at, [...answers[2]]];
        choices[4].click();
        tiles[0].click(); choices[0].click();
        found.corrected = [at, [...answers[0]]];
        press("1");
        found.csv = labelsCsv();
        takeOver(found.csv.replace("photo", "sketch"));
        found.taken = answers[0];
        """,
    )
    assert found["start"] == [0, [True, False]]
    assert found["half"] == [0, [False, True], "0 of 6 labelled", "Image 1: sketch, no answer.", True, 1]
    assert found["whole"] == [1, [1, 2], "1 of 6 labelled", "23", "Image 1: sketch, c"]
    assert found["undone"] == [2, [0, None]]
    assert found["corrected"] == [3, [0, 2]]
    assert found["taken"] == [1, 2]
    (tmp_path / "labels.csv").write_text(found["csv"], encoding="utf-8")
    expected = [[0, 2], [-1, -1], [0, 1], [-2, -2], [-2, -2], [-2, -2]]  # the half answer to the fourth is not saved
    assert read_answers(tmp_path / "labels.csv", design).tolist() == expected
