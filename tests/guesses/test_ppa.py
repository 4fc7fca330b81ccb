"""PPA's groups: the probe finds the rows that go against what comes with their class, and reads no class words."""

import numpy as np
import pytest
import torch

import dbpt
from dbpt.commands.trained_methods import build_objective, training_rows
from dbpt.guesses.linear_probe import PPA_SCALE, PPA_STEPS, probe_errors
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import make_config
from dbpt.study.stages import prepare

WIDTH = 12


def made(sizes: list[list[int]], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unit features of C classes x A attributes (C, A sizes), labels, attributes and class weights."""
    random = np.random.default_rng(seed)
    counts = np.array(sizes)
    num_classes, num_attributes = counts.shape
    labels, attributes = (np.repeat(each, counts.ravel()) for each in np.divmod(np.arange(counts.size), num_attributes))
    directions = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0].T
    class_weights = directions[:num_classes]
    features = class_weights[labels] + 2 * directions[num_classes + attributes]
    features = features + 0.3 * random.standard_normal(features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), labels, attributes, class_weights.astype(np.float32)


@pytest.mark.parametrize("sizes", [[[400, 15], [12, 300]], [[300, 9, 5], [8, 250, 6], [4, 7, 200]]])
def test_it_finds_the_rows_that_go_against_their_class(sizes):
    features, labels, attributes, weights = made(sizes)
    errors = probe_errors(features, labels, weights, np.arange(len(labels)))
    rare = attributes != labels
    assert set(np.unique(errors)) == {0, 1}
    assert errors[rare].mean() > 0.9
    assert errors[~rare].mean() < 0.1


def test_what_the_words_of_the_classes_say_does_not_matter():
    features, labels, _, weights = made([[60, 10], [10, 30]])
    moved = features + np.random.default_rng(0).standard_normal((len(labels), 2)).astype(np.float32) @ weights
    rows = np.arange(len(labels))
    assert probe_errors(moved, labels, weights, rows).tolist() == probe_errors(features, labels, weights, rows).tolist()


def test_a_rare_class_is_not_wrong_for_being_rare():
    """With one attribute the features say nothing once the words are out; only noise is left."""
    features, labels, _, weights = made([[2000], [100]], seed=1)
    errors = probe_errors(features, labels, weights, np.arange(len(labels)))
    assert abs(errors[labels == 0].mean() - errors[labels == 1].mean()) < 0.15


def test_it_is_gradient_descent_on_the_adjusted_loss_of_the_rows_to_fit_on():
    features, labels, _, weights = made([[50, 4, 3], [5, 40, 2], [2, 3, 30]], seed=2)
    fitted = np.arange(0, len(labels), 2)
    basis = torch.linalg.qr(torch.from_numpy(weights).double().T)[0]
    inputs = torch.from_numpy(features).double()
    inputs = PPA_SCALE * (inputs - inputs @ basis @ basis.T)
    layer, targets = torch.nn.Linear(WIDTH, 3).double(), torch.from_numpy(labels)
    inputs -= torch.stack([inputs[fitted][targets[fitted] == label].mean(dim=0) for label in range(3)]).mean(dim=0)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    shares = torch.from_numpy(np.bincount(labels[fitted]) / len(fitted)).log()
    step = 2 / (torch.linalg.matrix_norm(inputs[fitted], 2) ** 2 / len(fitted) + 1).item()
    optimizer = torch.optim.SGD(layer.parameters(), lr=step)
    for _ in range(PPA_STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(inputs[fitted]) + shares, targets[fitted]).backward()
        optimizer.step()
    expected = (layer(inputs).argmax(dim=1) != targets).long()
    assert probe_errors(features, labels, weights, fitted).tolist() == expected.tolist()


def test_classes_whose_words_say_all_are_refused():
    random = np.random.default_rng(0)
    features = random.standard_normal((40, 4)).astype(np.float32)
    with pytest.raises(dbpt.InputError, match="--group-source ppa: the words of the 4 classes span the features"):
        probe_errors(features, np.arange(40) % 4, np.eye(4, dtype=np.float32), np.arange(40))


def test_a_probe_without_errors_is_warned_of(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("dbpt.study.stages.probe_errors", lambda features, *_: np.zeros(len(features), dtype=np.int64))
    settings = tiny.settings | {"head": "linear", "group_source": "ppa", "epochs": 1, "baselines": False}
    run = dbpt.fit(tiny.table, out=tmp_path / "run", **{k: v for k, v in settings.items() if k != "n_ctx"})
    assert any("--group-source ppa: the probe gets every training image right" in text for text in run.warnings)


def test_a_study_fits_the_probe_on_training_images_and_groups_all_by_its_errors(tiny):
    settings = {name: value for name, value in tiny.settings.items() if name != "prompts"}
    study = prepare(make_config({"data": str(tiny.table), "group_source": "ppa", "prompts": "group", **settings}))
    labels, weights = study.dataset.labels, study.embedded.zero_shot.weights
    of_split = {name: probe_errors(study.features, labels, weights, study.rows(name)) for name in ("train", "val")}
    assert of_split["train"].tolist() != of_split["val"].tolist()
    assert study.grouping("ppa").groups.tolist() == (2 * labels + of_split["train"]).tolist()
    assert study.grouping("ppa").names == tuple(f"{y} · probe {e}" for y in ("box", "disc") for e in ("right", "wrong"))


def test_weights_are_balanced_over_the_groups_by_errors_and_not_over_factors(tiny):
    settings = tiny.settings | {"head": "linear", "group_source": "ppa", "attributes": None}
    settings = {name: value for name, value in settings.items() if name not in ("n_ctx", "prompts")}
    factors = ("ground: lake, meadow", "light: day, night")
    study = prepare(make_config({"data": str(tiny.table), "columns": ("attribute=",), "factors": factors, **settings}))
    rows, _ = training_rows(study, OBJECTIVES["balanced"])
    objective = build_objective(study, "balanced", rows)
    assert objective.training.factor_sizes == (2,) and objective.note is None


def test_a_run_needs_no_attribute(tiny, tmp_path, command):
    rows = [{name: value for name, value in row.items() if name != "attribute"} for row in tiny.rows()]
    table, settings = tiny.write("ppa-no-attribute", rows), tiny.settings | {"head": "linear", "group_source": "ppa"}
    del settings["attributes"], settings["n_ctx"], settings["prompts"]
    run = dbpt.fit(table, out=tmp_path / "run", prompts="group", **settings)
    assert run.chosen.method == "gla"
    assert run.chosen.title == "GLA (linear, ppa groups)"
    groups = (run.folder / "groups.csv").read_text()
    assert "probe wrong,ppa," in groups
    assert dbpt.evaluate(run.folder).worst_group_accuracy == run.worst_group_accuracy
    (found,) = dbpt.load(run.folder).predict(tiny.images(1))
    assert found.attribute_probabilities is None
    auto = dbpt.fit(table, out=tmp_path / "auto", prompts="auto", **settings)
    assert (auto.metrics.saved.choice.candidates, auto.metrics.saved.choice.hedge) == (["dbpt", "gla"], None)
    assert "worst class" not in auto.table()
    assert "worst-group probability of the true class" in " ".join(auto.table().split())


def test_objectives_without_groups_refuse_it(tiny, tmp_path, refusal):
    arguments = ["--group-source", "ppa", "--objective", "erm"]
    line = refusal("fit", tiny.table, "--out", tmp_path / "run", *tiny.arguments, *arguments)
    assert "--group-source ppa with --objective erm: ERM uses no groups" in line
