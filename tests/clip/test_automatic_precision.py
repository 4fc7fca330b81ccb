"""``--image-precision auto``: bf16 for large towers on processors that multiply it, decided once for a run."""

import json
from pathlib import Path

import open_clip
import pytest
import torch

import dbpt
from dbpt.clip import load_backbone, precision
from dbpt.errors import InputError


@pytest.fixture
def native(monkeypatch) -> None:
    """A processor that multiplies bfloat16, to which the tiny tower is a large one."""
    monkeypatch.setattr(precision, "multiplies_bf16", lambda device: True)
    monkeypatch.setattr(precision, "FEWEST_PARAMETERS", 1)


@pytest.fixture
def older(monkeypatch):
    """Call it to move to a processor that would have to emulate bfloat16."""
    return lambda: monkeypatch.setattr(precision, "multiplies_bf16", lambda device: False)


def precision_of(run: Path) -> list[str]:
    """In the settings, the backbone, the figures and the report of a run."""
    (line,) = [line for line in (run / "config.toml").read_text().splitlines() if line.startswith("image_precision")]
    backbones = [json.loads((run / file).read_text())["backbone"] for file in ("run.json", "metrics.json")]
    shown = (run / "report.html").read_text().split("image tower: ", 1)[1].split("</dd>")[0]
    return [line.split('"')[1], *(backbone["image_precision"] for backbone in backbones), shown]


def test_it_depends_on_the_processor_and_the_size_of_the_tower(tiny, native, older, monkeypatch):
    assert load_backbone(tiny.model, tiny.weights).image_precision == "bf16"
    assert load_backbone(tiny.model, tiny.weights, image_precision="float32").image_precision == "float32"
    size = sum(parameter.numel() for parameter in load_backbone(tiny.model, tiny.weights).model.visual.parameters())
    monkeypatch.setattr(precision, "FEWEST_PARAMETERS", size)
    assert load_backbone(tiny.model, tiny.weights).image_precision == "bf16"
    monkeypatch.setattr(precision, "FEWEST_PARAMETERS", size + 1)
    assert load_backbone(tiny.model, tiny.weights).image_precision == "float32"
    monkeypatch.setattr(precision, "FEWEST_PARAMETERS", 1)
    older()
    assert load_backbone(tiny.model, tiny.weights).image_precision == "float32"
    assert load_backbone(tiny.model, tiny.weights, image_precision="bf16").image_precision == "bf16"


def test_published_models_are_large_and_the_small_clip_is_not(monkeypatch):
    from dbpt.data.demo import mini_clip_paths

    monkeypatch.setattr(precision, "multiplies_bf16", lambda device: True)
    assert load_backbone(*mini_clip_paths()).image_precision == "float32"
    for name in ("ViT-B-32", "RN50", "MobileCLIP2-S0"):
        config = open_clip.get_model_config(name)
        with torch.device("meta"):
            built = (open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP)(**config)
        assert precision.best_precision(built.visual, torch.device("cpu")) == "bf16"


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "onednn", "expected"),
    [(True, False, True, True), (False, True, True, True), (False, False, True, False), (True, True, False, False)],
)
def test_a_cpu_needs_the_instructions_and_onednn(monkeypatch, avx512_bf16, amx, onednn, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    assert precision.multiplies_bf16(torch.device("cpu")) is expected
    assert precision.multiplies_bf16(torch.device("mps")) is False


def test_a_gpu_must_not_emulate_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert precision.multiplies_bf16(torch.device("cuda")) is False


def test_a_run_records_what_was_taken_and_keeps_it_elsewhere(tiny, tmp_path, native, older, logged):
    settings = tiny.settings | {"epochs": 1, "cache": str(tmp_path / "cache")}
    run = dbpt.fit(tiny.table, out=tmp_path / "run", **settings).folder
    assert precision_of(run) == ["bf16"] * 4
    assert "features in bf16: 106 images, 106 embedded now, 0 unreadable" in logged.messages
    before = {file.name: file.read_bytes() for file in run.glob("*.safetensors")}
    older()
    logged.clear()
    dbpt.fit(tiny.table, out=run, resume=True, **settings)
    dbpt.fit(out=run, resume=True)
    assert precision_of(run) == ["bf16"] * 4
    assert {file.name: file.read_bytes() for file in run.glob("*.safetensors")} == before
    assert dbpt.evaluate(run).metrics.backbone.image_precision == "bf16"
    assert dbpt.audit(predictions=run).figures.backbone.image_precision == "bf16"
    assert next(iter(dbpt.load(run).predict([tiny.table.parent / "val/00-00.png"]))).error is None
    read = [line for line in logged.messages if line.startswith("features in")]
    assert set(read) == {"features in bf16: 106 images, 0 embedded now, 0 unreadable"}
    assert len(read) == 4
    with pytest.raises(InputError, match="was started with image_precision = 'bf16', found 'float32'"):
        dbpt.fit(tiny.table, out=run, resume=True, **settings | {"image_precision": "float32"})


def test_a_comparison_keeps_it_elsewhere(tiny, tmp_path, native, older, logged):
    plan = {"methods": ["erm"], "heads": ["linear"], "epochs": 1}
    settings = tiny.settings | plan | {"cache": str(tmp_path / "cache")}
    folder = dbpt.compare(tiny.table, out=tmp_path / "c", seeds=1, **settings).folder
    older()
    dbpt.compare(tiny.table, out=folder, seeds=2, resume=True, **settings)
    assert "1 of 2 trainings are finished" in logged.messages
    assert 'image_precision = "bf16"' in (folder / "config.toml").read_text()
    assert json.loads((folder / "compare.json").read_text())["backbone"]["image_precision"] == "bf16"


def test_another_labeller_takes_the_runs(tiny, tmp_path, native, older):
    (tmp_path / "other.json").write_bytes(tiny.model.read_bytes())
    labeller = {"label_model": str(tmp_path / "other.json"), "label_pretrained": "random"}
    settings = tiny.settings | labeller | {"epochs": 1, "cache": str(tmp_path / "cache")}
    run = dbpt.fit(tiny.table, out=tmp_path / "run", **settings).folder
    older()
    dbpt.fit(tiny.table, out=run, resume=True, **settings)
    manifests = (tmp_path / "cache/features").glob("*/manifest.json")
    assert [json.loads(file.read_text())["encoder"]["dtype"] for file in manifests] == ["bf16", "bf16"]


def test_given_features_have_no_precision_of_the_image_tower(tiny, tiny_features, tmp_path):
    settings = {name: tiny.settings[name] for name in ("model", "pretrained", "attributes")}
    found = dbpt.audit(tiny.table, embeddings=tiny_features, out=tmp_path / "audit", **settings)
    assert found.figures.backbone.image_precision is None
    assert "image tower: not used, the features are given" in (tmp_path / "audit/audit.html").read_text()
