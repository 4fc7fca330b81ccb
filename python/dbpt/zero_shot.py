"""Zero-shot classifiers from sentences: weights (K, D) from the text tower, logits (N, K) against cached features."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dbpt.backbone import Backbone


def zero_shot_weights(backbone: Backbone, texts: list[str], owners: NDArray[np.int64]) -> NDArray[np.float32]:
    """Ensemble P sentences into (K, D) float32 weights: the normalised mean of each name's text features.

    ``owners`` (P,) int64 says which of the K names each sentence belongs to (Radford et al., 2021, section 3.1.4).
    """
    features_PD = backbone.encode_text(texts).numpy()
    means_KD = np.stack([features_PD[owners == k].mean(axis=0) for k in range(int(owners.max()) + 1)])
    return normalise(means_KD)


def normalise(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its length, as torch does it."""
    unit: NDArray[np.float32] = F.normalize(torch.from_numpy(np.ascontiguousarray(rows)), dim=-1).numpy()
    return unit


def clip_logits(
    features: NDArray[np.float32], weights: NDArray[np.float32], *, logit_scale: float, logit_bias: float | None
) -> NDArray[np.float32]:
    """(N, K) float32 logits: scaled cosine [+ bias]; ``logit_scale`` is the factor itself, already exponentiated."""
    logits: NDArray[np.float32] = np.float32(logit_scale) * (features @ weights.T) + np.float32(logit_bias or 0.0)
    return logits
