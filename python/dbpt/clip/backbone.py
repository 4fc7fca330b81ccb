"""`Backbone`: the frozen towers, and zero-shot classification with them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional as F

from dbpt import arguments
from dbpt.clip.precision import IMAGE_PRECISIONS, image_precision_of
from dbpt.clip.preprocessing import Preprocessing
from dbpt.clip.prompt_tokens import PromptLayout
from dbpt.clip.shared_prefix_tower import build_text_tower, text_path
from dbpt.clip.spec import Tokenizer, first_cut
from dbpt.clip.text_tower import token_embedding
from dbpt.data.stored_features import StoredFeatures, map_blocks
from dbpt.errors import InputError, NotFinite, nearest
from dbpt.storage.tensors import StoredArrays

ENCODER_SCHEMA_VERSION = 1  # increase it when the same key would give other features
TEXT_SCHEMA_VERSION = 1  # the same for the features of texts
TEXT_BATCH_SIZE = 128
FEWEST_STORED = 8  # sentences; fewer take hardly longer than reading a file
DAMAGED = "its weights are damaged; download or copy them again"


@dataclass(frozen=True, repr=False)
class Backbone:
    """A frozen open_clip model, ready to encode. It is float32, except for an image tower in half precision.

    Attributes:
        model: in eval mode, every parameter with ``requires_grad`` False.
        tokenizer: texts to ids (P, context_length) int64; longer texts are cut.
        preprocess: ``PIL.Image`` to (3, H, W) float32; its `crop` stops at (H, W, 3) uint8.
        device: the device of the model.
        embed_dim: D, the width of the features.
        spec: JSON from which `load_backbone_from_spec` rebuilds the same backbone.
        logit_scale: already exponentiated: logits are scale * cosine + bias.
        logit_bias: None if the model has none.
        stored_texts: where `encode_text` keeps the features of long lists; None to keep none.
    """

    model: torch.nn.Module
    tokenizer: Tokenizer
    preprocess: Preprocessing
    device: torch.device
    embed_dim: int
    spec: dict[str, Any]
    logit_scale: float
    logit_bias: float | None
    stored_texts: StoredArrays | None = None

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
        """Encode preprocessed images.

        Args:
            batch: (B, 3, H, W) float32; or crops (B, H, W, 3) uint8 from `Preprocessing.crop`, which are normalised on
                ``device``.

        Returns:
            (B, D) float32 on the CPU, rows of length 1.

        Raises:
            InputError: if the model returns NaN or infinity, which means damaged weights or an overflow of float16.
        """
        pixels = torch.as_tensor(batch).to(self.device)
        if pixels.dtype == torch.uint8:
            pixels = self.preprocess.normalise(pixels)
        pixels = pixels.to(IMAGE_PRECISIONS[self.image_precision])
        features = self.model.encode_image(pixels, normalize=False)  # type: ignore[operator]
        overflow = "float16 is too small for it; choose --image-precision bf16"
        reason = overflow if self.image_precision == "fp16" else DAMAGED
        return _checked(F.normalize(features.float(), dim=-1), "image", reason)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode sentences.

        Args:
            texts: P sentences.

        Returns:
            (P, D) float32 on the CPU, rows of length 1.

        Raises:
            InputError: as `token_ids` and `encode_image` do.
        """
        if not texts:
            return torch.zeros(0, self.embed_dim)
        ids_PL = self.token_ids(texts)
        stored = self.stored_texts if len(texts) >= FEWEST_STORED else None
        key, shape = self._text_key(ids_PL), (len(texts), self.embed_dim)
        if stored is not None and (features := stored.get(key, shape)) is not None:
            return torch.from_numpy(features.copy())  # what was read from a file can't be written
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
        """Tokenize sentences.

        Args:
            texts: P sentences.

        Returns:
            (P, context_length) int64.

        Raises:
            InputError: for a sentence that is too long, and for a tokenizer of another model.
        """
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


COMBINATIONS = ("embeddings", "logits")


