"""`Backbone`: the two frozen towers of a CLIP model, with their preprocessing and tokenizer."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from dbpt.clip.precision import IMAGE_PRECISIONS, image_precision_of
from dbpt.clip.preprocessing import Preprocessing
from dbpt.clip.text_tokenizer import Tokenizer, first_cut
from dbpt.clip.text_tower import PromptLayout, build_text_tower, text_path
from dbpt.clip.text_tower.tower import token_embedding
from dbpt.errors import InputError, NotFinite
from dbpt.files.stored_arrays import StoredArrays

ENCODER_SCHEMA_VERSION = 1  # increase it when the same key would give other features
TEXT_SCHEMA_VERSION = 1  # the same for the features of texts
TEXT_BATCH_SIZE = 128
FEWEST_STORED = 8  # sentences; fewer take hardly longer than reading a file
DAMAGED = "its weights are damaged; download or copy them again"


@dataclass(frozen=True, repr=False)
class Backbone:
    """A frozen open_clip model, ready to encode. It is float32, except for an image tower in half precision."""

    model: torch.nn.Module  # in eval mode, every parameter with ``requires_grad`` False
    tokenizer: Tokenizer  # texts to ids (P, context_length) int64; longer texts are cut
    preprocess: Preprocessing  # ``PIL.Image`` to (3, H, W) float32; its `crop` stops at (H, W, 3) uint8
    device: torch.device
    embed_dim: int  # D, the width of the features
    spec: dict[str, Any]  # JSON from which `load_backbone_from_spec` rebuilds the same backbone
    logit_scale: float  # already exponentiated: logits are scale * cosine + bias
    logit_bias: float | None
    stored_texts: StoredArrays | None = None  # where `encode_text` keeps the features of long lists

    def __repr__(self) -> str:
        return f"Backbone({self.spec['model']!r}, {self.spec['pretrained']!r}, device={str(self.device)!r})"

    @property
    def image_precision(self) -> str:
        """The precision of the image tower: float32, bf16 or fp16."""
        return image_precision_of(self.spec)

    @property
    def encoder_key(self) -> dict[str, Any]:
        """Everything that determines the bytes of an image feature, as JSON: the key of a feature cache."""
        config = self.spec["config"]
        image_part = {k: config[k] for k in ("embed_dim", "quick_gelu", "custom_text", "vision_cfg") if k in config}
        return {
            "schema_version": ENCODER_SCHEMA_VERSION,
            "backbone": image_part,
            "weights": self.spec["weights"]["sha256"],
            "preprocess": self.spec["preprocess"],
            "dtype": self.image_precision,
        }

    @torch.inference_mode()
    def encode_image(self, batch: torch.Tensor | NDArray[np.float32] | NDArray[np.uint8]) -> torch.Tensor:
        """Encode preprocessed images (B, 3, H, W) float32; return (B, D) float32 on the CPU, rows of length 1.

        Crops (B, H, W, 3) uint8 from `Preprocessing.crop` are accepted too, and normalised on `device`. Raises
        `InputError` if the model returns NaN or infinity, which means damaged weights or an overflow of float16.
        """
        pixels = torch.as_tensor(batch).to(self.device)
        if pixels.dtype == torch.uint8:
            pixels = self.preprocess.normalise(pixels)
        pixels = pixels.to(IMAGE_PRECISIONS[self.image_precision])
        features = self.model.encode_image(pixels, normalize=False)  # type: ignore[operator]
        reason = (
            "float16 is too small for it; choose --image-precision bf16" if self.image_precision == "fp16" else DAMAGED
        )
        return _checked(F.normalize(features.float(), dim=-1), "image", reason)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode sentences; return (P, D) float32 on the CPU, rows of length 1. Raises as `encode_image` does."""
        if not texts:
            return torch.zeros(0, self.embed_dim)
        ids_PL = self.token_ids(texts)
        stored = self.stored_texts if len(texts) >= FEWEST_STORED else None
        key, shape = self._text_key(ids_PL), (len(texts), self.embed_dim)
        if stored is not None and (found := stored.get(key, shape)) is not None:
            return torch.from_numpy(found.copy())  # what was read from a file can't be written
        batches = torch.split(ids_PL, TEXT_BATCH_SIZE)
        features_PD = torch.cat([_checked(self._text_features(ids), "text", DAMAGED) for ids in batches])
        if stored is not None:
            stored.put(key, features_PD.numpy())
        return features_PD

    def _text_key(self, ids_PL: torch.Tensor) -> str:
        """Return the digest of everything that determines the features of a list of texts, which includes the list.

        The last digits of a text's features depend on the other texts of the list.
        """
        text_part = {name: value for name, value in self.spec["config"].items() if name != "vision_cfg"}
        parts = [TEXT_SCHEMA_VERSION, text_part, self.spec["weights"]["sha256"], list(ids_PL.shape)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode() + ids_PL.numpy().tobytes()).hexdigest()

    def _text_features(self, ids_PL: torch.Tensor) -> torch.Tensor:
        """Return the features (P, D) by `SharedPrefixTower` if possible: most of a sentence's positions are padding."""
        if text_path(self.model) == "general":
            features: torch.Tensor = self.model.encode_text(ids_PL.to(self.device), normalize=True)  # type: ignore[operator]
            return features
        tower = build_text_tower(self.model, PromptLayout(ids_PL, torch.full_like(ids_PL, -1), n_ctx=0))
        no_context = torch.zeros(0, token_embedding(self.model).embedding_dim, device=self.device)
        return tower(no_context)  # type: ignore[no-any-return]

    def token_ids(self, texts: Sequence[str]) -> torch.Tensor:
        """Tokenize sentences to (P, context_length) int64. Raises `InputError` for one that is too long."""
        ids = self.tokenizer(list(texts)).to(torch.int64)
        vocab_size = self.spec["config"]["text_cfg"].get("vocab_size", 49408)
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
            raise InputError(
                f"the tokenizer gives token id {int(ids.max())}, but the model's vocabulary has {vocab_size} entries: "
                "this tokenizer belongs to another model; give the right one with --tokenizer"
            )
        cut = first_cut(self.tokenizer, texts, ids)
        if cut is not None:
            text = texts[cut] if len(texts[cut]) <= 100 else texts[cut][:97] + "..."
            raise InputError(f"sentence {text!r} does not fit into the text tower's {ids.shape[1]} tokens; shorten it")
        return ids


def _checked(features: torch.Tensor, tower: str, reason: str) -> torch.Tensor:
    features = features.float().cpu()
    bad = ~torch.isfinite(features).all(dim=-1)
    if bool(bad.any()):
        raise NotFinite(f"the {tower} tower gives NaN or infinite features: {reason}", int(bad.int().argmax()))
    return features
