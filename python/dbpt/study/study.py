"""`Study`: images with pseudo attributes and splits, and the figures of predictions for ``metrics.json``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.cautions import Caution
from dbpt.clip import Backbone
from dbpt.data import SPLITS, Dataset
from dbpt.errors import InputError
from dbpt.groups import GroupMetrics, group_counts, group_ids, group_metrics, group_name, pseudo_attribute_quality
from dbpt.guesses import Guesses, PseudoAttributes
from dbpt.guesses.base import NO_ATTRIBUTE, comparable_attributes, group_pairs, pseudo_groups
from dbpt.guesses.linear_probe import PPA_NAMES
from dbpt.objectives import OBJECTIVES
from dbpt.runs import metrics as schema
from dbpt.settings.config import FitConfig
from dbpt.settings.sections import method_name
from dbpt.study.embedded import Embedded


def how_trained(config: FitConfig, objective: str, prompts: str) -> dict[str, Any]:
    """Return the entries of a `RunRow` about what was trained, and with which groups."""
    group_source = config.group_source if OBJECTIVES[objective].uses_groups else None
    apply = config.application(objective)
    name = method_name(objective, prompts)
    return {"name": name, "group_source": group_source, "head": config.head, "prompts": prompts, "apply": apply}


@dataclass(frozen=True, kw_only=True)
class Study:
    """The N images of a data set, ``embedded``, with pseudo attributes and ``splits`` (N,). All figures are about them.

    With the settings ``config`` it is the input of one training, and ``warnings`` are those of all steps.
    ``drawn`` are the training and validation rows of a draw, sorted, with repeats; None: each row of these splits once.
    ``counts_of_run`` (G,) are the training rows of a run, for data without any. ``guesses`` say how far the pseudo
    attributes can be trusted; None if that has not been judged. ``doubted_guesses`` are as in `Metrics`, and
    ``class_doubts`` say that CLIP doesn't know the words of the classes. ``probe_errors`` (N,) divide the classes into
    groups with ``--group-source ppa``. ``kind`` is the `group_kind` if it isn't decided by the rows of `split`, as in
    an audit.
    """

    embedded: Embedded
    config: FitConfig
    pseudo: PseudoAttributes
    splits: NDArray[np.int64]
    warnings: tuple[Caution, ...] = ()
    counts_of_run: NDArray[np.int64] | None = None
    guesses: Guesses | None = None
    doubted_guesses: tuple[Guesses, ...] = ()
    class_doubts: tuple[Caution, ...] = ()
    drawn: NDArray[np.int64] | None = None
    probe_errors: NDArray[np.int64] | None = None
    kind: schema.GroupKind | None = None

    @property
    def dataset(self) -> Dataset:
        """The readable images."""
        return self.embedded.dataset

    @property
    def features(self) -> NDArray[np.float32]:
        """(N, D), those that training reads, in memory."""
        assert isinstance(self.embedded.features, np.ndarray)
        return self.embedded.features

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the row numbers of a split, some of them several times if they are drawn."""
        if self.drawn is None or split == "test":
            return np.flatnonzero(self.splits == SPLITS.index(split))
        return np.compress(self.splits[self.drawn] == SPLITS.index(split), self.drawn)

    @property
    def split(self) -> schema.Split:
        """The split that tables show: test, else validation, else training."""
        return next(split for split in ("test", "val", "train") if len(self.rows(split)))

    def attributes(self, kind: str) -> NDArray[np.int64]:
        """Return the (N,) ``true`` attributes, or else the pseudo attributes; -1 if unknown."""
        return self.dataset.attributes if kind == "true" else self.pseudo.pseudo_attributes

    @property
    def has_attributes(self) -> bool:
        """False if the data name no attribute, so that the groups are the classes."""
        return self.pseudo.method != NO_ATTRIBUTE

    def groups(self, kind: str) -> NDArray[np.int64]:
        """Return the (N,) groups of the `attributes` of that kind, or of the `probe_errors` for ``ppa``."""
        if kind == "ppa":
            assert self.probe_errors is not None
            return group_ids(self.dataset.labels, self.probe_errors, len(PPA_NAMES))
        return pseudo_groups(self.dataset, None if kind == "true" else self.pseudo)

    def has_words(self, kind: str) -> bool:
        """Return whether the attributes of that kind are those of the words, and not clusters."""
        return kind != "ppa" and self.has_attributes and (kind == "true" or self.pseudo.names is None)

    def group_pairs(self, kind: str) -> list[tuple[str, str]]:
        """Return class and attribute (G,) of the `groups` of that kind."""
        if kind == "ppa":
            return [(label, name) for label in self.dataset.class_names for name in PPA_NAMES]
        return group_pairs(self.dataset, None if kind == "true" else self.pseudo)

    def group_names(self, kind: str) -> tuple[str, ...]:
        """Return the (G,) names of the `groups` of that kind."""
        return tuple(group_name(y, a) for y, a in self.group_pairs(kind))

    def counts(self, kind: str, split: str) -> NDArray[np.int64]:
        """Return the (G,) rows of a split in each of the `groups` of that kind."""
        return group_counts(self.groups(kind)[self.rows(split)], len(self.group_names(kind)))

    @property
    def group_kind(self) -> schema.GroupKind:
        """The attributes that define the groups of all figures, by `true_or_pseudo` over the rows of `split`."""
        if self.kind is not None:
            return self.kind
        rows = self.rows(self.split)
        return true_or_pseudo(self.dataset.labels[rows], self.dataset.attributes[rows], self.dataset.num_classes)

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """(G,) training rows of each group of `group_kind`, in the data, or else in the run.

        Rows held out for validation count, and draws don't matter, so that an audit of a run has the same.
        """
        counts = replace(self, drawn=None, splits=self.dataset.splits).counts(self.group_kind, "train")
        return counts if counts.any() or self.counts_of_run is None else self.counts_of_run

    def occurring(self, kind: str) -> NDArray[np.bool_]:
        """Return (G,) False for the combinations of factors that no image has, by the attributes of that kind."""
        counts_G = group_counts(self.groups(kind), len(self.group_names(kind)))
        return (counts_G > 0) | (not self.dataset.words.factors)

    @property
    def average(self) -> schema.Average:
        """The average for tables: the one asked for with ``--average``, else that of the data set."""
        return average_of(self.config, self.dataset, self.train_counts)

    @property
    def by_clusters(self) -> bool:
        """True if the groups of all figures are clusters within each class."""
        return self.group_kind == "pseudo" and self.pseudo.class_clusters is not None

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of classes and attributes of the groups of all figures, as functions of groups take them."""
        num_classes, pairs = self.dataset.num_classes, self.group_pairs(self.group_kind)
        return {"num_classes": num_classes, "num_attributes": len(pairs) // num_classes}

    def metrics(self, predictions: NDArray[np.int64], splits: Sequence[str] = SPLITS) -> dict[str, Any]:
        """Return the `GroupMetrics` of ``predictions`` (N,) on each split, None for one without rows."""
        train_counts, occurring = self.train_counts, self.occurring(self.group_kind)
        by_split: dict[str, GroupMetrics | None] = dict.fromkeys(splits)
        for split in splits:
            if len(rows := self.rows(split)):
                by_split[split] = self.metrics_of(
                    predictions[rows], rows, train_counts=train_counts, occurring=occurring
                )
        return by_split

    def metrics_of(
        self,
        predictions: NDArray[np.int64],
        rows: NDArray[np.int64],
        *,
        train_counts: NDArray[np.int64] | None = None,
        occurring: NDArray[np.bool_] | None = None,
        confidence: NDArray[np.float64] | None = None,
    ) -> GroupMetrics:
        """Return the metrics of predictions, as `group_metrics` does.

        Args:
            predictions: (n,) predicted classes.
            rows: (n,) the rows of the data set that they are for.
            train_counts, occurring, confidence: see `group_metrics`. ``train_counts`` of 0 alone count as None.
        """
        return group_metrics(
            predictions,
            self.dataset.labels[rows],
            self.attributes(self.group_kind)[rows],
            **self.sizes,
            confidence=confidence,
            train_counts=None if train_counts is None or not train_counts.any() else train_counts,
            group_names=self.group_pairs(self.group_kind),
            shared_attributes=not self.by_clusters,
            occurring=occurring,
        )

    def _pseudo_shares(self) -> list[float]:
        """Return the shares (A,) of the method, else those of its labels in the rows that it was fitted on."""
        if self.pseudo.names is not None:
            return []
        if self.pseudo.shares is not None:
            return [float(share) for share in self.pseudo.shares]
        labels = self.pseudo.pseudo_attributes[self.dataset.rows_to_fit]
        counts = np.bincount(labels[labels >= 0], minlength=self.dataset.num_attributes)
        return [float(count / max(1, counts.sum())) for count in counts]

    def _pseudo_quality(self) -> schema.QualityOfSplit | None:
        """Return the quality over the training rows, which determine the group weights, else over all rows.

        Rows whose attribute was given are left out.
        """
        dataset, training = self.dataset, self.rows("train")
        rows = training if len(training) else np.arange(len(dataset))
        if self.pseudo.is_given is not None:
            rows = rows[~self.pseudo.is_given[rows]]
        if not (dataset.attributes[rows] >= 0).any():
            return None
        if self.pseudo.names is not None and self.group_kind != "true":
            return None
        quality = pseudo_attribute_quality(
            comparable_attributes(dataset, self.pseudo, rows)[rows],
            dataset.attributes[rows],
            dataset.labels[rows],
            num_classes=dataset.num_classes,
            num_attributes=dataset.num_attributes,
        )
        return schema.QualityOfSplit(split="training" if len(training) else "all", **vars(quality))

    def shared_metrics(self) -> schema.Metrics:
        """Return the entries that ``metrics.json`` and ``compare.json`` share."""
        dataset, kind = self.dataset, self.group_kind
        own_names = kind == "true" or self.pseudo.names is None
        factors = dataset.words.factors if own_names else ()
        return schema.Metrics(
            schema_version=schema.SCHEMA_VERSION,
            dbpt_version=__version__,
            dataset=schema.DataSummary(
                name=dataset.name,
                root=str(dataset.root),
                classes=list(dataset.class_names),
                attributes=list(dataset.attribute_names) if own_names else [],
                factors=[schema.FactorSummary(name=each.name, values=list(each.values)) for each in factors],
                counts={split: self.counts(kind, split).tolist() for split in SPLITS},
                train_counts_pseudo=self.counts("pseudo", "train").tolist(),
                notes=list(dataset.notes),
                clusters=clusters_summary(self.pseudo),
                shots=self.config.shots,
            ),
            backbone=backbone_summary(self.embedded.backbone, self.config),
            group_kind=kind,
            average=self.average,
            pseudo_method=self.pseudo.described,
            pseudo_shares=self._pseudo_shares(),
            pseudo_doubts=[] if self.guesses is None else self.guesses.doubts,
            doubted_guesses=list(self.doubted_guesses),
            class_doubts=list(self.class_doubts),
            pseudo_quality=self._pseudo_quality(),
            cross_validated=[] if self.pseudo.probe is None else list(self.pseudo.probe.figures),
        )

    def run_metrics(
        self,
        rows: Sequence[schema.RunRow],
        *,
        chosen: str = "",
        warnings: Sequence[Caution] = (),
        choice: schema.Choice | None = None,
        only: schema.OnlyPrompts | None = None,
        seconds: dict[str, float],
    ) -> schema.RunMetrics:
        """Return the content of ``metrics.json`` of a run.

        Args:
            rows: those of the table, in its order.
            chosen: the name of the one that is saved; by default the trained one.
            warnings: those of the whole run.
            choice: how ``--prompts auto`` chose it.
            only: why there was no choice.
            seconds: how long each part took, by name.
        """
        return schema.RunMetrics(
            **vars(self.shared_metrics()),
            model_selection=self.config.selection_of(self.config.trained_objective),
            seed=self.config.seed,
            chosen=chosen or self.config.method,
            choice=choice,
            only=only,
            rows=list(rows),
            warnings=list(warnings),
            failed_images=len(self.embedded.failures),
            seconds={name: round(value, 3) for name, value in seconds.items()},
        )


def average_of(config: FitConfig, dataset: Dataset, train_counts: NDArray[np.int64]) -> schema.Average:
    """Return the average that is asked for, else that of the data set, with ``train_counts`` (G,) as its weights.

    Raises `InputError` for an adjusted average without training rows of a known group.
    """
    if train_counts.any():
        return "adjusted" if (config.average or dataset.average) == "adjusted" else "plain"
    if config.average == "adjusted":
        hint = "and the groups' shares of the training images are the weights; choose --average plain"
        raise InputError(f"--average adjusted: {dataset.source} has no training row of a known group, {hint}")
    return "plain"


def backbone_summary(backbone: Backbone, config: FitConfig) -> schema.BackboneSummary:
    """Return the backbone by name, and the precision in which it embedded the images."""
    return schema.BackboneSummary(
        model=backbone.spec["model"],
        pretrained=backbone.spec["pretrained"],
        embed_dim=backbone.embed_dim,
        image_precision=backbone.image_precision if config.embeddings is None else None,
    )


def clusters_summary(pseudo: PseudoAttributes) -> schema.ClustersSummary | None:
    """Return names and separation of the clusters within each class; None without."""
    if (clusters := pseudo.class_clusters) is None:
        return None
    separation = [None if np.isnan(value) else value for value in clusters.separation.tolist()]
    return schema.ClustersSummary(names=[list(names) for names in clusters.names], separation=separation)


def true_or_pseudo(labels: NDArray[np.int64], attributes: NDArray[np.int64], num_classes: int) -> schema.GroupKind:
    """Return ``true`` if at least half of each class's rows have a true attribute, else ``pseudo``."""
    rows_C = np.bincount(labels, minlength=num_classes)
    known_C = np.bincount(labels[attributes >= 0], minlength=num_classes)
    return "true" if (2 * known_C >= rows_C).all() else "pseudo"
