"""`label_attributes`: check the arguments and run the chosen method."""

from dataclasses import replace
from typing import Any
from warnings import catch_warnings, simplefilter, warn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError, nearest
from dbpt.pseudo_attributes.base import PSEUDO_METHODS
from dbpt.pseudo_attributes.job import (
    Job,
    PseudoAttributes,
    checked_fit_rows,
    checked_floats,
    checked_labels,
    checked_logits,
)

_CHUNK = 1 << 16


def methods_by_words() -> list[str]:
    """Return the names of the methods that read the logits of words."""
    return [name for name, method in PSEUDO_METHODS.loaded.items() if not method.learns]


def label_attributes(
    logits: ArrayLike,
    *,
    method: str = "proportional",
    proportions: ArrayLike | str = "estimated",
    fit_on: ArrayLike | None = None,
    min_confidence: float = 0.0,
    out: NDArray[np.integer[Any]] | None = None,
    posterior: bool | NDArray[np.float32] = True,
    confidence: bool | NDArray[np.float32] = True,
    seed: int = 0,
    num_threads: int | None = None,
) -> PseudoAttributes:
    """Label each row with one of A attributes.

    - "proportional": the largest logit after adding an offset for each attribute, so that every attribute gets its
      share of the rows. Shares that are not given are estimated as the weights of a mixture of Gaussians with a common
      covariance. Shares and offsets are fitted on a sample of at most 65,536 rows. The posterior is the softmax of
      logits plus offsets.
    - "argmax": the largest logit, CLIP's plain zero-shot label. The posterior is the softmax of the logits.
    - "kmeans": the nearest of A centres in row-centred logits, found by k-means++ and Lloyd's algorithm. Centres are
      matched with attributes by the one-to-one assignment with the largest sum of centre logits. The posterior is that
      of equally weighted spherical Gaussians with the pooled variance of the clusters.

    C-contiguous float16 or float32 logits, in memory or a `numpy.memmap`, are read in blocks and not copied. Besides
    new results, the only memory that grows with N is then 8 bytes for each row in ``fit_on``.

    Args:
        logits: (N, A) floats, exp(logit_scale) times cosine (plus the bias, if the model has one); never bare cosines.
        method: "proportional", "argmax", "kmeans", or the name of a registered `PseudoMethod`.
        proportions: "estimated", or shares (A,) on any scale; 0 for an attribute that no row may get.
        fit_on: (N,) booleans, the rows on which shares, offsets and centres are fitted; by default all. All rows are
            labelled. Leave out the rows on which a classifier will be evaluated.
        min_confidence: rows whose confidence is below this get -1.
        out: (N,) integers of any type to fill with the labels; by default a new int64 array.
        posterior: True or False, or (N, A) float32 to fill.
        confidence: True or False, or (N,) float32 to fill.
        seed: seed of k-means++.
        num_threads: by default the number of processors. The result doesn't depend on it.

    Raises `InputError` for a wrong argument; the contents of given arrays are then undefined. Warns (`UserWarning`) if
    shares could not be estimated or met, or if centres were not found; the text says how rows were labelled instead.

    Example:
        >>> label_attributes(np.array([[20.0, 22.0], [25.0, 21.0]]), method="argmax").pseudo_attributes
        array([1, 0])
    """
    logits_NA = checked_logits(logits)
    if not isinstance(method, str) or method not in PSEUDO_METHODS or PSEUDO_METHODS[method].learns:
        methods = methods_by_words()
        expected = ", ".join(repr(choice) for choice in methods)
        raise InputError(f"method is {method!r}; expected one of {expected}{nearest(str(method), methods)}")
    is_estimated = isinstance(proportions, str) and proportions == "estimated"
    if "proportions" not in PSEUDO_METHODS[method].settings and not is_estimated:
        raise InputError(
            f"proportions is given with method {method!r}; expected method 'proportional', or leave it out"
        )
    num_rows, num_attributes = logits_NA.shape
    min_confidence = arguments.probability("min_confidence", min_confidence)
    compared = True if min_confidence > 0 and confidence is False else confidence
    job = Job(
        logits_NA,
        checked_fit_rows(fit_on, num_rows),
        arguments.seed(seed),
        arguments.num_threads(num_threads),
        labels=checked_labels(out, num_rows, num_attributes, min_confidence),
        posterior=checked_floats("posterior", posterior, logits_NA.shape),
        confidence=checked_floats("confidence", compared, (num_rows,)),
        proportions=proportions,
    )
    found = PSEUDO_METHODS[method].label(job)
    unused = [] if found.shares is None or not is_estimated else np.flatnonzero(found.shares == 0).tolist()
    without = [f"no image looks like attribute {a}, so its share is 0" for a in unused]  # `Trust` says so by name
    for text in (*found.warnings, *without):
        warn(text, stacklevel=2)
    if min_confidence > 0 and job.confidence is not None:
        for start in range(0, num_rows, _CHUNK):  # in chunks, for memory
            chunk = slice(start, start + _CHUNK)
            job.labels[chunk][job.confidence[chunk] < min_confidence] = -1
    return replace(found, confidence=None) if confidence is False else found


def label_quietly(logits: ArrayLike, **how: Any) -> PseudoAttributes:
    """Return the labels by `label_attributes`, whose warnings are only in the result."""
    with catch_warnings():
        simplefilter("ignore", UserWarning)
        return label_attributes(logits, **how)
