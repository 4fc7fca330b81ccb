"""The description of a backbone as plain JSON, its tokenizer, and files from the Hugging Face Hub."""

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

import open_clip
import torch
from open_clip.hf_configs import arch_dict
from open_clip.tokenizer import get_clean_fn

from dbpt.clip.checks import (
    PICKLE_SUFFIXES,
    RANDOM_SEED,
    check_preprocess,
    check_weights_file,
    looks_like_path,
    tokenizer_file,
)
from dbpt.clip.model import context_length
from dbpt.clip.preprocessing import clean_preprocess, default_preprocess
from dbpt.errors import InputError, first_few, foreign_errors, nearest, optional_module
from dbpt.storage.typed_json import read_json

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0


@contextlib.contextmanager
def quiet_hub(*, only_cache: bool = False) -> Iterator[None]:
    """Silence the logs of other libraries, whose errors are raised; go offline if the hub can't be reached.

    Otherwise the hub's client retries for 23 seconds, which no setting changes. Behind a proxy the client decides. With
    ``only_cache`` the hub isn't asked.
    """
    from huggingface_hub import constants

    endpoint, offline = urlsplit(constants.ENDPOINT), constants.HF_HUB_OFFLINE
    handler, chatty = logging.NullHandler(), (logging.root, logging.getLogger("huggingface_hub"))
    before = [logger.level for logger in chatty]
    logging.root.addHandler(handler)  # without one, logging.warning() would install its own for good
    for logger in chatty:
        logger.setLevel(logging.CRITICAL)
    try:
        constants.HF_HUB_OFFLINE |= only_cache
        if not constants.HF_HUB_OFFLINE and not getproxies():
            try:
                socket.create_connection((endpoint.hostname, endpoint.port or 443), CONNECT_SECONDS).close()
            except OSError:
                constants.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.root.removeHandler(handler)
        for logger, level in zip(chatty, before, strict=True):
            logger.setLevel(level)


class Tokenizer(Protocol):
    """A function that turns texts into ids, padded and cut to ``context_length`` (default: the model's)."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> torch.Tensor:
        """Return the ids (P, context_length) int64."""


@lru_cache(maxsize=4)  # it parses 49,408 merges
def _clip_tokenizer(context_length: int) -> Tokenizer:
    tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
    # Each text is tokenized twice, and again by whatever has the same sentences; most of its time goes to ftfy.
    tokenizer.encode = lru_cache(maxsize=65_536)(tokenizer.encode)
    return tokenizer  # type: ignore[no-any-return]


def first_cut(tokenizer: Tokenizer, texts: Sequence[str], ids: torch.Tensor) -> int | None:
    """Return the row of the first text that was cut in ``ids`` (P, L); None if all fit.

    With one position more, a text that fits only gets more padding, even if padding looks like the end token.
    """
    length = ids.shape[1]
    longer = tokenizer([*texts, ""], context_length=length + 1)
    is_cut = (longer[:-1, :length] != ids).any(dim=1) | (longer[:-1, length] != longer[-1, length])
    return int(is_cut.int().argmax()) if bool(is_cut.any()) else None


@contextlib.contextmanager
def text_tower(config: dict[str, Any], *, only_cache: bool = False) -> Iterator[None]:
    """Let open_clip build the text tower of a config, with transformers if the config says so.

    Refuses one whose settings name code that comes with them, which is never run; open_clip would ask whether to.
    Raises `InputError`, also if the settings can't be loaded from the Hub, or with ``only_cache`` from its cache.
    """
    if not (name := config["text_cfg"].get("hf_model_name")):
        yield
        return
    with quiet_hub(only_cache=only_cache):
        hint = "with local weights dbpt doesn't ask the Hub: load the model once by its name" * only_cache
        with foreign_errors(f"text tower {name!r}: can't be loaded", hint):
            from transformers import AutoConfig

            settings = AutoConfig.from_pretrained(name, trust_remote_code=False)
        code = getattr(settings, "auto_map", None) or getattr(settings, "_attn_implementation", None)
        if code not in (None, "eager", "sdpa") or settings.model_type not in arch_dict:
            raise InputError(f"text tower {name!r}: needs code that open_clip doesn't have ({code})")
        if only_cache:
            logger.info(f"text tower {name!r}: loaded without asking the Hub, as its weights are local")
        yield


def model_tokenizer(name: str) -> Tokenizer:
    """Return open_clip's tokenizer for a named model. Raises `InputError` if the network or a package is missing."""
    hint = "give a local tokenizer.json, or the folder that holds it, with --tokenizer"
    with foreign_errors(f"model {name!r}: its tokenizer could not be loaded", hint, limit=80):
        with quiet_hub(only_cache=":" not in name):
            is_of_hub = open_clip.get_model_config(name)["text_cfg"].get("hf_tokenizer_name")
        with quiet_hub(only_cache=not is_of_hub):
            # its config could allow code of its own
            return open_clip.get_tokenizer(name, **({"trust_remote_code": False} if is_of_hub else {}))  # type: ignore[no-any-return]


