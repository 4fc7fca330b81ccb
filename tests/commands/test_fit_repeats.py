"""`fit` again: the same bytes for the same command, after a resume, and whatever the true attributes are."""

import shutil
from dataclasses import replace

import pytest
from folders import files_in
from refusals import line_of
from runs import FILES, best_epochs, contents, fit, history_of, interrupted, metrics_of, result_bytes, without
from safetensors.numpy import load_file
from tiny import ATTRIBUTES, CLASSES

import dbpt
from dbpt import InputError
from dbpt.commands.fit.run_files import write_results
from dbpt.commands.trained_methods import _determined_by, build_head, rows_for, trained_result
from dbpt.evaluation.results import Saved
from dbpt.evaluation.study_metrics import metrics_of_study
from dbpt.report.results_page import guess_sheets
from dbpt.settings.config import FitConfig, read_config
from dbpt.study.stages import prepare
from dbpt.study.study import Study


def test_config_toml_of_a_run_repeats_it_and_another_seed_does_not(tiny, tiny_run, tmp_path):
    settings = read_config(tiny_run / "config.toml")
    again = dbpt.fit(settings.pop("data"), out=tmp_path / "again", **settings).folder
    assert (again / "config.toml").read_text() == (tiny_run / "config.toml").read_text()
    cold = fit(tiny, tmp_path / "cold", cache=str(tmp_path / "cache"))
    for run in (again, cold):
        assert contents(run) == contents(tiny_run)
    other = fit(tiny, tmp_path / "other", seed=1)
    assert result_bytes(other)["prompt"] != result_bytes(tiny_run)["prompt"]


def test_a_resume_may_change_what_is_reported_and_no_training(tiny_run, tmp_path):
    copied = shutil.copytree(tiny_run, tmp_path / "copied run")
    dbpt.fit(out=copied, resume=True, average="adjusted")
    assert metrics_of(copied)["average"] == "adjusted"
    line = line_of(dbpt.fit, out=copied, resume=True, epochs=7)
    assert "was started with epochs = 6, found 7" in line and f"dbpt fit --resume --out '{copied}'" in line


WITHOUT_GROUPS = {"attributes": None, "objective": "jtt"}


@pytest.mark.parametrize(
    ("choice", "more"),
    [
        (WITHOUT_GROUPS, ()),
        ({"attributes": "clusters"}, ("clusters", "pseudo_attributes")),
        ({"pseudo_method": "probe", "probe_rows": 24}, ("probe", "pseudo_attributes")),
        ({"shots": 5}, ()),
    ],
    ids=("no attribute", "clusters", "probe", "shots"),
)
def test_an_interrupted_run_goes_on_without_settings_and_says_the_same(tiny, tmp_path, choice, more):
    settings = {"epochs": 2, "warmup_epochs": 0, "baselines": False, "head": "linear", **choice}
    whole, out = fit(tiny, tmp_path / "whole", **settings), interrupted(tiny, tmp_path / "run", **settings)
    assert not (out / "metrics.json").exists()
    dbpt.fit(out=out, resume=True)
    assert contents(out) == contents(whole)
    assert (out / "config.toml").read_text() == (whole / "config.toml").read_text()
    for name in more:
        assert (out / f"{name}.safetensors").read_bytes() == (whole / f"{name}.safetensors").read_bytes()
    told = [metrics_of(each) for each in (out, whole)]
    for metrics in told:
        del metrics["saved"]["seconds"]
        for row in metrics["rows"]:
            del row["repeats"][0]["seconds"]
    assert told[0] == told[1]


def test_without_data_there_must_be_a_run_to_continue(tiny_run, tmp_path):
    with pytest.raises(InputError, match="^data: none is named; name a data set, or continue a run with --resume"):
        dbpt.fit(out=tmp_path / "run")
    with pytest.raises(InputError, match=r"run: no such folder; give the folder named by --out in d"):
        dbpt.fit(out=tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="^--resume and --overwrite: choose one"):
        dbpt.fit(out=tiny_run, resume=True, overwrite=True)
    assert not list(tmp_path.iterdir())


def test_resume_with_other_settings_or_labels_is_refused_and_changes_nothing(tiny, tiny_run):
    before = files_in(tiny_run)
    for name, value in (("lr", 0.1), ("attributes", ("lake", "meadow")), ("shots", 4)):
        with pytest.raises(InputError, match=rf"was started with {name} = .*, found "):
            fit(tiny, tiny_run, resume=True, **{name: value})
    rows = tiny.rows()
    changed = tiny.write("changed", [rows[0] | {"label": CLASSES[rows[0]["label"] == CLASSES[0]]}, *rows[1:]])
    with pytest.raises(InputError, match="made with other labels and groups than"):
        fit(tiny, tiny_run, data=changed, resume=True)
    assert files_in(tiny_run) == before
    assert dbpt.load(tiny_run).class_names == ("box", "disc")


