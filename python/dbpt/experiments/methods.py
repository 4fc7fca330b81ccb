"""The methods of the comparison: zero-shot, and a head trained under one objective. Each gives one `MethodRow`."""

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm

from dbpt.errors import InputError
from dbpt.experiments.stages import Experiment
from dbpt.features.live import LiveImages, live_images
from dbpt.groups import GroupMetrics, worst_group_accuracy
from dbpt.heads import HEADS, Head, HeadStart
from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.progress import progress_bar
from dbpt.ranks import ALONE, Ranks, memory
from dbpt.runs.classifier import FeatureClassifier, zero_shot_classifier
from dbpt.training import EpochRecord, Rows, Trained, TrainingSettings, train
from dbpt.training.findings import training_findings
from dbpt.training.loop import one_thread_if_small

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """One method: its classifier, training, and metrics on each split. Names that do not apply to it are None."""

    name: str
    group_source: str | None = None
    head: str | None = None
    apply: str | None = None
    classifier: FeatureClassifier
    trained: Trained | None = None
    metrics: dict[str, GroupMetrics | None]
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the row of ``metrics.json``."""
        return {
            "name": self.name,
            "group_source": self.group_source,
            "head": self.head,
            "apply": self.apply,
            "selected_epoch": self.trained.selected_epoch if self.trained else None,
            "epochs": len(self.trained.history) if self.trained else 0,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
            **{split: metrics.to_json() if metrics else None for split, metrics in self.metrics.items()},
        }


def zero_shot_row(experiment: Experiment) -> MethodRow:
    """Return the row without training."""
    classifier = zero_shot_classifier(experiment.backbone, experiment.class_weights)
    return MethodRow(name="zero-shot", classifier=classifier, metrics=held_out_metrics(experiment, classifier))


def held_out_metrics(experiment: Experiment, classifier: FeatureClassifier) -> dict[str, GroupMetrics | None]:
    """Return the metrics of ``classifier`` on validation and test."""
    metrics = experiment.metrics(classifier.predictions(experiment.features))
    return {split: metrics[split] for split in ("val", "test")}


def trained_row(
    experiment: Experiment,
    objective: str,
    *,
    checkpoint_path: Path | None,
    ranks: Ranks = ALONE,
    quiet: bool = False,
) -> MethodRow:
    """Train the head under ``objective`` and judge the best epoch; ``quiet`` logs nothing and shows no bar."""
    started, config = time.perf_counter(), experiment.config
    quiet = quiet or not ranks.is_first
    head, chosen = ranks.together(lambda: build_head(experiment)), OBJECTIVES[objective]
    training, validation = _training_rows(experiment, chosen)
    dataset = experiment.dataset
    built = chosen(
        TrainingGroups(training.groups, training.labels, dataset.num_classes, dataset.num_groups, training.posterior),
        apply=config.application(objective) or "loss",
        **config.values(chosen.settings),
    )
    if chosen.refits:
        trained, how = ranks.from_first(lambda: _refitted(experiment, built, head, training))
        head.load_state_dict(trained.head_state)
    else:
        epochs = config.epochs + built.extra_epochs
        with (
            progress_bar(objective, "epoch", total=epochs, hidden=not ranks.is_first) as bar,
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
                on_epoch=partial(_show_epoch, objective, bar),
                live=live,
                ranks=ranks,
            )
        how = f"best epoch {trained.selected_epoch} of {epochs} ({config.select})"
    classifier = _finished(head, training.features[:16])
    seconds = time.perf_counter() - started
    findings = training_findings(trained, built, asked_lr=config.peak_lr, group_names=dataset.group_names)
    if not quiet:
        logger.info(f"{objective}: {how}, {seconds:.1f} s" + ("" if built.note is None else f"; {built.note}"))
        for finding in findings:
            logger.warning(f"{objective}: {finding}")
    return MethodRow(
        name=objective,
        group_source=config.group_source if chosen.uses_groups else None,
        head=config.head,
        apply=config.application(objective),
        classifier=classifier,
        trained=trained,
        metrics=held_out_metrics(experiment, classifier),
        seconds=seconds,
        warnings=tuple(findings),
    )


def _show_epoch(objective: str, bar: tqdm, record: EpochRecord) -> None:
    judged = record.val_average if record.val_wga is None else record.val_wga
    line = f"loss {record.loss:.3f}, val {100 * judged:.1f} %"
    bar.set_postfix_str(line, refresh=False)
    bar.update(record.epoch - bar.n)
    logger.debug(f"{objective}: epoch {record.epoch} of {bar.total}: {line}")


@torch.no_grad()
def _finished(head: Head, features: NDArray[np.float32]) -> FeatureClassifier:
    """Return the classifier of a trained head; refuses one of others that predicts ``features`` unlike its forward."""
    tensors = {name: tensor.cpu().numpy() for name, tensor in head.classifier_tensors().items()}
    classifier = FeatureClassifier(tensors, type(head))
    if head.name in HEADS.added:
        logits = head(torch.from_numpy(features).to(next(head.parameters()).device)).cpu().numpy()
        if not np.allclose(classifier.logits(features), logits, rtol=0, atol=0.01 * np.abs(logits).max()):
            way_out = "mend classifier_tensors or logits"
            raise InputError(f"--head {head.name}: its classifier has other logits than its forward; {way_out}")
    return classifier


def _refitted(experiment: Experiment, objective: Objective, head: Head, rows: Rows) -> tuple[Trained, str]:
    """Return what the objective's `refit` finds as a training of one epoch, and how it was found, for the log."""
    config, train = experiment.config, experiment.rows("train")
    state, how = objective.refit(experiment.features[train], rows.features, config.seed)
    head.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    features, labels, groups = (torch.from_numpy(array) for array in (rows.features, rows.labels, rows.groups))
    with torch.no_grad():
        logits = head.cpu()(features)
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
    return Trained(head.state_dict(), 1, [record], [(1, config.peak_lr)]), how


