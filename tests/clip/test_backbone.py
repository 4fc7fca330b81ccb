"""Loading a CLIP model: what is accepted, what is refused, and that it is open_clip's own result."""

import json
import logging
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from small_images import noise
from tiny import CONFIG
from unprivileged import unprivileged

from dbpt.clip import load_backbone, load_backbone_from_spec
from dbpt.clip import spec as hub
from dbpt.clip.backbone import zero_shot_logits
from dbpt.errors import InputError


def reference_model(seed: int = 3, **changes: object) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.CLIP(**(CONFIG | changes)).eval()


@pytest.fixture
def model() -> torch.nn.Module:
    return reference_model()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tiny.json").write_text(json.dumps(CONFIG))
    return tmp_path / "tiny.json"


@pytest.fixture
def weights(tmp_path: Path, model: torch.nn.Module) -> Path:
    save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


PHOTO = noise(40, 30)


def refused(match: str, *args: object, **kwargs: object) -> str:
    with pytest.raises(InputError, match=match) as caught:
        load_backbone(*args, **kwargs)
    return str(caught.value)


def test_encodes_as_open_clip_does(config, weights, model):
    model.requires_grad_(False)  # as ours is: torch computes attention in another way for weights that it could train
    backbone = load_backbone(config, weights)
    batch = torch.stack([backbone.preprocess(PHOTO)])
    texts = ["a photo of a dog", "a sketch"]
    with torch.no_grad():
        images = model.encode_image(batch, normalize=True)
        sentences = model.encode_text(open_clip.SimpleTokenizer(context_length=24)(texts), normalize=True)
    torch.testing.assert_close(backbone.encode_image(batch), images, rtol=0, atol=0)
    torch.testing.assert_close(backbone.encode_image(batch.numpy()), images, rtol=0, atol=0)
    torch.testing.assert_close(backbone.encode_text(texts), sentences, rtol=0, atol=1e-6)  # without the padding
    assert backbone.encode_text([]).shape == (0, 16)
    assert backbone.token_ids(texts).shape == (2, 24)
    assert backbone.embed_dim == 16
    assert backbone.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert backbone.logit_bias is None
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_text_batches_do_not_change_the_order(config, weights, monkeypatch):
    backbone = load_backbone(config, weights)
    texts = [f"number {i}" for i in range(7)]
    whole = backbone.encode_text(texts)
    monkeypatch.setattr("dbpt.clip.backbone.TEXT_BATCH_SIZE", 3)
    torch.testing.assert_close(backbone.encode_text(texts), whole, rtol=0, atol=3e-6)


def test_logit_bias_is_kept_and_in_zero_shot_logits(tmp_path):
    model = reference_model(init_logit_bias=-10.0)
    (tmp_path / "c.json").write_text(json.dumps(CONFIG | {"init_logit_bias": 0.0}))
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    backbone = load_backbone(tmp_path / "c.json", tmp_path / "w.safetensors")
    assert backbone.logit_bias == -10.0
    logits = zero_shot_logits(backbone, np.zeros((1, backbone.embed_dim), np.float32), ["a gull", "a crow"])
    assert logits.tolist() == [[-10.0, -10.0]]


def test_json_preprocess_key_is_obeyed(config, weights):
    given = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "shortest"}
    config.write_text(json.dumps(CONFIG | {"preprocess": given}))
    backbone = load_backbone(config, weights)
    expected = open_clip.image_transform(16, is_train=False, **given)
    torch.testing.assert_close(backbone.preprocess(PHOTO), expected(PHOTO), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is not JSON"),
        ([1], "is a list, expected an object"),
        ({"embed_dim": 3}, "lacks vision_cfg, text_cfg"),
        (CONFIG | {"vision_cfg": 3}, "must be objects"),
        (CONFIG | {"vision_cfg": {"widht": 3}}, "widht"),
        (CONFIG | {"embed_dmi": 3}, "embed_dmi"),
        (CONFIG | {"preprocess": {"men": [0, 0, 0]}}, "unknown preprocess key 'men'.*'mean'"),
        (CONFIG | {"preprocess": {"mean": [0, 0]}}, "three numbers"),
        (CONFIG | {"preprocess": {"std": [1, 0, 1]}}, "positive"),
        (CONFIG | {"preprocess": {"resize_mode": "squish"}}, "squash"),
        (CONFIG | {"preprocess": [1]}, "must be an object"),
    ],
)
def test_wrong_configs_are_refused(config, weights, content, match):
    config.write_text(content if isinstance(content, str) else json.dumps(content))
    assert str(config) in refused(match, config, weights)


