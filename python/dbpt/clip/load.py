"""From what the user names to a `Backbone`: resolve it to a spec, then build from the spec.

A spec is JSON: {"schema_version", "model", "pretrained", "config", "preprocess", "weights": {"kind", "sha256", ...},
"tokenizer": {"kind", ...}, "image_precision"}. `load_backbone` makes one, `load_backbone_from_spec` takes one back and
checks the digest.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import open_clip
import torch

from dbpt.clip.config import (
    build_model,
    clean_preprocess,
    first_few,
    image_preprocessing,
    one_line,
    quick_if_offline,
    read_config,
    registered_preprocess,
    silent_logging,
)
from dbpt.clip.encoder import Backbone
from dbpt.clip.precision import hold_image, image_precision_of, refuse_fp16_on_cpu
from dbpt.clip.text_tokenizer import FileTokenizer, Tokenizer, model_tokenizer, simple_tokenizer, tokenizer_file
from dbpt.clip.weights import check_weights_file, load_weights, looks_like_path, state_digest
from dbpt.errors import InputError, nearest
from dbpt.files.disk import file_sha256, reason_of

SPEC_SCHEMA_VERSION = 1
RANDOM_SEED = 0


def load_backbone(
    model: str | Path,
    pretrained: str | Path | None = None,
    *,
    tokenizer: str | Path | None = None,
    device: str = "cpu",
    image_precision: str = "float32",
) -> Backbone:
    """Load a CLIP model, frozen and in eval mode.

    Args:
        model: an open_clip name (``ViT-B-32``), ``hf-hub:owner/name``, ``local-dir:FOLDER``, or the path of a ``.json``
            config with embed_dim, vision_cfg, text_cfg and, optionally, preprocess {mean, std, interpolation,
            resize_mode, fill_color}. Without ``preprocess``, images are resized straight (``squash``) to the model's
            image size, bicubic, with OpenAI's mean and standard deviation.
        pretrained: a tag that open_clip publishes for the name, the path of a ``.safetensors`` file, or ``random`` for
            seeded random weights. Schemes bring their own weights and take none. A local file is loaded strictly, and
            pickled ones are refused. For a name with a local file or ``random``, preprocessing is that of the name's
            published tags where they agree, open_clip's default otherwise. Tags trained with QuickGELU get QuickGELU.
        tokenizer: a local ``tokenizer.json`` or a folder that holds one, instead of the model's own.
        device: a torch device, or `auto`: a GPU where there is one.
        image_precision: what the image tower is held in: float32, bf16, or fp16 for GPUs alone.

    Raises:
        InputError: for anything that isn't there, isn't known, or doesn't fit.
    """
    where = _device(device)
    refuse_fp16_on_cpu(image_precision, where)
    name = str(model)
    if name.lower().endswith(".json"):
        spec = _spec_of_files(Path(name), pretrained)
    elif name.startswith("local-dir:"):
        spec = _spec_of_folder(name, pretrained)
    elif name.startswith("hf-hub:"):
        if pretrained is not None:
            raise InputError(f"--pretrained {str(pretrained)!r}: a model given as {name!r} brings its own weights")
        spec = {"model": name, "pretrained": None, "weights": {"kind": "published"}, "tokenizer": {"kind": "model"}}
    else:
        spec = _spec_of_name(name, pretrained)
    spec["image_precision"] = image_precision
    if tokenizer is not None:
        file = tokenizer_file(Path(tokenizer))
        spec["tokenizer"] = {"kind": "file", "path": str(file.resolve())}
    return _build({"schema_version": SPEC_SCHEMA_VERSION, **spec}, where, tokenizer_now=True)


def load_backbone_from_spec(
    spec: dict[str, Any], *, device: str = "cpu", weights: str | Path | None = None
) -> Backbone:
    """Rebuild the backbone that a run was made with, and check that it is the same.

    The tokenizer is loaded and checked when text is first encoded; images need none.

    Args:
        spec: `Backbone.spec` as read back from JSON.
        device: a torch device, or `auto`: a GPU where there is one.
        weights: where the weights file is now, if it has moved; its digest must be that of the spec.

    Raises:
        InputError: if a file is gone or changed, a published tag gives other weights, or the spec's schema is unknown.
    """
    version = spec.get("schema_version")
    if version != SPEC_SCHEMA_VERSION:
        raise InputError(f"backbone spec of schema version {version!r}; this version reads {SPEC_SCHEMA_VERSION}")
    spec = json.loads(json.dumps(spec))
    if weights is not None:
        if spec["weights"]["kind"] != "file":
            raise InputError(f"{weights}: the run's weights are {spec['pretrained']!r} of open_clip, not a file")
        spec["weights"]["path"] = str(Path(weights).resolve())
    elif spec["weights"]["kind"] == "file" and not os.path.lexists(spec["weights"]["path"]):
        raise InputError(f"{spec['weights']['path']}: no such weights file; say where it is now with --weights FILE")
    return _build(spec, _device(device), tokenizer_now=False)


def _spec_of_files(config_path: Path, pretrained: str | Path | None) -> dict[str, Any]:
    config, preprocess = read_config(config_path)
    if pretrained is None:
        raise InputError(f"{config_path}: a model config needs its weights: give the .safetensors file as --pretrained")
    return {
        "model": str(config_path.resolve()),
        "pretrained": str(pretrained),
        "config": config,
        "preprocess": preprocess,
        "weights": _random_or_file(pretrained),
        "tokenizer": {"kind": "simple"},
    }


def _spec_of_folder(name: str, pretrained: str | Path | None) -> dict[str, Any]:
    folder = Path(name.removeprefix("local-dir:"))
    config, preprocess = read_config(folder / "open_clip_config.json")
    if pretrained is None:
        files = sorted(folder.glob("*.safetensors"), key=_open_clip_first)
        if not files:
            raise InputError(f"{folder}: no .safetensors file in this folder (pickled checkpoints are not loaded)")
        pretrained = files[0]
    own = folder / "tokenizer.json"
    hub_tokenizer = config["text_cfg"].get("hf_tokenizer_name") and own.is_file()
    return {
        "model": f"local-dir:{folder.resolve()}",
        "pretrained": str(pretrained),
        "config": config,
        "preprocess": preprocess,
        "weights": _random_or_file(pretrained),
        "tokenizer": {"kind": "file", "path": str(own.resolve())} if hub_tokenizer else {"kind": "simple"},
    }


def _spec_of_name(given: str, pretrained: str | Path | None) -> dict[str, Any]:
    name = given.replace("/", "-")
    if name not in open_clip.list_models():
        raise InputError(
            f"unknown model {given!r}{nearest(name, open_clip.list_models())}: expected an open_clip name, "
            "hf-hub:OWNER/NAME, local-dir:FOLDER or a .json config file"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None:
        shown = first_few(tags, 4) or "none is published"
        raise InputError(f"model {given!r} needs --pretrained: a tag ({shown}), a .safetensors file, or 'random'")
    spec = {"model": name, "pretrained": str(pretrained), "tokenizer": {"kind": "model"}}
    if pretrained == "random" or isinstance(pretrained, Path) or looks_like_path(pretrained):
        spec |= {"config": open_clip.get_model_config(name), "preprocess": registered_preprocess(name)}
        return spec | {"weights": _random_or_file(pretrained)}
    if not open_clip.is_pretrained_cfg(name, pretrained):
        raise InputError(
            f"model {given!r} has no pretrained tag {pretrained!r}{nearest(pretrained, tags)}; "
            f"published: {first_few(tags, 6) or 'none'}"
        )
    return spec | {"weights": {"kind": "published"}}


def _open_clip_first(file: Path) -> tuple[bool, str]:
    return not file.name.startswith("open_clip"), file.name


def _random_or_file(pretrained: str | Path) -> dict[str, Any]:
    if pretrained == "random":
        return {"kind": "random", "seed": RANDOM_SEED}
    path = Path(pretrained)
    check_weights_file(path)
    return {"kind": "file", "path": str(path.resolve())}


def _build(spec: dict[str, Any], device: torch.device, *, tokenizer_now: bool) -> Backbone:
    precision = image_precision_of(spec)
    if tokenizer_now:
        _check_tokenizer(spec)
    model = _published(spec) if spec["weights"]["kind"] == "published" else _local(spec)
    hold_image(model.float(), precision)
    model = model.eval().requires_grad_(False).to(device)
    return Backbone(
        model=model,
        tokenizer=_tokenizer(spec) if tokenizer_now else _LaterTokenizer(spec),
        preprocess=image_preprocessing(model, spec["preprocess"]),
        device=device,
        embed_dim=int(spec["config"]["embed_dim"]),
        spec=spec,
    )


def _local(spec: dict[str, Any]) -> torch.nn.Module:
    weights = spec["weights"]
    if weights["kind"] == "file":
        path = Path(weights["path"])
        check_weights_file(path)
        _settle_digest(weights, _digest(path), str(path))
        model = build_model(spec["config"], spec["model"])
        load_weights(model, path)
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights["seed"])
        model = build_model(spec["config"], spec["model"])
    _settle_digest(weights, state_digest(model.state_dict().items()), f"{spec['model']} with random weights")
    return model


def _published(spec: dict[str, Any]) -> torch.nn.Module:
    name, tag = spec["model"], spec["pretrained"]
    # a tag trained with QuickGELU gives wrong features without it, and open_clip only warns (its issue 771)
    quick_gelu = bool(tag and open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
    try:
        with silent_logging(), quick_if_offline():
            config = open_clip.get_model_config(name)
            model = open_clip.create_model(name, tag, force_quick_gelu=quick_gelu, require_pretrained=True)
    except Exception as error:  # the network, the hub's client, a damaged download
        raise InputError(
            f"model {name!r}, pretrained {tag!r}: open_clip could not load it ({one_line(error)}); "
            "offline, give the weights as a .safetensors file"
        ) from error
    assert isinstance(model, torch.nn.Module)
    spec.setdefault("config", config | {"quick_gelu": True} if quick_gelu else config)
    spec.setdefault("preprocess", clean_preprocess(model.visual.preprocess_cfg))  # type: ignore[union-attr,arg-type]
    _settle_digest(spec["weights"], state_digest(model.state_dict().items()), f"model {name!r}, pretrained {tag!r}")
    return model


def _digest(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {reason_of(error)}") from None


def _settle_digest(entry: dict[str, Any], found: str, named: str) -> None:
    """Write the digest into a fresh spec; compare it with the one in a stored spec."""
    stored = entry.setdefault("sha256", found)
    if stored != found:
        raise InputError(f"{named}: changed since the run was made (sha256 {found[:12]}…, the run has {stored[:12]}…)")


def _check_tokenizer(spec: dict[str, Any]) -> None:
    """Refuse a tokenizer that can't be had before the long part, the weights."""
    if spec["tokenizer"]["kind"] == "file":
        tokenizer_file(Path(spec["tokenizer"]["path"]))
    if spec["tokenizer"]["kind"] == "model" and not spec["model"].startswith("hf-hub:"):
        model_tokenizer(spec["model"])


def _tokenizer(spec: dict[str, Any]) -> Tokenizer:
    entry = spec["tokenizer"]
    if entry["kind"] == "file":
        file = tokenizer_file(Path(entry["path"]))
        _settle_digest(entry, _digest(file), entry["path"])
        return FileTokenizer(file, spec["config"])
    return model_tokenizer(spec["model"]) if entry["kind"] == "model" else simple_tokenizer(spec["config"])


class _LaterTokenizer:
    """A spec's tokenizer, loaded and checked at the first text."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._loaded: Tokenizer | None = None

    def __call__(self, texts: list[str], context_length: int | None = None) -> torch.Tensor:
        """As the tokenizer itself; raises `InputError` if that is gone or has changed."""
        if self._loaded is None:
            self._loaded = _tokenizer(self._spec)
        return self._loaded(texts, context_length)


def _device(device: str) -> torch.device:
    """``auto`` is a GPU where there is one, else the CPU; a device that cannot compute is refused."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=device).item()  # "meta" gives tensors, but no numbers
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device!r}: not usable here ({one_line(error, 80)}); use auto") from None
    return torch.device(device)
