"""The methods of the comparison: zero-shot, and a head trained under one objective. Each gives one `MethodRow`."""

import hashlib
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dbpt.data import SPLITS, Dataset
from dbpt.data.words import Words
from dbpt.experiments.splits import training_counts
from dbpt.experiments.stages import Experiment, Log
from dbpt.features.live import LiveImages, live_images
from dbpt.groups import GroupMetrics, group_metrics, worst_group_accuracy
from dbpt.heads import HEAD_SETTINGS, AdapterHead, Head, LinearHead, PromptHead
from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.objectives.dfr import SUBSETS, refit_layer
from dbpt.ranks import ALONE, Ranks, memory
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.settings.config import DEFAULT_LR, FitConfig
from dbpt.training import EpochRecord, Rows, Trained, TrainingSettings, train
from dbpt.training.findings import training_findings
from dbpt.training.loop import one_thread_if_small, progress_bar


@dataclass(frozen=True)
class MethodRow:
    """One method's classifier, what training left, and its metrics on val and test (None for an empty split).

    ``group_source`` is None for an objective without groups, ``apply`` for one without weights, and both and ``head``
    for zero-shot.
    """

    name: str
    group_source: str | None
    head: str | None
    apply: str | None
    classifier: FeatureClassifier
    trained: Trained | None
    metrics: dict[str, GroupMetrics | None]
    seconds: float
    warnings: tuple[str, ...] = ()


def zero_shot_row(experiment: Experiment) -> MethodRow:
    """The row without training."""
    backbone = experiment.backbone
    bias = np.array([backbone.logit_bias or 0.0], dtype=np.float32)
    classifier = FeatureClassifier(experiment.class_weights, backbone.logit_scale, bias)
    return MethodRow("zero-shot", None, None, None, classifier, None, _metrics(experiment, classifier), 0.0)


def trained_row(
    experiment: Experiment,
    objective: str,
    *,
    checkpoint_path: Path | None,
    log: Log,
    ranks: Ranks = ALONE,
    hidden: bool = False,
) -> MethodRow:
    """Train the head under ``objective`` and judge the kept epoch; ``hidden`` shows no bar of the epochs."""
    started, config = time.perf_counter(), experiment.config
    head, chosen = ranks.together(lambda: build_head(experiment)), OBJECTIVES[objective]
    training, validation = _training_rows(experiment, chosen)
    built = chosen(
        _training_groups(experiment, training),
        apply=config.application(objective) or "loss",
        **_objective_settings(config, chosen),
    )
    if chosen.refits:
        trained, how = ranks.from_first(lambda: _refitted(experiment, built, training))
        head.load_state_dict(trained.head_state)
    else:
        epochs = config.epochs + built.extra_epochs
        with (
            progress_bar(objective, epochs, hidden=hidden or not ranks.is_first) as on_epoch,
            one_thread_if_small(head.multiply_adds + _live_multiply_adds(experiment)),
            _live(experiment) as live,
            memory(),
        ):
            trained = train(
                head,
                built,
                training,
                validation,
                settings_of(experiment),
                checkpoint_path=checkpoint_path,
                fingerprint=_fingerprint(experiment, objective, head),
                on_epoch=on_epoch,
                live=live,
                ranks=ranks,
            )
        how = f"kept epoch {trained.selected_epoch} of {epochs} ({config.select})"
    with torch.no_grad():
        tensors = {name: tensor.cpu().numpy() for name, tensor in head.classifier_tensors().items()}
    classifier = FeatureClassifier.from_tensors(tensors)
    seconds = time.perf_counter() - started
    note = "" if built.note is None else f"; {built.note}"
    log(f"{objective}: {how}, {seconds:.1f} s{note}")
    names = experiment.dataset.group_names
    findings = training_findings(trained, built, asked_lr=config.peak_lr, group_names=names)
    for finding in findings:
        log(f"warning: {objective}: {finding}")
    return MethodRow(
        name=objective,
        group_source=config.group_source if chosen.uses_groups else None,
        head=config.head,
        apply=config.application(objective),
        classifier=classifier,
        trained=trained,
        metrics=_metrics(experiment, classifier),
        seconds=seconds,
        warnings=tuple(findings),
    )


def _refitted(experiment: Experiment, objective: Objective, rows: Rows) -> tuple[Trained, str]:
    """What deep feature reweighting finds on ``rows``, as a training of one epoch, and how, in a few words."""
    config, dataset = experiment.config, experiment.dataset
    train_features = experiment.features[experiment.rows("train")]
    layer = refit_layer(
        train_features, rows.features, rows.labels, rows.groups, num_classes=dataset.num_classes, seed=config.seed
    )
    state = {
        "weights": torch.from_numpy(layer.weights.astype(np.float32)),
        "bias": torch.from_numpy(layer.bias.astype(np.float32)),
    }
    features, labels, groups = (torch.from_numpy(array) for array in (rows.features, rows.labels, rows.groups))
    logits = features @ state["weights"].T + state["bias"]
    losses = F.cross_entropy(logits, labels, reduction="none")
    correct = (logits.argmax(dim=1) == labels).numpy()
    record = EpochRecord(
        epoch=1,
        lr=0.0,
        loss=objective.loss(losses, groups, labels, labels).item(),
        group_weights=None,
        mean_p_true=None,
        draws=None,
        val_wga=worst_group_accuracy(correct, rows.groups),
        val_average=float(correct.mean()),
    )
    how = f"C = {layer.penalty:g} chosen on half of validation, {SUBSETS} balanced subsets averaged"
    return Trained(state, 1, [record], [(1, config.peak_lr)]), how


