"""The registry of ways to guess an attribute; their input, `Job`, and their result, `PseudoAttributes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt._core import assign_argmax
from dbpt.cautions import Caution, caution
from dbpt.data import Dataset, StoredFeatures, Words, joint_codes
from dbpt.errors import InputError
from dbpt.guesses.clusters import METHOD as CLUSTERS
from dbpt.guesses.clusters import ClassClusters
from dbpt.guesses.linear_probe import AttributeProbe, Features
from dbpt.guesses.value_families import Coding
from dbpt.registry import Registered, Registry

PROBE = "probe"
GroupKind = Literal["true", "pseudo"]
Provenance = Literal["true", "words", "probe", "file", "data", "clusters", "column", "measured", "ppa", "none"]
"""Where the values of an attribute come from.

"words" are CLIP's guesses by the names of the values; a "probe" learnt from known attributes. A "file" is that of
``--pseudo-attributes``, and "data" the known attributes beside the guesses of others. A "column" of the data and a
"measured" property of the images are what the user asked for. "ppa" are errors of a probe of the classes. "none" is a
single value for all rows.
"""
BY_VALUES: frozenset[Provenance] = frozenset(("column", "measured"))
"""Those of values that are known, but that no words of the data name."""
OWN_VALUES: frozenset[Provenance] = BY_VALUES | {"clusters"}
"""Those of groups whose values are other than the true attributes."""
WITHOUT_GUESSES: tuple[Provenance, ...] = ("file", "data", "clusters", "column", "measured", "none")
"""The `PseudoAttributes.method` of those that no `PseudoMethod` guessed."""


class PseudoMethod(Registered):
    """Turns the logits of one attribute's values into a value for each image. The base class takes the largest logit.

    Several attributes (``--factors``), classes with values of their own, and attributes that are known already are
    handled outside: a method sees the images and the values that it may choose from.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the `FitConfig` settings that only this method and some others read."""
    learns: ClassVar[bool] = False
    """True if the logits come from `fit`, not from CLIP's words.

    Images with a known attribute then keep it, and the others get the one with the largest logit.
    """

    @classmethod
    def check_installed(cls) -> None:
        """Raise `InputError` if a required package is missing; called before any image is embedded."""

    @classmethod
    def fit(
        cls,
        features: Features,
        known: GuessedFactors,
        labels: NDArray[np.int64],
        may_learn: NDArray[np.bool_],
        words: Words,
        *,
        seed: int,
        hint: str,
    ) -> AttributeProbe:
        """Return a probe that gives logits (N, K) for the values of all ``words.suspects``. Only if the class `learns`.

        Args:
            features, labels: (N, D), and the classes (N,) int64.
            known: the known attributes (N,), -1 where unknown.
            may_learn: (N,) bool, False for the test images.
            words: the classes and attributes.
            seed: the seed of the run.
            hint: what the user can do if too few attributes are known, for the `InputError`.
        """
        raise InputError(f"pseudo method {cls.name!r}: {cls.__qualname__} learns, so it must have a class method fit")

    @classmethod
    def label(cls, job: Job) -> PseudoAttributes:
        """Return the result of a job, whose arrays this fills with the label, posterior and confidence of each row.

        Args:
            job: the logits (N, A). Only the rows in ``job.fit_rows`` may influence the labels of others.
        """
        return job.largest(cls.name)


PSEUDO_METHODS = Registry[PseudoMethod](
    "pseudo_method",
    "dbpt.pseudo_methods",
    "dbpt.guesses.base:PseudoMethod",
    {
        "proportional": "dbpt.guesses.methods:Proportional",
        "argmax": "dbpt.guesses.methods:Argmax",
        "kmeans": "dbpt.guesses.methods:KMeans",
        PROBE: "dbpt.guesses.methods:Probe",
    },
    reserved=WITHOUT_GUESSES,
)
"""The registry of ways to guess. `FitConfig`, the command line and `label_attributes` read their names here."""

register_pseudo_method = PSEUDO_METHODS.register


ROWS_OF_FIT = 1 << 16  # in a sample; the standard error of a share is then below 0.002
MOST_VALUES = 1 << 17  # in a sample, so that many attributes don't take longer than a few
MAX_VALUE = 1e15
_GOLDEN_RATIO = 0.6180339887498949


@dataclass(frozen=True)
class PseudoAttributes:
    """Pseudo attributes of N rows, each one of A attributes.

    Attributes:
        pseudo_attributes: (N,) int64, or the type of ``out``: the attribute of each row; -1 for unlabelled rows.
        posterior: (N, A) float32 probabilities; the label has the largest. None if not requested.
        confidence: (N,) float32, posterior of the label, also of a row below ``min_confidence``. None if not requested.
        method: the name of a `PseudoMethod`; or one of `WITHOUT_GUESSES`.
        note: the CLIP that guessed, if it is not the one that is trained, where known attributes come from, and the
            name of a column or a measured property.
        shares: (A,) float64 of the method "proportional"; the sum is 1. None if they could not be estimated.
        offsets: (A,) float64 of its logits; minus infinity for an attribute without a share.
        clusters: what guessed them for the method "kmeans".
        is_given: (N,) bool, where it is the data's true attribute, which can't measure how many guesses are right.
        warnings: what was found when the attributes were read or guessed.
        doubts: the doubts about guesses from a file, which it has beside them; None if it says nothing about them.
    """

    pseudo_attributes: NDArray[Any]
    posterior: NDArray[np.float32] | None
    confidence: NDArray[np.float32] | None
    method: str
    note: str = ""
    shares: NDArray[np.float64] | None = None
    offsets: NDArray[np.float64] | None = None
    clusters: Clusters | None = None
    is_given: NDArray[np.bool_] | None = None
    warnings: tuple[Caution, ...] = ()
    doubts: tuple[Caution, ...] | None = None

    @property
    def provenance(self) -> Provenance:
        """The source of the attributes, or of the guessed ones if some are known."""
        if self.method in WITHOUT_GUESSES:
            return self.method
        method = PSEUDO_METHODS.get(self.method)
        return "probe" if method is not None and method.learns else "words"

    def take(self, rows: NDArray[np.int64]) -> PseudoAttributes:
        """Return those of some rows, in their order.

        Args:
            rows: (n,) int64 row numbers.
        """
        names = ("pseudo_attributes", "posterior", "confidence", "is_given")
        return replace(self, **{name: array[rows] for name in names if (array := getattr(self, name)) is not None})

    def __repr__(self) -> str:
        return f"PseudoAttributes({len(self.pseudo_attributes)} rows, method={self.method!r})"


@dataclass(frozen=True, eq=False)
class GuessedFactors:
    """Pseudo attributes of N rows for each suspected attribute, one or more, and for the A combinations.

    Attributes:
        factors: those of each of the `Words.suspects`, with posterior and confidence; a single one of clusters, or
            without any attribute.
        names: (C, A) the name of each attribute in each class, if they aren't those of the data set; "" without
            attributes.
        class_clusters, probe: what guessed them for ``--attributes clusters`` and the method "probe".
        coding: how a column or a measured property gave them.
    """

    factors: tuple[PseudoAttributes, ...]
    names: tuple[tuple[str, ...], ...] | None = None
    class_clusters: ClassClusters | None = None
    probe: AttributeProbe | None = None
    coding: Coding | None = None

    @classmethod
    def of_clusters(
        cls, clusters: ClassClusters, features: NDArray[np.float32] | StoredFeatures, labels: NDArray[np.int64]
    ) -> GuessedFactors:
        """Return the likeliest cluster of each of N rows within its class.

        Args:
            clusters: the clusters of each class.
            features, labels: (N, D) float32, and the classes (N,) int64.
        """
        posterior = clusters.posterior(features, labels)
        likeliest = PseudoAttributes(posterior.argmax(axis=1), posterior, posterior.max(axis=1), CLUSTERS)
        return cls((likeliest,), names=clusters.names, class_clusters=clusters)

    @cached_property
    def pseudo_attributes(self) -> NDArray[Any]:
        """(N,) the combination of each row; -1 where one of the factors is."""
        codes = [factor.pseudo_attributes for factor in self.factors]
        return joint_codes(codes, [posterior.shape[1] for posterior in self._posteriors]) if codes[1:] else codes[0]

    @cached_property
    def posterior(self) -> NDArray[np.float32]:
        """(N, A) the product of the factors' posteriors."""
        first, *others = self._posteriors
        for posterior in others:
            first = (first[:, :, None] * posterior[:, None, :]).reshape(len(first), -1)
        return first

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """(N,) the product of the factors' confidences."""
        confidences = [factor.confidence for factor in self.factors if factor.confidence is not None]
        return np.prod(confidences, axis=0) if confidences[1:] else confidences[0]

    @property
    def _posteriors(self) -> list[NDArray[np.float32]]:
        return [factor.posterior for factor in self.factors if factor.posterior is not None]

    @property
    def provenance(self) -> Provenance:
        """The source of the attributes."""
        return self.factors[0].provenance

    @property
    def method(self) -> str:
        """The method of guessing, with its note."""
        return self.factors[0].method + self.factors[0].note

    @property
    def is_given(self) -> NDArray[np.bool_] | None:
        """(N,) bool, where a factor is the data's true attribute; None if none is."""
        given = [factor.is_given for factor in self.factors if factor.is_given is not None]
        return np.any(given, axis=0) if given else None

    @property
    def warnings(self) -> tuple[Caution, ...]:
        """Warnings from reading or guessing the attributes."""
        return tuple(dict.fromkeys(warning for factor in self.factors for warning in factor.warnings))

    def only(self, kept: Sequence[NDArray[np.bool_]]) -> GuessedFactors:
        """Return the same with -1 for some rows.

        Args:
            kept: (N,) bool for each of the `factors`, False for these rows.
        """
        pairs = zip(self.factors, kept, strict=True)
        factors = [replace(each, pseudo_attributes=np.where(rows, each.pseudo_attributes, -1)) for each, rows in pairs]
        return replace(self, factors=tuple(factors))

    def above(self, min_confidence: float) -> GuessedFactors:
        """Return the same with -1 where the confidence is below the minimum.

        Args:
            min_confidence: the minimum, for each of the `factors`.
        """
        confidences = [factor.confidence for factor in self.factors if factor.confidence is not None]
        return self.only([confidence >= min_confidence for confidence in confidences])

    def take(self, rows: NDArray[np.int64]) -> GuessedFactors:
        """Return those of some rows, in their order.

        Args:
            rows: (n,) int64 row numbers.
        """
        return replace(self, factors=tuple(factor.take(rows) for factor in self.factors))

    def __repr__(self) -> str:
        return f"GuessedFactors({len(self.pseudo_attributes)} rows, method={self.method!r})"


