"""`label_attributes`: the choice of a method, and its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError, nearest
from dbpt.pseudo_attributes import argmax, clustering, proportional
from dbpt.pseudo_attributes.gmm import COVARIANCES, GmmModel
from dbpt.pseudo_attributes.job import Job, WantedOutputs, checked_index, checked_logits
from dbpt.pseudo_attributes.kmeans import KMeansModel
from dbpt.pseudo_attributes.result import PseudoAttributes

METHODS = ("argmax", "proportional", "kmeans", "gmm")


def label_attributes(
    logits: ArrayLike,
    *,
    method: str = "argmax",
    labels: ArrayLike | None = None,
    within_class: bool = False,
    proportions: ArrayLike | str = proportional.ESTIMATED,
    num_clusters: int | str | None = None,
    max_clusters: int = 8,
    covariance: str = "full",
    min_confidence: float = 0.0,
    out: NDArray[np.integer[Any]] | None = None,
    posterior: bool | NDArray[np.float32] = True,
    confidence: bool | NDArray[np.float32] = True,
    seed: int = 0,
    num_threads: int | None = None,
) -> PseudoAttributes:
    """Label each row with one of A attributes.

    - "argmax": the largest logit.
    - "proportional": every attribute gets its share of the rows, so that a zero-shot threshold that is off doesn't
      swallow the minority; of all such labellings, one with the largest sum of logits. It finds what has to be added to
      each attribute's logits. Of rows that stand alike, the first get the lower attribute. Shares not given are
      estimated: the weights of a mixture of Gaussians of one common covariance, in the contrasts, from at most 2¹⁶
      rows. To add to an attribute's logits, or to scale all of them, doesn't change them.
    - "kmeans": clusters of the row-centred logits (k-means++, Lloyd; the best of 4 runs).
    - "gmm": a mixture of Gaussians over the A - 1 orthonormal contrasts of the logits, started from k-means.

    As many clusters as attributes are named: each cluster gets the attribute for which its centre stands out, by the
    one-to-one assignment with the largest sum of centre logits. Any other number of clusters is numbered, from the
    largest to the smallest ("gmm": by weight).

    The posterior is that of the method, so the label has the largest, up to ties: the softmax of the logits (argmax),
    or of logits plus offsets (proportional); that of equally heavy spherical Gaussians of the clusters' pooled variance
    (kmeans); the responsibilities (gmm).

    Nothing as long as the rows is allocated but what is returned and not given (and, within class, 4 bytes a row and
    8 of the class at hand), if the logits are C-contiguous float16 or float32, in memory or a `numpy.memmap`; they are
    read in blocks. Others are copied.

    Args:
        logits: (N, A) floats, exp(logit_scale) times cosine (plus the bias, if the model has one); never bare cosines.
        method: "argmax", "proportional", "kmeans" or "gmm".
        labels: (N,) class of each row, integers from 0; needed by `within_class` only.
        within_class: label the rows of each class for itself (not "argmax", for which it makes no difference).
        proportions: "estimated", or shares (A,) of any scale, within class also (C, A); rounded by largest remainder.
        num_clusters: how many clusters ("kmeans", "gmm"), by default A. "bic" takes the number from 1 to `max_clusters`
            with the smallest Bayesian information criterion (for "kmeans" that of X-means: Pelleg and Moore, 2000),
            "silhouette" the one from 2 with the largest silhouette by nearest centre, of 2,000 rows of each part;
            within class one number for all classes.
        max_clusters: for a `num_clusters` that is chosen, the largest.
        covariance: "full", or "diagonal" in the contrasts ("gmm").
        min_confidence: rows whose confidence is below this get -1.
        out: (N,) integers of any type, to be filled with the labels; by default a new int64 array.
        posterior: whether it is wanted, or (N, A) float32 to fill, (N, clusters) if they are numbered.
        confidence: whether it is wanted, or (N,) float32 to fill.
        seed: of the k-means++ starts.
        num_threads: by default the number of processors. The result doesn't depend on it.

    Raises:
        InputError: an argument is wrong; for a NaN or infinite logit the message names the row. Arrays that were given
            to be filled hold anything then.

    Warns:
        UserWarning: fewer clusters were found than asked for, or no two to estimate proportions from, as there are too
            few distinct rows; estimated proportions, centres or components had not settled when the iterations ended.

    Example:
        >>> label_attributes(np.array([[20.0, 22.0], [25.0, 21.0]])).pseudo_attributes
        array([1, 0])
    """
    logits_NA = checked_logits(logits)
    _check_choice("method", method, METHODS)
    within_class = arguments.boolean("within_class", within_class)
    _check_method_of("within_class", within_class, method, METHODS[1:])
    proportions_given = not (isinstance(proportions, str) and proportions == proportional.ESTIMATED)
    _check_method_of("proportions", proportions_given, method, ("proportional",))
    _check_method_of("num_clusters", num_clusters is not None, method, ("kmeans", "gmm"))
    _check_choice("covariance", covariance, COVARIANCES)
    _check_method_of("covariance", covariance != "full", method, ("gmm",))
    k = _checked_number(num_clusters, logits_NA.shape[1])
    max_clusters = arguments.integer("max_clusters", max_clusters, 2)
    min_confidence = arguments.probability("min_confidence", min_confidence)
    seed, threads = arguments.seed(seed), arguments.num_threads(num_threads)
    wanted = WantedOutputs(out, posterior, confidence, len(logits_NA), min_confidence)
    index = checked_index(labels, len(logits_NA), threads) if within_class else None
    job = Job(logits_NA, index, seed, threads)
    return wanted.finish(_label(method, job, wanted, proportions, covariance, k, max_clusters))


def _label(
    method: str,
    job: Job,
    wanted: WantedOutputs,
    proportions: ArrayLike | str,
    covariance: str,
    num_clusters: int | str,
    max_clusters: int,
) -> PseudoAttributes:
    if method == "argmax":
        return argmax.label(job, wanted)
    model: clustering.Model = KMeansModel() if method == "kmeans" else GmmModel(covariance)
    try:
        if method == "proportional":
            return proportional.label(job, wanted, proportions)
        return clustering.label(job, wanted, model, num_clusters, max_clusters)
    except InputError as error:  # the core clusters any points
        raise InputError(str(error).replace("points[", "logits[", 1)) from None


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(repr(choice) for choice in choices)
        raise InputError(f"{name} is {value!r}; expected one of {expected}{nearest(str(value), list(choices))}")


def _check_method_of(name: str, is_given: bool, method: str, methods: tuple[str, ...]) -> None:
    if is_given and method not in methods:
        expected = " or ".join(repr(choice) for choice in methods)
        raise InputError(f"{name} is given with method {method!r}; expected method {expected}, or leave it out")


def _checked_number(num_clusters: int | str | None, num_attributes: int) -> int | str:
    if num_clusters is None:
        return num_attributes
    if isinstance(num_clusters, str):
        _check_choice("num_clusters", num_clusters, clustering.CRITERIA)
        return num_clusters
    return arguments.integer("num_clusters", num_clusters, 1)
