"""A model's architecture: read from a JSON file, and built with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch

from dbpt.clip.hub import foreign_error
from dbpt.clip.preprocessing import check_preprocess, default_preprocess
from dbpt.errors import InputError
from dbpt.files.typed_json import read_json

CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg")
# Far above any model's; larger values would take all memory, or for ever to build.
MOST_LAYERS, LARGEST_SIZE = 1000, 1 << 20


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a model config file; returns the config and the preprocessing.

    Either the keys embed_dim, vision_cfg, text_cfg stand at the top, optionally with ``preprocess`` (default: OpenAI's
    mean and std, bicubic, resized straight to the image size), or, as in an ``open_clip_config.json``, under
    ``model_cfg`` with ``preprocess_cfg`` beside (default: open_clip's, shortest side and centre crop).
    """
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


def build_model(config: dict[str, Any], named: str) -> torch.nn.Module:
    """Build an open_clip model with random weights from its config, without looking for weights anywhere."""
    config = json.loads(json.dumps(config))
    _check_sizes(config, named)
    config["vision_cfg"]["timm_model_pretrained"] = False
    is_hf_text = "hf_model_name" in config["text_cfg"]
    if is_hf_text:
        config["text_cfg"]["hf_model_pretrained"] = False
    custom_text = config.pop("custom_text", False) or is_hf_text
    text_class = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    model_class = text_class if custom_text else open_clip.CLIP
    try:
        model = model_class(**config)
    except Exception as error:  # open_clip and timm raise whatever the wrong value leads to
        raise InputError(f"{named}: open_clip can't build this model ({foreign_error(error)})") from error
    assert isinstance(model, torch.nn.Module)
    return model


def _check_sizes(config: dict[str, Any], named: str) -> None:
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key, value in part.items():
            most = MOST_LAYERS if key == "layers" else LARGEST_SIZE
            sizes = value if isinstance(value, list) else [value]
            if any(isinstance(size, int) and size > most for size in sizes):
                raise InputError(f"{named}: {key} is {value!r}, expected at most {most}")
