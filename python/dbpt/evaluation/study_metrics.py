"""The figures of a study's predictions, and what else `Metrics` say about it."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt._core import __version__
from dbpt.data import SPLITS
from dbpt.evaluation import GroupMetrics, group_metrics, pseudo_attribute_quality, results
from dbpt.evaluation.accuracy_by_group import ClustersSummary, CodedSummary
from dbpt.evaluation.repeats import Evaluated
from dbpt.guesses import GuessedFactors
from dbpt.guesses.grouping import Grouping
from dbpt.objectives import OBJECTIVES
from dbpt.objectives.training_free import TRAINING_FREE
from dbpt.settings.all_settings import method_name, method_title
from dbpt.settings.config import FitConfig
from dbpt.study.study import Study


def row_of(
    study: Study,
    predictions: NDArray[np.int64],
    how: results.Row,
    repeat: results.Repeat | None = None,
    splits: Sequence[str] = SPLITS,
) -> results.Row:
    """Return the row of a method with one repeat: its metrics on each split with rows.

    Args:
        study: the data with groups, and the seed.
        predictions: (N,) predicted classes.
        how: the row without figures.
        repeat: the training, for a row that was trained.
        splits: those to evaluate.
    """
    grouping, by_split = study.reported, dict[str, Any]()
    train_counts, expected = study.train_counts, grouping.expected
    for split in splits:
        if len(rows := study.rows(split)):
            by_split[split] = metrics_of(
                grouping, predictions[rows], rows, train_counts=train_counts, expected=expected
            )
    row = replace(how, **by_split)
    repeat = repeat or results.Repeat(seed=study.config.seed)
    if how.model_selection == "last" and row.val is not None:  # what the page of a comparison shows as validation
        repeat = replace(repeat, validation_score=row.val.average)
    return replace(row, repeats=[repeat])


def with_answers(study: Study, row: results.Row, predictions: NDArray[np.int64]) -> Evaluated:
    """Return a row with its answers to the images of the split that tables show; ``predictions`` are (N,)."""
    rows = study.rows(study.split)
    return Evaluated(row, predictions[rows] == study.dataset.labels[rows], study.reported.groups[rows])


def trained_row(config: FitConfig, objective: str, prompts: str, **values: Any) -> results.Row:
    """Return the row of a training without figures: its method, its title, and with which groups it was trained."""
    group_source = config.group_source if OBJECTIVES[objective].uses_groups else None
    apply = config.application(objective)
    row = results.Row(
        method=method_name(objective, prompts),
        title="",
        objective=objective,
        group_source=group_source,
        head=config.head,
        prompts=prompts,
        apply=apply,
        model_selection=config.selection_of(objective),
    )
    return titled(replace(row, **values))


def titled(row: results.Row) -> results.Row:
    """Return a row with its title: head, group source, sampling and mixture in brackets if not the default."""
    title = method_title(
        row.method if row.method in TRAINING_FREE else row.objective or row.method,
        row.prompts,
        [row.head] if row.head not in (None, "prompt") else [],
        [f"{row.group_source} groups"] if row.group_source in ("true", "ppa") else [],
        ["sampling"] if row.apply == "sampling" else [],
        [f"α = {row.alpha:.2f}"] if row.alpha is not None and row.method not in TRAINING_FREE else [],
    )
    return replace(row, title=title)


def metrics_of(
    grouping: Grouping,
    predictions: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    train_counts: NDArray[np.int64] | None = None,
    expected: NDArray[np.bool_] | None = None,
    confidence: NDArray[np.float64] | None = None,
) -> GroupMetrics:
    """Return the metrics of predictions, as `group_metrics` does.

    Args:
        grouping: the groups.
        predictions: (n,) predicted classes.
        rows: (n,) the rows that they are for.
        train_counts, confidence: see `group_metrics`. ``train_counts`` of 0 alone count as None.
        expected: (G,) False for groups without a warning if they are empty.
    """
    return group_metrics(
        predictions=predictions,
        labels=grouping.labels[rows],
        attributes=grouping.codes[rows],
        **grouping.sizes,
        confidence=confidence,
        train_counts=None if train_counts is None or not train_counts.any() else train_counts,
        group_names=grouping.pairs,
        shared_attributes=grouping.provenance != "clusters",
        occurring=expected,
    )


def _pseudo_quality(study: Study) -> results.QualityOfSplit | None:
    """Return the quality over the training rows, which determine the group weights, else over all rows.

    Rows whose attribute was given are left out.
    """
    dataset, training = study.dataset, study.rows("train")
    rows = training if len(training) else np.arange(len(dataset))
    if study.pseudo.is_given is not None:
        rows = rows[~study.pseudo.is_given[rows]]
    if not (dataset.attributes[rows] >= 0).any():
        return None
    if study.pseudo.names is not None and study.reported.kind != "true":
        return None
    quality = pseudo_attribute_quality(
        study.grouping("pseudo").as_true_attributes(dataset, rows)[rows],
        dataset.attributes[rows],
        dataset.labels[rows],
        num_classes=dataset.num_classes,
        num_attributes=dataset.num_attributes,
    )
    return results.QualityOfSplit(split="training" if len(training) else "all", **vars(quality))


def metrics_of_study(study: Study, **own: Any) -> results.Metrics:
    """Return the metrics of a training with the settings of ``study`` and ``own`` entries, by default without rows."""
    assert study.guesses is not None
    dataset, grouping, config = study.dataset, study.reported, study.config
    own_names = grouping.has_words
    factors = dataset.words.factors if own_names else ()
    values: dict[str, Any] = {
        "seeds": [config.seed],
        "heads": [config.head],
        "model_selection": config.selection_of(config.trained_objective),
        "settings": shared_settings(config, {config.head: config.peak_lr}),
        "rows": [],
    }
    return results.Metrics(
        schema_version=results.SCHEMA_VERSION,
        dbpt_version=__version__,
        dataset=results.DataSummary(
            name=dataset.name,
            root=str(dataset.root),
            classes=list(dataset.class_names),
            attributes=list(dataset.attribute_names) if own_names else [],
            factors=[results.FactorSummary(name=factor.name, values=list(factor.values)) for factor in factors],
            counts={split: grouping.counts(study.rows(split)).tolist() for split in SPLITS},
            train_counts_pseudo=study.grouping("pseudo").counts(study.rows("train")).tolist(),
            notes=list(dataset.notes),
            **own_values(study.pseudo),
            shots=study.config.shots,
        ),
        backbone=backbone_summary(study.embedded.backbone, study.config),
        group_kind=grouping.kind,
        average=study.average,
        guesses=study.guesses,
        relies_on_guesses=bool(study.doubted_guesses),
        pseudo_quality=_pseudo_quality(study),
        class_doubts=list(study.class_doubts),
        split=study.split,
        failed_images=len(study.embedded.failures),
        **values | own,
    )


def shared_settings(config: FitConfig, lr: dict[str, float]) -> results.SharedSettings:
    """Return the settings that all rows share, with ``lr`` by head."""
    values = {each.name: getattr(config, each.name) for each in fields(results.SharedSettings) if each.name != "lr"}
    return results.SharedSettings(**values, lr=lr)


def backbone_summary(backbone: "clip.Backbone", config: FitConfig) -> results.BackboneSummary:
    """Return the backbone by name, and the precision in which it embedded the images."""
    return results.BackboneSummary(
        model=backbone.spec["model"],
        pretrained=backbone.spec["pretrained"],
        embed_dim=backbone.embed_dim,
        image_precision=backbone.image_precision if config.embeddings is None else None,
    )


def own_values(pseudo: GuessedFactors) -> dict[str, Any]:
    """Return the clusters or the values of a column that groups are over, as fields of `GroupedData`; else none."""
    if (coding := pseudo.coding) is not None:
        return {"coded": CodedSummary(source=coding.source, name=coding.name, values=list(coding.values))}
    if (clusters := pseudo.class_clusters) is None:
        return {}
    separation = [None if np.isnan(value) else value for value in clusters.separation.tolist()]
    return {"clusters": ClustersSummary(names=[list(names) for names in clusters.names], separation=separation)}