def build_head(experiment: Experiment) -> Head:
    """A fresh head of the kind that the config names, for the experiment's classes."""
    config, backbone = experiment.config, experiment.backbone
    if config.head == "prompt":
        settings = _head_settings(config, experiment.dataset.words)
        return PromptHead(backbone, experiment.dataset.words.classes, seed=config.seed, **settings)
    class_weights = torch.from_numpy(experiment.class_weights).to(backbone.device)
    if config.head == "linear":
        return LinearHead(class_weights, logit_scale=backbone.logit_scale)
    bias = backbone.logit_bias or 0.0
    return AdapterHead(class_weights, logit_scale=backbone.logit_scale, logit_bias=bias, seed=config.seed)


def _head_settings(config: FitConfig, words: Words) -> dict[str, Any]:
    """The prompt's settings."""
    settings = {name: getattr(config, name) for name in HEAD_SETTINGS[config.head]}
    return settings | {"ctx_init": config.context_start(words)}


def _live(experiment: Experiment) -> AbstractContextManager[LiveImages | None]:
    """What training sees instead of cached features, if it is to."""
    if experiment.config.features == "cached":
        return nullcontext()
    dataset = experiment.dataset
    paths = [dataset.paths[row] for row in experiment.rows("train")]
    return live_images(experiment.backbone, dataset.root, paths, seed=experiment.config.seed)


def _live_multiply_adds(experiment: Experiment) -> int:
    """At least so many for the image side of a step: each weight of the tower once for each image."""
    if experiment.config.features == "cached":
        return 0
    visual = experiment.backbone.model.visual
    assert isinstance(visual, torch.nn.Module)
    images = experiment.config.batch_size or len(experiment.rows("train"))
    return images * sum(parameter.numel() for parameter in visual.parameters())


def settings_of(experiment: Experiment) -> TrainingSettings:
    """The part of the config that the training loop reads."""
    config = experiment.config
    return TrainingSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        optimizer=config.optimizer,
        lr=config.peak_lr,
        sgd_momentum=config.sgd_momentum,
        weight_decay=config.weight_decay,
        warmup_epochs=config.warmup_epochs,
        select=config.select,  # type: ignore[arg-type]  # checked by FitConfig
        seed=config.seed,
        default_lr=DEFAULT_LR[config.optimizer][config.head],
    )


def _training_rows(experiment: Experiment, objective: type[Objective]) -> tuple[Rows, Rows]:
    """The rows that ``objective`` trains on and those that choose the epoch, each with the groups that it is to see."""
    config = experiment.config
    groups = experiment.groups_trained_on
    train, val = experiment.rows(objective.trains_on), experiment.rows("val")
    soft = config.group_source == "soft" and objective.takes_soft_groups
    judged_by = experiment.true_groups if config.select == "true-wga" else experiment.pseudo_groups
    return (
        _rows(experiment, train, groups, experiment.membership if soft else None),
        _rows(experiment, val, judged_by, None),
    )


def _rows(
    experiment: Experiment, rows: NDArray[np.int64], groups: NDArray[np.int64], posterior: NDArray[np.float32] | None
) -> Rows:
    of_rows = None if posterior is None else posterior[rows]
    return Rows(experiment.features[rows], experiment.dataset.labels[rows], groups[rows], of_rows)


def _training_groups(experiment: Experiment, training: Rows) -> TrainingGroups:
    dataset = experiment.dataset
    return TrainingGroups(training.groups, training.labels, dataset.num_classes, dataset.num_groups, training.posterior)


def _objective_settings(config: FitConfig, objective: type[Objective]) -> dict[str, Any]:
    resolved = config.resolved()
    return {name: getattr(resolved, name) for name in objective.settings}


def _metrics(experiment: Experiment, classifier: FeatureClassifier) -> dict[str, GroupMetrics | None]:
    dataset, splits, attributes = experiment.dataset, experiment.splits, experiment.evaluation_attributes
    predictions = classifier.predictions(experiment.features)
    metrics = split_metrics(dataset, splits, predictions, attributes, training_counts(dataset, splits, attributes))
    return {"val": metrics["val"], "test": metrics["test"]}


def split_metrics(
    dataset: Dataset,
    splits: NDArray[np.int64],
    predictions: NDArray[np.int64],
    attributes: NDArray[np.int64],
    train_counts: NDArray[np.int64],
) -> dict[str, GroupMetrics | None]:
    """Metrics of each split, None for an empty one; arrays (N,) int64, ``attributes`` true or pseudo.

    ``train_counts`` (G,) are those of `training_counts`.
    """

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
            group_names=dataset.group_names,
        )

    return {split: metrics_of(splits == number) for number, split in enumerate(SPLITS)}


def _fingerprint(experiment: Experiment, objective: str, head: Head) -> str:
    """What determines a training run besides its rows and settings.

    The token ids stand for the tokenizer; what other heads start from has come through it.
    """
    config, backbone, chosen = experiment.config, experiment.backbone, OBJECTIVES[objective]
    choices = (
        objective,
        config.head,
        config.features,
        config.application(objective),
        _objective_settings(config, chosen),
    )
    start: object = [hashlib.sha256(value.cpu().numpy().tobytes()).hexdigest() for value in head.state_dict().values()]
    if isinstance(head, PromptHead):
        layout = head.text_tower.layout
        words = experiment.dataset.words
        names = list(words.classes.items())
        start = (_head_settings(config, words), names, layout.ids.tolist(), layout.places.tolist())
    return repr((choices, start, sorted(backbone.encoder_key.items()), backbone.spec["config"]))
