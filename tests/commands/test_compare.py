"""`dbpt.compare` end to end: it trains what `fit` trains, and its numbers are those of the fits."""

import json

import numpy as np
import pytest
from comparisons import METHODS, PAGES, TABLES, cell, compare
from runs import fit, metrics_of
from safetensors.numpy import load_file

import dbpt
from dbpt import InputError
from dbpt.evaluation import worst_group_difference_interval
from dbpt.evaluation.row_differences import paired_t_interval, within_reach


def row_of(comparison, method: str, head: str | None) -> dict:
    (row,) = [row for row in comparison.to_dict()["rows"] if (row["method"], row["head"]) == (method, head)]
    return row


def test_the_folder_holds_the_tables_and_a_file_for_each_cell(comparison):
    folder = comparison.folder
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    cells = {path for path in files if path.startswith("cells/")}
    outside = {path for path in files if "/" not in path}
    assert outside == {*TABLES, *PAGES, "compare.json", "config.toml", "plan.json"}
    assert not list((folder / "checkpoints").iterdir())
    figures = {f"figures/{name}.{kind}" for name in ("accuracy", "worst_group_accuracy") for kind in ("svg", "png")}
    assert figures == {path for path in files if path.startswith("figures/")}
    assert len(cells) == 2 * 1 + 2 * 2 * 3
    assert json.loads((folder / "plan.json").read_text())["status"] == "complete"
    assert json.loads((folder / "compare.json").read_text()) == comparison.to_dict()
    assert str(comparison).startswith("squares: test split, 32 images\ngroups: true attributes; figures in per cent, ")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dbpt_prompt_seed-1", {"seed": 1}),
        ("erm_prompt_seed-0", {"objective": "erm"}),
        ("groupdro-true_linear_seed-1", {"objective": "groupdro", "group_source": "true", "head": "linear", "seed": 1}),
    ],
)
def test_a_cell_is_the_fit_of_its_settings_bit_for_bit(comparison, tiny, tmp_path, name, settings):
    run = fit(tiny, tmp_path / "run", epochs=3, baselines=False, **settings)
    tensors, found = cell(comparison.folder, name)
    for key, value in load_file(run / "classifier.safetensors").items():
        assert tensors[f"classifier.{key}"].tobytes() == value.tobytes()
    zero_shot, row = metrics_of(run)["rows"]
    same = ("method", "title", "head", "prompts", "group_source", "apply", "model_selection", "val", "test")
    assert [found[name] for name in same] == [row[name] for name in same]
    assert found["repeats"][0]["best_epoch"] == row["repeats"][0]["best_epoch"]
    assert tensors["correct"].mean() == pytest.approx(row["test"]["average"])
    assert cell(comparison.folder, "zero-shot_seed-0")[1]["test"] == zero_shot["test"]


def test_the_figures_are_means_and_deviations_over_the_seeds(comparison):
    for method, head in (("zero-shot", None), ("erm", "prompt"), ("dbpt", "linear")):
        row = row_of(comparison, method, head)
        for name in ("worst_group_accuracy", "average", "adjusted_average", "group_mean", "gap"):
            stem = f"{method}_{head}" if head else method
            values = [cell(comparison.folder, f"{stem}_seed-{seed}")[1]["test"][name] for seed in (0, 1)]
            assert [repeat["figures"][name] for repeat in row["repeats"]] == values
            assert row["test"][name] == pytest.approx(np.mean(values))
            assert row["deviations"][name] == (None if head is None else pytest.approx(np.std(values, ddof=1)))


def test_differences_are_to_erm_with_the_same_head_and_seed(comparison):
    for method, head in (("dbpt", "linear"), ("dbpt", "prompt"), ("zero-shot", None)):
        baseline = head or "prompt"
        row, erm = row_of(comparison, method, head), row_of(comparison, "erm", baseline)
        ours, theirs = (
            [repeat["figures"]["worst_group_accuracy"] for repeat in each["repeats"]] for each in (row, erm)
        )
        by_seed = [one - other for one, other in zip(ours, theirs, strict=True)]
        found = row["difference"]["figures"]["worst_group_accuracy"]
        assert row["difference"]["head"] == baseline
        assert found["mean"] == pytest.approx(np.mean(by_seed))
        assert found["over_seeds"] == pytest.approx(within_reach(paired_t_interval(by_seed)))
        stems = [f"{method}_{head}" if head else method, f"erm_{baseline}"]
        pairs = [[cell(comparison.folder, f"{stem}_seed-{seed}")[0] for stem in stems] for seed in (0, 1)]
        triples = [(one["correct"] > 0, other["correct"] > 0, one["groups"].astype(np.int64)) for one, other in pairs]
        bounds = [worst_group_difference_interval(*triple) for triple in triples]
        assert row["difference"]["over_images"] == pytest.approx(np.mean(bounds, axis=0))
    assert row_of(comparison, "erm", "linear")["difference"] is None


