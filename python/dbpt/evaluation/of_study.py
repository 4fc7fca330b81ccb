"""The figures of a study's predictions, and what else `Metrics` and `RunMetrics` say about it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.cautions import Caution
from dbpt.clip import Backbone
from dbpt.data import SPLITS
from dbpt.evaluation import GroupMetrics, group_metrics, pseudo_attribute_quality, results
from dbpt.guesses import GuessedFactors
from dbpt.guesses.grouping import Grouping
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig
from dbpt.settings.sections import method_name
from dbpt.study.study import Study


def how_trained(config: FitConfig, objective: str, prompts: str) -> dict[str, Any]:
    """Return the entries of a `RunRow` about what was trained, and with which groups."""
    group_source = config.group_source if OBJECTIVES[objective].uses_groups else None
    apply = config.application(objective)
    name = method_name(objective, prompts)
    return {"name": name, "group_source": group_source, "head": config.head, "prompts": prompts, "apply": apply}


def metrics_by_split(study: Study, predictions: NDArray[np.int64], splits: Sequence[str] = SPLITS) -> dict[str, Any]:
    """Return the `GroupMetrics` of ``predictions`` (N,) on each split, None for one without rows."""
    train_counts, expected = study.train_counts, study.reported.expected
    by_split: dict[str, GroupMetrics | None] = dict.fromkeys(splits)
    for split in splits:
        if len(rows := study.rows(split)):
            by_split[split] = metrics_of(
                study.reported, predictions[rows], rows, train_counts=train_counts, expected=expected
            )
    return by_split


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
        predictions,
        grouping.labels[rows],
        grouping.codes[rows],
        **grouping.sizes,
        confidence=confidence,
        train_counts=None if train_counts is None or not train_counts.any() else train_counts,
        group_names=grouping.pairs,
        shared_attributes=grouping.provenance != "clusters",
        occurring=expected,
    )


def _pseudo_shares(study: Study) -> list[float]:
    """Return the shares (A,) of the method, else those of its labels in the rows that it was fitted on."""
    if study.pseudo.names is not None:
        return []
    factor, *others = study.pseudo.factors
    if factor.shares is not None and not others:
        return [float(share) for share in factor.shares]
    labels = study.pseudo.pseudo_attributes[study.dataset.rows_to_fit]
    counts = np.bincount(labels[labels >= 0], minlength=study.dataset.num_attributes)
    return [float(count / max(1, counts.sum())) for count in counts]


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


def shared_metrics(study: Study) -> results.Metrics:
    """Return the entries that ``metrics.json`` and ``compare.json`` share."""
    dataset, grouping = study.dataset, study.reported
    own_names = grouping.has_words
    factors = dataset.words.factors if own_names else ()
    return results.Metrics(
        schema_version=results.SCHEMA_VERSION,
        dbpt_version=__version__,
        dataset=results.DataSummary(
            name=dataset.name,
            root=str(dataset.root),
            classes=list(dataset.class_names),
            attributes=list(dataset.attribute_names) if own_names else [],
            factors=[results.FactorSummary(name=each.name, values=list(each.values)) for each in factors],
            counts={split: grouping.counts(study.rows(split)).tolist() for split in SPLITS},
            train_counts_pseudo=study.grouping("pseudo").counts(study.rows("train")).tolist(),
            notes=list(dataset.notes),
            clusters=clusters_summary(study.pseudo),
            shots=study.config.shots,
        ),
        backbone=backbone_summary(study.embedded.backbone, study.config),
        group_kind=grouping.kind,
        average=study.average,
        pseudo_method=study.pseudo.method,
        pseudo_shares=_pseudo_shares(study),
        pseudo_doubts=[] if study.guesses is None else study.guesses.doubts,
        doubted_guesses=list(study.doubted_guesses),
        class_doubts=list(study.class_doubts),
        pseudo_quality=_pseudo_quality(study),
        cross_validated=[] if study.pseudo.probe is None else list(study.pseudo.probe.figures),
    )


def run_metrics(
    study: Study,
    rows: Sequence[results.RunRow],
    *,
    chosen: str = "",
    warnings: Sequence[Caution] = (),
    choice: results.Choice | None = None,
    only: results.OnlyPrompts | None = None,
    seconds: dict[str, float],
) -> results.RunMetrics:
    """Return the content of ``metrics.json`` of a run.

    Args:
        rows: those of the table, in its order.
        chosen: the name of the one that is saved; by default the trained one.
        warnings: those of the whole run.
        choice: how ``--prompts auto`` chose it.
        only: why there was no choice.
        seconds: how long each part took, by name.
    """
    return results.RunMetrics(
        **vars(shared_metrics(study)),
        model_selection=study.config.selection_of(study.config.trained_objective),
        seed=study.config.seed,
        chosen=chosen or study.config.method,
        choice=choice,
        only=only,
        rows=list(rows),
        warnings=list(warnings),
        failed_images=len(study.embedded.failures),
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def backbone_summary(backbone: Backbone, config: FitConfig) -> results.BackboneSummary:
    """Return the backbone by name, and the precision in which it embedded the images."""
    return results.BackboneSummary(
        model=backbone.spec["model"],
        pretrained=backbone.spec["pretrained"],
        embed_dim=backbone.embed_dim,
        image_precision=backbone.image_precision if config.embeddings is None else None,
    )


def clusters_summary(pseudo: GuessedFactors) -> results.ClustersSummary | None:
    """Return names and separation of the clusters within each class; None without."""
    if (clusters := pseudo.class_clusters) is None:
        return None
    separation = [None if np.isnan(value) else value for value in clusters.separation.tolist()]
    return results.ClustersSummary(names=[list(names) for names in clusters.names], separation=separation)
