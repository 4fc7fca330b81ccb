"""The training loop: one head, one objective, cached features, an epoch at a time.

Everything random is a pure function of (seed, epoch), so a run that is killed and resumed from its last checkpoint
ends with the same bytes as one that was not.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from dbpt._core import GroupIndex, GroupStream
from dbpt.errors import InputError
from dbpt.features.live import LiveImages
from dbpt.objectives import Objective
from dbpt.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dbpt.training.schedule import learning_rate
from dbpt.training.selection import Selection, validation_score, worst_group_accuracy


@dataclass(frozen=True)
class Rows:
    """N rows: ``features`` (N, D) float32, ``labels`` (N,) int64, ``groups`` (N,) int64 with -1 for unknown."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSettings:
    """SGD as in CoOp. ``select`` says which epoch is kept; ``seed`` orders the batches."""

    epochs: int
    batch_size: int
    lr: float
    sgd_momentum: float
    weight_decay: float
    warmup_epochs: int
    select: Selection
    seed: int


@dataclass(frozen=True)
class EpochRecord:
    """What history.jsonl keeps of an epoch (from 1). Group arrays are None for objectives that have none.

    ``val_wga`` is over the groups that ``TrainingSettings.select`` judges by (pseudo unless ``true-wga``), None if no
    validation row has one.
    """

    epoch: int
    lr: float
    loss: float
    group_weights: list[float | None] | None
    mean_p_true: list[float | None] | None
    val_wga: float | None
    val_average: float


@dataclass(frozen=True)
class Trained:
    """The kept epoch (from 1) and the head's state there, and the record of every epoch."""

    head_state: dict[str, torch.Tensor]
    selected_epoch: int
    history: list[EpochRecord]


def train(
    head: nn.Module,
    objective: Objective,
    training: Rows,
    validation: Rows,
    settings: TrainingSettings,
    *,
    checkpoint_path: Path | None = None,
    fingerprint: str = "",
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    live: LiveImages | None = None,
) -> Trained:
    """Train ``head`` on ``training`` and keep the epoch that ``settings.select`` likes best on ``validation``.

    The head maps features (B, D) to logits (B, C). With ``checkpoint_path`` the state is saved after each epoch and a
    run found there is continued; ``fingerprint`` is the caller's digest of what it built the head and objective from.
    ``live`` gives the training rows' features instead of ``training.features``, anew at each draw.
    Raises `InputError` if the loss stops being finite, or if the checkpoint is another run's.
    """
    run = _Run(head, objective, training, validation, settings)
    run.live = live
    identity = _fingerprint(fingerprint, training, validation, settings)
    if checkpoint_path is not None and (saved := load_checkpoint(checkpoint_path, identity)):
        run.restore(saved)
    while len(run.history) < settings.epochs:
        on_epoch(run.epoch())
        if checkpoint_path is not None:
            save_checkpoint(checkpoint_path, run.checkpoint(identity))
    head.load_state_dict(run.best_state)
    return Trained(run.best_state, run.selected_epoch, run.history)


