"""``--attributes clusters`` with factors, several processes, a resume, and classes of few images."""

import json

import numpy as np
import pytest
from launched import command as on_ranks
from launched import launch
from runs import fit, metrics_of, without
from safetensors.numpy import load_file
from tiny import options_of

import dbpt

WORD = {"attributes": "clusters"}
QUICK = {"head": "linear", "baselines": False, "epochs": 2, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def run(tiny, bare, tmp_path_factory):
    return fit(tiny, tmp_path_factory.mktemp("combined") / "run", bare, **WORD | QUICK)


@pytest.fixture(scope="module")
def few(tiny):
    """One class has two images in training and validation, and more in the test split."""
    rows = without(tiny.rows(), "attribute")
    kept = [row for row in rows if row["label"] == "box" and row["split"] == "train"][:2]
    return tiny.write(
        "clusters-two", [row for row in rows if row["label"] == "disc" or row["split"] == "test" or row in kept]
    )


def test_true_factors_define_the_reported_groups_and_clusters_those_of_training_and_audit(tiny, run, tmp_path):
    rows = [
        {**row, "light": ("day", "night")[number % 2], "ground": row["attribute"]}
        for number, row in enumerate(tiny.rows())
    ]
    table = tiny.write("clusters-factors", without(rows, "attribute"))
    dataset = dbpt.load_dataset(table, factors=["ground: meadow, lake", "light: day, night"])
    found = fit(tiny, tmp_path / "run", dataset, **WORD | QUICK)
    metrics = metrics_of(found)
    assert metrics["group_kind"] == "true" and len(metrics["dataset"]["attributes"]) == 4
    assert (found / "clusters.safetensors").read_bytes() == (run / "clusters.safetensors").read_bytes()
    names = metrics["dataset"]["clusters"]["names"]
    audit = dbpt.audit(dataset, **WORD, **tiny.backbone)
    assert [group.attribute for group in audit.groups] == [*names[0], *names[1]]
    assert audit.figures.factors == []


def test_two_ranks_find_the_clusters_of_one(tiny, bare, run, tmp_path):
    options = options_of({**tiny.settings, **WORD, "head": "linear", "epochs": 2, "warmup_epochs": 0})
    options.append("--no-baselines")
    launch(tmp_path, 2, on_ranks, ["fit", str(bare), *options, "--out", str(tmp_path / "run")]).finished()
    for name in ("clusters", "pseudo_attributes"):
        assert (tmp_path / "run" / f"{name}.safetensors").read_bytes() == (run / f"{name}.safetensors").read_bytes()
    weights = [load_file(folder / "classifier.safetensors")["weights"] for folder in (tmp_path / "run", run)]
    np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("verb", ["fit", "audit", "guess", "compare"])
def test_a_class_with_fewer_images_than_clusters_is_refused(tiny, few, refusal, tmp_path, verb):
    out = tmp_path / ("out.csv" if verb == "guess" else "out")
    line = refusal(verb, few, *options_of(tiny.backbone | {"attributes": "clusters:3"}), "--out", out)
    assert line.startswith("--attributes clusters: class 'box' has 2 different images")
    assert not out.exists()


def test_the_clusters_of_a_run_serve_for_data_without_a_class(tiny, bare, run):
    """`evaluate` finds no clusters, so that it needs no images of any class."""
    rows = [row for row in without(tiny.rows(), "attribute") if row["label"] == "disc" and row["split"] == "test"]
    found = dbpt.evaluate(run, tiny.write("clusters-one-class", rows)).to_dict()
    assert [group["n"] for group in found["rows"][0]["test"]["groups"]][:2] == [0, 0]
    assert json.dumps(found["dataset"]["clusters"]) == json.dumps(metrics_of(run)["dataset"]["clusters"])


def test_draws_of_a_comparison_keep_the_clusters(tiny, bare, run, tmp_path):
    settings = {**tiny.settings, **WORD, "methods": ["zero-shot", "dbpt"], "heads": "linear", "epochs": 2}
    found = dbpt.compare(bare, out=tmp_path / "all", resample=2, **settings | {"warmup_epochs": 0})
    data = found.to_dict()["dataset"]
    assert data["clusters"] == metrics_of(run)["dataset"]["clusters"]
    assert data["counts"] == metrics_of(run)["dataset"]["counts"]
