"""The methods of the comparison: zero-shot, and a head trained under one objective. Each gives one `MethodRow`."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.data import SPLITS, Dataset
from dbpt.experiment import Experiment, Log, layout_settings
from dbpt.features.live import LiveImages, live_images
from dbpt.heads import PromptHead
from dbpt.metrics import GroupMetrics, group_counts, group_metrics
from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.training import EpochRecord, Rows, Trained, TrainingSettings, train
from dbpt.training.threads import one_thread_if_small


@dataclass(frozen=True)
class MethodRow:
    """One method's classifier (C, D), what training left, and its metrics on val and test (None for an empty split)."""

    name: str
    group_source: str | None
    weights: NDArray[np.float32]
    trained: Trained | None
    metrics: dict[str, GroupMetrics | None]
    seconds: float


def zero_shot_row(experiment: Experiment) -> MethodRow:
    """The row without training."""
    weights = experiment.class_weights
    return MethodRow("zero-shot", None, weights, None, _metrics(experiment, weights), 0.0)


def trained_row(experiment: Experiment, objective: str, *, checkpoint_path: Path | None, log: Log) -> MethodRow:
    """Train a prompt under ``objective`` and judge the kept epoch."""
    started, config = time.perf_counter(), experiment.config
    head = build_head(experiment)
    chosen = OBJECTIVES[objective]
    training = _rows(experiment, "train", config.group_source)
    groups = TrainingGroups(
        training.groups, training.labels, experiment.dataset.num_classes, experiment.dataset.num_groups
    )
    with (
        progress_bar(objective, config.epochs) as on_epoch,
        one_thread_if_small(head.multiply_adds + _live_multiply_adds(experiment)),
        _live(experiment) as live,
    ):
        trained = train(
            head,
            chosen(groups, eta=config.eta, ema_momentum=config.ema_momentum, device=str(experiment.backbone.device)),
            training,
            _rows(experiment, "val", "true" if config.select == "true-wga" else "pseudo"),
            settings_of(experiment),
            checkpoint_path=checkpoint_path,
            fingerprint=_fingerprint(experiment, objective, head),
            on_epoch=on_epoch,
            live=live,
        )
    with torch.no_grad():
        weights = head.weights().cpu().numpy()
    seconds = time.perf_counter() - started
    log(f"{objective}: kept epoch {trained.selected_epoch} of {config.epochs} ({config.select}), {seconds:.1f} s")
    source = config.group_source if chosen.uses_groups else None
    return MethodRow(objective, source, weights, trained, _metrics(experiment, weights), seconds)


def build_head(experiment: Experiment) -> PromptHead:
    """A fresh head for the experiment's classes."""
    config = experiment.config
    return PromptHead(
        experiment.backbone,
        experiment.dataset.words.classes,
        seed=config.seed,
        text_precision=config.text_precision,
        text_memory_mb=config.text_memory_mb,
        **layout_settings(config),
    )


def _live(experiment: Experiment) -> AbstractContextManager[LiveImages | None]:
    """What training sees instead of cached features, if it is to."""
    if experiment.config.features == "cached":
        return nullcontext()
    dataset, rows = experiment.dataset, experiment.rows("train")
    paths = [dataset.paths[row] for row in rows]
    return live_images(experiment.backbone, dataset.root, paths, seed=experiment.config.seed)


def _live_multiply_adds(experiment: Experiment) -> int:
    """At least so many for the image side of a step: each weight of the tower once for each image."""
    if experiment.config.features == "cached":
        return 0
    visual = experiment.backbone.model.visual
    assert isinstance(visual, torch.nn.Module)
    return experiment.config.batch_size * sum(parameter.numel() for parameter in visual.parameters())


def settings_of(experiment: Experiment) -> TrainingSettings:
    """The part of the config that the training loop reads."""
    config = experiment.config
    return TrainingSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        sgd_momentum=config.sgd_momentum,
        weight_decay=config.weight_decay,
        warmup_epochs=config.warmup_epochs,
        select=config.select,  # type: ignore[arg-type]  # checked by FitConfig
        seed=config.seed,
    )


def classify(features: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) int64 class of the largest cosine, for unit features (N, D) and weights (C, D)."""
    classes: NDArray[np.int64] = (features @ weights.T).argmax(axis=1)
    return classes


def _rows(experiment: Experiment, split: str, group_source: str) -> Rows:
    rows = experiment.rows(split)
    groups = experiment.true_groups if group_source == "true" else experiment.pseudo_groups
    return Rows(experiment.features[rows], experiment.dataset.labels[rows], groups[rows])


def _metrics(experiment: Experiment, weights: NDArray[np.float32]) -> dict[str, GroupMetrics | None]:
    metrics = split_metrics(
        experiment.dataset,
        experiment.splits,
        classify(experiment.features, weights),
        experiment.evaluation_attributes,
        seed=experiment.config.seed,
    )
    return {"val": metrics["val"], "test": metrics["test"]}


def split_metrics(
    dataset: Dataset,
    splits: NDArray[np.int64],
    predictions: NDArray[np.int64],
    attributes: NDArray[np.int64],
    *,
    seed: int = 0,
) -> dict[str, GroupMetrics | None]:
    """Metrics of each split, None for an empty one; all arrays (N,) int64, ``attributes`` true or pseudo."""
    train_groups = dataset.groups(attributes)[splits == SPLITS.index("train")]
    train_counts = group_counts(train_groups, dataset.num_groups)

    def metrics_of(rows: NDArray[np.bool_]) -> GroupMetrics | None:
        if not rows.any():
            return None
        return group_metrics(
            predictions[rows],
            dataset.labels[rows],
            attributes[rows],
            num_classes=dataset.num_classes,
            num_attributes=dataset.num_attributes,
            train_counts=train_counts if train_counts.any() else None,
            group_names=[f"{y} · {a}" for y in dataset.class_names for a in dataset.attribute_names],
            seed=seed,
        )

    return {split: metrics_of(splits == number) for number, split in enumerate(SPLITS)}


def _fingerprint(experiment: Experiment, objective: str, head: PromptHead) -> str:
    """What determines a training run besides its rows and settings; the token ids stand for the tokenizer."""
    config, backbone = experiment.config, experiment.backbone
    text = (layout_settings(config), config.text_precision, config.text_memory_mb, config.features)
    choices = (objective, config.head, text, config.eta, config.ema_momentum)
    layout = head.text_tower.layout
    prompts = (list(experiment.dataset.words.classes.items()), layout.ids.tolist(), layout.places.tolist())
    return repr((choices, prompts, sorted(backbone.encoder_key.items()), backbone.spec["config"]))


class progress_bar:
    """Context manager that gives ``train`` its ``on_epoch``: a tqdm bar where standard error is a terminal."""

    def __init__(self, title: str, epochs: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=epochs, desc=title, unit="epoch", disable=None, leave=False)

    def __enter__(self) -> Callable[[EpochRecord], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _show(self, record: EpochRecord) -> None:
        self._bar.update(record.epoch - self._bar.n)
        judged = record.val_average if record.val_wga is None else record.val_wga
        self._bar.set_postfix_str(f"loss {record.loss:.3f}, val {100 * judged:.1f} %")
