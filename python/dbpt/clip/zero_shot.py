"""Zero-shot classifiers from sentences: weights (K, D) from the text tower, and logits (N, K) of cached features."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.clip import Backbone
from dbpt.data.stored_features import BLOCK_ROWS, StoredFeatures
from dbpt.errors import InputError, nearest

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
    """Return zero-shot logits (N, K) float32, the input of `label_attributes`.

    They are exp(logit_scale) times cosine, plus the model's bias if it has one.

    Args:
        features: (N, D) floats, rows of length 1, from `embed_images`.
        texts: P sentences. ``*dataset.words.attribute_texts()`` gives those of a data set's attributes, with `owners`.
        owners: (P,) the index of the name that each sentence belongs to, from 0 to K-1. By default each sentence has
            its own.
        combine: the way to combine several sentences of one name. "embeddings": the cosine with the normalised mean of
            their text features (Radford et al., 2021, section 3.1.4). "logits": the mean of their logits, which gets
            smaller if the sentences differ.
        rows: (n,) indices of the features to take, by default all N. They are read in blocks, so that memory-mapped and
            float16 features, and some rows of many, are never copied as a whole.
    """
    features_ND = features if isinstance(features, StoredFeatures) else arguments.array("features", features)
    if features_ND.ndim != 2 or features_ND.shape[1] != backbone.embed_dim or features_ND.dtype.kind != "f":
        raise InputError(
            f"features has shape {features_ND.shape} and dtype {features_ND.dtype}; expected (N, "
            f"{backbone.embed_dim}) floats, as this backbone embeds images"
        )
    if isinstance(texts, str) or not texts:
        raise InputError(f"texts is {texts!r}; expected a list of sentences, at least one")
    owners_P = arguments.integers("owners", np.arange(len(texts)) if owners is None else owners)
    names = np.unique(owners_P)
    if len(owners_P) != len(texts) or not np.array_equal(names, np.arange(len(names))):
        raise InputError(
            f"owners has {len(owners_P)} entries, of the names {names.tolist()}; expected one for each of the "
            f"{len(texts)} sentences, and names numbered from 0 without a gap"
        )
    if combine not in COMBINATIONS:
        raise InputError(
            f"combine is {combine!r}; expected 'embeddings' or 'logits'{nearest(str(combine), list(COMBINATIONS))}"
        )
    combined = zero_shot_weights if combine == "embeddings" else _mean_text_features
    weights_KD = combined(backbone, list(texts), owners_P)
    rows_n = None if rows is None else arguments.integers("rows", rows)
    if rows_n is not None and rows_n.size and not 0 <= rows_n.min() <= rows_n.max() < len(features_ND):
        found = f"{rows_n.min()}..{rows_n.max()}"
        raise InputError(f"rows has indices in {found}; expected 0..{len(features_ND) - 1}, a row of features each")
    logits_nK = np.empty((len(features_ND) if rows_n is None else len(rows_n), len(names)), np.float32)
    for start in range(0, len(logits_nK), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        features_BD = features_ND[block if rows_n is None else rows_n[block]]
        np.matmul(features_BD.astype(np.float32, copy=False), weights_KD.T, out=logits_nK[block])
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
