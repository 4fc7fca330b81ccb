"""Load a `Backbone` by names, or from a stored spec, whose digests are then checked."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch

from dbpt.clip import model as models
from dbpt.clip import spec as specs
from dbpt.clip.backbone import DAMAGED, Backbone
from dbpt.clip.checks import check_weights_file, tokenizer_file
from dbpt.clip.precision import IMAGE_PRECISIONS, best_precision, check_image_precision, image_precision_of
from dbpt.clip.preprocessing import clean_preprocess, image_preprocessing
from dbpt.errors import InputError, foreign_errors
from dbpt.storage.files import file_sha256, reason_of, system_errors

MOST_RANDOM = 1 << 28
"""Parameters and buffers of a stored model with random weights."""


def load_backbone(
    model: str | Path,
    pretrained: str | Path | None = None,
    *,
    tokenizer: str | Path | None = None,
    device: str = "cpu",
    image_precision: str = "auto",
) -> Backbone:
    """Load a CLIP model, frozen and in eval mode.

    Args:
        model: an open_clip name (``ViT-B-32``), ``hf-hub:owner/name``, ``local-dir:FOLDER``, or the path of a ``.json``
            config with embed_dim, vision_cfg, text_cfg and, optionally, preprocess {mean, std, interpolation,
            resize_mode, fill_color} (default: OpenAI's mean and std, bicubic, ``squash``).
        pretrained: a tag that open_clip publishes for the name, the path of a ``.safetensors`` file, or ``random`` for
            seeded random weights. ``hf-hub`` models have their own. For a name with a file or ``random``, preprocessing
            is that of the published tags if they agree, else open_clip's default.
        tokenizer: a local ``tokenizer.json`` or its folder, instead of the model's own.
        device: a torch device, or `auto`: a GPU if there is one.
        image_precision: precision of the image tower: float32, bf16, fp16 (only on GPUs), or `auto`: bf16 for towers of
            ten million parameters and more if the processor multiplies bfloat16 in hardware, else float32.
            `Backbone.image_precision` is the one that was taken.

    Returns:
        The backbone.

    Raises:
        InputError: for an unknown model, tag, device or precision, a missing or damaged file, and without the network.
    """
    return _build(*checked_spec(model, pretrained, tokenizer, device, image_precision), tokenizer_now=True)


def checked_spec(
    model: str | Path, pretrained: str | Path | None, tokenizer: str | Path | None, device: str, image_precision: str
) -> tuple[dict[str, Any], torch.device]:
    """Return the spec and the device of a backbone, without reading its weights.

    Args:
        model, pretrained, tokenizer, device, image_precision: as in `load_backbone`, which this checks.
    """
    where = _device(device)
    check_image_precision(image_precision)
    if image_precision == "fp16" and where.type == "cpu":  # existing fp16 runs can still be loaded on a CPU
        raise InputError("--image-precision fp16: meant for GPUs, slower than float32 on a CPU; choose bf16 or float32")
    spec = specs.new_spec(model, pretrained, tokenizer, image_precision)
    if tokenizer is not None and "config" in spec:
        _tokenizer(spec)
    return spec, where


def load_backbone_from_spec(
    spec: dict[str, Any], *, device: str = "cpu", weights: str | Path | None = None
) -> Backbone:
    """Rebuild the backbone of a run, and check that it is the same.

    The tokenizer is loaded and checked when text is first encoded; images don't need it.

    Args:
        spec: `Backbone.spec`, JSON.
        device: a torch device, or `auto`: a GPU if there is one.
        weights: the present path of a weights file that has moved; its digest must match the spec.

    Returns:
        The backbone.

    Raises:
        InputError: if a file is gone or changed, if a published tag has other weights now, or if the schema is unknown.
    """
    version = spec.get("schema_version")
    if version != specs.SPEC_SCHEMA_VERSION:
        raise InputError(f"backbone spec of schema version {version!r}; this version reads {specs.SPEC_SCHEMA_VERSION}")
    spec = json.loads(json.dumps(spec))  # a copy: paths and digests are filled in below
    image_precision_of(spec)
    if weights is not None:
        if spec["weights"]["kind"] != "file":
            raise InputError(f"{weights}: the run's weights are {spec['pretrained']!r} of open_clip, not a file")
        spec["weights"]["path"] = os.path.abspath(weights)  # noqa: PTH100 (Path.resolve raises on a name with NUL)
    elif spec["weights"]["kind"] == "file" and not os.path.lexists(spec["weights"]["path"]):
        raise InputError(f"{spec['weights']['path']}: no such weights file; name its path with --weights FILE")
    return _build(spec, _device(device), tokenizer_now=False)


def names_of(backbone: Backbone) -> dict[str, str | None]:
    """Return the arguments of `load_backbone` that load ``backbone`` again, which is tried here.

    Raises `InputError` if it can't be loaded any more, or has other weights by now.
    """
    spec, device, loaded = backbone.spec, str(backbone.device), backbone.model.state_dict()
    try:
        state = load_backbone_from_spec(spec, device=device).model.state_dict()
        weights, tokenizer = spec["weights"], spec["tokenizer"]
        names = {
            "model": spec["model"],
            "pretrained": weights["path"] if weights["kind"] == "file" else spec["pretrained"],
            "tokenizer": tokenizer["path"] if tokenizer["kind"] == "file" else None,
            "device": device,
            "image_precision": backbone.image_precision,
        }
    except (InputError, LookupError, TypeError, AttributeError) as error:  # a file is gone, or no spec of ours
        hint = "name the model and its weights instead"
        raise InputError(f"--model: this Backbone can't be loaded again ({reason_of(error)}); {hint}") from None
    for name, tensor in state.items():
        if name not in loaded or not torch.equal(tensor, loaded[name]):
            hint = "save its weights as .safetensors and name that file as pretrained"
            raise InputError(f"--model: {name} of this Backbone was changed after it was loaded; {hint}")
    return names


def _build(spec: dict[str, Any], device: torch.device, *, tokenizer_now: bool) -> Backbone:
    is_published = spec["weights"]["kind"] == "published"
    if is_published and "config" not in spec:
        with _from_open_clip(spec):
            config: dict[str, Any] = open_clip.get_model_config(spec["model"])
        spec["config"] = config | {"quick_gelu": True} if _needs_quick_gelu(spec) else config
    tokenizer = _tokenizer(spec) if tokenizer_now else _later_tokenizer(spec)  # before the weights, which take longer
    model = (_published(spec) if is_published else _local(spec, is_stored=not tokenizer_now)).float()
    assert isinstance(model.visual, torch.nn.Module)
    if spec.get("image_precision") == "auto":
        spec["image_precision"] = best_precision(model.visual, device)
    model.visual.to(IMAGE_PRECISIONS[image_precision_of(spec)])  # the text tower stays in float32
    model = model.eval().requires_grad_(False).to(device)
    scale, bias = model.logit_scale, getattr(model, "logit_bias", None)
    assert isinstance(scale, torch.Tensor)
    if not math.isfinite(logit_scale := float(scale.exp())):
        raise InputError(f"{spec['model']}: its logit_scale is {float(scale)}, too large; {DAMAGED}")
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        preprocess=image_preprocessing(model, spec["preprocess"]),
        device=device,
        embed_dim=int(spec["config"]["embed_dim"]),
        spec=spec,
        logit_scale=logit_scale,
        logit_bias=None if bias is None else float(bias),
    )


def _local(spec: dict[str, Any], *, is_stored: bool) -> torch.nn.Module:
    config, weights, name = spec["config"], spec["weights"], spec["model"]
    if weights["kind"] == "file":
        path = Path(weights["path"])
        check_weights_file(path)
        size = path.stat().st_size
        with specs.text_tower(config, only_cache=is_stored):
            # 1 to 8 bytes for each parameter; the header and what isn't read have up to 64 MiB
            model = models.build_model(config, f"{path} for {name}", range((size - (1 << 26)) // 8, size + 1))
        _settle_digest(weights, _digest(path), str(path))
        models.load_weights(model, path)
        return model
    # The caller's random numbers stay as they were.
    with specs.text_tower(config, only_cache=is_stored), torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights["seed"])
        # anybody may have stored it, and there is no file to compare its sizes with
        named = f"{name} with random weights"
        model = models.build_model(config, named, range(MOST_RANDOM if is_stored else 0))
    _settle_digest(weights, models.state_digest(model), named)
    return model


def _published(spec: dict[str, Any]) -> torch.nn.Module:
    name, tag, quick = spec["model"], spec["pretrained"], _needs_quick_gelu(spec)
    with _from_open_clip(spec), specs.text_tower(open_clip.get_model_config(name)):  # not that of a stored spec
        model = open_clip.create_model(
            name, tag, force_quick_gelu=quick, require_pretrained=True, pretrained_text=False
        )
    assert isinstance(model, torch.nn.Module)
    spec.setdefault("preprocess", clean_preprocess(model.visual.preprocess_cfg))  # type: ignore[union-attr,arg-type]
    _settle_digest(spec["weights"], models.state_digest(model), f"model {name!r}, pretrained {tag!r}")
    return model


def _needs_quick_gelu(spec: dict[str, Any]) -> bool:
    """Return whether a tag was trained with QuickGELU; without it features are wrong (open_clip issue 771)."""
    tag = spec["pretrained"]
    return bool(tag and open_clip.get_pretrained_cfg(spec["model"], tag).get("quick_gelu", False))


@contextmanager
def _from_open_clip(spec: dict[str, Any]) -> Iterator[None]:
    problem = f"model {spec['model']!r}, pretrained {spec['pretrained']!r}: open_clip could not load it"
    hint = "offline, give its weights, or your own model, as files: --model clip.json --pretrained clip.safetensors"
    with foreign_errors(problem, hint, limit=400), specs.quiet_hub():
        try:
            yield
        except RuntimeError as error:  # it names the .bin file that open_clip tries after the .safetensors
            raise RuntimeError(str(error).replace("_pytorch_model.bin", "_model.safetensors")) from error


def _digest(file: Path) -> str:
    with system_errors(f"{file}: cannot be read"):
        return file_sha256(file)


def _settle_digest(entry: dict[str, Any], digest: str, named: str) -> None:
    """Store the digest in a new spec, or compare it with that of a stored spec."""
    stored = entry.setdefault("sha256", digest)
    if stored != digest:
        raise InputError(f"{named}: changed since the run was made (sha256 {digest[:12]}…, the run has {stored[:12]}…)")


def _tokenizer(spec: dict[str, Any]) -> specs.Tokenizer:
    entry = spec["tokenizer"]
    if entry["kind"] == "file":
        file = tokenizer_file(Path(entry["path"]))
        _settle_digest(entry, _digest(file), entry["path"])
        return specs.FileTokenizer(file, spec["config"])
    return specs.model_tokenizer(spec["model"]) if entry["kind"] == "model" else specs.simple_tokenizer(spec["config"])


def _later_tokenizer(spec: dict[str, Any]) -> specs.Tokenizer:
    """Return a spec's tokenizer, to be loaded and checked at its first call."""
    load_once = cache(lambda: _tokenizer(spec))
    return lambda texts, context_length=None: load_once()(texts, context_length)


def _device(device: str) -> torch.device:
    """Return the device; ``auto`` means a GPU if there is one. Refuse a device that can't compute."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    hint = "use auto or cpu" if device.startswith("cuda") else "use auto, or cuda for a GPU"
    with foreign_errors(f"--device {device!r}: not usable here", hint, limit=80):
        torch.ones(1, device=device).item()  # "meta" has tensors, but no numbers
    return torch.device(device)
