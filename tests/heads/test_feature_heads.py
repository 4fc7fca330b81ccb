"""The heads on the features, linear and adapter: what they compute, what they leave in a run, how it is read back."""

import json
import re
from dataclasses import fields

import numpy as np
import pytest
import torch
from runs import fit, history_of, metrics_of, said
from safetensors.numpy import load_file
from tiny import CLASSES
from torch import nn
from torch.nn import functional as F

import dbpt
from dbpt.errors import InputError
from dbpt.heads import HEADS, AdapterHead, Head, LinearHead
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.settings.config import FitConfig
from dbpt.storage.tensors import write_tensors

FEATURES = F.normalize(torch.randn(7, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
CLASS_WEIGHTS = F.normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(1)), dim=-1)


def linear() -> LinearHead:
    return LinearHead(CLASS_WEIGHTS, logit_scale=20.0)


def adapter(seed: int = 0) -> AdapterHead:
    return AdapterHead(CLASS_WEIGHTS, logit_scale=20.0, logit_bias=-3.0, seed=seed)


def moved(head: Head) -> Head:
    """As after some training."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return head


def as_numpy(head: Head) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in head.classifier_tensors().items()}


def test_linear_starts_as_the_zero_shot_classifier():
    torch.testing.assert_close(linear()(FEATURES), 20 * FEATURES @ CLASS_WEIGHTS.T)


def test_linear_is_a_layer_with_a_bias():
    head = moved(linear())
    layer = nn.Linear(16, 3)
    layer.weight.data, layer.bias.data = head.weights.data, head.bias.data
    torch.testing.assert_close(head(FEATURES), layer(FEATURES))
    assert {name for name, _ in head.named_parameters()} == set(head.state_dict()) == {"weights", "bias"}


def test_adapter_is_that_of_the_paper():
    """CLIP-Adapter as its authors wrote it, on features of any length."""
    head = moved(adapter())
    network = nn.Sequential(nn.Linear(16, 4, bias=False), nn.ReLU(), nn.Linear(4, 16, bias=False), nn.ReLU())
    network[0].weight.data, network[2].weight.data = head.down.data, head.up.data
    image_features = 11 * FEATURES
    mixed = 0.2 * network(image_features) + 0.8 * image_features
    mixed = mixed / mixed.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(head(FEATURES), 20 * mixed @ CLASS_WEIGHTS.T - 3)


def test_adapter_trains_its_two_layers_and_draws_them_from_the_seed_alone():
    torch.randn(3)  # the global generator does not matter
    head = adapter()
    assert {name for name, _ in head.named_parameters()} == {"down", "up"}
    assert torch.equal(head.down, adapter().down)
    assert not torch.equal(head.down, adapter(1).down)
    assert head.down.abs().max() <= 1 / 4
    assert head.up.abs().max() <= 1 / 2
    torch.manual_seed(0)
    layers = [nn.Linear(1024, 256, bias=False), nn.Linear(256, 1024, bias=False)]
    wide = AdapterHead(torch.zeros(2, 1024), logit_scale=1.0, logit_bias=0.0, seed=0)
    for ours, torchs in zip((wide.down, wide.up), layers, strict=True):
        assert ours.shape == torchs.weight.shape
        assert ours.std().item() == pytest.approx(torchs.weight.std().item(), rel=0.02)


@pytest.mark.parametrize("build", [linear, adapter])
def test_what_is_stored_gives_the_heads_logits(build, tmp_path):
    head = moved(build())
    write_tensors(tmp_path / "c.safetensors", FeatureClassifier(as_numpy(head), type(head)).tensors, version=1)
    stored = FeatureClassifier(load_file(tmp_path / "c.safetensors"), type(head))
    expected = head(FEATURES).detach()
    np.testing.assert_allclose(stored.logits(FEATURES.numpy()), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(stored.predictions(FEATURES.numpy()), expected.argmax(1))
    np.testing.assert_allclose(stored.probabilities(FEATURES.numpy()), expected.softmax(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"logit_bias": np.zeros(2)}, r"logit_bias has shape \(2,\), expected \(1,\) or \(3,\)"),
        ({"logit_scale": np.zeros(())}, r"logit_scale has shape \(\), expected \(1,\)"),
        ({"adapter.up": np.zeros((16, 5))}, r"adapter.up has shape \(16, 5\), expected \(16, 4\)"),
        ({"adapter.down": np.zeros((4, 8))}, r"adapter.down has shape \(4, 8\), expected \(4, 16\)"),
        ({"adapter.ratio": np.zeros(2)}, r"adapter.ratio has shape \(2,\), expected \(1,\)"),
    ],
)
def test_tensors_of_a_wrong_shape_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        FeatureClassifier(as_numpy(adapter()) | change, AdapterHead)


@pytest.mark.parametrize("head", ["linear", "adapter"])
def test_a_run_holds_what_is_documented(tiny, tmp_path, head):
    run = fit(tiny, tmp_path / "run", head=head, lr=0.05, model_selection="last")
    names = {"weights", "logit_scale", "logit_bias"}
    if head == "adapter":
        names |= {"adapter.down", "adapter.up", "adapter.ratio"}
    tensors = load_file(run / "classifier.safetensors")
    assert set(tensors) == names
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())
    assert tensors["logit_bias"].shape == ((2,) if head == "linear" else (1,))
    assert not (run / "prompt.safetensors").exists()
    assert [row["head"] for row in metrics_of(run)["rows"]] == [None, head, head]


def test_the_rate_is_that_of_head_and_optimizer_unless_one_is_given():
    assert FitConfig(head="adapter", lr=0.5).peak_lr == 0.5
    rates = {head: [FitConfig(head=head, optimizer=name).peak_lr for name in ("sgd", "adamw")] for head in HEADS}
    assert rates == {"prompt": [0.1, 0.003], "linear": [0.1, 0.01], "adapter": [0.1, 0.01]}
    lr = next(setting for setting in fields(FitConfig) if setting.name == "lr")
    assert "[default: 0.1 with sgd; with adamw 0.01, for the head prompt 0.003]" in lr.metadata["help"]


def test_the_prompt_needs_not_fit_where_none_is_trained(tiny, tmp_path):
    run = fit(tiny, tmp_path / "run", head="linear", n_ctx=30, epochs=1, baselines=False)
    assert json.loads((run / "run.json").read_text())["status"] == "complete"


def test_settings_that_nothing_reads_are_told_and_those_that_something_reads_are_not(tiny, tiny_run, tmp_path, logged):
    settings = {**tiny.settings, "n_ctx": None, "epochs": 2, "identification_epochs": 1, "baselines": False}
    del settings["min_group_count"]
    changed = {"ctx_init": "a photo of", "class_position": "front", "eta": 2.0, "sgd_momentum": 0.5}
    run = dbpt.fit(tiny.table, out=tmp_path / "run", head="linear", objective="jtt", **settings, **changed)
    unread = [warning for warning in said(run.to_dict()["warnings"]) if "changes nothing in this run" in warning]
    shown = [(line.split(" changes nothing")[0], line.split(": only ")[1].split(" would")[0]) for line in unread]
    assert shown == [
        ("--eta 2.0", "--objective dbpt"),
        ("--ctx-init a photo of", "--head prompt"),
        ("--class-position front", "--head prompt"),
        ("--sgd-momentum 0.5", "--optimizer sgd"),
    ]
    assert all(warning in logged.messages for warning in unread)
    assert not [warning for warning in said(metrics_of(tiny_run)["warnings"]) if "changes nothing" in warning]


def test_small_batches_under_adamw_sample_and_weights_in_the_loss_are_warned_of(tiny, tmp_path):
    settings = {"head": "linear", "epochs": 2, "batch_size": 16, "lr": 0.01}
    default = fit(tiny, tmp_path / "default", **settings)
    rows = {row["method"]: row for row in metrics_of(default)["rows"]}
    assert (rows["dbpt"]["apply"], rows["erm"]["apply"]) == ("sampling", None)
    assert [entry["draws"] is not None for entry in history_of(default)] == [False, False, True, True]  # ERM, dbpt
    same = fit(tiny, tmp_path / "same", apply="sampling", **settings)
    assert (same / "classifier.safetensors").read_bytes() == (default / "classifier.safetensors").read_bytes()
    in_loss = fit(tiny, tmp_path / "loss", apply="loss", **settings)
    start = "--apply loss with --optimizer adamw and --batch-size 16: AdamW takes most of the group weights"
    for run, times in ((default, 0), (same, 0), (in_loss, 1)):
        assert sum(warning.startswith(start) for warning in said(metrics_of(run)["warnings"])) == times


def test_dfr_learns_from_validation_and_is_an_objective_like_the_others(tiny, tmp_path, logged):
    run = fit(tiny, tmp_path / "run", objective="dfr", head="linear", lr=0.05)
    line = re.compile(r"dfr: C = [\d.]+, chosen on half of the validation split; mean of 20 balanced subsets")
    assert any(map(line.match, logged.messages))
    rows = {row["method"]: row for row in metrics_of(run)["rows"]}
    assert list(rows) == ["zero-shot", "erm", "dfr"]
    assert (rows["dfr"]["group_source"], rows["dfr"]["head"], rows["erm"]["head"]) == ("pseudo", "linear", "linear")
    assert rows["dfr"]["apply"] is rows["erm"]["apply"] is None  # they have no weights
    assert re.search(r"Weights applied</\w+>\s*<\w+>none<", (run / "report.html").read_text())
    other_training = [row | {"label": CLASSES[0]} if row["path"].startswith("train/10") else row for row in tiny.rows()]
    again = fit(tiny, tmp_path / "again", tiny.write("dfr", other_training), objective="dfr", head="linear", lr=0.05)
    assert (again / "classifier.safetensors").read_bytes() == (run / "classifier.safetensors").read_bytes()


NO_BOX = "class 'box' has no row with a known group in split"


@pytest.mark.parametrize(
    ("objective", "split", "keep", "match"),
    [
        ("dfr", "val", lambda row: row["label"] == "disc", f"{NO_BOX} 'val'; add rows to it or choose"),
        ("dfr", "val", lambda row: row["path"].endswith("-00.png"), "no group has a second row, to choose the penalty"),
        ("subg", "train", lambda row: row["label"] == "disc", f"{NO_BOX} 'train'; add rows to it or choose"),
    ],
)
def test_too_few_known_groups_are_refused_before_anything_is_written(tiny, tmp_path, objective, split, keep, match):
    rows = [row if row["split"] != split or keep(row) else row | {"attribute": ""} for row in tiny.rows()]
    table, settings = tiny.write("few-known", rows), {"head": "linear", "group_source": "true"}
    with pytest.raises(InputError, match=rf"^--objective {objective}: {match}"):
        fit(tiny, tmp_path / "run", table, objective=objective, **settings)
    assert not (tmp_path / "run").exists()
