"""What goes into a training run, and what comes out of it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.files.typed_json import AnyFloat, Count, Share
from dbpt.training.peak_rates import PeakRates
from dbpt.training.selection import Selection


@dataclass(frozen=True)
class Rows:
    """N rows: ``features`` (N, D) float32, ``labels`` (N,) int64, ``groups`` (N,) int64 with -1 for unknown.

    ``posterior`` (N, A) float32 is given where rows are trained on with soft membership of groups.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    posterior: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """How a head is trained. ``select`` says which epoch is kept; ``seed`` orders the batches.

    ``optimizer`` is ``"sgd"``, with ``sgd_momentum``, or ``"adamw"``. A ``batch_size`` of 0 puts all rows in one batch.

    An objective's own epochs of preparation come on top of ``epochs`` and are never kept.
    """

    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    sgd_momentum: float
    weight_decay: float
    warmup_epochs: int
    select: Selection
    seed: int


@dataclass(frozen=True)
class EpochRecord:
    """What history.jsonl keeps of an epoch (from 1). Group arrays are None for objectives that have none.

    ``draws`` (G,) says how many rows of each group the epoch drew, where weights are applied by sampling, else None.
    ``val_wga`` is over the groups that ``TrainingSettings.select`` judges by (pseudo unless ``true-wga``), None if no
    validation row has one.
    """

    epoch: Count
    lr: float
    loss: float
    group_weights: list[float | None] | None
    mean_p_true: list[float | None] | None
    draws: list[Count] | None
    val_wga: Share | None
    val_average: Share


@dataclass(frozen=True)
class Trained:
    """The kept epoch (from 1) and the head's state there, the record of every epoch, and the rates they had."""

    head_state: dict[str, torch.Tensor]
    selected_epoch: int
    history: list[EpochRecord]
    peak_rates: PeakRates


@dataclass(frozen=True)
class Progress:
    """What a checkpoint says besides its tensors. ``best_score`` is -inf where no epoch may be kept yet.

    ``first_epoch`` is the number, from 0, of that at which the head last started anew.
    """

    history: list[EpochRecord]
    best_score: tuple[AnyFloat, AnyFloat]
    selected_epoch: Count
    first_epoch: Count
    peak_rates: list[tuple[Count, float]]
