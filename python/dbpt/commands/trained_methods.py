"""The methods of a table: those without training, and a head trained with one objective, each a `MethodResult`."""

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm

from dbpt.clip.backbone import zero_shot_weights
from dbpt.commands.callbacks import UNWATCHED, Watch
from dbpt.data.stored_features import stored
from dbpt.environment import progress_bar
from dbpt.errors import InputError
from dbpt.evaluation.repeats import Evaluated
from dbpt.evaluation.results import OnlyPrompts, Repeat, Row
from dbpt.evaluation.study_metrics import row_of, titled, trained_row, with_answers
from dbpt.guesses.grouping import Use
from dbpt.heads import HEADS, Head, HeadStart
from dbpt.heads.class_and_group_prompts import class_prompts, group_prompts, group_texts
from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.objectives.base import EXCLUDED
from dbpt.objectives.training_free import TRAINING_FREE, Inputs
from dbpt.report.table_notes import selection_text
from dbpt.runs.feature_classifier import FeatureClassifier, zero_shot_classifier
from dbpt.settings.all_settings import method_name
from dbpt.settings.combinations import why_groups_stay_alike, why_not_mixed
from dbpt.settings.fields import AUTO
from dbpt.study.study import Study
from dbpt.training import EpochRecord, Rows, Trained, train
from dbpt.training.checkpoints import MAY_CHANGE
from dbpt.training.live_images import LiveImages, live_images
from dbpt.training.loop import one_thread_if_small
from dbpt.training.model_selection import Validation, training_findings, validation_score
from dbpt.training.ranks import ALONE, Ranks, own_errors

logger = logging.getLogger(__name__)

