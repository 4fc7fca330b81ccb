"""The schema of ``audit.json``; predictions of users and probes; the smallest difference that an audit would find."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.data import READERS, Dataset, StoredFeatures, first_copies
from dbpt.data.dataset import Average
from dbpt.data.image_codes import PATH, Wanted, codes_in_memory, read_codes
from dbpt.errors import InputError, nearest
from dbpt.evaluation.results import BackboneSummary, PredictionsBy
from dbpt.groups import Group, GroupMetrics, group_counts, group_ids
from dbpt.groups.association import ExplainedErrors, first_of_unit
from dbpt.guesses.base import GroupKind
from dbpt.guesses.linear_probe import import_scikit_learn, out_of_fold
from dbpt.guesses.trust import Guesses
from dbpt.report.findings import AuditedData, NextStep
from dbpt.report.verdicts import AuditedFactor, Verdict
from dbpt.storage.typed_json import Count

SCHEMA_VERSION = 5


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """The content of ``audit.json``.

    ``group_kind`` says which attributes define the groups, and ``metrics`` are those of a run, without empty groups.
    ``confusion`` has for each true class the images that are taken for each class, without zeros. ``average`` is the
    one in the tables; ``gap_low`` and ``gap_high`` are the interval of its gap. ``cramers_v`` is the association of
    class and attribute in the audited images, corrected for bias, and ``training_cramers_v`` that in the training
    images. ``settings`` are names and values for the report.
    ``factors`` is empty with a single attribute; else all other figures are about their combinations.
    """

    schema_version: int
    dbpt_version: str
    verdict: Verdict
    data: AuditedData
    backbone: BackboneSummary
    predictions_by: PredictionsBy
    predictions_from: str
    group_kind: GroupKind
    average: Average
    metrics: GroupMetrics
    gap_low: float | None
    gap_high: float | None
    confusion: dict[str, dict[str, Count]]
    cramers_v: float | None
    training_cramers_v: float | None
    explained: ExplainedErrors | None
    guesses: Guesses
    warnings: list[Caution]
    words: dict[str, list[str]]
    templates: list[str]
    attribute_templates: list[str]
    command: str
    next_step: NextStep
    settings: dict[str, str]
    factors: list[AuditedFactor] = field(default_factory=list)

    @property
    def groups(self) -> list[Group]:
        """The groups that have images, in the order g = y*A + a."""
        return list(self.metrics.groups)

    @property
    def known_factors(self) -> list[str]:
        """The factors that are judged by their true values, while the combinations need guesses of others."""
        return [each.name for each in self.factors if each.group_kind == "true" and self.group_kind == "pseudo"]

    @property
    def by_clusters(self) -> bool:
        """True if the groups are clusters within each class."""
        return self.group_kind == "pseudo" and self.guesses.provenance == "clusters"

    @property
    def is_flawless(self) -> bool:
        """True if no group has an error."""
        return self.metrics.worst_group_accuracy == 1

    @property
    def named_group(self) -> Group | None:
        """The worse group that the verdict names."""
        return next((each for each in self.groups if each.index == self.verdict.group), None)

    @property
    def worst_group(self) -> Group | None:
        """The group of the lowest accuracy, among equals the one that the verdict names; None without any error."""
        if self.is_flawless or not self.groups:
            return None
        return min(self.groups, key=lambda each: (each.accuracy or 0.0, each.index != self.verdict.group))

    @property
    def has_doubts(self) -> bool:
        """True if the attribute, or one of several factors, can't be trusted."""
        return "untrusted" in (self.verdict.kind, *(factor.verdict.kind for factor in self.factors))


POWER, LEVEL = 0.8, 0.05


def detectable_difference(
    is_right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
    *,
    num_classes: int,
    num_attributes: int,
) -> float | None:
    """Return the smallest difference in accuracy that `explained_errors` would find in 80 % of samples.

    The difference is that of one attribute from the others, alike in each class. Smaller ones, or those of a single
    class, would more often be missed. Chi-squared of such a difference d is noncentral, with lambda = d^2 *
    sum_y n_ya * (1 - n_ya / n_y) / (r_y * (1 - r_y)) for n_ya of the n_y images of class y and its error rate r_y. The
    attribute is the one for which lambda is largest.

    Args:
        is_right: (N,) bool, the images that are classified correctly.
        labels: (N,) int64, their classes.
        attributes: (N,) int64, -1 for images that don't count.
        num_classes, num_attributes: C and A.

    Returns:
        A fraction, at most 1; None if no class can be compared.
    """
    shape = num_classes, num_attributes
    groups = group_ids(labels, attributes, num_attributes)
    counts_CA = group_counts(groups, num_classes * num_attributes).reshape(shape)
    errors_C = group_counts(groups[~is_right], num_classes * num_attributes).reshape(shape).sum(axis=1)
    n_C, freedom_C = counts_CA.sum(axis=1), (counts_CA > 0).sum(axis=1) - 1
    compared = (freedom_C > 0) & (errors_C > 0) & (errors_C < n_C)
    if not compared.any():
        return None
    counts_CA, n_C, rates_C = counts_CA[compared], n_C[compared], errors_C[compared] / n_C[compared]
    sizes_CA = counts_CA * (1 - counts_CA / n_C[:, None]) / (rates_C * (1 - rates_C))[:, None]
    return min(1.0, sqrt(noncentrality(int(freedom_C[compared].sum())) / float(sizes_CA.sum(axis=0).max())))


