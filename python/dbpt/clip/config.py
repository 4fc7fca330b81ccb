"""Where a model's architecture and preprocessing are written down: a JSON file, a folder, or open_clip's registry."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.utils import to_2tuple

from dbpt.clip.preprocessing import Preprocessing
from dbpt.errors import InputError, nearest
from dbpt.files.disk import read_regular

CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg")
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
JSON_LIMIT = 1 << 20
CONNECT_SECONDS = 5.0
# Far above any model's; what is above them would take all memory, or for ever to build.
MOST_LAYERS, LARGEST_SIZE = 1000, 1 << 20
_CHOICES = {"interpolation": ["bicubic", "bilinear"], "resize_mode": ["shortest", "longest", "squash"]}


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a model config file; returns the config and the preprocessing.

    Either the keys embed_dim, vision_cfg, text_cfg stand at the top, optionally with ``preprocess`` (default: OpenAI's
    mean and std, bicubic, resized straight to the image size), or, as in an ``open_clip_config.json``, under
    ``model_cfg`` with ``preprocess_cfg`` beside (default: open_clip's, shortest side and centre crop).
    """
    content = _read_json(path)
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


def _read_json(path: Path) -> dict[str, Any]:
    text = read_regular(path, "model config", JSON_LIMIT)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: a model config is a JSON object, this is a {type(content).__name__}")
    return content


def check_preprocess(path: Path, given: Any, default: dict[str, Any]) -> dict[str, Any]:
    """The preprocessing that ``path`` gives over ``default``. Raises `InputError` for an unknown key or a bad value."""
    if not isinstance(given, dict):
        raise InputError(f"{path}: preprocess must be an object with the keys {', '.join(PREPROCESS_KEYS)}")
    result = dict(default)
    for key, value in given.items():
        if key in ("size", "mode"):  # an open_clip_config.json may carry them; the image tower decides the size
            continue
        if key not in PREPROCESS_KEYS:
            raise InputError(f"{path}: unknown preprocess key {key!r}{nearest(key, list(PREPROCESS_KEYS))}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise InputError(f"{path}: preprocess {key} is {value!r}, expected one of {', '.join(_CHOICES[key])}")
        if key in ("mean", "std") and not (
            isinstance(value, list)
            and len(value) == 3
            and all(isinstance(x, int | float) and isfinite(x) for x in value)
        ):
            raise InputError(f"{path}: preprocess {key} is {value!r}, expected three numbers")
        if key == "std" and any(x <= 0 for x in value):
            raise InputError(f"{path}: preprocess std is {value!r}, expected positive numbers")
        result[key] = value
    return result


def default_preprocess() -> dict[str, Any]:
    """open_clip's own default: OpenAI's mean and std, bicubic, shortest side to the image size, centre crop."""
    return clean_preprocess(vars(PreprocessCfg()))


def clean_preprocess(preprocess: dict[str, Any]) -> dict[str, Any]:
    """Keep the keys that a spec stores, in a form that JSON gives back unchanged."""
    found = {key: preprocess[key] for key in PREPROCESS_KEYS if key in preprocess}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def registered_preprocess(name: str) -> dict[str, Any]:
    """Preprocessing of an open_clip architecture without a tag: that of its published tags where they agree."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    found = [clean_preprocess(open_clip.get_pretrained_cfg(name, tag)) for tag in tags]
    agreed = found[0] if found and all(one == found[0] for one in found) else {}
    return {**default_preprocess(), **agreed}


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
        raise InputError(f"{named}: open_clip can't build this model ({one_line(error)})") from error
    assert isinstance(model, torch.nn.Module)
    return model


def _check_sizes(config: dict[str, Any], named: str) -> None:
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key, value in part.items():
            most = MOST_LAYERS if key == "layers" else LARGEST_SIZE
            sizes = value if isinstance(value, list) else [value]
            if any(isinstance(size, int) and size > most for size in sizes):
                raise InputError(f"{named}: {key} is {value!r}, expected at most {most}")


def image_preprocessing(model: torch.nn.Module, preprocess: dict[str, Any]) -> Preprocessing:
    """open_clip's inference transform for this image tower."""
    height, width = to_2tuple(getattr(model.visual, "image_size", 224))
    transform = image_transform_v2(PreprocessCfg(size=(height, width), **preprocess), is_train=False)
    return Preprocessing(transform, (height, width))


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return the type and message of a foreign exception on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:limit]}{'…' if len(text) > limit else ''}"


def first_few(names: list[str], shown: int) -> str:
    """Return the first names of a list, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


@contextmanager
def quick_if_offline() -> Iterator[None]:
    """Use what is on the disk at once where the hub can't be reached; its client retries for 23 seconds, by no setting.

    Behind a proxy it is left to the client.
    """
    from huggingface_hub import constants

    endpoint, before = urlsplit(constants.ENDPOINT), constants.HF_HUB_OFFLINE
    if not before and not getproxies():
        try:
            socket.create_connection((endpoint.hostname, endpoint.port or 443), CONNECT_SECONDS).close()
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def silent_logging() -> Iterator[None]:
    """Keep open_clip and the hub's client from logging every retry; what goes wrong is raised anyway."""
    before, handler = logging.root.manager.disable, logging.NullHandler()
    logging.root.addHandler(handler)  # else logging.warning() would install a handler of its own for good
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        logging.root.removeHandler(handler)