def test_overwrite_starts_afresh(tiny, tmp_path):
    run = fit(tiny, tmp_path / "run")
    (run / "checkpoints" / "jtt.safetensors").write_bytes(b"")  # of another objective
    fit(tiny, run, seed=3, baselines=False, overwrite=True)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"dbpt.safetensors"}
    assert metrics_of(run)["seeds"] == [3]
    assert (run / "figures" / "weights.png").is_file()
    fit(tiny, run, objective="erm", overwrite=True)
    assert not (run / "figures" / "weights.png").exists()
    assert (run / "figures" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("left", [[], ["checkpoints/"], ["checkpoints/", ".run.json.a1_b2c3d.tmp"]])
def test_a_folder_in_which_no_run_began_is_taken(tiny, tmp_path, left):
    for name in left:
        path = tmp_path / "run" / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text("")
    (tmp_path / "run").mkdir(exist_ok=True)
    run = fit(tiny, tmp_path / "run", epochs=1, baselines=False)
    assert not list(run.rglob("*.tmp"))


def test_a_run_killed_before_its_settings_stood_is_started_by_resume(tiny, tiny_run, copied):
    for name in FILES - {"run.json"}:
        (copied / name).unlink()
    fit(tiny, copied, resume=True)
    assert result_bytes(copied) == result_bytes(tiny_run)
    assert (copied / "config.toml").is_file()


def test_a_folder_with_nothing_but_the_users_own_config_is_not_taken(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("lr = 0.1\n")
    with pytest.raises(InputError, match="exists and is not a run folder"):
        fit(tiny, tmp_path / "run")
    assert (tmp_path / "run" / "config.toml").read_text() == "lr = 0.1\n"


def test_a_checkpoint_knows_the_tokens_of_its_prompts(tiny):
    experiment = prepare(FitConfig(data=str(tiny.table), **tiny.settings))
    head = build_head(experiment)
    before = _determined_by(experiment, "dbpt", "class", head)
    head.text_tower.layout = replace(head.text_tower.layout, ids=head.text_tower.layout.ids + 1)  # another tokenizer
    assert _determined_by(experiment, "dbpt", "class", head) != before


def test_paths_that_are_not_utf8_keep_their_bytes(tiny, tmp_path):
    experiment = prepare(FitConfig(data=str(tiny.table), **tiny.settings))
    dataset = replace(experiment.dataset, paths=("caf\udce9.png", *experiment.dataset.paths[1:]))
    experiment = replace(experiment, embedded=replace(experiment.embedded, dataset=dataset))
    result = trained_result(experiment, "dbpt", checkpoint_path=None)
    metrics = metrics_of_study(experiment, saved=Saved(method=result.row.method, seconds={}))
    sheets = guess_sheets(experiment, tmp_path)
    (tmp_path / "figures").mkdir()
    write_results(tmp_path, experiment, [result], metrics, sheets, "dbpt fit")
    assert load_file(tmp_path / "pseudo_attributes.safetensors")["paths"].tobytes().startswith(b"caf\xe9.png\0")


def test_true_attributes_influence_nothing_but_the_evaluation(tiny, tiny_run, annotated, tmp_path):
    for name, table in zip(("shuffled", "removed"), annotated[1:], strict=True):
        run = fit(tiny, tmp_path / name, table)
        assert contents(run) == contents(tiny_run), name
        assert best_epochs(run) == best_epochs(tiny_run), name
        metrics = metrics_of(run)
        assert metrics["group_kind"] == ("true" if name == "shuffled" else "pseudo")
        assert (metrics["pseudo_quality"] is None) == (name != "shuffled")
        assert metrics["dataset"]["counts"] != metrics_of(tiny_run)["dataset"]["counts"]


def test_carving_validation_does_not_look_at_true_attributes_either(tiny, tmp_path):
    rows = [row for row in tiny.rows() if row["split"] != "val"]
    runs = [
        fit(tiny, tmp_path / name, tiny.write(name, table), baselines=False)
        for name, table in (("no-val", rows), ("no-val-removed", without(rows, "attribute")))
    ]
    assert result_bytes(runs[0]) == result_bytes(runs[1])


def test_groups_of_true_attributes_that_no_setting_asks_for_are_refused_where_training_takes_them(tiny, monkeypatch):
    study = prepare(FitConfig(data=str(tiny.table), **tiny.settings | {"model_selection": "true-wga"}))
    true = study.grouping("true")
    monkeypatch.setattr(Study, "grouping", lambda *_: true)
    assert rows_for(study, "selection", "val").groups.tolist() == true.groups[study.rows("val")].tolist()
    with pytest.raises(AssertionError, match="training"):
        rows_for(study, "training", "train")


def test_true_groups_are_used_only_where_asked_for(tiny, tiny_run, tmp_path):
    run = fit(tiny, tmp_path / "oracle", group_source="true", baselines=False)
    assert result_bytes(run)["pseudo_attributes"] == result_bytes(tiny_run)["pseudo_attributes"]
    assert result_bytes(run)["prompt"] != result_bytes(tiny_run)["prompt"]
    assert metrics_of(run)["rows"][-1]["group_source"] == "true"
    first = history_of(run)[0]["group_weights"]
    assert first[0] / first[1] > 2  # 5 rows against 20
    by_class = [row | {"attribute": ATTRIBUTES[CLASSES.index(row["label"])]} for row in tiny.rows()]
    chosen = fit(tiny, tmp_path / "chosen", tiny.write("by-class", by_class), model_selection="true-wga")
    ours, theirs = history_of(chosen), history_of(tiny_run)
    assert [entry["loss"] for entry in ours] == [entry["loss"] for entry in theirs]
    pairs = [(one["val_wga"], other["val_wga"]) for one, other in zip(ours, theirs, strict=True)]
    assert all(one >= other for one, other in pairs)  # the worst class is never worse than the worst group
    assert any(one > other for one, other in pairs)
