"""`Study`: images with pseudo attributes and splits."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.data import SPLITS, Dataset
from dbpt.data.dataset import Average, Split
from dbpt.errors import InputError
from dbpt.groups import group_counts, group_ids, group_name
from dbpt.guesses import Guesses, PseudoAttributes
from dbpt.guesses.base import NO_ATTRIBUTE, GroupKind, group_pairs, pseudo_groups
from dbpt.guesses.linear_probe import PPA_NAMES
from dbpt.settings.config import FitConfig
from dbpt.study.embedded import Embedded


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
    kind: GroupKind | None = None

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
    def split(self) -> Split:
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
    def group_kind(self) -> GroupKind:
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
    def average(self) -> Average:
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


def average_of(config: FitConfig, dataset: Dataset, train_counts: NDArray[np.int64]) -> Average:
    """Return the average that is asked for, else that of the data set, with ``train_counts`` (G,) as its weights.

    Raises `InputError` for an adjusted average without training rows of a known group.
    """
    if train_counts.any():
        return "adjusted" if (config.average or dataset.average) == "adjusted" else "plain"
    if config.average == "adjusted":
        hint = "and the groups' shares of the training images are the weights; choose --average plain"
        raise InputError(f"--average adjusted: {dataset.source} has no training row of a known group, {hint}")
    return "plain"


def true_or_pseudo(labels: NDArray[np.int64], attributes: NDArray[np.int64], num_classes: int) -> GroupKind:
    """Return ``true`` if at least half of each class's rows have a true attribute, else ``pseudo``."""
    rows_C = np.bincount(labels, minlength=num_classes)
    known_C = np.bincount(labels[attributes >= 0], minlength=num_classes)
    return "true" if (2 * known_C >= rows_C).all() else "pseudo"