def test_intervals_over_images_are_the_means_of_the_seeds_bounds(comparison):
    row = row_of(comparison, "dbpt", "prompt")
    metrics = [cell(comparison.folder, f"dbpt_prompt_seed-{seed}")[1]["test"] for seed in (0, 1)]
    expected = [np.mean([each[f"worst_group_{bound}"] for each in metrics]) for bound in ("low", "high")]
    assert [row["test"][f"worst_group_{bound}"] for bound in ("low", "high")] == pytest.approx(expected)
    for g, group in enumerate(row["test"]["groups"]):
        for bound in ("low", "high"):
            assert group[bound] == pytest.approx(np.mean([each["groups"][g][bound] for each in metrics]))


def test_validation_that_is_judged_flatters_and_says_so(tiny, tmp_path):
    rows = [row for row in tiny.rows() if row["split"] == "train"]
    found = compare(tiny, tmp_path / "c", tiny.write("only-train", rows), methods="erm,dbpt,dfr", seeds=2)
    (dbpt_row,) = [row for row in found.to_dict()["rows"] if row["method"] == "dbpt"]
    low, high = dbpt_row["difference"]["over_images"]
    assert low < dbpt_row["difference"]["figures"]["worst_group_accuracy"]["mean"] < high
    printed = " ".join(str(found).split())
    assert "it also selected the epochs, so the figures are too high" in printed
    assert "it is judged on them here, so" in printed


def test_each_line_of_progress_is_a_cell_and_warnings_are_said_once(tiny, tmp_path, logged):
    compare(tiny, tmp_path / "c", eta=2.0, up_weight=7.0)
    finished = [line for line in logged.messages if line.startswith("[")]
    assert [line.partition("]")[0] for line in finished] == [f"[{number}/8" for number in range(1, 9)]
    assert finished[1].startswith("[2/8] erm, linear, seed 0: worst group ")
    assert finished[1].endswith(" left")
    assert "left" not in finished[-1]
    warnings = [record.message for record in logged.records if record.levelname == "WARNING"]
    assert len(warnings) == len(set(warnings))
    assert not any("--eta" in line for line in warnings)  # dbpt reads it, ERM need not
    assert any("--up-weight 7.0 changes nothing in this run: only --objective jtt" in line for line in warnings)


def test_the_methods_that_are_compared_by_default_need_no_annotation(tiny, bare, tmp_path):
    found = dbpt.compare(bare, out=tmp_path / "c", seeds=1, **tiny.settings | {"epochs": 5})
    assert {row["method"] for row in found.to_dict()["rows"]} > {"jtt", *METHODS} - {"groupdro:true"}


def test_as_one_of_several_processes_it_is_refused(tiny, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("torch.distributed.is_initialized", lambda: True)
        patch.setattr("torch.distributed.get_world_size", lambda: 2)
        with pytest.raises(InputError, match="^dbpt compare can't share trainings .* without torchrun"):
            compare(tiny, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_method_that_the_data_do_not_allow_is_named_before_anything_is_trained(tiny, tmp_path):
    """DFR chooses a penalty by a second row of a group of validation, and here each has one."""
    rows = tiny.rows()
    of_group = {(row["label"], row["attribute"]): row for row in rows if row["split"] == "val"}
    others = [row for row in rows if row["split"] != "val"]
    table = tiny.write("one-of-each-in-validation", [*others, *of_group.values()])
    wrong = r"^--objective dfr: no group has a second row, .* objective \(in a comparison, leave it out of --methods\)$"
    with pytest.raises(InputError, match=wrong):
        compare(tiny, tmp_path / "c", table, methods="erm,dfr", pseudo_attributes=str(table))
    assert not (tmp_path / "c").exists()
