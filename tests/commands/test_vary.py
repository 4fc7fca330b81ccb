"""`dbpt compare --vary`: a row for each combination of values that a method reads."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from comparisons import compare, contents
from runs import StopAfter

import dbpt
from dbpt.cli import main
from dbpt.commands.compare.plan import is_cell_file, make_plan
from dbpt.errors import InputError
from dbpt.settings.config import make_config

WARNING = "rows differ in settings: choose by validation figures; test figures that choose a row are too high for it"
PLAN = {"methods": "zero-shot,erm,dbpt", "seeds": 1}


def rows_of(vary, methods="zero-shot,erm,dbpt,jtt", heads="linear,prompt", **settings):
    return make_plan(make_config({"data": "x.csv", **settings}), methods, heads, 2, vary=vary).rows


def test_a_row_has_each_combination_of_the_settings_that_it_reads():
    rows = rows_of({"eta": [0, 5], "lr": [0.003, 0.01], "n_ctx": [4]})
    found = [(row.method.name, row.head, dict(row.varied)) for row in rows]
    assert found[0] == ("zero-shot", None, {})
    assert found[1:3] == [("erm", "linear", {"lr": 0.003}), ("erm", "linear", {"lr": 0.01})]
    assert [each for each in found if each[:2] == ("dbpt", "prompt")] == [
        ("dbpt", "prompt", {"eta": eta, "lr": lr, "n_ctx": 4}) for eta in (0.0, 5.0) for lr in (0.003, 0.01)
    ]
    for row in rows[1:]:
        for cell in row.cells:
            assert {name: getattr(cell.config, name) for name, _ in row.varied} == dict(row.varied)
    names = [cell.name for row in rows for cell in row.cells]
    assert len(set(names)) == len(names) and all(is_cell_file(f"{name}.safetensors") for name in names)
    assert "dbpt_prompt_eta=5,lr=0.003,n-ctx=4_seed-1" in names


def test_values_may_be_a_numpy_array():
    rows = rows_of({"lr": np.geomspace(1e-4, 1e-2, 3), "batch_size": np.array([16, 0])}, "erm", "linear")
    assert [dict(row.varied) for row in rows] == [
        {"lr": lr, "batch_size": n} for lr in (1e-4, 1e-3, 1e-2) for n in (16, 0)
    ]


def test_any_setting_of_objective_head_and_training_can_be_varied():
    every = {
        "apply": ["loss", "sampling"],
        "class_specific_context": ["false", "true"],
        "ctx_init": ["a photo of a", "A PHOTO OF A", "a photo/of: a"],
        "optimizer": ["sgd", "adamw"],
        "sgd_momentum": ["0", "0.9"],
        "batch_size": ["16", "0"],
        "dro_step_size": ["1e-3"],
        "weight_decay": [1e-30, 1 / 3],
    }
    rows = rows_of(every, "erm,groupdro", "prompt")
    names = [row.cells[0].name for row in rows]
    assert len(rows) == len({name.lower() for name in names}) == 2 * 3 * 2**4 + 2 * 3 * 2**5
    assert all(is_cell_file(f"{name}.safetensors") for name in names)
    assert {row.cells[0].config.class_specific_context for row in rows} == {False, True}


@pytest.mark.parametrize(
    ("vary", "expected"),
    {
        "etta=1": "--vary etta: unknown setting (did you mean 'eta'?); valid are apply, eta",
        "eta=0,x": "--vary eta: 'x' is not a number; write --vary eta=VALUE,VALUE",
        "eta=": "--vary eta: '' is not a number",
        "eta=0_1": "--vary eta: '0_1' is not a number",
        "eta=-1": "--eta: must be at least 0, found -1.0",
        "eta=nan": "--eta: expected a finite number, found nan",
        "eta=1,1.0": "--vary eta: '1' is given twice; keep one",
        "batch_size=2.5": "--batch-size: expected an integer, found 2.5",
        "optimizer=adam": "--optimizer: 'adam' is none of adamw, sgd (did you mean 'adamw'?)",
        "class_specific_context=1": "--vary class_specific_context: '1' is not true or false",
        "seed=1,2": "name them in --seeds",
        "head=linear": "name them in --heads",
        "objective=erm": "name them in --methods",
        "data=a,b": "--vary data: all rows share it; make a comparison for each value",
        "model_selection=last": "--vary model_selection: all rows share it; make a comparison for each value",
        "out=a": "--vary out: unknown setting",
        "tau=1,2": "--vary tau: no row reads it; only --objective gla does",
        "sgd_momentum=0": "--vary sgd_momentum: no row reads it; only --optimizer sgd does",
        "eta": "found 'eta'; expected SETTING=VALUE,VALUE once for each setting",
        "=1": "found '=1'; expected SETTING=VALUE,VALUE once for each setting",
        "lr=1 lr=2": "'lr' is given twice; expected SETTING=VALUE,VALUE once for each setting",
    }.items(),
)
def test_bad_variations_get_one_line(tmp_path, refusal, vary, expected):
    out = tmp_path / "out"
    line = refusal("compare", "nowhere.csv", "--out", out, "--methods", "erm", "dbpt", "--vary", *vary.split())
    assert expected in line and not out.exists()


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ({"eta": 5}, "--vary eta: found 5; expected a list of values"),
        ({"eta": "0,5"}, "--vary eta: found '0,5'; expected a list of values"),
        ({"eta": []}, r"--vary eta: found \[\]; expected a list of values"),
        ({"eta": [True]}, "--eta: expected a finite number, found True"),
    ],
)
def test_bad_variations_in_python_get_one_line(vary, expected):
    with pytest.raises(InputError, match=expected):
        rows_of(vary)


@pytest.fixture(scope="module")
def varied(tiny, tmp_path_factory):
    vary = {"eta": [0, 5], "lr": [0.001, 0.05]}
    return compare(tiny, tmp_path_factory.mktemp("varied") / "out", **PLAN, vary=vary)


def test_a_varied_row_is_that_of_a_comparison_with_its_settings(varied, tiny, tmp_path):
    alone = compare(tiny, tmp_path / "alone", **PLAN, eta=5.0, lr=0.05)
    rows = {row.title: row.record for row in varied.rows}
    assert list(rows) == ["zero-shot", "ERM, lr 0.001", "ERM, lr 0.05"] + [
        f"dbpt, eta {eta}, lr {lr}" for eta in (0, 5) for lr in ("0.001", "0.05")
    ]
    for name, of_row in (("dbpt, eta 5, lr 0.05", 2), ("ERM, lr 0.05", 1), ("zero-shot", 0)):
        expected = alone.rows[of_row].record
        found = replace(rows[name], title=expected.title, varied={}, repeats=expected.repeats)
        if name.startswith("dbpt"):
            assert rows[name].difference.varied == {"lr": 0.05}
            found = replace(found, difference=replace(found.difference, varied={}))
        if name != "zero-shot":  # whose difference is to the first row of ERM
            assert found == expected


def test_the_tables_show_validation_and_warn_against_choosing_by_test(varied):
    table, page = varied.table(), (varied.folder / "compare.html").read_text()
    assert re.search(r"\n +validation +worst|validation", table) and f"warning: {WARNING}" in " ".join(table.split())
    assert WARNING[1:] in page and ">Validation<" in page
    scores = {row.title: row.record.validation_score for row in varied.rows}
    assert scores["zero-shot"] is None and all(value for name, value in scores.items() if name != "zero-shot")
    for row in varied.rows[1:]:
        line = next(line for line in table.splitlines() if line.startswith(row.title))
        assert f"{100 * row.record.validation_score:.1f}" in line
    of_dbpt = {name: value for name, value in scores.items() if name.startswith("dbpt")}
    best = [[row.title for row in varied.rows].index(max(of_dbpt, key=of_dbpt.get))]
    assert [i for i in varied.metrics.candidates if varied.rows[i].method == "dbpt"] == best
    assert set(varied.metrics.leaders) <= set(varied.metrics.candidates)
    assert "dbpt fit" in page and "--eta" in page
    csv = (varied.folder / "compare.csv").read_text().splitlines()
    assert csv[0].startswith("method,head,lr,eta,seeds,draws,validation_score_mean,")
    assert "eta=0,5 lr=0.001,0.05" in page


def test_without_variation_nothing_is_shown_of_it(comparison):
    assert "validation  " not in comparison.table() and WARNING not in " ".join(comparison.table().split())
    assert "validation_score" not in (comparison.folder / "compare.csv").read_text()
    assert "Validation<" not in (comparison.folder / "compare.html").read_text()


@pytest.mark.usefixtures("quick_jobs")
def test_a_varied_comparison_resumes_and_may_grow(varied, tiny, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compare(tiny, out, **PLAN, vary={"eta": [5], "lr": [0.001]}, callbacks=[StopAfter(2)])
    main(["compare", "--resume", "--out", str(out)])
    trained = (out / "cells" / "dbpt_linear_eta=5,lr=0.001_seed-0.safetensors").stat().st_mtime_ns
    main(["compare", "--resume", "--out", str(out), "--vary", "eta=0,5", "lr=0.001,0.05", "--jobs", "2"])
    assert (out / "cells" / "dbpt_linear_eta=5,lr=0.001_seed-0.safetensors").stat().st_mtime_ns == trained
    assert contents(out) == contents(varied.folder)
    assert json.loads((out / "plan.json").read_text())["vary"] == {"eta": [0.0, 5.0], "lr": [0.001, 0.05]}
    compare(tiny, out, **PLAN, overwrite=True)
    assert not [*out.glob("cells/*eta*")]


def test_a_failed_variation_is_named(tiny, tmp_path):
    result = compare(tiny, tmp_path / "out", methods="dbpt", seeds=1, vary={"lr": [0.01, 1e30]})
    assert [failed.varied for failed in result.failed] == [{"lr": 1e30}]
    assert "failed: dbpt, lr 1e+30, head linear, seed 0: training diverged" in " ".join(result.table().split())
    assert result.chosen.record.varied == {"lr": 0.01}


def test_a_folder_without_variations_in_its_plan_still_resumes(tiny, tmp_path):
    folder = compare(tiny, tmp_path / "out", methods="erm", seeds=1).folder
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({name: value for name, value in plan.items() if name != "vary"}))
    assert len(dbpt.compare(out=folder, resume=True).rows) == 1