def simple_tokenizer(config: dict[str, Any]) -> Tokenizer:
    """Return the CLIP tokenizer (lower-cased BPE of 49,408 entries) at the config's context length."""
    if config["text_cfg"].get("hf_tokenizer_name"):
        problem = f"the model's config names the tokenizer {config['text_cfg']['hf_tokenizer_name']!r}"
        raise InputError(f"{problem}; give its tokenizer.json, or the folder that holds it, with --tokenizer")
    return _clip_tokenizer(context_length=context_length(config))


class FileTokenizer:
    """A Hugging Face ``tokenizer.json``, padded and cut to the model's context length as open_clip does."""

    def __init__(self, file: Path, config: dict[str, Any]) -> None:
        tokenizers = optional_module("tokenizers", f"{file}: reading it")
        text_cfg = config["text_cfg"]
        if text_cfg.get("tokenizer_mode"):
            raise InputError(f"{file}: tokenizer mode {text_cfg['tokenizer_mode']!r} is not supported from a file")
        with foreign_errors(f"{file}: not a tokenizer.json", limit=80):
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        self._file, self._length = file, context_length(config)
        options = text_cfg.get("tokenizer_kwargs") or {}
        self._clean = get_clean_fn(options.get("clean", "whitespace"))
        pad = self._tokenizer.padding["pad_id"] if self._tokenizer.padding else self._special_id("pad_token")
        self._pad = int(text_cfg.get("pad_id", 0) if pad is None else pad)
        self._stripped: int | None = None
        if options.get("strip_sep_token"):  # open_clip replaces it by 0 for models trained without an end token (CLIPA)
            separator = self._special_id("sep_token")
            self._stripped = self._tokenizer.token_to_id("[SEP]") if separator is None else separator
            if self._stripped is None:
                problem = "has no [SEP] token, which this model replaces by padding; name the model's own"
                raise InputError(f"{file}: {problem}")

    def _special_id(self, name: str) -> int | None:
        """Return the id of a special token in the tokenizer_config.json beside the file; None if it isn't there."""
        beside = self._file.with_name("tokenizer_config.json")
        if not os.path.lexists(beside):
            return None
        token = read_json(beside, "tokenizer_config.json").get(name)
        token = token.get("content") if isinstance(token, dict) else token
        token_id: int | None = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
        return token_id

    def __call__(self, texts: list[str], context_length: int | None = None) -> torch.Tensor:
        """Tokenize to (P, context_length) int64."""
        length = context_length or self._length
        self._tokenizer.enable_truncation(max_length=length)
        self._tokenizer.enable_padding(length=length, pad_id=self._pad)
        with foreign_errors(f"{self._file}: can't tokenize the prompts", limit=80):
            encoded = self._tokenizer.encode_batch([self._clean(text) for text in texts])
        ids = torch.tensor([one.ids for one in encoded], dtype=torch.int64)
        return ids if self._stripped is None else ids.masked_fill(ids == self._stripped, 0)


