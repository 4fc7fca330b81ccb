"""`Result`, the one kind of result: its figures are those of the table, for `fit`, `evaluate` and `compare` alike."""

import json
import sys

import pandas
import pytest
from folders import change_json
from markupsafe import escape
from runs import said

import dbpt
from dbpt import InputError


@pytest.fixture(scope="module")
def results(tiny, tiny_run, comparison):
    evaluated = dbpt.evaluate(tiny_run, tiny.table, cache=str(tiny.cache))
    return {"fit": dbpt.Result.read(tiny_run), "evaluate": evaluated, "compare": comparison}


@pytest.mark.parametrize("kind", ["fit", "evaluate", "compare"])
def test_the_figures_are_those_of_the_chosen_row(results, kind):
    result = results[kind]
    (row,) = [row for row in result.rows if row.chosen]
    same = (row.method, row.head)
    content = next(each for each in result.to_dict()["rows"] if (each["method"], each["head"]) == same)
    assert row.method == "dbpt" or row.worst_group_accuracy == max(row.worst_group_accuracy for row in result.rows)
    figures, accuracies = content["test"], [group["accuracy"] for group in content["test"]["groups"]]
    assert row.interval == (figures["worst_group_low"], figures["worst_group_high"])
    assert result.worst_group_accuracy == row.worst_group_accuracy == figures["worst_group_accuracy"]
    assert (result.average_accuracy, result.gap) == (figures["average"], figures["gap"])
    names = [(y, a) for y in ("box", "disc") for a in ("meadow", "lake")]
    assert [(group.class_name, group.attribute) for group in result.groups] == names
    assert [group.n for group in result.groups] == [8] * 4
    assert [group.accuracy for group in result.groups] == accuracies
    assert row.interval[0] < row.worst_group_accuracy < row.interval[1]
    assert all(group.low <= group.accuracy <= group.high for group in result.groups)


@pytest.mark.parametrize("kind", ["fit", "evaluate", "compare"])
def test_a_result_shows_itself_as_text_html_and_in_one_line(results, kind):
    result = results[kind]
    assert str(result) == result.table()
    table, _, warned = str(result).partition("\nwarning: ")
    assert result.table(warnings=False) == "\n\n".join([table, *warned.split("\n\n")[1:]])
    assert repr(result).startswith(f"Result('squares', Row({result.chosen.name}: worst group ")
    assert len(repr(result)) < 180 + len(str(result.folder))
    html = result._repr_html_()
    assert html == f"<pre>{escape(str(result))}</pre>"
    assert set(result.warnings) >= set(said(result.metrics.warnings))
    for warning in result.warnings:
        assert f"warning: {warning}" in " ".join(str(result).split())


@pytest.mark.parametrize("kind", ["fit", "compare"])
def test_a_data_frame_has_a_line_for_each_row(results, kind):
    result = results[kind]
    frame = result.to_pandas()
    assert frame["method"].tolist() == [row.method for row in result.rows]
    assert frame["worst_group_accuracy"].tolist() == [row.worst_group_accuracy for row in result.rows]
    assert frame["accuracy of disc · lake"].tolist() == [row.groups[3].accuracy for row in result.rows]
    if kind == "compare":
        assert frame["seeds"].tolist() == [len(row.record.seed_repeats) for row in result.rows]
        lead = result.rows[-1].record.difference.figures["worst_group_accuracy"].mean
        assert frame["worst_group_accuracy_against_erm_mean"].iloc[-1] == lead
        assert {"worst_group_accuracy_sd", "draws", "gap_against_erm_seeds_low"} <= set(frame.columns)
        assert "toprule" in frame.to_latex()
    accuracies = [group.accuracy for group in result.groups]
    assert pandas.DataFrame(result.groups)["accuracy"].tolist() == accuracies


def test_without_pandas_the_extra_is_named(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"^a data frame needs pandas; run pip install pandas$"):
        results["fit"].to_pandas()


def test_the_classifier_is_the_runs_and_a_comparison_has_none(results, tiny, tiny_run):
    image = tiny.table.parent / tiny.rows()[0]["path"]
    expected = dbpt.load(tiny_run).predict(image)
    for kind in ("fit", "evaluate"):
        assert results[kind].classifier is results[kind].classifier
        found = results[kind].classifier.predict(image)
        assert found.probabilities.tobytes() == expected.probabilities.tobytes()
    with pytest.raises(InputError, match="a comparison has no single classifier; run dbpt.fit for one of its rows"):
        _ = results["compare"].classifier


def test_a_result_is_read_back_from_its_folder(comparison, tiny_run):
    again = dbpt.Result.read(comparison.folder)
    assert again.metrics == comparison.metrics and again.folder == comparison.folder
    assert (again.failed, dbpt.Result.read(str(tiny_run)).failed) == ([], [])
    assert dbpt.Result.read(tiny_run).to_dict() == json.loads((tiny_run / "metrics.json").read_text())


def test_the_figures_of_a_missing_plugins_method_are_read(comparison, tmp_path):
    content = json.loads((comparison.folder / "compare.json").read_text())
    for row in content["rows"]:
        if row["method"] == "erm":
            row["method"] = row["objective"] = "of-a-plugin"
    (tmp_path / "compare.json").write_text(json.dumps(content))
    found = dbpt.Result.read(tmp_path)
    assert str(found).splitlines()[:9] == str(comparison).splitlines()[:9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("rows"), "missing required field `rows`; the file was changed, run it again"),
        (lambda content: content["guesses"]["factors"][0]["shares"].append(0.5), "its entries don't fit together"),
        (lambda content: content["dataset"]["classes"].append("x"), "its entries don't fit together"),
        (lambda content: content.update(rows=[]), "its entries don't fit together"),
        (lambda content: content.update(schema_version=1), "written by an older dbpt"),
    ],
)
def test_a_file_that_was_changed_is_refused(copied, change, message):
    content = json.loads((copied / "metrics.json").read_text())
    change(content)
    (copied / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"metrics\.json: .*{message}"):
        dbpt.Result.read(copied)


def test_a_folder_without_a_finished_run_is_refused(copied, tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        dbpt.Result.read(tmp_path)
    change_json(copied / "run.json", status="training")
    with pytest.raises(InputError, match="this run is not finished"):
        dbpt.Result.read(copied)
