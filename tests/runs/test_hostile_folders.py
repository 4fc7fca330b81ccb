"""Folders of classifiers by anybody: one line each, without a question, foreign code, the network or much memory."""

import builtins
import json
import os
import shutil
import socket
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from classifiers import classifier_of
from huggingface_hub import constants
from safetensors.numpy import load_file
from tiny import CONFIG

import dbpt
from dbpt import InputError, load_backbone
from dbpt.clip.spec import model_tokenizer
from dbpt.storage.tensors import write_tensors

CODE = {"model_type": "evil", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
BERT = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """Fail if anything was asked, connected to, or run."""
    events = []

    def refuse(*arguments, **_):
        events.append(arguments)
        raise OSError("not allowed")

    for owner, name in ((builtins, "input"), (socket, "create_connection"), (socket.socket, "connect")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/code.py").write_text("open('ran', 'w')\n")
    (tmp_path / "evil/config.json").write_text(json.dumps(CODE))
    yield
    assert events == [] and not Path("ran").exists()


@pytest.fixture
def saved(tiny, tiny_backbone, tmp_path) -> Path:
    """A classifier of 3 × 3 groups, and CLIP's weights beside it."""
    classifier = classifier_of(tiny_backbone, "linear", "group")
    classifier.card = "# A card"
    classifier.save_pretrained(tmp_path / "saved")
    return Path(shutil.copy(tiny.weights, tmp_path / "saved")).parent


def change(folder: Path, values: dict[str, object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    for path, value in values.items():
        *keys, last = path.split(".")
        reduce(getitem, keys, config)[last] = value
    (folder / "config.json").write_text(json.dumps(config))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        list(dbpt.load(folder).predict([], attributes=True))


PUBLISHED = {"backbone.weights": {"kind": "published", "sha256": "a"}}
NAMED = {"backbone.tokenizer": {"kind": "model"}}
RANDOM = {"backbone.weights": {"kind": "random", "sha256": "a", "seed": 0}}
CONFIGS = [
    ("config.json: its library_name is 'timm'; expected a classifier of 'dbpt'", {"library_name": "timm"}),
    ("config.json: written by a newer dbpt", {"schema_version": 2}),
    (r"config.json: Expected `object`.* at `\$.words`", {"words": 3}),
    ("config.json: has no usable backbone.model", {"backbone": {}}),
    ("--head: 'quantum' is none of", {"settings": {"head": "quantum"}}),
    ("model.safetensors: not a readable classifier", {"settings": {"head": "adapter"}}),
    ("head_width is 1e.308", {"backbone.config.vision_cfg.head_width": 1e308}),
    ("can't build this model", {"backbone.config.vision_cfg.head_width": 16.0}),
    ("can't build this model", {"backbone.config.text_cfg.norm_kwargs": {"eps": "x"}}),
    ("norm_kwargs", {"backbone.config.vision_cfg.norm_kwargs": {"device": "meta"}}),
    ("timm_model_name", {"backbone.config.vision_cfg.timm_model_name": "hf-hub:a/b"}),
    ("image_size", {"backbone.config.vision_cfg.image_size": 1 << 20}),
    ("is a folder here", {"backbone.config.text_cfg": {"hf_model_name": "evil", "hf_model_pretrained": False}}),
    ("doesn't ask the Hub", {"backbone.config.text_cfg": {"hf_model_name": "me/none"}}),
    ("weights.seed", {"backbone.weights": {"kind": "random", "sha256": "a", "seed": 1 << 70}}),
    ("weights.kind", PUBLISHED | {"backbone.model": "local-dir:evil", "backbone.pretrained": None}),
    ("weights.kind", PUBLISHED | {"backbone.model": "ViT-B-32", "backbone.pretrained": "evil/model.bin"}),
    ("embedded null", {"backbone.weights.path": "a\0b"}),
    ("tokenizer.kind", NAMED | {"backbone.model": "local-dir:evil"}),
    ("tokenizer.kind", NAMED | {"backbone.model": "hf-hub:evil/x"}),
    ("finite", {"backbone.preprocess.fill_color": float("nan")}),
    ("fill_color", {"backbone.preprocess.fill_color": "x"}),
    ("weights of shape", {"words.attributes": {}}),
    ("weights of shape", {"words.attributes": {"a": ["a"], "b": ["b"]}}),
    ("settings.cache", {"settings.cache": "evil"}),
]


@pytest.mark.parametrize(("match", "values"), CONFIGS, ids=[f"{match} {list(values)[-1]}" for match, values in CONFIGS])
def test_a_changed_config(saved, match, values):
    change(saved, values)
    refused(saved, match)


@pytest.mark.parametrize("weights", [{}, RANDOM])
def test_a_large_tower_is_compared_with_its_weights_before_it_takes_memory(saved, monkeypatch, weights):
    devices, build, text = [], open_clip.CLIP, {"width": 2048, "layers": 24, "heads": 16}
    monkeypatch.setattr(open_clip, "CLIP", lambda **c: devices.append(torch.empty(0).device.type) or build(**c))
    change(saved, {"backbone.config.text_cfg": CONFIG["text_cfg"] | text, **weights})
    refused(saved, "not a checkpoint of the architecture")
    assert devices == ["meta"]


ZEROS = np.zeros((3, 16), np.float32)
PROBE = {"probe.weights": ZEROS, "probe.biases": ZEROS[:, 0]}
TENSORS = {
    "weights 0-d": {"weights": ZEROS[0, 0]},
    "of no head": {"forward": ZEROS},
    "biases 0-d": PROBE | {"probe.biases": ZEROS[0, 0]},
    "no biases": {"probe.weights": ZEROS},
    "narrow probe": PROBE | {"probe.weights": ZEROS[:, :9]},
}


@pytest.mark.parametrize("changes", TENSORS.values(), ids=TENSORS)
def test_changed_tensors(saved, changes):
    file = saved / "model.safetensors"
    write_tensors(file, load_file(file) | changes, version=1)
    refused(saved, "not a readable classifier|its probe does not belong")


@pytest.mark.parametrize("name", ["README.md", "config.json", "tiny.safetensors", "tokenizer.json"])
def test_fifty_sparse_gigabytes_are_not_read(saved, name):
    change(saved, {"backbone.tokenizer": {"kind": "file", "path": "tokenizer.json", "sha256": "a"}})
    (saved / name).write_bytes(b"")
    os.truncate(saved / name, 50 << 30)
    with pytest.raises(InputError, match=name):
        dbpt.load(saved).backbone.encode_text(["a dog"])


@pytest.mark.parametrize("settings", [CODE, CODE | BERT, BERT | {"attn_implementation": "a/b"}])
def test_code_of_a_text_tower_is_never_run(tmp_path, monkeypatch, settings):
    pytest.importorskip("transformers")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    Path("evil/config.json").write_text(json.dumps(settings))
    Path("c.json").write_text(json.dumps(CONFIG | {"text_cfg": {"hf_model_name": str(tmp_path / "evil")}}))
    with pytest.raises(InputError, match=r"text tower '.*evil'.* code"):
        load_backbone("c.json", "random")


def test_code_of_a_tokenizer_is_never_run(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name, **options: options)
    assert model_tokenizer("ViT-B-16-SigLIP") == {"trust_remote_code": False}
    assert model_tokenizer("ViT-B-32") == {}  # CLIP's own has no such option


def test_a_text_tower_of_the_hub_comes_from_its_cache(saved, tmp_path, logged):
    pytest.importorskip("transformers")
    snapshot, refs = tmp_path / "hub/models--me--bert/snapshots/1", tmp_path / "hub/models--me--bert/refs"
    snapshot.mkdir(parents=True)
    refs.mkdir()
    (refs / "main").write_text("1")
    (snapshot / "config.json").write_text(json.dumps(BERT))
    change(saved, {"backbone.config.text_cfg": {"hf_model_name": "me/bert"}})
    refused(saved, "not a checkpoint of the architecture")  # it was loaded, and is another tower
    assert "text tower 'me/bert': loaded without asking the Hub" in logged.text
