"""Results over only some of several factors."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import factor_codes, joint_codes
from dbpt.evaluation import GroupMetrics, merged_metrics
from dbpt.evaluation.results import DataSummary, RunMetrics


def groups_of_factors(groups: NDArray[np.int64], data: DataSummary, positions: Sequence[int]) -> NDArray[np.int64]:
    """Return the groups (N,) over only the factors at ``positions`` that contain the ``groups`` (N,); -1 stays -1."""
    sizes = [len(data.classes), *(len(factor.values) for factor in data.factors)]
    codes = factor_codes(groups, sizes)
    kept = [0, *(1 + position for position in positions)]
    return joint_codes([codes[position] for position in kept], [sizes[position] for position in kept])


def data_of_factors(data: DataSummary, positions: Sequence[int]) -> DataSummary:
    """Return the data set with only the factors at ``positions``."""
    factors = [data.factors[position] for position in positions]
    merged = groups_of_factors(np.arange(len(data.groups)), data, positions)
    attributes = [", ".join(values) for values in product(*(factor.values for factor in factors))]

    def summed(counts: Sequence[int]) -> list[int]:
        return np.bincount(merged, counts, len(data.classes) * len(attributes)).astype(int).tolist() if counts else []

    counts, pseudo = {split: summed(each) for split, each in data.counts.items()}, summed(data.train_counts_pseudo)
    return replace(data, attributes=attributes, factors=factors, counts=counts, train_counts_pseudo=pseudo)


def metrics_of_factors(metrics: GroupMetrics, data: DataSummary, positions: Sequence[int]) -> GroupMetrics:
    """Return the metrics over the groups of only the factors at ``positions``; the averages stay the same."""
    merged = groups_of_factors(np.arange(len(data.groups)), data, positions)
    return merged_metrics(metrics, merged, data_of_factors(data, positions).groups)


def run_of_factors(metrics: RunMetrics, positions: Sequence[int]) -> RunMetrics:
    """Return the metrics of a run over the groups of only the factors at ``positions``."""
    if len(positions) == len(metrics.dataset.factors):
        return metrics

    def merged(of_split: GroupMetrics | None) -> GroupMetrics | None:
        return of_split and metrics_of_factors(of_split, metrics.dataset, positions)

    rows = [replace(row, train=merged(row.train), val=merged(row.val), test=merged(row.test)) for row in metrics.rows]
    return replace(metrics, dataset=data_of_factors(metrics.dataset, positions), rows=rows)