@dataclass(frozen=True)
class Clusters:
    """The clusters of "kmeans" in the rows that it was fitted on, one for each attribute.

    Attributes:
        centers: (A, A) float64, row-centred logits; infinite for an attribute without a cluster.
        counts: (A,) int64, the rows of each cluster.
        inertia, iterations: the sum of squared distances to the centres, and the number of Lloyd's iterations.
    """

    centers: NDArray[np.float64]
    counts: NDArray[np.int64]
    inertia: float
    iterations: int


@dataclass(frozen=True)
class Job:
    """N rows of A logits to label, the rows to fit on, and the arrays that a method fills."""

    logits: NDArray[np.float16] | NDArray[np.float32]
    fit_rows: NDArray[np.int64] | None  # row numbers, ascending; None for all
    seed: int
    num_threads: int
    labels: NDArray[np.integer[Any]]  # (N,), to fill; -1 for a row without a label
    posterior: NDArray[np.float32] | None
    confidence: NDArray[np.float32] | None
    proportions: ArrayLike | str = "estimated"  # the shares of the attributes, as `label_attributes` takes them
    warnings: list[Caution | str] = field(default_factory=list)  # which `label_attributes` emits

    @property
    def assign_arguments(self) -> dict[str, Any]:
        """The keywords with which functions of `_core` fill the arrays."""
        outputs = {"labels_out": self.labels, "posterior_out": self.posterior, "confidence_out": self.confidence}
        return outputs | {"num_threads": self.num_threads}

    def largest(self, method: str, shifts: NDArray[np.float64] | None = None, **fields: Any) -> PseudoAttributes:
        """Give each row the attribute with the largest logit plus ``shifts`` (A,), and return the `result`.

        The posterior is the softmax of these sums.
        """
        assign_argmax(self.logits, offsets=shifts, **self.assign_arguments)
        return self.result(method, **fields)

    def result(self, method: str, **fields: Any) -> PseudoAttributes:
        """Return the filled arrays, with the other ``fields`` that the method sets."""
        arrays = self.labels, self.posterior, self.confidence
        warnings = (each if isinstance(each, Caution) else caution("text", text=each) for each in self.warnings)
        return PseudoAttributes(*arrays, method=method, warnings=tuple(warnings), **fields)

    def sample(self) -> NDArray[np.float64]:
        """Return logits (n, A) of the rows to fit on: all, or one from each of n equal stretches if they are many.

        Positions depend only on the number of rows. They are uneven, so that periodic data are sampled evenly too.
        """
        num_rows = len(self.logits) if self.fit_rows is None else len(self.fit_rows)
        n = max(1, min(num_rows, ROWS_OF_FIT, MOST_VALUES // self.logits.shape[1]))
        positions = np.arange(n)
        if n < num_rows:
            # Multiples of the golden ratio are spread evenly over 0 to 1, and repeat no period.
            positions = ((positions + positions * _GOLDEN_RATIO % 1) * (num_rows / n)).astype(np.int64)
        rows = positions if self.fit_rows is None else self.fit_rows[positions]
        logits = self.logits[rows].astype(np.float64)
        bad = np.argwhere(~(np.abs(logits) <= MAX_VALUE))
        if bad.size:  # with the message of the core, which checks all rows later
            position, column = bad[0]
            value = str(logits[position, column]).replace("nan", "NaN")
            raise InputError(f"logits[{rows[position]}, {column}] is {value}; expected a finite number within ±1e15")
        return logits


NO_ATTRIBUTE = "none"


def no_attributes(dataset: Dataset) -> GuessedFactors:
    """Return a single attribute without a name for all rows of ``dataset``; the method is "none"."""
    rows, ones = np.zeros(len(dataset), np.int64), np.ones((len(dataset), 1), np.float32)
    single = PseudoAttributes(rows, ones, ones[:, 0], NO_ATTRIBUTE)
    return GuessedFactors((single,), names=(("",),) * dataset.num_classes)
