"""`label_attributes`: the choice of a method, and its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError, nearest
from dbpt.pseudo_attributes import argmax, kmeans, proportional
from dbpt.pseudo_attributes.job import Job, WantedOutputs, checked_index, checked_logits
from dbpt.pseudo_attributes.result import PseudoAttributes

METHODS = ("argmax", "proportional", "kmeans")


def label_attributes(
    logits: ArrayLike,
    *,
    method: str = "argmax",
    labels: ArrayLike | None = None,
    within_class: bool = False,
    proportions: ArrayLike | str = proportional.ESTIMATED,
    min_confidence: float = 0.0,
    out: NDArray[np.integer[Any]] | None = None,
    posterior: bool | NDArray[np.float32] = True,
    confidence: bool | NDArray[np.float32] = True,
    seed: int = 0,
    num_threads: int | None = None,
) -> PseudoAttributes:
    """Label each row with one of A attributes.

    "argmax" takes the largest logit. "proportional" gives every attribute its share of the rows, so that a zero-shot
    threshold that is off doesn't swallow the minority: of all such labellings, one with the largest sum of logits. It
    finds what has to be added to each attribute's logits; of rows that stand alike, the first get the lower attribute.
    Shares not given are estimated by expectation maximisation (Saerens, Latinne and Decaestecker, 2002), from at most
    2²² rows. "kmeans" clusters the row-centred logits and gives each cluster the attribute for which its centre stands
    out (the one-to-one assignment with the largest sum of centre logits).

    The posterior is that of the method, so the label has the largest, up to ties: the softmax of the logits (argmax)
    or of logits plus offsets (proportional).

    Nothing as long as the rows is allocated but what is returned and not given (and, within class, 4 bytes a row and
    8 of the class at hand), if the logits are C-contiguous float16 or float32, in memory or a `numpy.memmap`; they are
    read in blocks. Others are copied.

    Args:
        logits: (N, A) floats, exp(logit_scale) times cosine (plus the bias, if the model has one); never bare cosines.
        method: "argmax", "proportional" or "kmeans".
        labels: (N,) class of each row, integers from 0; needed by `within_class` only.
        within_class: label the rows of each class for itself (not "argmax", for which it makes no difference).
        proportions: "estimated", or shares (A,) of any scale, within class also (C, A); rounded by largest remainder.
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
        UserWarning: "kmeans" found fewer clusters than attributes, as there are fewer distinct rows; estimated
            proportions did not settle.

    Example:
        >>> label_attributes(np.array([[20.0, 22.0], [25.0, 21.0]])).pseudo_attributes
        array([1, 0])
    """
    logits_NA = checked_logits(logits)
    if method not in METHODS:
        choices = ", ".join(repr(name) for name in METHODS)
        raise InputError(f"method is {method!r}; expected one of {choices}{nearest(str(method), list(METHODS))}")
    if within_class and method == "argmax":
        raise InputError("within_class is True with method 'argmax'; expected another method, or leave it out")
    if method != "proportional" and not (isinstance(proportions, str) and proportions == proportional.ESTIMATED):
        raise InputError(f"proportions are given with method {method!r}; expected method 'proportional'")
    if isinstance(proportions, str) and proportions != proportional.ESTIMATED:
        raise InputError(f"proportions is {proportions!r}; expected 'estimated' or numbers")
    min_confidence = arguments.probability("min_confidence", min_confidence)
    seed, threads = arguments.seed(seed), arguments.num_threads(num_threads)
    wanted = WantedOutputs(out, posterior, confidence, len(logits_NA), min_confidence)
    index = checked_index(labels, len(logits_NA), threads) if within_class else None
    job = Job(logits_NA, index, seed, threads)
    if method == "argmax":
        found = argmax.label(job, wanted)
    elif method == "proportional":
        found = proportional.label(job, wanted, proportions)
    else:
        found = kmeans.label(job, wanted)
    return wanted.finish(found)
