"""`fit` end to end on the tiny task: the run folder, what depends on what, and what must not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import FILES, fit, groups_of, history_of, metrics_of, pseudo_attributes, result_bytes, said
from safetensors import safe_open
from safetensors.numpy import load_file
from tiny import ATTRIBUTES, CLASSES, SIZES, rows_of

import dbpt
from dbpt import InputError
from dbpt.commands.trained_methods import trained_result
from dbpt.heads import PromptHead
from dbpt.settings.config import FitConfig
from dbpt.study.stages import prepare


def test_the_run_folder_holds_what_is_documented(tiny_run):
    files = {str(path.relative_to(tiny_run)) for path in tiny_run.rglob("*") if path.is_file()}
    assert files == FILES
    description = json.loads((tiny_run / "run.json").read_text())
    assert description["status"] == "complete"
    assert description["schema_version"] == 1
    assert description["dbpt_version"] == dbpt.__version__
    assert list(description["words"]["classes"]) == sorted(CLASSES)
    assert description["backbone"]["config"]["embed_dim"] == 16


def test_tensors_have_their_names_shapes_and_types(tiny_run):
    def shapes(name: str) -> dict[str, tuple]:
        return {key: (t.shape, t.dtype.name) for key, t in load_file(tiny_run / f"{name}.safetensors").items()}

    n = sum(map(sum, SIZES.values()))
    one = ((1,), "float32")
    assert shapes("classifier") == {"weights": ((2, 16), "float32"), "logit_scale": one, "logit_bias": one}
    assert shapes("prompt") == {"context": ((3, 16), "float32")}
    pseudo = shapes("pseudo_attributes")
    assert pseudo.pop("paths")[1] == "uint8"
    assert pseudo == {
        "pseudo_attributes": ((n,), "int8"),
        "posterior": ((n, 2), "float32"),
        "confidence": ((n,), "float32"),
        "splits": ((n,), "int8"),
    }
    with safe_open(tiny_run / "classifier.safetensors", "np") as file:
        assert json.loads(file.metadata()["classes"]) == sorted(CLASSES)


def test_metrics_json(tiny_run):
    metrics = metrics_of(tiny_run)
    assert metrics["schema_version"] == 8
    assert (metrics["saved"]["method"], metrics["model_selection"], metrics["seeds"]) == ("dbpt", "pseudo-wgp", [0])
    assert metrics["group_kind"] == "true"
    assert metrics["dataset"]["classes"] == ["box", "disc"]
    assert metrics["dataset"]["attributes"] == list(ATTRIBUTES)
    assert metrics["dataset"]["counts"] == {"train": [5, 20, 20, 5], "val": [6] * 4, "test": [8] * 4}
    assert metrics["saved"]["seconds"]["total"] >= metrics["saved"]["seconds"]["embed"] > 0
    rows = {row["method"]: row for row in metrics["rows"]}
    assert list(rows) == ["zero-shot", "erm", "dbpt"]
    assert [row["group_source"] for row in metrics["rows"]] == [None, None, "pseudo"]
    assert [row["repeats"][0]["epochs"] for row in metrics["rows"]] == [0, 6, 6]
    assert rows["zero-shot"]["repeats"][0]["best_epoch"] is None
    assert rows["dbpt"]["test"]["worst_group_accuracy"] > rows["erm"]["test"]["worst_group_accuracy"]
    assert metrics["pseudo_quality"]["split"] == "training"
    assert 0.7 < metrics["pseudo_quality"]["accuracy"] < 1


def test_history_has_a_line_for_each_epoch_of_each_trained_result(tiny_run):
    history, metrics = history_of(tiny_run), metrics_of(tiny_run)
    expected = [(row, epoch) for row in ("erm", "dbpt") for epoch in range(1, 7)]
    assert [(entry["row"], entry["epoch"]) for entry in history] == expected
    chosen = {entry["row"]: entry["epoch"] for entry in history if entry["best"]}
    trained = [row for row in metrics["rows"] if row["method"] != "zero-shot"]
    assert chosen == {row["method"]: row["repeats"][0]["best_epoch"] for row in trained}
    assert all(len(entry["group_weights"]) == 4 for entry in history if entry["row"] == "dbpt")
    assert all(entry["group_weights"] is None for entry in history if entry["row"] == "erm")
    assert all(0 <= entry["val_wga"] <= 1 and entry["loss"] > 0 and entry["lr"] > 0 for entry in history)


def test_groups_csv_counts_the_groups_that_its_weights_are_of(tiny, tmp_path):
    """Under true groups N_g is that of the table, whatever CLIP sees: ten discs there are on another ground."""
    table = [row | {"attribute": "lake"} if row["path"].startswith("train/00-0") else row for row in tiny.rows()]
    data = tiny.write("other-ground", table)
    run = fit(tiny, tmp_path / "run", data, group_source="true", baselines=False, epochs=2)
    rows = groups_of(run)
    assert {row["group_source"] for row in rows} == {"true"}
    counts = {split: [int(row[f"n_{split}"]) for row in rows] for split in ("train", "val", "test")}
    assert counts == metrics_of(run)["dataset"]["counts"]
    assert counts["train"] != metrics_of(run)["dataset"]["train_counts_pseudo"]
    assert sum(int(row["n_train"]) * float(row["group_weight"]) for row in rows) == pytest.approx(50)


def test_groups_csv_is_of_the_pseudo_groups_and_the_best_epochs_weights(tiny_run):
    rows = groups_of(tiny_run)
    names = [(label, attribute) for label in ("box", "disc") for attribute in ATTRIBUTES]
    assert [(row["class"], row["attribute"]) for row in rows] == names
    assert [int(row["group"]) for row in rows] == [0, 1, 2, 3]
    assert {row["group_source"] for row in rows} == {"pseudo"}
    assert [int(row["n_train"]) for row in rows] == metrics_of(tiny_run)["dataset"]["train_counts_pseudo"]
    kept = next(entry for entry in history_of(tiny_run) if entry["row"] == "dbpt" and entry["best"])
    assert [float(row["group_weight"]) for row in rows] == kept["group_weights"]
    assert sum(int(row["n_train"]) * float(row["group_weight"]) for row in rows) == pytest.approx(50)


def test_without_validation_split_a_part_of_training_serves_and_is_said(tiny, tmp_path, logged):
    table = tiny.write("without-val", [row for row in tiny.rows() if row["split"] != "val"])
    run = dbpt.fit(table, out=tmp_path / "run", **tiny.settings)
    note = next(warning for warning in said(run.to_dict()["warnings"]) if warning.startswith("no validation split"))
    splits = load_file(run.folder / "pseudo_attributes.safetensors")["splits"]
    num_val = int((splits == 1).sum())
    assert f"{num_val} of the training rows" in note
    assert any(note in line for line in logged.messages)
    assert note in " ".join(str(run).split())
    assert 8 <= num_val <= 12  # 0.2 of 50
    assert (splits == 2).sum() == 32
    assert [row["split"] for row in rows_of(run.folder / "predictions.csv")].count("val") == num_val
    assert all(int(group["n_val"]) >= 1 for group in groups_of(run.folder))
    other = fit(tiny, tmp_path / "other", table, val_fraction=0.5, baselines=False)
    assert (load_file(other / "pseudo_attributes.safetensors")["splits"] == 1).sum() == pytest.approx(25, abs=2)
    oracle = fit(tiny, tmp_path / "oracle", table, model_selection="true-wga", baselines=False)
    assert metrics_of(oracle)["model_selection"] == "true-wga"


def test_unknown_attributes_are_outside_the_groups_and_inside_the_average(tiny, tiny_run, tmp_path):
    rows = [row | {"attribute": "" if i % 3 == 0 else row["attribute"]} for i, row in enumerate(tiny.rows())]
    table = tiny.write("unknown-some", rows)
    run = fit(tiny, tmp_path / "run", table)
    test = metrics_of(run)["rows"][-1]["test"]
    assert test["n"] == 32
    known = sum(row["split"] == "test" and row["attribute"] != "" for row in rows)
    assert sum(group["n"] for group in test["groups"]) == known < 32
    assert test["average"] == metrics_of(tiny_run)["rows"][-1]["test"]["average"]
    oracle = fit(tiny, tmp_path / "oracle", table, group_source="true", baselines=False)
    weights = history_of(oracle)[0]["group_weights"]
    counts = metrics_of(oracle)["dataset"]["counts"]["train"]
    assert sum(n * w for n, w in zip(counts, weights, strict=True)) == pytest.approx(sum(counts))


def test_unreadable_images_are_left_out_and_the_rest_stays_aligned(tiny, tiny_run, tmp_path, logged):
    rows = tiny.rows()
    bad = [{**rows[0], "path": "cut.png"}, {**rows[0], "path": "text.jpg"}]
    root = tiny.table.parent
    (root / "cut.png").write_bytes((root / rows[0]["path"]).read_bytes()[:200])
    (root / "text.jpg").write_text("not an image")
    table = tiny.write("bad-images", [bad[0], *rows[:50], bad[1], *rows[50:]])
    run = dbpt.fit(table, out=tmp_path / "run", **{**tiny.settings, "max_failures": 0.05})
    assert pseudo_attributes(run.folder) == pseudo_attributes(tiny_run)
    assert result_bytes(run.folder) == result_bytes(tiny_run)
    assert run.to_dict()["failed_images"] == 2
    assert any("bad-images.csv line 2: cut.png" in line for line in logged.messages)
    assert any("bad-images.csv line 53: text.jpg: not a JPEG" in line for line in logged.messages)
    with pytest.raises(InputError, match=r"2 of 108 images can't be read, more than --max-failures 0\.01"):
        fit(tiny, tmp_path / "strict", table)
    assert not (tmp_path / "strict").exists()


def test_a_class_whose_images_are_all_unreadable_is_told(tiny, tmp_path):
    (tiny.table.parent / "text2.jpg").write_text("not an image")
    rows = [row for row in tiny.rows() if row["label"] == "disc"]
    table = tiny.write("one-class-bad", [*rows, {**rows[0], "path": "text2.jpg", "label": "box", "split": "train"}])
    with pytest.raises(InputError, match="class 'box' occurs in no row"):
        fit(tiny, tmp_path / "run", table, max_failures=0.5)
    assert not (tmp_path / "run").exists()


def test_min_confidence_leaves_pseudo_attributes_unknown(tiny, tmp_path):
    run = fit(tiny, tmp_path / "run", min_confidence=0.9998)
    tensors = load_file(run / "pseudo_attributes.safetensors")
    unsure = tensors["confidence"] < 0.9998
    assert 0 < unsure.sum() < len(unsure)
    np.testing.assert_array_equal(tensors["pseudo_attributes"] == -1, unsure)
    assert sum(metrics_of(run)["dataset"]["train_counts_pseudo"]) == (~unsure[tensors["splits"] == 0]).sum()
    with pytest.raises(InputError, match=r"--min-confidence 0\.999999: no row of split 'train'"):
        fit(tiny, tmp_path / "none", min_confidence=0.999999)
    with pytest.raises(InputError, match=r"--min-confidence 0\.999999: no row of split 'val'"):
        erm = {"objective": "erm", "model_selection": "pseudo-wgp"}
        fit(tiny, tmp_path / "none", min_confidence=0.999999, **erm)
    assert not (tmp_path / "none").exists()


def test_baselines_can_be_left_out(tiny, tiny_run, tmp_path):
    run = fit(tiny, tmp_path / "run", baselines=False)
    assert [row["method"] for row in metrics_of(run)["rows"]] == ["zero-shot", "dbpt"]
    assert result_bytes(run) == result_bytes(tiny_run)
    erm = fit(tiny, tmp_path / "erm", objective="erm")
    assert [row["method"] for row in metrics_of(erm)["rows"]] == ["zero-shot", "erm"]
    weights = groups_of(erm)
    assert all(row["group_weight"] == "" for row in weights)


def test_wordings_and_templates_reach_zero_shot_and_prompt(tiny, tiny_run, tmp_path):
    run = fit(tiny, tmp_path / "run", classes=("box=box|crate", "disc"), template=("a drawing of a {}.", "{}"))
    assert result_bytes(run)["pseudo_attributes"] == result_bytes(tiny_run)["pseudo_attributes"]
    assert result_bytes(run)["classifier"] != result_bytes(tiny_run)["classifier"]
    words = json.loads((run / "run.json").read_text())["words"]
    assert words["classes"] == {"box": ["box", "crate"], "disc": ["disc"]}
    assert words["templates"] == ["a drawing of a {}.", "{}"]


def test_what_training_could_not_use_is_refused_before_anything_is_written(tiny, bare, tmp_path):
    out = tmp_path / "run"
    cache = str(tmp_path / "cache")
    for settings, match in (
        ({"n_ctx": 21}, "24 positions, .*n_ctx = 21 context tokens don't fit: at most 20 fit"),
        ({"n_ctx": None, "ctx_init": "dog " * 21}, "21 context tokens don't fit: at most 20"),
        ({"n_ctx": None, "ctx_init": "a photo of a {}"}, "--ctx-init 'a photo of a {}': has a brace; write the words"),
        ({"group_source": "true"}, "--group-source true: .*bare.csv has no attribute"),
        ({"prompts": "group", "group_template": ("a {}.",)}, "--group-template: 'a {}.'; expected one {class}"),
    ):
        with pytest.raises(InputError, match=match):
            fit(tiny, out, bare, cache=cache, **settings)
    assert not out.exists()
    assert not Path(cache).exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"class_specific_context": True, "class_position": "middle", "text_precision": "bf16"},
        {"n_ctx": None, "ctx_init": "a photo of a", "class_position": "front"},
    ],
)
def test_the_settings_of_the_prompt_reach_it(tiny, tiny_backbone, tmp_path, settings):
    run = fit(tiny, tmp_path / "run", epochs=2, baselines=False, **settings)
    context = load_file(run / "prompt.safetensors")["context"]
    assert context.shape == ((2, 3, 16) if "class_specific_context" in settings else (4, 16))
    head = PromptHead(tiny_backbone, {"box": ("box",), "disc": ("disc",)}, **{"n_ctx": 3, "seed": 9} | settings)
    head.context.data = torch.from_numpy(context)
    weights = load_file(run / "classifier.safetensors")["weights"]
    np.testing.assert_allclose(head.weights().detach().numpy(), weights, atol=1e-6)


def test_the_context_starts_from_the_data_sets_own_sentence(tiny, tiny_backbone, tmp_path):
    words = "a very big photo of a"  # another number of tokens than the default
    settings = {"n_ctx": None, "epochs": 1, "warmup_epochs": 1, "lr": 1e-9, "baselines": False}
    own = fit(tiny, tmp_path / "own", template=["{} by night", f"{words} {{}}."], **settings)
    context = load_file(own / "prompt.safetensors")["context"]
    head = PromptHead(tiny_backbone, {"box": ("box",), "disc": ("disc",)}, seed=0, ctx_init=words)
    assert context.shape == (6, 16)
    np.testing.assert_allclose(context, head.context.detach().numpy(), atol=1e-6)
    given = fit(tiny, tmp_path / "given", template=[f"{words} {{}}."], **settings, ctx_init="a photo of")
    assert load_file(given / "prompt.safetensors")["context"].shape == (3, 16)


CHANGES = (
    {"eta": 2.0},
    {"ema_momentum": 0.7},
    {"n_ctx": 2},
    {"n_ctx": None, "ctx_init": "a photo of"},  # as many tokens as before
    {"class_specific_context": True},
    {"class_position": "front"},
    {"text_precision": "bf16"},
    {"text_memory_mb": 999},
    {"features": "live"},
    {"lr": 0.1},
)


def test_a_rows_checkpoint_is_refused_under_any_setting_that_matters(tiny, tmp_path):
    experiment = prepare(FitConfig(data=str(tiny.table), **{**tiny.settings, "epochs": 1}))
    path = tmp_path / "c.safetensors"
    trained_result(experiment, "dbpt", checkpoint_path=path)
    for change in CHANGES:
        other = replace(experiment, config=replace(experiment.config, **change))
        with pytest.raises(InputError, match="made (with other settings|at learning rate 0.005, found --lr)"):
            trained_result(other, "dbpt", checkpoint_path=path)


def test_a_demo_that_another_run_drew_meanwhile_is_used(tmp_path, monkeypatch):
    def drawn_by_another(name, root):
        root.mkdir(parents=True)
        raise InputError("exists")

    monkeypatch.setattr("dbpt.data.demo.write_demo", drawn_by_another)
    with pytest.raises(InputError, match="metadata.csv"):  # got past the drawing, to the reader
        dbpt.fit("demo", out=tmp_path / "run", cache=tmp_path / "cache")
