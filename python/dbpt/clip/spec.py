"""The spec of a backbone: from the user's names to JSON that describes how to build it.

{"schema_version", "model", "pretrained", "config", "preprocess", "weights": {"kind", "sha256", ...},
"tokenizer": {"kind", ...}, "image_precision"}. `dbpt.clip.load` adds the digests, and for a
published tag the config and preprocessing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import open_clip

from dbpt.clip.model import check_weights_file, looks_like_path
from dbpt.clip.preprocessing import check_preprocess, default_preprocess, registered_preprocess
from dbpt.clip.text_tokenizer import tokenizer_file
from dbpt.errors import InputError, first_few, nearest
from dbpt.files.typed_json import read_json

SPEC_SCHEMA_VERSION = 1
RANDOM_SEED = 0
CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg")


def new_spec(
    model: str | Path, pretrained: str | Path | None, tokenizer: str | Path | None, image_precision: str
) -> dict[str, Any]:
    """Return the spec for the arguments of `load_backbone`."""
    name = str(model)
    if name.lower().endswith(".json"):
        path = Path(name)
        config = _read_config(path)
        if pretrained is None:
            raise InputError(f"{path}: a model config needs its weights: give the .safetensors file as --pretrained")
        spec = _spec_of_config(str(path.resolve()), *config, pretrained)
    elif name.startswith("local-dir:"):
        spec = _spec_of_folder(Path(name.removeprefix("local-dir:")), pretrained)
    elif name.startswith("hf-hub:"):
        if pretrained is not None:
            raise InputError(f"--pretrained {str(pretrained)!r}: a model given as {name!r} brings its own weights")
        spec = {"model": name, "pretrained": None, "weights": {"kind": "published"}, "tokenizer": {"kind": "model"}}
    else:
        spec = _spec_of_name(name, pretrained)
    if tokenizer is not None:
        spec["tokenizer"] = {"kind": "file", "path": str(tokenizer_file(Path(tokenizer)).resolve())}
    return {"schema_version": SPEC_SCHEMA_VERSION, **spec, "image_precision": image_precision}


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read config and preprocessing from a file of `load_backbone`'s format, or an ``open_clip_config.json``."""
    content = read_json(path, "model config")
    if "model_cfg" in content:
        config, given, default = content["model_cfg"], content.get("preprocess_cfg", {}), default_preprocess()
    else:
        config = {key: value for key, value in content.items() if key != "preprocess"}
        given, default = content.get("preprocess", {}), {**default_preprocess(), "resize_mode": "squash"}
    missing = [key for key in CONFIG_KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        raise InputError(f"{path}: no model config, it lacks {', '.join(missing)}; expected {', '.join(CONFIG_KEYS)}")
    if not isinstance(config["vision_cfg"], dict) or not isinstance(config["text_cfg"], dict):
        raise InputError(f"{path}: vision_cfg and text_cfg must be objects")
    return config, check_preprocess(path, given, default)


def _spec_of_folder(folder: Path, pretrained: str | Path | None) -> dict[str, Any]:
    config, preprocess = _read_config(folder / "open_clip_config.json")
    if pretrained is None:
        files = sorted(
            folder.glob("*.safetensors"), key=lambda file: (not file.name.startswith("open_clip"), file.name)
        )
        if not files:
            raise InputError(f"{folder}: no .safetensors file in this folder (pickled checkpoints are not loaded)")
        pretrained = files[0]
    spec = _spec_of_config(f"local-dir:{folder.resolve()}", config, preprocess, pretrained)
    own = folder / "tokenizer.json"
    if config["text_cfg"].get("hf_tokenizer_name") and own.is_file():
        spec["tokenizer"] = {"kind": "file", "path": str(own.resolve())}
    return spec


def _spec_of_config(
    model: str, config: dict[str, Any], preprocess: dict[str, Any], pretrained: str | Path
) -> dict[str, Any]:
    return {
        "model": model,
        "pretrained": str(pretrained),
        "config": config,
        "preprocess": preprocess,
        "weights": _random_or_file(pretrained),
        "tokenizer": {"kind": "simple"},
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


def _random_or_file(pretrained: str | Path) -> dict[str, Any]:
    if pretrained == "random":
        return {"kind": "random", "seed": RANDOM_SEED}
    path = Path(pretrained)
    check_weights_file(path)
    return {"kind": "file", "path": str(path.resolve())}


_PARTS: Mapping[str, Callable[[Any, dict[str, Any]], bool]] = {
    "model": lambda value, spec: isinstance(value, str),
    "pretrained": lambda value, spec: value is None or isinstance(value, str),
    "config.embed_dim": lambda value, spec: isinstance(value, int),
    "config.vision_cfg": lambda value, spec: isinstance(value, dict),
    "config.text_cfg": lambda value, spec: isinstance(value, dict),
    "weights.kind": lambda value, spec: value in ("file", "random", "published"),
    "weights.sha256": lambda value, spec: isinstance(value, str),
    "weights.path": lambda value, spec: isinstance(value, str) or spec["weights"]["kind"] != "file",
    "weights.seed": lambda value, spec: isinstance(value, int) or spec["weights"]["kind"] != "random",
    "tokenizer.kind": lambda value, spec: value in ("file", "simple", "model"),
    "tokenizer.path": lambda value, spec: isinstance(value, str) or spec["tokenizer"]["kind"] != "file",
}


def check_spec(spec: Any, path: Path) -> None:
    """Raise `InputError` for a spec, read from ``path``, that `load_backbone` can't have written."""
    for name, is_right in _PARTS.items():
        value = spec
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not is_right(value, spec):
            raise InputError(f"{path}: has no usable backbone.{name}; the file was changed, fit again")
    check_preprocess(path, spec.get("preprocess"), {})
