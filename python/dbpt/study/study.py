"""`Study`: images with pseudo attributes and splits."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.data import SPLITS, Dataset
from dbpt.data.dataset import Average, Split
from dbpt.errors import InputError
from dbpt.guesses import GuessedFactors, Guesses
from dbpt.guesses.base import GroupKind
from dbpt.guesses.grouping import Grouping, Use
from dbpt.guesses.trust import FactorGuesses
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
    groups with ``--group-source ppa``. ``audited`` are the `reported` groups of an audit, which decides them itself.
    """

    embedded: Embedded
    config: FitConfig
    pseudo: GuessedFactors
    splits: NDArray[np.int64]
    warnings: tuple[Caution, ...] = ()
    counts_of_run: NDArray[np.int64] | None = None
    guesses: Guesses | None = None
    doubted_guesses: tuple[FactorGuesses, ...] = ()
    class_doubts: tuple[Caution, ...] = ()
    drawn: NDArray[np.int64] | None = None
    probe_errors: NDArray[np.int64] | None = None
    audited: Grouping | None = None

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

    def grouping(self, source: str) -> Grouping:
        """Return the groups of a ``group_source``: of ``true`` or ``pseudo`` attributes, or for ``ppa`` of errors.

        Those of true attributes may be used for what the settings ask for.
        """
        if source == "ppa":
            assert self.probe_errors is not None
            return Grouping.by_errors(self.dataset, self.probe_errors)
        if source == "pseudo":
            return Grouping.guessed(self.dataset, self.pseudo)
        asked: dict[Use, str | None] = {
            "training": self.config.group_source,
            "selection": self.config.selecting_groups,
        }
        return Grouping.true(self.dataset, frozenset(use for use, wanted in asked.items() if wanted == "true"))

    @cached_property
    def reported(self) -> Grouping:
        """The groups of all figures: of true attributes if enough rows of `split` have one, by `true_or_pseudo`."""
        if self.audited is not None:
            return self.audited
        rows = self.rows(self.split)
        labels, attributes = self.dataset.labels[rows], self.dataset.attributes[rows]
        return self.grouping(true_or_pseudo(labels, attributes, self.dataset.num_classes))

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """(G,) training rows of each of the `reported` groups, in the data, or else in the run.

        Rows held out for validation count, and draws don't matter, so that an audit of a run has the same.
        """
        counts = self.reported.counts(np.flatnonzero(self.dataset.splits == SPLITS.index("train")))
        return counts if counts.any() or self.counts_of_run is None else self.counts_of_run

    @property
    def average(self) -> Average:
        """The average for tables: the one asked for with ``--average``, else that of the data set."""
        return average_of(self.config, self.dataset, self.train_counts)


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