HELD_OUT = ("val", "test")  # the splits that a run's methods are evaluated on


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method: its row with one repeat, its classifier with ``predictions`` (N,), and its training if there is one.

    Group prompts that are mixed with untrained ones, or untrained, share the training of those that they come from.
    """

    row: Row
    classifier: FeatureClassifier
    predictions: NDArray[np.int64]
    trained: Trained | None = None

    @classmethod
    def of(
        cls,
        study: Study,
        classifier: FeatureClassifier,
        how: Row,
        repeat: Repeat | None = None,
        trained: Trained | None = None,
    ) -> "MethodResult":
        """Evaluate a classifier, which came ``how`` it says, on the images of a study."""
        predictions = classifier.predictions(study.features)
        row = row_of(study, predictions, how, repeat, HELD_OUT)
        return cls(row=row, classifier=classifier, predictions=predictions, trained=trained)

    def evaluated(self, study: Study) -> Evaluated:
        """Return the row with the answers to the images of the split that tables show."""
        return with_answers(study, self.row, self.predictions)


def training_free_result(study: Study, name: str) -> MethodResult:
    """Return the result of one of `TRAINING_FREE`."""
    embedded, method = study.embedded, TRAINING_FREE[name]
    inputs = Inputs(
        words=study.dataset.words,
        encode=partial(zero_shot_weights, embedded.backbone),
        class_weights=embedded.zero_shot.weights,
        training=study.rows("train"),
        features=study.features,
        labels=study.dataset.labels,
        pseudo_attributes=study.pseudo.pseudo_attributes,
    )
    classifier = zero_shot_classifier(embedded.backbone, method.weights(inputs), method)
    return MethodResult.of(study, classifier, titled(Row(method=name, title="")))


def trained_result(
    study: Study,
    objective: str,
    prompts: str = "class",
    *,
    checkpoint_path: Path | None,
    watch: Watch = UNWATCHED,
    row_name: str = "",
    ranks: Ranks = ALONE,
    quiet: bool = False,
) -> MethodResult:
    """Train the head under ``objective`` and evaluate the best epoch.

    Args:
        study: the data with features and groups, and the settings.
        objective: the name of an objective.
        prompts: "class" or "group".
        checkpoint_path: the file for checkpoints; training continues from an existing one. None writes none.
        watch: rank 0 tells it each epoch.
        row_name: the name of the row for ``watch``, by default the method's.
        ranks: the processes that train together.
        quiet: log nothing and show no progress bar.
    """
    row_name, started = row_name or method_name(objective, prompts), time.perf_counter()
    config = replace(study.config, model_selection=study.config.selection_of(objective))
    study = replace(study, config=config)
    quiet = quiet or not ranks.is_first
    chosen = ((OBJECTIVES, objective), (HEADS, config.head))
    of_users = [f"{registry.setting} {name!r}" for registry, name in chosen if name not in registry.own]
    with own_errors(lambda error: error is not watch.error, " or ".join(of_users)):
        head = ranks.together(lambda: build_head(study, prompts))
        rows = training_rows(study, OBJECTIVES[objective])
        built = build_objective(study, objective, rows[0], prompts)
        if built.refits:
            trained, how = ranks.from_first(lambda: _refitted(study, built, head, rows[0]))
            head.load_state_dict(trained.head_state)
            ranks.from_first(lambda: watch.epoch(row_name, trained.history[0]))
        else:
            trained = _trained(study, head, built, prompts, rows, checkpoint_path, watch, row_name, ranks)
            by_class = study.selection_grouping.provenance == "none"
            selection = selection_text(config.model_selection, by_class=by_class)
            how = f"best epoch {trained.best_epoch} of {len(trained.history)} ({selection})"
        classifier = _finished(head, rows[0].features[:16], built.training, prompts)
    seconds = time.perf_counter() - started
    group_names = study.training_grouping.names
    asked_lr, selection = config.peak_lr, config.model_selection
    findings = training_findings(trained, built, asked_lr=asked_lr, group_names=group_names, selection=selection)
    if not quiet:
        logger.info(
            f"{method_name(objective, prompts)}: {how}, {seconds:.1f} s"
            + ("" if built.note is None else f"; {built.note}")
        )
    best = trained.history[trained.best_epoch - 1]
    figures = Validation(average=best.val_average, wga=best.val_wga, wgp=best.val_wgp)
    repeat = Repeat(
        seed=config.seed,
        best_epoch=trained.best_epoch,
        epochs=len(trained.history),
        seconds=round(seconds, 3),
        validation_score=validation_score(config.model_selection, best.epoch, figures)[0],
        warnings=findings,
    )
    return MethodResult.of(study, classifier, trained_row(config, objective, prompts), repeat, trained)


def candidates_of(study: Study) -> tuple[list[tuple[str, str]], OnlyPrompts | None]:
    """Return objective and prompts of each training, and why ``--prompts auto`` leaves only one.

    Class prompts come first; they alone are trained where groups can't be, or where nothing would choose.
    """
    config = study.config
    grouping = study.training_grouping
    reason = why_not_mixed(config.head, has_words=grouping.has_words)
    if config.alpha is not None and reason is not None:
        raise InputError(f"--alpha {config.alpha:g}: {reason}; leave it out")
    if config.prompts != AUTO:
        return config.trained, None
    if len(config.trained) == 1:
        return config.trained, "objective"
    # Group prompts of groups without words would stay alike under the last of the trainings.
    alike = config.has_unnamed_groups and why_groups_stay_alike(config.head, config.trained[-1][0]) is not None
    if config.lacks_words or alike:
        return config.trained[:1], "unnamed"
    if grouping.provenance == "none":
        return config.trained[:1], "no-attribute"
    unhedged = config.model_selection == "last" and reason is not None
    return (config.trained[:1], "last") if unhedged else (config.trained, None)


def build_objective(study: Study, name: str, rows: Rows, prompts: str = "class") -> Objective:
    """Build the objective ``name`` for its training ``rows``, with its settings."""
    config, kind = study.config, OBJECTIVES[name]
    grouping = study.training_grouping
    impossible = None if prompts == "class" or grouping.possible.all() else ~grouping.possible
    sizes = tuple(factor.size for factor in grouping.factors)
    num_classes, num_groups = study.dataset.num_classes, grouping.num_groups
    groups = TrainingGroups(rows.groups, rows.labels, num_classes, num_groups, sizes, impossible)
    return kind(groups, apply=config.application(name) or "loss", **config.values(kind.settings))


def _trained(
    study: Study,
    head: Head,
    objective: Objective,
    prompts: str,
    rows: tuple[Rows, Rows],
    checkpoint_path: Path | None,
    watch: Watch,
    row_name: str,
    ranks: Ranks,
) -> Trained:
    """Run the training loop on ``rows``, of training and of validation. Rank 0 tells ``watch`` the epochs."""
    epochs = study.config.epochs + objective.extra_epochs

    def on_epoch(record: EpochRecord) -> None:
        _show_epoch(objective.name, bar, record)
        ranks.from_first(lambda: watch.epoch(row_name, record))

    with (
        progress_bar(objective.name, "epoch", total=epochs, hidden=not ranks.is_first) as bar,
        one_thread_if_small(head.multiply_adds + _live_multiply_adds(study)),
        _live(study) as live,
    ):
        return train(
            head,
            objective,
            *rows,
            study.config,
            checkpoint_path=checkpoint_path,
            determined_by=_determined_by(study, objective.name, prompts, head),
            on_epoch=on_epoch,
            on_start=lambda restored: ranks.from_first(lambda: watch.restored(row_name, restored)),
            live=live,
            ranks=ranks,
        )


def _show_epoch(objective: str, bar: tqdm, record: EpochRecord) -> None:
    accuracy = record.val_average if record.val_wga is None else record.val_wga
    line = f"loss {record.loss:.3f}, val {100 * accuracy:.1f} %"
    bar.set_postfix_str(line, refresh=False)
    bar.update(record.epoch - bar.n)
    logger.debug(f"{objective}: epoch {record.epoch} of {bar.total}: {line}")


@torch.no_grad()
def _finished(head: Head, features: NDArray[np.float32], groups: TrainingGroups, prompts: str) -> FeatureClassifier:
    """Return the classifier of a trained head. Refuses one whose NumPy predictions differ from `forward`."""
    tensors = {name: tensor.cpu().numpy() for name, tensor in head.classifier_tensors().items()}
    if head.name in HEADS.added:
        logits = head(torch.from_numpy(features).to(next(head.parameters()).device)).cpu().numpy()
        if not np.allclose(type(head).logits(tensors, features), logits, rtol=0, atol=0.01 * np.abs(logits).max()):
            hint = "fix classifier_tensors or logits"
            raise InputError(f"--head {head.name}: its classifier's logits differ from its forward; {hint}")
    if prompts == "group":
        outputs = (groups.num_classes, groups.num_groups // groups.num_classes)
        if groups.impossible is not None:
            tensors["logit_bias"] = np.where(groups.impossible, np.float32(EXCLUDED), tensors["logit_bias"])
        tensors["weights"] = tensors["weights"].reshape(*outputs, -1)
        if tensors["logit_bias"].size > 1:
            tensors["logit_bias"] = tensors["logit_bias"].reshape(outputs)
    return FeatureClassifier(tensors, type(head))


def _refitted(study: Study, objective: Objective, head: Head, rows: Rows) -> tuple[Trained, str]:
    """Return what the objective's `refit` finds as a training of one epoch, and how it was found, for the log."""
    config, option = study.config, f"--objective {objective.name}"
    train_features = study.features.take(study.rows("train")).whole(option)
    own_features = stored(rows.features).whole(option)
    state, how = objective.refit(train_features, own_features, config.seed)
    head.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    features, labels, groups = (torch.from_numpy(array) for array in (own_features, rows.labels, rows.groups))
    with torch.no_grad():
        logits = head.cpu()(features)
    losses = F.cross_entropy(logits, labels, reduction="none")
    p_true = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1).numpy()
    figures = Validation.of((logits.argmax(dim=1) == labels).numpy(), p_true, rows)
    record = EpochRecord(
        epoch=1,
        lr=0.0,
        loss=objective.loss(losses, groups, labels, labels).item(),
        group_weights=None,
        mean_p_true=None,
        draws=None,
        val_wgp=figures.wgp,
        val_wga=figures.wga,
        val_average=figures.average,
        val_accuracy=figures.accuracy,
    )
    return Trained(head.state_dict(), 1, [record], [(1, config.peak_lr)]), how


