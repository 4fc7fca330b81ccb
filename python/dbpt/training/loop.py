"""The training loop on cached features, the rows of its epochs, its optimizer and schedule."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream, Stream
from dbpt.errors import InputError
from dbpt.groups import group_counts
from dbpt.objectives import Objective
from dbpt.settings.config import FitConfig
from dbpt.training import checkpoints, gradients, model_selection
from dbpt.training.device_features import DeviceFeatures
from dbpt.training.live_images import LiveImages
from dbpt.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from dbpt.sampling import GroupSampler, WeightedSampler

SMALL_STEP = 200_000_000  # multiply-adds of a forward pass, about 10 ms on one core


def train(
    head: torch.nn.Module,
    objective: Objective,
    training: model_selection.Rows,
    validation: model_selection.Rows,
    settings: FitConfig,
    *,
    checkpoint_path: Path | None = None,
    determined_by: Mapping[str, str] | None = None,
    on_epoch: Callable[[model_selection.EpochRecord], None] = lambda record: None,
    on_start: Callable[[list[model_selection.EpochRecord]], None] = lambda records: None,
    live: LiveImages | None = None,
    ranks: Ranks = ALONE,
) -> model_selection.Trained:
    """Train ``head`` on ``training`` and leave it at the best epoch on ``validation``, by ``settings.model_selection``.

    All ``ranks`` call this with the same arguments. Each computes its part of every batch, and all end with the same
    head. Only rank 0 reads and writes the checkpoint, from which another number of ranks can continue.

    Args:
        head: maps features (B, D) to logits (B, K), of the C classes or of the groups of class and attribute.
        objective: turns per-sample losses into the loss of a step.
        training: N rows to train on.
        validation: rows by which the epoch is chosen.
        settings: epochs, optimizer, learning rate and model selection.
        checkpoint_path: file for the state after an epoch: every few seconds, at the end, and if training stops at an
            error or at Ctrl-C. Training continues from an existing one, also with a lower learning rate.
        determined_by: everything that determines the head and the objective, by its name in messages.
        on_epoch: called with the record of each epoch.
        on_start: called before that, with the records of the epochs in the checkpoint.
        live: computes the features of training rows at each draw, instead of ``training.features``.
        ranks: the processes that train together; by default this one alone.

    Returns:
        The best epoch, the head's state after it, and the record of every epoch.

    Raises:
        InputError: if training diverges (`dbpt.training.model_selection`), or if the checkpoint belongs to another run.
    """
    # The ranks may run on different processors, whose first parameters can differ in the last bits.
    ranks.copy_first([*head.parameters(), *head.buffers()])
    run = _Run(head, objective, training, validation, settings, live, ranks, checkpoint_path is not None)
    identity, writer, path = dict[str, str](), None, checkpoint_path
    if path is not None:
        identity = checkpoints.fingerprints(determined_by or {}, training, validation, settings)
        if saved := ranks.from_first(lambda: checkpoints.load_checkpoint(path, identity)):
            run.restore(saved)
            next_epoch = None if run.is_finished else len(run.history) + 1
            run.peak_rates = checkpoints.lowered_rates(run.peak_rates, settings.peak_lr, next_epoch, path)
        writer = checkpoints.CheckpointWriter(path)
    try:
        on_start(run.history)
        while not run.is_finished:
            on_epoch(run.epoch())
            if writer is not None:
                ranks.from_first(lambda: writer.offer(run.checkpoint(identity)))
    # Ctrl-C too: the last epochs may not be on disk yet.
    except BaseException:
        if writer is not None and ranks.is_first:
            with suppress(InputError):  # the first error is the one to show
                writer.save()
        raise
    if writer is not None:
        ranks.from_first(writer.save)
    head.load_state_dict(run.best_state)
    return model_selection.Trained(run.best_state, run.best_epoch, run.history, run.peak_rates)


@contextmanager
def one_thread_if_small(multiply_adds: int) -> Iterator[None]:
    """Use one CPU thread of torch if a step is small: on busy cores, waiting threads make it twenty times slower."""
    before = torch.get_num_threads()
    if multiply_adds < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Run:
    head: torch.nn.Module
    objective: Objective
    training: model_selection.Rows
    validation: model_selection.Rows
    settings: FitConfig
    live: LiveImages | None
    ranks: Ranks
    resumable: bool

    def __post_init__(self) -> None:
        device, training = next(self.head.parameters()).device, self.training
        self.features = DeviceFeatures(training.features, device)
        self.labels = torch.from_numpy(training.labels).to(device)
        self.groups = torch.from_numpy(training.groups).to(device)
        self.val_features = DeviceFeatures(self.validation.features, device)
        self.val_labels = torch.from_numpy(self.validation.labels).to(device)
        if self.objective.starts_with_features():
            whole = self.features.whole(f"--objective {self.objective.name}")
            self.objective.start(self.head, whole, self.settings.seed)
        self.initial_state = self._head_state()
        self.history: list[model_selection.EpochRecord] = []
        self.peak_rates: model_selection.PeakRates = [(1, self.settings.peak_lr)]
        self._start()

    def _start(self) -> None:
        self.head.load_state_dict(self.initial_state)
        self.optimizer = build_optimizer(self.head.parameters(), self.settings)
        self.first_epoch = len(self.history)
        self.best_score = (-math.inf, -math.inf)
        self.best_state: dict[str, torch.Tensor] = {}
        self.best_epoch = 0

    @property
    def is_finished(self) -> bool:
        return len(self.history) >= self.settings.epochs + self.objective.extra_epochs

    def _head_state(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.head.state_dict().items()}

    def epoch(self) -> model_selection.EpochRecord:
        settings, objective = self.settings, self.objective
        number = len(self.history)
        since_start = number - self.first_epoch  # of this stage
        warmup = settings.warmup_epochs
        lr = learning_rate(since_start, lr=settings.peak_lr, epochs=settings.epochs, warmup_epochs=warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        # Never above the default: a tenth of a rate that is far too large may be too large still. And the rate of the
        # warm-up is only lowered by a peak below it.
        lower_lr = min((lr if since_start < warmup else settings.peak_lr) / 10, settings.default_lr)
        check = model_selection.DivergenceCheck(
            objective.name, number + 1, lr, settings.peak_lr, lower_lr, self.resumable
        )
        by_weight = objective.uses_groups and objective.apply == "sampling"
        drawn_G = np.zeros(objective.training.num_groups, np.int64) if by_weight else None
        loss = self._train_epoch(check, drawn_G)
        objective.end_epoch()
        if is_first_stage_over := number + 1 == objective.extra_epochs:
            objective.end_first_stage(*self._judge(self.features, self.labels))
        validated = self._validate(number, check)
        record = model_selection.EpochRecord(
            epoch=number + 1,
            lr=lr,
            loss=loss,
            group_weights=_as_list(objective.group_weights),
            mean_p_true=_as_list(objective.mean_p_true),
            draws=None if drawn_G is None else drawn_G.tolist(),
            val_wgp=validated.wgp,
            val_wga=validated.wga,
            val_average=validated.average,
            val_accuracy=validated.accuracy,
        )
        self.history.append(record)
        if is_first_stage_over:
            # Only after the record is appended, because `_start` takes the number of records as the first epoch.
            if not objective.restarts:
                self.initial_state = self._head_state()
            self._start()
        return record

    def _train_epoch(self, check: model_selection.DivergenceCheck, drawn_G: NDArray[np.int64] | None) -> float:
        """Return the mean loss; ``drawn_G`` counts the draws of each group."""
        drawn = draws_of_epoch(self.objective, self.settings.seed, len(self.history))
        batch_size = self.settings.batch_size or len(drawn)
        losses = torch.zeros((), device=self.labels.device)

        def observe(per_sample_loss: torch.Tensor, batch: gradients.Batch) -> None:
            try:
                self.objective.observe(per_sample_loss, batch.groups, batch.labels)
            # The group weights refuse a loss that is too large, but divergence is the better message.
            except InputError:
                check.check_loss(per_sample_loss.max().item())
                raise

        step = gradients.Gradients(self.head, self.objective, self.ranks, observe)
        for begin in range(0, len(drawn), batch_size):
            indices = drawn.indices(begin, min(begin + batch_size, len(drawn)))
            if drawn_G is not None:
                drawn_G += group_counts(self.training.groups[indices], len(drawn_G))
            if len(indices) > gradients.LARGE_BATCH and self.live is None:
                indices.sort()  # their order makes no difference, and a file is read in its own
            rows = torch.from_numpy(indices).to(self.labels.device)
            batch = gradients.Batch(rows, self.labels[rows], self.groups[rows])
            read: Callable[[], Iterable[torch.Tensor]] = partial(self._read, batch, indices)
            if self.live is not None:  # once, though some losses are read twice
                read = partial(iter, self._drawn(self.live, batch, indices, begin))
            per_sample_loss, loss = step.set(batch, read)
            check.check_step(begin, per_sample_loss, loss, self.head.parameters())
            self.optimizer.step()
            losses += loss * len(rows)
        check.check_weights(self.head.parameters())
        return losses.item() / len(drawn)

    def _read(self, batch: gradients.Batch, indices: NDArray[np.int64]) -> Iterator[torch.Tensor]:
        """Yield the features of each block of this rank's part of the training rows ``indices`` (B,)."""
        own = indices[self.ranks.part(len(batch))]
        if batch.is_large:
            yield from self.features.blocks(own, batch.block_rows)
        else:
            yield self.features[own]

    def _drawn(
        self, live: LiveImages, batch: gradients.Batch, indices: NDArray[np.int64], first_draw: int
    ) -> list[torch.Tensor]:
        """Return the features of images that are drawn now, for each block of this rank's part."""
        part, epoch = self.ranks.part(len(batch)), len(self.history)
        draw = [
            partial(live.features, indices[block], epoch=epoch, first_draw=first_draw + block.start)
            for block in batch.blocks(part)
        ]
        # Once for all blocks: another rank may have another number of them.
        return self.ranks.together(lambda: [features() for features in draw])

    def _judge(self, features: DeviceFeatures, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `model_selection.judge` of all N rows, of which each rank judges a part."""
        own = self.ranks.part(len(labels))
        kinds, rows = self.objective.training, None if self.ranks.count == 1 else np.arange(own.start, own.stop)
        blocks = features.blocks(rows, model_selection.BLOCK_ROWS)
        correct, p_true = model_selection.judge(self.head, blocks, labels[own], kinds.num_classes, kinds.impossible)
        return self.ranks.gather(correct.byte(), len(labels)).bool(), self.ranks.gather(p_true, len(labels))

    def _validate(self, epoch: int, check: model_selection.DivergenceCheck) -> model_selection.Validation:
        """Judge the validation rows; remember the head if it is the best so far."""
        correct, p_true = (tensor.cpu().numpy() for tensor in self._judge(self.val_features, self.val_labels))
        check.check_probabilities(p_true)
        figures = model_selection.Validation.of(correct, p_true, self.validation)
        score = model_selection.validation_score(self.settings.model_selection, epoch, figures)
        # Not >=, so that the earlier epoch wins a tie.
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch + 1
            self.best_state = self._head_state()
        return figures

    def checkpoint(self, fingerprints: dict[str, str]) -> checkpoints.Checkpoint:
        tensors = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        tensors |= {f"objective.{name}": torch.from_numpy(value) for name, value in self.objective.state().items()}
        tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        progress = checkpoints.LoopState(
            self.history, self.best_score, self.best_epoch, self.first_epoch, self.peak_rates
        )
        return checkpoints.Checkpoint(fingerprints, tensors, progress)

    def restore(self, saved: checkpoints.Checkpoint) -> None:
        device, progress = self.labels.device, saved.progress
        self.head.load_state_dict(saved.part("head"))
        self.best_state = {name: value.to(device) for name, value in saved.part("best").items()}
        self.objective.load_state({name: value.numpy() for name, value in saved.part("objective").items()})
        load_optimizer_tensors(self.optimizer, saved.part("optimizer"))
        self.history, self.peak_rates = list(progress.history), list(progress.peak_rates)
        self.best_score, self.best_epoch = progress.best_score, progress.best_epoch
        self.first_epoch = progress.first_epoch


def _as_list(values: NDArray[np.float64] | None) -> list[float | None] | None:
    """Return a list for JSON; NaN becomes None."""
    return None if values is None else [None if math.isnan(value) else float(value) for value in values]


def draws_of_epoch(objective: Objective, seed: int, epoch: int) -> "Stream | GroupSampler | WeightedSampler":
    """Return the rows of ``epoch`` (from 0), a pure function of the seed, the epoch and the objective's state.

    A new sampler in each epoch gives the same draws as one that is kept, since these depend only on its weights, the
    seed and the epoch.
    """
    if objective.apply == "sampling" and (sampler := objective.sampler(seed)) is not None:
        sampler.set_epoch(epoch)
        return sampler
    part = np.zeros(len(objective.training.labels), dtype=np.int64)
    if (subset := objective.subset(seed)) is not None:
        # The stream has one group, 0. Rows of group -1 are never drawn.
        part -= 1
        part[subset] = 0
    index = GroupIndex(part, 1)
    return GroupStream(index, index.counts, seed, epoch)


WARMUP_LR = 1e-5


def build_optimizer(parameters: Iterable[torch.nn.Parameter], settings: FitConfig) -> torch.optim.Optimizer:
    """Return the optimizer that ``settings`` names."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, settings.peak_lr, settings.sgd_momentum, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(parameters, settings.peak_lr, weight_decay=settings.weight_decay)


def learning_rate(epoch: int, *, lr: float, epochs: int, warmup_epochs: int) -> float:
    """Return CoOp's learning rate for ``epoch``, from 0 (Zhou et al., 2022): a constant warm-up, then a cosine.

    It is 1e-5 (or ``lr`` if lower) during warm-up, then lr/2 * (1 + cos(pi * (epoch - warmup_epochs) / epochs)).
    """
    if epoch < warmup_epochs:
        return min(WARMUP_LR, lr)
    # As in CoOp's code, the warm-up doesn't shorten the cosine, which therefore stops short of 0.
    return 0.5 * lr * (1.0 + math.cos(math.pi * (epoch - warmup_epochs) / epochs))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the state of each parameter under the names ``NUMBER.NAME``."""
    states = optimizer.state_dict()["state"].items()
    return {f"{i}.{name}": value for i, state in states for name, value in state.items() if value is not None}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
