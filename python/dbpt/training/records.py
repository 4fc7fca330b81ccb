"""The input and the result of a training run."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.files.typed_json import Count, Share
from dbpt.training.model_selection import Selection

PeakRates = list[tuple[Count, float]]
"""Pairs (epoch from 1, peak learning rate from that epoch on), beginning with epoch 1."""


@dataclass(frozen=True)
class Rows:
    """N rows: ``features`` (N, D) float32, ``labels`` (N,) int64, ``groups`` (N,) int64 with -1 for unknown."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSettings:
    """Hyperparameters of a training; ``seed`` orders the batches.

    ``optimizer`` is ``"sgd"`` or ``"adamw"``. A ``batch_size`` of 0 puts all rows into one batch. An objective may add
    epochs of its own before ``epochs``. If training diverges, the advised learning rate is at most ``default_lr``.
    """

    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    sgd_momentum: float
    weight_decay: float
    warmup_epochs: int
    model_selection: Selection
    seed: int
    default_lr: float = math.inf


@dataclass(frozen=True)
class EpochRecord:
    """One epoch (from 1) in history.jsonl. Lists have a value for each group; they are None if the objective has none.

    ``draws`` counts the drawn rows if weights are applied by sampling. ``val_wga`` and ``val_wgp`` are worst-group
    accuracy and probability (`dbpt.training.model_selection.Judged`), None if no validation row has a group.
    """

    epoch: Count
    lr: float
    loss: float
    group_weights: list[float | None] | None
    mean_p_true: list[float | None] | None
    draws: list[Count] | None
    val_wgp: Share | None
    val_wga: Share | None
    val_average: Share


@dataclass(frozen=True)
class Trained:
    """The best epoch (from 1) and the head's state after it, the record of every epoch, and the learning rates."""

    head_state: dict[str, torch.Tensor]
    best_epoch: int
    history: list[EpochRecord]
    peak_rates: PeakRates
