"""`label_attributes`: the choice of a method, and its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError, nearest
from dbpt.pseudo_attributes import argmax, kmeans, proportional
from dbpt.pseudo_attributes.job import Job, WantedOutputs, checked_fit_rows, checked_logits
from dbpt.pseudo_attributes.result import PseudoAttributes

METHODS = ("proportional", "argmax", "kmeans")


def label_attributes(
    logits: ArrayLike,
    *,
    method: str = "proportional",
    proportions: ArrayLike | str = proportional.ESTIMATED,
    fit_on: ArrayLike | None = None,
    min_confidence: float = 0.0,
    out: NDArray[np.integer[Any]] | None = None,
    posterior: bool | NDArray[np.float32] = True,
    confidence: bool | NDArray[np.float32] = True,
    seed: int = 0,
    num_threads: int | None = None,
) -> PseudoAttributes:
    """Label each row with one of A attributes.

    - "proportional": the largest logit plus an offset for each attribute, such that every attribute gets its share of
      the rows, and a zero-shot threshold that is off doesn't swallow the minority. Shares that are not given are
      estimated: the weights of a mixture of Gaussians of one common covariance. To add to an attribute's logits, or to
      scale all of them, doesn't change them. Shares and offsets are fitted on a sample of at most 65,536 rows.
    - "argmax": the largest logit, CLIP's plain zero-shot label.
    - "kmeans": the nearest of A centres of row-centred logits, from k-means++ and Lloyd's algorithm. Each centre is the
      attribute for which it stands out, by the one-to-one assignment with the largest sum of centre logits.

    The posterior is that of the method, so the label has the largest, up to ties: the softmax of the logits (argmax),
    or of logits plus offsets (proportional); that of equally heavy spherical Gaussians of the clusters' pooled variance
    (kmeans).

    Nothing as long as the rows is allocated but what is returned and not given (and 8 bytes for each row that
    ``fit_on`` names), if the logits are C-contiguous float16 or float32, in memory or a `numpy.memmap`; they are read
    in blocks. Others are copied.

    Args:
        logits: (N, A) floats, exp(logit_scale) times cosine (plus the bias, if the model has one); never bare cosines.
        method: "proportional", "argmax" or "kmeans".
        proportions: "estimated", or shares (A,) of any scale, 0 for an attribute that no row may get.
        fit_on: (N,) booleans, the rows that shares, offsets and centres are fitted on, by default all. All rows are
            labelled. Leave out the rows that a classifier will be judged on.
        min_confidence: rows whose confidence is below this get -1.
        out: (N,) integers of any type, to be filled with the labels; by default a new int64 array.
        posterior: whether it is wanted, or (N, A) float32 to fill.
        confidence: whether it is wanted, or (N,) float32 to fill.
        seed: of the k-means++ starts.
        num_threads: by default the number of processors. The result doesn't depend on it.

    Raises:
        InputError: an argument is wrong; for a NaN or infinite logit the message names the row. Arrays that were given
            to be filled hold anything then.

    Warns:
        UserWarning: no two attributes can be told apart, so that the labels are those of argmax; an attribute has an
            estimated share of 0; shares or centres had not settled when the iterations ended; rows with the same logits
            don't let shares be met; fewer clusters were found than attributes.

    Example:
        >>> label_attributes(np.array([[20.0, 22.0], [25.0, 21.0]]), method="argmax").pseudo_attributes
        array([1, 0])
    """
    logits_NA = checked_logits(logits)
    _check_method(method)
    if method != "proportional" and not (isinstance(proportions, str) and proportions == proportional.ESTIMATED):
        raise InputError(
            f"proportions is given with method {method!r}; expected method 'proportional', or leave it out"
        )
    min_confidence = arguments.probability("min_confidence", min_confidence)
    seed, threads = arguments.seed(seed), arguments.num_threads(num_threads)
    wanted = WantedOutputs(out, posterior, confidence, len(logits_NA), min_confidence)
    job = Job(logits_NA, checked_fit_rows(fit_on, len(logits_NA)), seed, threads)
    return wanted.finish(_label(method, job, wanted, proportions))


def _label(method: str, job: Job, wanted: WantedOutputs, proportions: ArrayLike | str) -> PseudoAttributes:
    if method == "proportional":
        return proportional.label(job, wanted, proportions)
    return argmax.label(job, wanted) if method == "argmax" else kmeans.label(job, wanted)


def _check_method(method: Any) -> None:
    if not isinstance(method, str) or method not in METHODS:
        expected = ", ".join(repr(choice) for choice in METHODS)
        raise InputError(f"method is {method!r}; expected one of {expected}{nearest(str(method), list(METHODS))}")