def noncentrality(freedom: int) -> float:
    """Return the noncentrality at which chi-squared exceeds its 95 % point in 80 % of cases, for degrees of freedom.

    Cube roots are nearly normal (Abdel-Aty, 1954). It is at most 6 % too small, and the difference then 3 %.

    >>> round(noncentrality(1), 1), round(noncentrality(10), 1)
    (7.4, 16.2)
    """

    def quantile(noncentral: float, probability: float) -> float:
        mean = freedom + noncentral
        variance = 2 * (freedom + 2 * noncentral) / (9 * mean**2)
        return float(mean * (1 - variance + NormalDist().inv_cdf(probability) * sqrt(variance)) ** 3)

    low, high, critical = 0.0, 10.0 + 10 * freedom, quantile(0, 1 - LEVEL)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile(middle, 1 - POWER) < critical else (low, middle)
    return high


@dataclass(frozen=True, eq=False)
class UserPredictions:
    """Predicted classes (n,) int64, and probabilities (n, C) float64, whose rows sum to 1, or None.

    A class of -1 is that of an image that `dbpt predict` could not read.
    """

    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    warnings: tuple[Caution, ...] = ()

    @property
    def confidence(self) -> NDArray[np.float64] | None:
        """The probabilities (n,) of the predicted classes."""
        if self.probabilities is None:
            return None
        return self.probabilities[np.arange(len(self.predictions)), self.predictions]

    def take(self, rows: NDArray[np.bool_]) -> "UserPredictions":
        """Return those where ``rows`` (n,) is True."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return replace(self, predictions=self.predictions[rows], probabilities=probabilities)


def likeliest(probabilities: NDArray[np.floating[Any]]) -> UserPredictions:
    """Return the classes of the largest ``probabilities`` (n, C) as predictions."""
    return UserPredictions(probabilities.argmax(axis=1), probabilities.astype(np.float64))


def user_predictions(
    predictions: Any,
    dataset: Dataset,
    rows: NDArray[np.int64] | None = None,
    columns: Mapping[str, str] | None = None,
) -> UserPredictions:
    """Return the user's predictions for some images.

    Args:
        predictions: the path of a file, an array, or a data frame.
        dataset: the images and the names of their classes.
        rows: (n,) the rows of ``dataset`` that are audited; by default all.
        columns: the columns of ``--columns``, by role.

    Raises:
        InputError: for a file that can't be read, and for predictions that don't fit the data.
    """
    columns, rows = columns or {}, np.arange(len(dataset)) if rows is None else rows
    own = columns.get("prediction_path")
    wanted = Wanted(
        noun="prediction",
        kind="class",
        columns=(columns.get("prediction", "prediction"),),
        paths=(own,) if own else tuple(dict.fromkeys((columns.get("path", PATH), PATH))),
        vocabulary=dataset.words.classes,
    )
    if not isinstance(predictions, str | os.PathLike):
        codes = codes_in_memory("predictions", predictions, dataset, wanted, rows)
        return UserPredictions(codes.codes, codes.probabilities, codes.warnings)
    path = Path(predictions)
    if path.suffix.lower() not in (*READERS, ".npy") and not os.path.lexists(path):  # Path.exists may raise
        meant = nearest(str(path), ["zero-shot", "probe"])
        raise InputError(
            f"--predictions {path}: no such file or folder{meant}; expected zero-shot, probe, the folder of a run, or "
            "a file of predictions"
        )
    codes = read_codes(path, dataset, wanted, rows)
    return UserPredictions(codes.codes, codes.probabilities, codes.warnings)


OPTION = "--predictions probe"


def probe_predictions(
    features: NDArray[np.float32] | StoredFeatures,
    labels: NDArray[np.int64],
    *,
    class_names: Sequence[str],
    seed: int,
) -> NDArray[np.float64]:
    """Predict the class of each row by a linear probe that is fitted to the other folds.

    So rows of any split can be audited: training rows count without flattering the probe.

    Args:
        features: (N, D) of the audited rows.
        labels: (N,) int64, their classes.
        class_names: (C,) for messages.
        seed: seed of the folds.

    Returns:
        The `out_of_fold` probabilities (N, C) of the classes.

    Raises:
        InputError: without scikit-learn, and unless each class has two rows that are no copies.
    """
    import_scikit_learn(OPTION)
    counts_C = np.bincount(labels, minlength=len(class_names))
    if np.count_nonzero(counts_C) < 2:
        raise InputError(f"{OPTION}: all images have the same class; a probe needs at least two")
    is_first = first_of_unit(first_copies(features), labels) == np.arange(len(labels))
    for alone in np.flatnonzero(np.bincount(labels[is_first], minlength=len(class_names)) == 1)[:1]:
        copies = f" in {counts_C[alone]} copies" if counts_C[alone] > 1 else ""
        needed = "a probe predicts each image from others, so it needs two; add images, or leave the class out"
        raise InputError(f"{OPTION}: class {class_names[alone]!r} has one image{copies}; {needed}")
    return out_of_fold(features, labels, num_classes=len(class_names), seed=seed)
