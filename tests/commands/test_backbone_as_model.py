"""A `Backbone` as ``model``: the run is that of its names, and refused if they don't lead to it again."""

from dataclasses import replace

import pytest
import torch
from runs import result_bytes

import dbpt
from dbpt.settings.config import make_config, read_config

NAMES = ("model", "pretrained", "tokenizer", "device", "image_precision")


def test_a_run_with_it_is_that_of_its_names(tiny, tiny_run, tiny_backbone, tmp_path):
    settings = {name: value for name, value in tiny.settings.items() if name not in NAMES}
    run = dbpt.fit(tiny.table, out=tmp_path / "run", model=tiny_backbone, **settings)
    assert result_bytes(run.folder) == result_bytes(tiny_run)
    config = read_config(run.folder / "config.toml")
    assert (config["model"], config["pretrained"]) == (str(tiny.model), str(tiny.weights))
    assert dbpt.load(run.folder).backbone.spec == tiny_backbone.spec
    assert dbpt.fit(tiny.table, out=run.folder, resume=True, **tiny.settings).folder == run.folder


@pytest.mark.parametrize("weights", ["random", "file"])
def test_its_names_are_those_it_was_loaded_by(tiny, tmp_path, weights):
    (tmp_path / "tiny.json").write_bytes(tiny.model.read_bytes())
    (tmp_path / "w.safetensors").write_bytes(tiny.weights.read_bytes())
    pretrained = "random" if weights == "random" else str(tmp_path / "w.safetensors")
    names = {"model": str(tmp_path / "tiny.json"), "pretrained": pretrained, "tokenizer": None, "device": "cpu"}
    names["image_precision"] = "bf16"
    config = make_config({"model": dbpt.load_backbone(**names), "device": "auto", "pretrained": pretrained})
    assert {name: getattr(config, name) for name in NAMES} == names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pretrained": "openai"}, r"^--pretrained openai: the Backbone given as model has .*; leave it out$"),
        ({"device": "cuda"}, "^--device cuda: the Backbone given as model has cpu; leave it out$"),
        ({"image_precision": "bf16"}, "^--image-precision bf16: the Backbone given as model has float32; leave"),
        ({"tokenizer": "t.json"}, "^--tokenizer t.json: the Backbone given as model has None; leave it out$"),
    ],
)
def test_other_settings_beside_it_are_refused(tiny_backbone, settings, message):
    with pytest.raises(dbpt.InputError, match=message):
        make_config({"model": tiny_backbone, **settings})


def test_one_that_its_names_do_not_lead_to_is_refused(tiny, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(tiny.weights.read_bytes())
    backbone = dbpt.load_backbone(tiny.model, weights)
    for other in (replace(backbone, spec={}), replace(backbone, spec={**backbone.spec, "weights": {}})):
        with pytest.raises(dbpt.InputError, match=r"^--model: this Backbone can't be loaded again \(.*; name"):
            dbpt.fit(tiny.table, out=tmp_path / "run", model=other)
    parameter = next(backbone.model.parameters())
    parameter.data[0] += 1
    with pytest.raises(dbpt.InputError, match="^--model: [a-z_.]+ of this Backbone was changed after"):
        dbpt.fit(tiny.table, out=tmp_path / "run", model=backbone)
    parameter.data[0] -= 1
    weights.unlink()
    with pytest.raises(dbpt.InputError, match=r"^--model: this Backbone can't be loaded again \(.*no such weights"):
        dbpt.embed(tiny.table, model=backbone)
    with pytest.raises(dbpt.InputError, match="^--model: expected a string, found Linear"):
        dbpt.fit(tiny.table, out=tmp_path / "run", model=torch.nn.Linear(2, 2))
    assert not (tmp_path / "run").exists()
