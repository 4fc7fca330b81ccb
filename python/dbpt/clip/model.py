"""open_clip's model, built from a config."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.utils import to_2tuple
from safetensors import SafetensorError
from safetensors.torch import load_file

from dbpt.errors import InputError, foreign_errors
from dbpt.storage.files import reason_of

# Far above any real model. Larger values would need all memory or endless time.
MOST_LAYERS, LARGEST_IMAGE, LARGEST_SIZE = 200, 1 << 12, 1 << 20


def context_length(config: dict[str, Any]) -> int:
    """Return the number of token positions of the text tower."""
    return int(config["text_cfg"].get("context_length", 77))


def build_model(config: dict[str, Any], named: str, expected: Sequence[int] = ()) -> torch.nn.Module:
    """Build an open_clip model with random weights from its config. Never downloads weights.

    Args:
        config: open_clip's, by anybody.
        named: the model in messages.
        expected: the numbers of parameters and buffers that its weights can have, compared before memory is taken.

    Returns:
        The model.

    Raises:
        InputError: for values that are wrong or too large.
    """
    config = json.loads(json.dumps(config))  # a copy, as open_clip takes some entries out
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key, value in part.items():
            most = {"layers": MOST_LAYERS, "image_size": LARGEST_IMAGE}.get(key, LARGEST_SIZE)
            sizes = value if isinstance(value, list) else [value]
            is_large = any(isinstance(size, int | float) and not abs(size) <= most for size in sizes)
            is_elsewhere = key == "timm_model_name" and ":" in str(value)  # in a repository, or a folder
            if is_large or is_elsewhere or (isinstance(value, dict) and "device" in value):
                raise InputError(f"{named}: {key} is {value!r}, expected at most {most}, and no repository or device")
    config["vision_cfg"]["timm_model_pretrained"] = False
    is_hf_text = "hf_model_name" in config["text_cfg"]
    if is_hf_text:
        config["text_cfg"]["hf_model_pretrained"] = False
    custom_text = config.pop("custom_text", False) or is_hf_text
    text_class = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    kind = text_class if custom_text else open_clip.CLIP
    with foreign_errors(f"{named}: open_clip can't build this model"):
        number = _count(kind, json.dumps(config)) if expected else None
        model: torch.nn.Module | None = kind(**config) if number is None or number in expected else None
    if model is None:
        raise InputError(
            f"{named}: truncated or damaged (then download or copy it again), or not a checkpoint of the architecture "
            "in the model's config"
        )
    return model


@lru_cache(maxsize=4)  # the same model is often loaded again
def _count(kind: type[torch.nn.Module], config_json: str) -> int | None:
    """Return the number of parameters and buffers of a model; None if that is not known. Refuse one that can't encode.

    The device "meta" takes no memory.
    """
    config = json.loads(config_json)
    number, length = None, 2 if config["text_cfg"].get("hf_model_name") else context_length(config)
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), torch.no_grad():
            model: Any = kind(**config).eval()
            number = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
            images, texts = (
                torch.zeros(1, 3, *to_2tuple(model.visual.image_size)),
                torch.zeros(1, length, dtype=torch.long),
            )
            torch.cat([model.encode_image(images), model.encode_text(texts)])
    except RuntimeError as error:  # timm before 1.0.22 looks at numbers
        if not isinstance(error, NotImplementedError) and not str(error).startswith("Tensor.item() "):
            raise
    return number


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load a .safetensors state dict into `model`, which must have exactly its names; float16 becomes float32.

    Position embeddings are not resized: a file that doesn't fit belongs to another architecture, and is refused.
    """
    try:
        state = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: truncated or damaged safetensors file ({reason_of(error)}); download or copy it again"
        ) from None
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    for name in ("logit_scale", "logit_bias"):  # shape [] or [1], depending on the age of the file
        if name in state and name in expected and state[name].numel() == expected[name].numel() == 1:
            state[name] = state[name].reshape(expected[name].shape)
    for name in sorted(dict(model.named_parameters()).keys() & state.keys()):
        if not state[name].is_floating_point():
            needed = "expected floating point; quantised weights are not read"
            raise InputError(f"{path}: {name} holds {state[name].dtype}, {needed}")
        if not bool(state[name].isfinite().all()):
            raise InputError(f"{path}: {name} holds NaN or an infinity; download or copy the weights again")
    with foreign_errors(f"{path}: not a checkpoint of the architecture in the model's config", limit=1200):
        model.load_state_dict(state, strict=True)


def state_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 of the names, dtypes, shapes and bytes of a model's state, in hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
