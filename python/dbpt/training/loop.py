"""The training loop: one head, one objective, cached features, an epoch at a time.

Everything random is a pure function of (seed, epoch), so a run that is killed and resumed from its last checkpoint
ends with the same bytes as one that was not.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from dbpt.errors import InputError
from dbpt.features.live import LiveImages
from dbpt.groups import worst_group_accuracy
from dbpt.objectives import Objective
from dbpt.objectives.base import Draws
from dbpt.ranks import ALONE, Ranks
from dbpt.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dbpt.training.divergence import Moment
from dbpt.training.fingerprint import training_fingerprint
from dbpt.training.optimizer import build_optimizer, load_optimizer_tensors, optimizer_tensors
from dbpt.training.passes import predictions
from dbpt.training.peak_rates import PeakRates, lowered_rates
from dbpt.training.records import EpochRecord, Progress, Rows, Trained, TrainingSettings
from dbpt.training.schedule import learning_rate
from dbpt.training.selection import validation_score


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
    ranks: Ranks = ALONE,
) -> Trained:
    """Train ``head`` on ``training`` and keep the epoch that ``settings.select`` likes best on ``validation``.

    The head maps features (B, D) to logits (B, C). With ``checkpoint_path`` the state is saved after each epoch and a
    run found there is continued, at a lower ``settings.lr`` if that has changed; ``fingerprint`` is the caller's digest
    of what it built the head and objective from.
    ``live`` gives the training rows' features instead of ``training.features``, anew at each draw.
    All ``ranks`` call this with the same arguments: each computes its part of every batch, and all end with the same
    head. Rank 0 alone reads and writes the checkpoint, which a run of another number of ranks may continue.
    Raises `InputError` if training blows up (`dbpt.training.divergence`), or if the checkpoint is another run's.
    """
    ranks.copy_first([*head.parameters(), *head.buffers()])
    run = _Run(head, objective, training, validation, settings, live, ranks, resumable=checkpoint_path is not None)
    identity = "" if checkpoint_path is None else training_fingerprint(fingerprint, training, validation, settings)
    if checkpoint_path is not None and (saved := ranks.from_first(lambda: load_checkpoint(checkpoint_path, identity))):
        run.restore(saved)
        next_epoch = None if run.is_finished else len(run.history) + 1
        run.peak_rates = lowered_rates(run.peak_rates, settings.lr, next_epoch, checkpoint_path)
    while not run.is_finished:
        on_epoch(run.epoch())
        if checkpoint_path is not None:
            ranks.from_first(lambda: save_checkpoint(checkpoint_path, run.checkpoint(identity)))
    head.load_state_dict(run.best_state)
    return Trained(run.best_state, run.selected_epoch, run.history, run.peak_rates)


class _Run:
    """The moving parts of one training run."""

    def __init__(
        self,
        head: nn.Module,
        objective: Objective,
        training: Rows,
        validation: Rows,
        settings: TrainingSettings,
        live: LiveImages | None,
        ranks: Ranks,
        *,
        resumable: bool,
    ) -> None:
        self.head, self.objective, self.settings = head, objective, settings
        self.live, self.ranks, self.resumable = live, ranks, resumable
        device = next(head.parameters()).device
        self.features = torch.from_numpy(training.features).to(device)
        self.labels = torch.from_numpy(training.labels).to(device)
        membership = training.groups if training.posterior is None else training.posterior
        self.groups = torch.from_numpy(membership).to(device)
        self.validation = validation
        self.val_features = torch.from_numpy(validation.features).to(device)
        self.initial_state = self._head_state()
        self.history: list[EpochRecord] = []
        self.peak_rates: PeakRates = [(1, settings.lr)]
        self._start()

    def _start(self) -> None:
        """Begin from the head as it was given: at first, and where the objective wants it started anew."""
        self.head.load_state_dict(self.initial_state)
        settings = self.settings
        self.optimizer = build_optimizer(self.head.parameters(), settings)
        self.first_epoch = len(self.history)
        self.best_score = (-math.inf, -math.inf)
        self.best_state: dict[str, torch.Tensor] = {}
        self.selected_epoch = 0

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.history) >= self.settings.epochs + self.objective.extra_epochs

    def _head_state(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.head.state_dict().items()}

    def epoch(self) -> EpochRecord:
        """Train one epoch, move the objective, judge on validation."""
        number = len(self.history)
        lr = self._set_learning_rate(number)
        moment = Moment(self.objective.name, number + 1, lr, self.settings.lr, self.resumable)
        draws = self.objective.draws(self.settings.seed, number)
        loss, group_draws = self._train_epoch(draws, moment), self.objective.group_draws(draws)
        starts_anew = self.objective.end_epoch(self._correct)
        wga, average = self._validate(number, moment)
        record = EpochRecord(
            epoch=number + 1,
            lr=lr,
            loss=loss,
            group_weights=_as_list(self.objective.group_weights),
            mean_p_true=_as_list(self.objective.mean_p_true),
            draws=None if group_draws is None else group_draws.tolist(),
            val_wga=wga,
            val_average=average,
        )
        self.history.append(record)
        if starts_anew:
            self._start()
        return record

    def _set_learning_rate(self, epoch: int) -> float:
        settings, epoch = self.settings, epoch - self.first_epoch
        lr = learning_rate(epoch, lr=settings.lr, epochs=settings.epochs, warmup_epochs=settings.warmup_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _train_epoch(self, draws: Draws, moment: Moment) -> float:
        """One pass over the epoch's ``draws``; returns the mean loss."""
        batch_size = self.settings.batch_size or len(draws)
        losses = torch.zeros((), device=self.labels.device)
        for begin in range(0, len(draws), batch_size):
            rows = torch.from_numpy(draws.indices(begin, min(begin + batch_size, len(draws)))).to(self.labels.device)
            per_sample_loss, loss = self._batch_loss(rows, begin, moment)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.ranks.sum_gradients(self.head.parameters())
            moment.check_step(per_sample_loss, self.head.parameters())
            with moment.checked_step():
                self.optimizer.step()
            losses += loss.detach() * len(rows)
        moment.check_weights(self.head.parameters())
        return losses.item() / len(draws)

    def _batch_loss(self, rows: torch.Tensor, first_draw: int, moment: Moment) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses (B,) of the training rows ``rows`` (B,), of which this rank computes its part, and the objective's."""
        labels, groups, part = self.labels[rows], self.groups[rows], self.ranks.part(len(rows))
        logits = self.head(self._features(rows[part], moment.epoch - 1, first_draw + part.start))
        own_loss = F.cross_entropy(logits, labels[part], reduction="none")
        per_sample_loss = self.ranks.gather(own_loss, len(rows))
        try:
            self.objective.observe(per_sample_loss.detach(), groups, labels)
        except InputError:
            moment.check_loss(per_sample_loss.max().item())
            raise
        return per_sample_loss, self.objective.loss(per_sample_loss, groups, labels, rows)

    @torch.no_grad()
    def _correct(self) -> torch.Tensor:
        """(N,) bool, which training rows the head classifies rightly now."""
        total = len(self.labels)
        own = self.ranks.part(total)
        correct = predictions(self.head, self.features[own]) == self.labels[own]
        return self.ranks.gather(correct.byte(), total).bool()

    def _features(self, rows: torch.Tensor, epoch: int, first_draw: int) -> torch.Tensor:
        if self.live is None:
            return self.features[rows]
        live = self.live
        return self.ranks.together(lambda: live.features(rows.cpu().numpy(), epoch=epoch, first_draw=first_draw))

    def _validate(self, epoch: int, moment: Moment) -> tuple[float | None, float]:
        """Judge the epoch, keep its head if it is the best so far; returns worst-group and average accuracy."""
        total = len(self.validation.labels)
        own = predictions(self.head, self.val_features[self.ranks.part(total)])
        predicted = self.ranks.gather(own, total).cpu().numpy()
        moment.check_predictions(predicted)
        correct = predicted == self.validation.labels
        wga, average = worst_group_accuracy(correct, self.validation.groups), float(correct.mean())
        score = validation_score(self.settings.select, epoch, wga, average)
        if score > self.best_score:
            self.best_score, self.selected_epoch = score, epoch + 1
            self.best_state = self._head_state()
        return wga, average

    def checkpoint(self, fingerprint: str) -> Checkpoint:
        """Everything needed to go on as if nothing had happened."""
        tensors = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        tensors |= {f"objective.{name}": torch.from_numpy(value) for name, value in self.objective.state().items()}
        tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        progress = Progress(self.history, self.best_score, self.selected_epoch, self.first_epoch, self.peak_rates)
        return Checkpoint(fingerprint, tensors, progress)

    def restore(self, saved: Checkpoint) -> None:
        """Continue from ``saved``."""
        device = self.labels.device
        self.head.load_state_dict(saved.part("head"))
        self.best_state = {name: value.to(device) for name, value in saved.part("best").items()}
        self.objective.load_state({name: value.numpy() for name, value in saved.part("objective").items()})
        load_optimizer_tensors(self.optimizer, saved.part("optimizer"))
        progress = saved.progress
        self.history, self.peak_rates = list(progress.history), list(progress.peak_rates)
        self.best_score, self.selected_epoch = progress.best_score, progress.selected_epoch
        self.first_epoch = progress.first_epoch


def _as_list(values: NDArray[np.float64] | None) -> list[float | None] | None:
    """A JSON-able copy; NaN becomes None."""
    return None if values is None else [None if math.isnan(value) else float(value) for value in values]