SPEC_SCHEMA_VERSION = 1
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
        weights = folder.glob("*.safetensors")
        files = sorted(weights, key=lambda file: (not file.name.startswith("open_clip"), file.name))
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
    spec = {"model": model, "pretrained": str(pretrained), "config": config, "preprocess": preprocess}
    return spec | {"weights": _random_or_file(pretrained), "tokenizer": {"kind": "simple"}}


def _spec_of_name(given: str, pretrained: str | Path | None) -> dict[str, Any]:
    name = given.replace("/", "-")
    if name not in open_clip.list_models():
        if in_transformers := re.fullmatch(r"openai/clip-vit-(base|large)-patch(\d+(-336)?)", given):
            meant = f"ViT-{in_transformers[1][0].upper()}-{in_transformers[2]}"
            raise InputError(f"model {given!r} is a name of transformers; give --model {meant} --pretrained openai")
        if given.endswith((".safetensors", *PICKLE_SUFFIXES)):
            raise InputError(
                f"model {given!r} is a file of weights; give it as --pretrained, and its architecture here"
            )
        hint = "expected an open_clip name such as ViT-B-32, hf-hub:OWNER/NAME, local-dir:FOLDER or a .json config file"
        raise InputError(f"unknown model {given!r}{nearest(name, open_clip.list_models())}: {hint}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None:
        shown = first_few(tags, 4) or "none is published"
        raise InputError(f"model {given!r} needs --pretrained: a tag ({shown}), a .safetensors file, or 'random'")
    spec = {"model": name, "pretrained": str(pretrained), "tokenizer": {"kind": "model"}}
    if pretrained == "random" or isinstance(pretrained, Path) or looks_like_path(pretrained):
        spec |= {"config": open_clip.get_model_config(name), "preprocess": _registered_preprocess(name)}
        return spec | {"weights": _random_or_file(pretrained)}
    if not open_clip.is_pretrained_cfg(name, pretrained):
        hint = f"published: {first_few(tags, 6) or 'none'}"
        raise InputError(f"model {given!r} has no pretrained tag {pretrained!r}{nearest(pretrained, tags)}; {hint}")
    return spec | {"weights": {"kind": "published"}}


def _registered_preprocess(name: str) -> dict[str, Any]:
    """Return the preprocessing of an open_clip architecture without a tag: that of its tags if they agree."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    of_tags = [clean_preprocess(open_clip.get_pretrained_cfg(name, tag)) for tag in tags]
    agreed = of_tags[0] if of_tags and all(one == of_tags[0] for one in of_tags) else {}
    return {**default_preprocess(), **agreed}


def _random_or_file(pretrained: str | Path) -> dict[str, Any]:
    if pretrained == "random":
        return {"kind": "random", "seed": RANDOM_SEED}
    path = Path(pretrained)
    check_weights_file(path)
    return {"kind": "file", "path": str(path.resolve())}


def check_published(spec: dict[str, Any], path: Path) -> None:
    """Refuse published weights in a checked spec that was read from ``path``, if open_clip doesn't publish them.

    open_clip would also load local files and folders, with pickles and code, by the names of published ones.
    """
    name, tag = spec["model"], spec["pretrained"]
    is_known = name.startswith("hf-hub:") if tag is None else open_clip.is_pretrained_cfg(name, tag)
    if spec["weights"]["kind"] == "published" and not is_known:
        raise InputError(f"{path}: has no usable backbone.weights.kind; the file was changed, fit again")


def published_repository(model: str, pretrained: str | None) -> str | None:
    """Return the repository of the Hugging Face Hub that has a model's weights, ``OWNER/NAME``; None if none has them.

    >>> published_repository("ViT-B-32", "laion2b_s34b_b79k")
    'laion/CLIP-ViT-B-32-laion2B-s34B-b79K'
    """
    if model.startswith("hf-hub:"):
        return model.removeprefix("hf-hub:")
    where = open_clip.get_pretrained_cfg(model, pretrained).get("hf_hub") if pretrained else None
    return "/".join(where.split("/")[:2]) if where else None