def build_head(experiment: Experiment) -> Head:
    """Build a fresh head of the kind that the config names, for the experiment's classes."""
    config, backbone, kind = experiment.config, experiment.backbone, HEADS[experiment.config.head]
    class_weights = torch.from_numpy(experiment.class_weights).to(backbone.device)
    start = HeadStart(backbone, experiment.dataset.words, class_weights, config.seed)
    return kind.build(start, **config.values(kind.settings))


def _live(experiment: Experiment) -> AbstractContextManager[LiveImages | None]:
    if experiment.config.features == "cached":
        return nullcontext()
    dataset = experiment.dataset
    paths = [dataset.paths[row] for row in experiment.rows("train")]
    return live_images(experiment.backbone, dataset.root, paths, seed=experiment.config.seed)


def _live_multiply_adds(experiment: Experiment) -> int:
    """Return a lower bound for the image side of a step: each weight of the tower once for each image."""
    if experiment.config.features == "cached":
        return 0
    visual = experiment.backbone.model.visual
    assert isinstance(visual, torch.nn.Module)
    images = experiment.config.batch_size or len(experiment.rows("train"))
    return images * sum(parameter.numel() for parameter in visual.parameters())


def settings_of(experiment: Experiment) -> TrainingSettings:
    """Return the settings that the training loop reads."""
    return TrainingSettings(**experiment.config.values(field.name for field in fields(TrainingSettings)))


def _training_rows(experiment: Experiment, objective: type[Objective]) -> tuple[Rows, Rows]:
    """Return the rows that ``objective`` trains on and those that choose the epoch, each with the groups it may see."""
    config, pseudo, membership = experiment.config, experiment.pseudo, None
    if config.group_source == "soft" and objective.takes_soft_groups:
        assert pseudo.posterior is not None
        membership = np.where(pseudo.pseudo_attributes[:, None] < 0, np.float32(np.nan), pseudo.posterior)
    judged_by = experiment.true_groups if config.select == "true-wga" else experiment.pseudo_groups

    def rows_of(split: str, groups: NDArray[np.int64], posterior: NDArray[np.float32] | None) -> Rows:
        rows = experiment.rows(split)
        of_rows = None if posterior is None else posterior[rows]
        return Rows(experiment.features[rows], experiment.dataset.labels[rows], groups[rows], of_rows)

    training = rows_of(objective.trains_on, experiment.groups_trained_on, membership)
    return training, rows_of("val", judged_by, None)


def _fingerprint(experiment: Experiment, objective: str, head: Head) -> str:
    """Return all that determines a training besides its rows: settings, encoder and the head as it starts."""
    config, backbone = experiment.config, experiment.backbone
    settings = {name: value for name, value in config.identity().items() if name != "lr"}  # it may be lowered
    described = (sorted(backbone.encoder_key.items()), backbone.spec["config"])
    return repr((objective, settings, head.identity(), *described))