class _Run:
    """The moving parts of one training run."""

    def __init__(
        self, head: nn.Module, objective: Objective, training: Rows, validation: Rows, settings: TrainingSettings
    ) -> None:
        self.head, self.objective, self.settings = head, objective, settings
        device = next(head.parameters()).device
        self.features = torch.from_numpy(training.features).to(device)
        self.labels = torch.from_numpy(training.labels).to(device)
        self.groups = torch.from_numpy(training.groups).to(device)
        self.validation = validation
        self.val_features = torch.from_numpy(validation.features).to(device)
        self.index = GroupIndex(np.zeros(len(training.labels), dtype=np.int64), 1)
        self.optimiser = torch.optim.SGD(
            head.parameters(), lr=settings.lr, momentum=settings.sgd_momentum, weight_decay=settings.weight_decay
        )
        self.live: LiveImages | None = None
        self.history: list[EpochRecord] = []
        self.best_score = (-math.inf, -math.inf)
        self.best_state: dict[str, torch.Tensor] = {}
        self.selected_epoch = 0

    def epoch(self) -> EpochRecord:
        """Train one epoch, move the objective, judge on validation."""
        number = len(self.history)
        lr = self._set_learning_rate(number)
        loss, p_true = self._train_epoch(number, lr)
        self.objective.end_epoch(p_true)
        wga, average = self._validate(number)
        record = EpochRecord(
            epoch=number + 1,
            lr=lr,
            loss=loss,
            group_weights=_as_list(self.objective.group_weights),
            mean_p_true=_as_list(self.objective.mean_p_true),
            val_wga=wga,
            val_average=average,
        )
        self.history.append(record)
        return record

    def _set_learning_rate(self, epoch: int) -> float:
        settings = self.settings
        lr = learning_rate(epoch, lr=settings.lr, epochs=settings.epochs, warmup_epochs=settings.warmup_epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        return lr

    def _train_epoch(self, epoch: int, lr: float) -> tuple[float, NDArray[np.float64]]:
        """One pass in this epoch's order; returns the mean loss and every row's p_true (N,) when it was visited."""
        num_rows, batch_size = len(self.labels), self.settings.batch_size
        stream = GroupStream(self.index, np.array([num_rows]), self.settings.seed, epoch)
        losses = torch.zeros((), device=self.labels.device)
        p_true = torch.empty(num_rows, device=self.labels.device)
        for begin in range(0, num_rows, batch_size):
            rows = torch.from_numpy(stream.indices(begin, min(begin + batch_size, num_rows))).to(self.labels.device)
            labels, features = self.labels[rows], self._features(rows, epoch, begin)
            per_sample_loss = F.cross_entropy(self.head(features), labels, reduction="none")
            loss = self.objective.loss(per_sample_loss, self.groups[rows], labels)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses += loss.detach() * len(rows)
            p_true[rows] = torch.exp(-per_sample_loss.detach())
        mean_loss = losses.item() / num_rows
        if not math.isfinite(mean_loss):
            raise InputError(
                f"the loss of objective {self.objective.name!r} is {mean_loss} in epoch {epoch + 1} at learning rate "
                f"{lr:g}: lower --lr (the last checkpoint is of the epoch before)"
            )
        return mean_loss, p_true.cpu().numpy().astype(np.float64)

    def _features(self, rows: torch.Tensor, epoch: int, first_draw: int) -> torch.Tensor:
        if self.live is None:
            return self.features[rows]
        return self.live.features(rows.cpu().numpy(), epoch=epoch, first_draw=first_draw)

    @torch.no_grad()
    def _validate(self, epoch: int) -> tuple[float | None, float]:
        """Judge the epoch, keep its head if it is the best so far; returns worst-group and average accuracy."""
        predictions = self.head(self.val_features).argmax(dim=1).cpu().numpy()
        correct = predictions == self.validation.labels
        wga, average = worst_group_accuracy(correct, self.validation.groups), float(correct.mean())
        score = validation_score(self.settings.select, epoch, wga, average)
        if score > self.best_score:
            self.best_score, self.selected_epoch = score, epoch + 1
            self.best_state = {name: value.detach().clone() for name, value in self.head.state_dict().items()}
        return wga, average

    def checkpoint(self, fingerprint: str) -> Checkpoint:
        """Everything needed to go on as if nothing had happened."""
        tensors = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        tensors |= {f"objective.{name}": value for name, value in self.objective.state().items()}
        for position, parameter in enumerate(self.optimiser.param_groups[0]["params"]):
            buffer = self.optimiser.state[parameter].get("momentum_buffer")
            if buffer is not None:
                tensors[f"momentum.{position}"] = buffer
        progress = {
            "history": [asdict(record) for record in self.history],
            "best_score": list(self.best_score),
            "selected_epoch": self.selected_epoch,
        }
        return Checkpoint(fingerprint, tensors, progress)

    def restore(self, saved: Checkpoint) -> None:
        """Continue from ``saved``."""
        device = self.labels.device
        self.head.load_state_dict(saved.part("head"))
        self.best_state = {name: value.to(device) for name, value in saved.part("best").items()}
        self.objective.load_state(saved.part("objective"))
        parameters = self.optimiser.param_groups[0]["params"]
        for position, buffer in saved.part("momentum").items():
            self.optimiser.state[parameters[int(position)]]["momentum_buffer"] = buffer.to(device)
        self.history = [EpochRecord(**record) for record in saved.progress["history"]]
        self.best_score = (saved.progress["best_score"][0], saved.progress["best_score"][1])
        self.selected_epoch = saved.progress["selected_epoch"]


def _as_list(values: NDArray[np.float64] | None) -> list[float | None] | None:
    """A JSON-able copy; NaN becomes None."""
    return None if values is None else [None if math.isnan(value) else float(value) for value in values]


def _fingerprint(outer: str, training: Rows, validation: Rows, settings: TrainingSettings) -> str:
    digest = hashlib.sha256(outer.encode())
    digest.update(json.dumps(asdict(settings), sort_keys=True).encode())
    for rows in (training, validation):
        for array in (rows.features, rows.labels, rows.groups):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