def zero_shot_logits(
    backbone: Backbone,
    features: ArrayLike | StoredFeatures,
    texts: Sequence[str],
    owners: ArrayLike | None = None,
    *,
    combine: str = "embeddings",
    rows: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """Return zero-shot logits, the input of `label_attributes`: exp(logit_scale) times cosine, plus the model's bias.

    Args:
        backbone: the CLIP that embedded the images.
        features: (N, D) floats, rows of length 1, from `embed_images`.
        texts: P sentences. ``*dataset.words.attribute_texts()`` gives those of a data set's attributes, with
            ``owners``.
        owners: (P,) the index of the name that each sentence belongs to, from 0 to K-1. By default each sentence has
            its own.
        combine: the way to combine several sentences of one name. "embeddings": the cosine with the normalised mean of
            their text features (Radford et al., 2021, section 3.1.4). "logits": the mean of their logits, which gets
            smaller if the sentences differ.
        rows: (n,) indices of the features to take, by default all N. They are read in blocks, so that memory-mapped and
            float16 features, and some rows of many, are never copied as a whole.

    Returns:
        (N, K) float32, or (n, K) with ``rows``.

    Raises:
        InputError: for features of another shape or type, and wrong sentences, owners or rows.
    """
    arguments.check_backbone(backbone)
    features_ND = features if isinstance(features, StoredFeatures) else arguments.array("features", features)
    if features_ND.ndim != 2 or features_ND.shape[1] != backbone.embed_dim or features_ND.dtype.kind != "f":
        hint = f"expected (N, {backbone.embed_dim}) floats, as this backbone embeds images"
        raise InputError(f"features has shape {features_ND.shape} and dtype {features_ND.dtype}; {hint}")
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts:
        raise InputError(f"texts is {arguments.in_one_line(texts)}; expected a list of sentences, at least one")
    owners_P = arguments.integers("owners", np.arange(len(texts)) if owners is None else owners)
    names = np.unique(owners_P)
    if len(owners_P) != len(texts) or not np.array_equal(names, np.arange(len(names))):
        hint = f"expected one for each of the {len(texts)} sentences, and names numbered from 0 without a gap"
        raise InputError(f"owners has {len(owners_P)} entries, of the names {names.tolist()}; {hint}")
    if combine not in COMBINATIONS:
        hint = nearest(str(combine), list(COMBINATIONS))
        raise InputError(f"combine is {combine!r}; expected 'embeddings' or 'logits'{hint}")
    combined = zero_shot_weights if combine == "embeddings" else _mean_text_features
    weights_KD = combined(backbone, list(texts), owners_P)
    rows_n = None if rows is None else arguments.integers("rows", rows)
    if rows_n is not None and rows_n.size and not 0 <= rows_n.min() <= rows_n.max() < len(features_ND):
        indices = f"{rows_n.min()}..{rows_n.max()}"
        raise InputError(f"rows has indices in {indices}; expected 0..{len(features_ND) - 1}, a row of features each")
    logits_nK = map_blocks(features_ND, lambda block: block.astype(np.float32, copy=False) @ weights_KD.T, rows_n)
    logits_nK *= np.float32(backbone.logit_scale)
    logits_nK += np.float32(backbone.logit_bias or 0.0)
    return logits_nK


def zero_shot_weights(backbone: Backbone, texts: list[str], owners: NDArray[np.int64]) -> NDArray[np.float32]:
    """Ensemble P sentences into weights (K, D) float32: the normalised mean of each name's text features.

    ``owners`` (P,) int64 has the name of each sentence, from 0 to K-1 (Radford et al., 2021, section 3.1.4).
    """
    means_KD = torch.from_numpy(_mean_text_features(backbone, texts, owners))
    weights_KD: NDArray[np.float32] = F.normalize(means_KD, dim=-1).numpy()
    return weights_KD


def _mean_text_features(backbone: Backbone, texts: list[str], owners: NDArray[np.int64]) -> NDArray[np.float32]:
    features_PD = backbone.encode_text(texts).numpy()
    return np.stack([features_PD[owners == k].mean(axis=0) for k in range(int(owners.max()) + 1)])