def build_head(study: Study, prompts: str = "class") -> Head:
    """Build a new head of the configured kind for the study's classes, or for the groups of its group source."""
    config, backbone, kind = study.config, study.embedded.backbone, HEADS[study.config.head]
    words, weights, context = study.dataset.words, study.embedded.zero_shot.weights, study.embedded.context
    outputs = class_prompts(words)
    grouping = study.training_grouping
    if prompts == "group" and grouping.has_words:
        outputs, weights = group_prompts(words), zero_shot_weights(backbone, *group_texts(words))
    elif prompts == "group":
        outputs = class_prompts(words, grouping.num_attributes)
        weights = weights.repeat(outputs.copies, axis=0)
    start = HeadStart(backbone, words, outputs, torch.from_numpy(weights).to(backbone.device), config.seed, context)
    head = kind.build(start, **config.values(kind.settings))
    if config.head in HEADS.added:
        _check_added(head, f"--head {config.head}", start.weights)
    return head


@torch.no_grad()
def _check_added(head: Head, option: str, first_weights: torch.Tensor) -> None:
    """Refuse a head of the user's without parameters, or whose logits or classifier have wrong shapes."""
    outputs, width = first_weights.shape
    if not isinstance(head, Head):
        raise InputError(f"{option}: build returned {head!r:.80}; return a dbpt.heads.Head")
    if not list(head.parameters()):
        raise InputError(f"{option}: it has no parameters to train; define some as torch.nn.Parameter")
    logits = head.eval()(first_weights[:1].expand(outputs + 1, width))  # without dropout, and more rows than outputs
    head.train()
    made, tensors = {"forward of its features": logits}, head.classifier_tensors()
    made |= {f"classifier_tensors()[{name!r}]": tensors.get(name) for name in ("weights", "logit_scale", "logit_bias")}
    shapes: list[list[tuple[int, ...]]] = [[(outputs + 1, outputs)], [(outputs, width)], [(1,)], [(1,), (outputs,)]]
    for (name, value), expected in zip(made.items(), shapes, strict=True):
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else value
        if shape not in expected:
            raise InputError(f"{option}: {name} has shape {shape!r}, expected {' or '.join(map(str, expected))}")


