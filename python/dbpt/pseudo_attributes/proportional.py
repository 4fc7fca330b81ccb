"""Labels of which each attribute gets its share."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import assign_proportional, quotas
from dbpt.errors import InputError
from dbpt.pseudo_attributes.job import Job, Part, WantedOutputs
from dbpt.pseudo_attributes.result import Proportions, PseudoAttributes
from dbpt.pseudo_attributes.shares import estimate_shares

ESTIMATED = "estimated"


def label(job: Job, wanted: WantedOutputs, proportions: ArrayLike | str) -> PseudoAttributes:
    """Label each part under its own proportions; the posterior is the softmax of logits plus offsets."""
    is_estimated = isinstance(proportions, str) and proportions == ESTIMATED
    table = None if is_estimated else _checked_proportions(job, proportions)
    outputs = wanted.allocate(job.num_attributes)
    found = []
    for part in job.parts():
        shares_A = _estimate(job, part) if table is None else _shares_of(table, part)
        counts_A = quotas(shares_A, np.ones(len(shares_A), np.int64), part.num_rows)
        offsets_A = assign_proportional(
            job.logits, counts_A, rows=part.rows, **outputs.arguments(), num_threads=job.num_threads
        )
        found.append(Proportions(part.label, shares_A / shares_A.sum(), counts_A, offsets_A))
    return PseudoAttributes(outputs.labels, outputs.posterior, outputs.confidence, proportions=tuple(found))


def _estimate(job: Job, part: Part) -> NDArray[np.float64]:
    found = estimate_shares(job, part)
    if len(found.mixture.weights) == 1:
        warnings.warn(
            f"proportions{part.where} cannot be estimated: the {part.num_rows} rows have but one cluster, and get one "
            "attribute",
            UserWarning,
            stacklevel=5,
        )
    if not found.mixture.converged:
        warnings.warn(
            f"proportions{part.where} still moved after {found.mixture.iterations} iterations: "
            f"{found.shares.round(4).tolist()}",
            UserWarning,
            stacklevel=5,
        )
    return found.shares


def _checked_proportions(job: Job, proportions: ArrayLike) -> NDArray[np.float64]:
    """(A,), or (C, A) within class."""
    if isinstance(proportions, str):
        raise InputError(f"proportions is {proportions!r}; expected 'estimated' or numbers")
    table = arguments.array("proportions", proportions)
    classes = None if job.index is None else job.index.num_groups
    shapes = [(job.num_attributes,)] if classes is None else [(classes, job.num_attributes), (job.num_attributes,)]
    if table.dtype.kind not in "iuf" or table.shape not in shapes:
        expected = " or ".join(str(shape) for shape in shapes)
        raise InputError(
            f"proportions has shape {table.shape} and dtype {table.dtype}; expected {expected} numbers, or 'estimated'"
        )
    table = table.astype(np.float64)
    bad = np.argwhere(~(np.isfinite(table) & (table >= 0)))
    if bad.size:
        place = ", ".join(map(str, bad[0]))
        raise InputError(f"proportions[{place}] is {table[tuple(bad[0])]}; expected a finite number, 0 or above")
    return table


def _shares_of(table: NDArray[np.float64], part: Part) -> NDArray[np.float64]:
    shares_A = table if table.ndim == 1 else table[part.label]
    with np.errstate(over="ignore"):
        total = float(shares_A.sum())
    if not 0 < total * part.num_rows < np.inf:
        raise InputError(f"proportions{part.where} add up to {total}; expected a number above 0, not enormous")
    return np.ascontiguousarray(shares_A)
