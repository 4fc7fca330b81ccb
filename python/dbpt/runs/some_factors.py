"""The figures of a run over some of several factors, whatever the values of the others."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.data.factors import factor_codes, joint_codes
from dbpt.groups import GroupMetrics, merged_metrics
from dbpt.runs.metrics import DataSummary, RunMetrics


def groups_of_factors(groups: NDArray[np.int64], data: DataSummary, places: Sequence[int]) -> NDArray[np.int64]:
    """Return the groups (N,) over only the factors at ``places`` that contain the ``groups`` (N,); -1 stays -1."""
    sizes = [len(data.classes), *(len(factor.values) for factor in data.factors)]
    codes = factor_codes(groups, sizes)
    kept = [0, *(1 + place for place in places)]
    return joint_codes([codes[place] for place in kept], [sizes[place] for place in kept])


def data_of_factors(data: DataSummary, places: Sequence[int]) -> DataSummary:
    """Return the data set with only the factors at ``places``."""
    factors = [data.factors[place] for place in places]
    merged = groups_of_factors(np.arange(len(data.groups)), data, places)
    attributes = [", ".join(values) for values in product(*(factor.values for factor in factors))]

    def summed(counts: Sequence[int]) -> list[int]:
        return np.bincount(merged, counts, len(data.classes) * len(attributes)).astype(int).tolist() if counts else []

    return replace(
        data,
        attributes=attributes,
        factors=factors,
        counts={split: summed(counts) for split, counts in data.counts.items()},
        train_counts_pseudo=summed(data.train_counts_pseudo),
    )


def metrics_of_factors(metrics: GroupMetrics, data: DataSummary, places: Sequence[int]) -> GroupMetrics:
    """Return the metrics over the groups of only the factors at ``places``; the averages stay the same."""
    merged = groups_of_factors(np.arange(len(data.groups)), data, places)
    return merged_metrics(metrics, merged, data_of_factors(data, places).groups)


def run_of_factors(metrics: RunMetrics, places: Sequence[int]) -> RunMetrics:
    """Return the metrics of a run over the groups of only the factors at ``places``."""
    if len(places) == len(metrics.dataset.factors):
        return metrics

    def judged(found: GroupMetrics | None) -> GroupMetrics | None:
        return found and metrics_of_factors(found, metrics.dataset, places)

    rows = [replace(row, train=judged(row.train), val=judged(row.val), test=judged(row.test)) for row in metrics.rows]
    return replace(metrics, dataset=data_of_factors(metrics.dataset, places), rows=rows)