def _live(study: Study) -> AbstractContextManager[LiveImages | None]:
    if study.config.features == "cached":
        return nullcontext()
    dataset = study.dataset
    paths = [dataset.paths[row] for row in study.rows("train")]
    return live_images(study.embedded.backbone, dataset.root, paths, seed=study.config.seed)


def _live_multiply_adds(study: Study) -> int:
    """Return a lower bound of the image tower's multiply-adds in a step: each weight once per image."""
    if study.config.features == "cached":
        return 0
    visual = study.embedded.backbone.model.visual
    assert isinstance(visual, torch.nn.Module)
    images = study.config.batch_size or len(study.rows("train"))
    return images * sum(parameter.numel() for parameter in visual.parameters())


def training_rows(study: Study, objective: type[Objective]) -> tuple[Rows, Rows]:
    """Return the training rows of ``objective`` and those of model selection, each with the groups that it may use."""
    return rows_for(study, "training", objective.trains_on), rows_for(study, "selection", "val")


def rows_for(study: Study, use: Use, split: str) -> Rows:
    """Return the rows of a split, with the groups that they are trained or judged by.

    Nothing else gives groups to training or to model selection, so true attributes that no setting asks for are refused
    here.
    """
    grouping = study.training_grouping if use == "training" else study.selection_grouping
    if use not in grouping.uses:
        raise AssertionError(f"groups of {grouping.provenance} attributes for {use}, which no setting asks for")
    rows = study.rows(split)
    features = study.features.take(rows)
    if split == "val":  # a few rows all over the file, which would be read whole in each epoch
        features = features.kept(2)
    return Rows(features, study.dataset.labels[rows], grouping.groups[rows])


def _determined_by(study: Study, objective: str, prompts: str, head: Head) -> dict[str, str]:
    """Return everything that determines a training besides its rows, by its name in messages."""
    config, backbone = study.config, study.embedded.backbone
    settings = {name: value for name, value in config.identity().items() if name not in MAY_CHANGE}
    return {
        "settings": repr((objective, prompts, settings)),
        "words or --start-from": repr(head.identity()),
        "CLIP model": repr((sorted(backbone.encoder_key.items()), backbone.spec["config"])),
        "code of a registered class": repr((OBJECTIVES.code_of(objective), HEADS.code_of(head.name))),
    }
