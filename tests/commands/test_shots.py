"""``--shots K``: K training images of each class, drawn by the seed, and nothing else of the training split."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparisons import compare
from runs import contents as run_contents
from runs import fit, groups_of, metrics_of, said
from safetensors.numpy import load_file
from tiny import rows_of

import dbpt
from dbpt.data.validation_split import few_shots, hold_out
from dbpt.errors import InputError

SHOTS = {"shots": 5, "epochs": 3, "head": "linear", "baselines": False, "model_selection": "last"}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return fit(tiny, tmp_path_factory.mktemp("shots") / "run", **SHOTS)


def predictions_of(run: Path) -> list[dict[str, str]]:
    return rows_of(run / "predictions.csv")


def training_paths(run: Path) -> list[str]:
    return [row["path"] for row in predictions_of(run) if row["split"] == "train"]


def test_each_class_has_k_training_and_four_validation_rows_and_test_stays(tiny):
    dataset = dbpt.load_dataset(tiny.table)
    for shots, for_validation in ((1, 1), (3, 3), (5, 4)):
        drawn = few_shots(dataset, shots, val_fraction=0.2, seed=1)
        for split, expected in ((0, shots), (1, for_validation)):
            assert np.bincount(drawn.labels[drawn.splits == split]).tolist() == [expected, expected]
        assert np.array_equal(drawn.places[drawn.splits == 2], np.flatnonzero(dataset.splits == 2))
        assert [dataset.paths[place] for place in drawn.places.tolist()] == list(drawn.paths)


def test_every_training_row_of_a_class_is_drawn_about_equally_often(tiny):
    dataset = dbpt.load_dataset(tiny.table)
    counts = np.zeros(len(dataset))
    for seed in range(400):
        counts[few_shots(dataset, 5, val_fraction=0.2, seed=seed).places] += 1
    for label in (0, 1):
        members = (dataset.splits == 0) & (dataset.labels == label)
        share = 5 / members.sum()
        np.testing.assert_allclose(counts[members] / 400, share, atol=5 * np.sqrt(share * (1 - share) / 400))


def test_without_validation_rows_some_are_held_out_first_and_none_is_in_both(tiny):
    dataset = dbpt.load_dataset(tiny.table)
    without = dataset.take(np.flatnonzero(dataset.splits != 1))
    drawn = few_shots(without, 5, val_fraction=0.5, seed=0)
    assert [np.bincount(drawn.labels[drawn.splits == split]).tolist() for split in (0, 1)] == [[5, 5], [4, 4]]
    splits, notes = hold_out(without, without.labels, 0.5, 0, by="class")
    assert np.array_equal(drawn.splits, splits[drawn.places])
    assert set(said(notes)) < set(drawn.notes)


def test_a_run_has_only_the_drawn_rows_in_all_files(run, tiny):
    rows, metrics = predictions_of(run), metrics_of(run)
    by_split = {split: [row for row in rows if row["split"] == split] for split in ("train", "val", "test")}
    for split, expected in (("train", 5), ("val", 4)):
        labels = [row["label"] for row in by_split[split]]
        assert {labels.count(label) for label in labels} == {expected}
    assert len(by_split["test"]) == sum(row["split"] == "test" for row in tiny.rows())
    for split in by_split:
        assert sum(int(group[f"n_{split}"]) for group in groups_of(run)) == len(by_split[split])
        assert sum(metrics["dataset"]["counts"][split]) == len(by_split[split])
    assert sum(metrics["dataset"]["train_counts_pseudo"]) == 10
    assert metrics["dataset"]["shots"] == 5
    stored = load_file(run / "pseudo_attributes.safetensors")
    assert stored["paths"].tobytes().decode().split("\0") == [row["path"] for row in rows]
    report = (run / "report.html").read_text()
    assert "trained on 5 images of each class" in report
    assert "Few shots: 5 training and 4 validation images of each class" in report


def test_other_training_rows_change_nothing_but_which_are_drawn(tiny, tmp_path, run):
    """Swap the attributes, and the images, of all training and validation rows that are not drawn."""
    drawn, rows = {row["path"] for row in predictions_of(run)}, tiny.rows()
    others = [row for row in rows if row["path"] not in drawn]
    assert others
    for row in others:
        row["attribute"] = "lake" if row["attribute"] == "meadow" else "meadow"
        copy = f"spoilt-{row['path'].replace('/', '-')}"
        shutil.copy(tiny.table.parent / rows[0]["path"], tiny.table.parent / copy)
        row["path"] = copy
    again = fit(tiny, tmp_path / "run", tiny.write("spoilt", rows), **SHOTS)
    assert run_contents(again) == run_contents(run)


def test_evaluate_on_the_runs_own_data_has_the_drawn_rows_and_the_same_figures(run, tiny):
    of_fit, found = metrics_of(run), dbpt.evaluate(run)
    metrics = found.metrics
    assert metrics.dataset.counts == of_fit["dataset"]["counts"]
    assert metrics.guesses.shares == of_fit["guesses"]["shares"]
    assert found.metrics.rows[0].train.n == 10
    assert found.metrics.rows[0].test.average == of_fit["rows"][-1]["test"]["average"]
    assert "trained on 5 images of each class" in " ".join(str(found).split())


def test_evaluate_on_other_data_takes_all_its_rows(run, tiny):
    copy = shutil.copy(tiny.table, tiny.table.parent / "same_rows.csv")
    found = dbpt.evaluate(run, copy)
    assert found.metrics.rows[0].train.n == sum(row["split"] == "train" for row in tiny.rows())
    assert found.metrics.dataset.shots is None


def test_a_cell_equals_the_fit_and_each_seed_has_rows_of_its_own(tiny, tmp_path):
    found = compare(tiny, tmp_path / "c", methods="zero-shot,erm,mean-difference", shots=5, model_selection="last")
    cells = {seed: load_file(found.folder / "cells" / f"erm_linear_seed-{seed}.safetensors") for seed in (0, 1)}
    for seed, cell in cells.items():
        fitted = fit(tiny, tmp_path / f"fit-{seed}", **SHOTS, objective="erm", seed=seed)
        alone = load_file(fitted / "classifier.safetensors")
        assert alone["weights"].tobytes() == cell["classifier.weights"].tobytes()
    assert cells[0]["classifier.weights"].tobytes() != cells[1]["classifier.weights"].tobytes()
    assert "trained on 5 images of each class" in (found.folder / "compare.html").read_text()
    numbers = json.loads((found.folder / "compare.json").read_text())
    assert numbers["dataset"]["shots"] == 5
    assert not any("in split 'val'" in text and "epoch" in text for text in said(numbers["warnings"]))


def test_few_validation_images_are_one_warning_for_all_seeds(tiny, tmp_path):
    found = compare(tiny, tmp_path / "c", methods="erm", shots=2, epochs=1, seeds=3)
    kinds = [warning.kind for warning in found.metrics.warnings]
    assert kinds.count("few shots choose") == 1
    assert not {"unvalidated groups", "small validation groups"} & {*kinds}


def test_a_small_class_keeps_its_rows_with_a_warning(tiny, tmp_path):
    rows = tiny.rows()
    label = rows[0]["label"]
    of_class = [row for row in rows if (row["split"], row["label"]) == ("train", label)]
    few = [row for row in rows if row not in of_class[3:]]
    run = fit(tiny, tmp_path / "run", tiny.write("small-class", few), **SHOTS)
    expected = f"--shots 5: these classes have fewer training images, and all of them are used: {label} (3)"
    assert expected in said(metrics_of(run)["warnings"])


def test_precomputed_features_in_the_order_of_the_data_are_those_of_the_drawn_rows(tiny, tiny_features, tmp_path, run):
    again = fit(tiny, tmp_path / "run", **SHOTS, embeddings=str(tiny_features))
    assert training_paths(again) == training_paths(run)
    for row, other in zip(predictions_of(again), predictions_of(run), strict=True):
        assert row["prediction"] == other["prediction"]
    np.save(tmp_path / "short.npy", np.load(tiny_features)[:-1])
    with pytest.raises(InputError, match="has 105 rows, .* has 106; row i must"):
        fit(tiny, tmp_path / "short", **SHOTS, embeddings=str(tmp_path / "short.npy"))


def test_the_average_is_plain_where_the_literature_has_an_adjusted_one(tiny):
    dataset = replace(dbpt.load_dataset(tiny.table), average="adjusted")
    assert few_shots(dataset, 5, val_fraction=0.2, seed=0).average == "plain"


def test_what_cannot_be_drawn_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match=r"^--shots: must be at least 1, found 0$"):
        fit(tiny, tmp_path / "none", shots=0)
    with pytest.raises(InputError, match=r"^--shots 5 with --resample: each seed draws its shots already; use --seeds"):
        compare(tiny, tmp_path / "c", seeds=None, resample=2, shots=5)
    with pytest.raises(InputError, match=r"^--shots 5 with --attributes auto: the search would see the classes"):
        fit(tiny, tmp_path / "auto", **{**SHOTS, "attributes": ["auto"]})
    assert not any(tmp_path.iterdir())