def test_config_without_file_or_weights(config, tmp_path):
    refused("cannot read the model config: No such file", tmp_path / "no.json", "random")
    refused("needs its weights", config)


def test_float16_weights_become_float32(config, model, tmp_path):
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    loaded = load_backbone(config, tmp_path / "half.safetensors").model.state_dict()
    assert {tensor.dtype for tensor in loaded.values() if tensor.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(loaded["visual.proj"], half["visual.proj"].float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda state: state.pop("visual.proj"), r"Missing key\(s\) in state_dict: .visual\.proj"),
        (lambda state: state.update(extra=torch.zeros(1)), r"Unexpected key\(s\) in state_dict: .extra"),
        (lambda state: state.update({"visual.proj": torch.zeros(2, 3)}), r"size mismatch for visual\.proj: .*\[2, 3\]"),
        (dict.clear, "truncated"),
    ],
)
def test_checkpoint_of_another_architecture_is_refused(config, model, tmp_path, change, match):
    state = dict(model.state_dict())
    change(state)
    save_file(state, tmp_path / "other.safetensors")
    assert "not a checkpoint of the architecture" in refused(match, config, tmp_path / "other.safetensors")


def test_damaged_safetensors_are_refused(config, weights, tmp_path):
    whole = weights.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:5], b"", b"\xff" * 64):
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(content)
        assert str(broken) in refused("truncated or damaged.* again", config, broken)
    refused("cannot read the weights file: No such file", config, tmp_path / "gone.safetensors")


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["w.pt", "w.pkl", "pickled.safetensors", "w.weights"])
def test_pickles_are_refused_unopened(config, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    for model in (config, "ViT-B-32"):
        refused("safetensors.torch.save_file", model, tmp_path / name)
    assert not Path("exploded").exists()


def test_unknown_names_and_tags_get_the_nearest():
    refused("'ViT-B-32'", "ViT-B-33", "openai")
    refused("did you mean 'openai'", "ViT-B-32", "opnai")
    refused("openai.*'random'", "ViT-B-32")
    refused("brings its own weights", "hf-hub:a/b", "openai")
    refused("use auto, or cuda for a GPU", "ViT-B-32", "random", device="gpu0")
    refused("use auto or cpu", "ViT-B-32", "random", device="cuda:99")
    refused("transformers; give --model ViT-L-14-336 --pret", "openai/clip-vit-large-patch14-336")
    refused("a file of weights; give it as --pretrained", "clip.safetensors")


@pytest.fixture
def registered(weights, tmp_path, monkeypatch):
    """The tiny config under an open_clip name, with a published tag whose download is the local file."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-B-8", CONFIG)
    tag = {"url": "", "hf_hub": "x/y", "mean": (0.5,) * 3, "std": (0.25,) * 3, "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny-B-8", {"toy": tag | {"quick_gelu": True}})
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda cfg, cache_dir=None: str(weights))
    return weights


def test_published_tag_is_loaded_by_open_clip_with_its_own_activation(registered):
    backbone = load_backbone("Tiny-B-8", "toy")
    own, _, transform = open_clip.create_model_and_transforms("Tiny-B-8", "toy", force_quick_gelu=True)
    pixels = transform(PHOTO)
    torch.testing.assert_close(backbone.preprocess(PHOTO), pixels, rtol=0, atol=0)
    with torch.no_grad():
        expected = own.eval().encode_image(pixels[None], normalize=True)
    torch.testing.assert_close(backbone.encode_image(pixels[None]), expected, rtol=0, atol=0)
    assert backbone.spec["config"]["quick_gelu"] is True


def test_published_tag_that_gives_other_weights_later_is_refused(registered):
    spec = load_backbone("Tiny-B-8", "toy").spec
    assert load_backbone_from_spec(spec).spec == spec
    save_file(reference_model(seed=4).state_dict(), registered)
    with pytest.raises(InputError, match=r"'toy'.*changed since the run was made"):
        load_backbone_from_spec(spec)


def test_published_tag_without_network_is_one_line(registered, monkeypatch):
    def offline(cfg, cache_dir=None):
        raise OSError("no route\nto host for open_clip_pytorch_model.bin")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", offline)
    refused("no route to host for open_clip_model.safetensors.*offline", "Tiny-B-8", "toy")


def test_name_with_local_weights_takes_the_tags_preprocessing(registered):
    backbone = load_backbone("Tiny-B-8", registered)
    assert backbone.spec["preprocess"]["std"] == [0.25] * 3
    assert backbone.spec["preprocess"]["resize_mode"] == "squash"
    assert backbone.spec["weights"]["path"] == str(registered)


def test_random_weights_are_seeded_and_leave_the_generator_alone(config):
    torch.manual_seed(0)
    first = load_backbone(config, "random")
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == after
    second = load_backbone(config, "random")
    assert first.spec == second.spec
    assert first.encoder_key == second.encoder_key
    torch.testing.assert_close(first.encode_text(["a"]), second.encode_text(["a"]), rtol=0, atol=0)


@pytest.mark.parametrize("pretrained", ["file", "random"])
def test_spec_rebuilds_the_same_backbone(config, weights, pretrained):
    backbone = load_backbone(config, weights if pretrained == "file" else "random")
    spec = json.loads(json.dumps(backbone.spec))
    config.unlink()
    again = load_backbone_from_spec(spec)
    assert again.spec == spec
    torch.testing.assert_close(again.encode_text(["a dog"]), backbone.encode_text(["a dog"]), rtol=0, atol=0)
    torch.testing.assert_close(again.preprocess(PHOTO), backbone.preprocess(PHOTO), rtol=0, atol=0)


def test_spec_notices_weights_that_changed_moved_or_went(config, weights, tmp_path):
    spec = load_backbone(config, weights).spec
    moved = weights.rename(tmp_path / "moved.safetensors")
    with pytest.raises(InputError, match=f"^{weights}: no such weights file; name its path with --weights FILE$"):
        load_backbone_from_spec(spec)
    with pytest.raises(InputError, match=r"none\.safetensors: cannot read the weights file: No such file or direct"):
        load_backbone_from_spec(spec, weights=tmp_path / "none.safetensors")
    assert load_backbone_from_spec(spec, weights=moved).spec["weights"]["sha256"] == spec["weights"]["sha256"]
    save_file(reference_model(seed=4).state_dict(), weights)
    with pytest.raises(InputError, match="changed since"):
        load_backbone_from_spec(spec)
    with pytest.raises(InputError, match="schema version 99"):
        load_backbone_from_spec(spec | {"schema_version": 99})
    with pytest.raises(InputError, match="not a file"):
        load_backbone_from_spec(load_backbone(config, "random").spec, weights=moved)


def test_encoder_key_names_what_a_feature_depends_on(config, weights, tmp_path):
    key = load_backbone(config, weights).encoder_key
    assert set(key) == {"schema_version", "backbone", "weights", "preprocess", "dtype"}
    assert json.loads(json.dumps(key)) == key
    save_file(reference_model(seed=4).state_dict(), tmp_path / "other.safetensors")
    other = load_backbone(config, tmp_path / "other.safetensors").encoder_key
    assert {name for name in key if key[name] != other[name]} == {"weights"}
    config.write_text(json.dumps(CONFIG | {"preprocess": {"resize_mode": "shortest"}}))
    other = load_backbone(config, weights).encoder_key
    assert {name for name in key if key[name] != other[name]} == {"preprocess"}


def test_local_folder_loads_safetensors_and_never_its_pickles(weights, model, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {"size": 16}}))
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    refused("no .safetensors file", f"local-dir:{folder}")
    weights.rename(folder / "mine.safetensors")
    backbone = load_backbone(f"local-dir:{folder}")
    assert backbone.spec["preprocess"]["resize_mode"] == "shortest"
    torch.testing.assert_close(backbone.model.state_dict()["visual.proj"], model.state_dict()["visual.proj"])
    refused("cannot read the model config: No such file", f"local-dir:{tmp_path / 'nowhere'}")


def test_custom_text_tower_loads(tmp_path):
    config = CONFIG | {"custom_text": True}
    (tmp_path / "c.json").write_text(json.dumps(config))
    save_file(reference_model().state_dict(), tmp_path / "w.safetensors")  # the older layout, without "text."
    backbone = load_backbone(tmp_path / "c.json", tmp_path / "w.safetensors")
    assert isinstance(backbone.model, open_clip.CustomTextCLIP)
    with torch.no_grad():
        expected = reference_model().encode_text(backbone.token_ids(["a dog"]), normalize=True)
    torch.testing.assert_close(backbone.encode_text(["a dog"]), expected)


def test_nan_weights_are_named(config, weights, model, tmp_path):
    for name, value in (("visual.proj", float("nan")), ("logit_scale", float("inf"))):
        state = model.state_dict()
        save_file(state | {name: torch.full_like(state[name], value)}, tmp_path / "nan.safetensors")
        with pytest.raises(InputError, match=rf"nan.safetensors: {name} holds NaN or an infinity; download or"):
            load_backbone(config, tmp_path / "nan.safetensors")
    backbone = load_backbone(config, weights)
    backbone.model.visual.proj.fill_(float("nan"))
    backbone.model.text_projection.fill_(float("inf"))
    with pytest.raises(InputError, match="image tower gives NaN"):
        backbone.encode_image(torch.zeros(1, 3, 16, 16))
    with pytest.raises(InputError, match="text tower gives NaN"):
        backbone.encode_text(["a"])


def test_tokenizer_of_another_model_is_noticed(tmp_path):
    small = CONFIG | {"text_cfg": CONFIG["text_cfg"] | {"vocab_size": 100}}
    (tmp_path / "c.json").write_text(json.dumps(small))
    with pytest.raises(InputError, match=r"token id 49407.*100 entries"):
        load_backbone(tmp_path / "c.json", "random").token_ids(["a"])


def test_hub_tokenizers_offline_point_to_the_option(config, weights, monkeypatch):
    def offline(name, **_):
        raise OSError("offline")

    monkeypatch.setattr(open_clip, "get_tokenizer", offline)
    refused("--tokenizer", "ViT-B-16-SigLIP", "random")
    config.write_text(json.dumps(CONFIG | {"text_cfg": CONFIG["text_cfg"] | {"hf_tokenizer_name": "a/b"}}))
    refused("'a/b'.*--tokenizer", config, weights)


def test_tokenizer_file_needs_its_package_and_its_file(config, weights, tmp_path, monkeypatch):
    refused("cannot read the tokenizer: No such file", config, weights, tokenizer=tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    refused("run pip install tokenizers$", config, weights, tokenizer=tmp_path)


def test_loading_logs_nothing_to_the_root_and_leaves_it_alone(registered, caplog, monkeypatch):
    create = open_clip.create_model
    monkeypatch.setattr(open_clip, "create_model", lambda *a, **k: logging.error("chatter") or create(*a, **k))
    monkeypatch.setattr(logging.root, "handlers", [])  # of a process that configures no logging
    levels = {name: logging.getLogger(name).level for name in (None, "huggingface_hub")}
    load_backbone("Tiny-B-8", "toy")
    assert logging.root.handlers == []
    assert {name: logging.getLogger(name).level for name in levels} == levels
    logging.root.addHandler(caplog.handler)
    load_backbone("Tiny-B-8", "toy")
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["unreadable", "pipe", "link loop", "device"])
@pytest.mark.parametrize("which", ["config", "weights", "tokenizer"])
def test_the_systems_reason_is_told_and_nothing_is_waited_for(tiny, tmp_path, kind, which):
    suffix = ".safetensors" if which == "weights" else ".json"
    file = tmp_path / f"file{suffix}"
    {
        "unreadable": lambda: file.touch(mode=0),
        "pipe": lambda: os.mkfifo(file),
        "link loop": lambda: file.symlink_to(file),
        "device": lambda: file.symlink_to("/dev/zero"),
    }[kind]()
    given = {"config": tiny.model, "weights": tiny.weights, "tokenizer": None} | {which: file}
    reason = {"unreadable": "Permission denied", "link loop": "Too many levels"}.get(kind, "not a regular file")
    with unprivileged(), pytest.raises(InputError, match=f"file{suffix}: cannot read the .*: {reason}"):
        load_backbone(given["config"], given["weights"], tokenizer=given["tokenizer"])


@pytest.mark.parametrize("is_reached", [True, False])
def test_a_hub_that_cannot_be_reached_is_not_asked_again_and_again(monkeypatch, is_reached):
    from huggingface_hub import constants

    offline = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "getproxies", dict)

    def connect(*_):
        if not is_reached:
            raise OSError("no network")
        return types.SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(hub.socket, "create_connection", connect)

    def ask(name):
        offline.append(constants.HF_HUB_OFFLINE)
        raise OSError("no such model")

    monkeypatch.setattr(open_clip, "get_model_config", ask)
    with pytest.raises(InputError, match=r"open_clip could not load it .* --pretrained clip\.safetensors$"):
        load_backbone("hf-hub:nobody/nothing")
    assert offline[0] is not is_reached
    assert constants.HF_HUB_OFFLINE is False
