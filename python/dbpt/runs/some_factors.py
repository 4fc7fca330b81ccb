"""The figures of a run over some of several factors, whatever the values of the others."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.data.factors import factor_codes, joint_codes
from dbpt.groups import GroupMetrics, merged_metrics
from dbpt.runs.metrics import DataSummary, RunMetrics


def groups_of_factors(data: DataSummary, places: Sequence[int]) -> NDArray[np.int64]:
    """Return (G,): the group over only the factors at ``places`` that each group is part of."""
    sizes = [len(data.classes), *(len(factor.values) for factor in data.factors)]
    codes = factor_codes(np.arange(len(data.groups)), sizes)
    kept = [0, *(1 + place for place in places)]
    return joint_codes([codes[place] for place in kept], [sizes[place] for place in kept])


def data_of_factors(data: DataSummary, places: Sequence[int]) -> DataSummary:
    """Return the data set with only the factors at ``places``."""
    factors, merged = [data.factors[place] for place in places], groups_of_factors(data, places)
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


def run_of_factors(metrics: RunMetrics, places: Sequence[int]) -> RunMetrics:
    """Return the metrics of a run over the groups of only the factors at ``places``; the averages stay the same."""
    if len(places) == len(metrics.dataset.factors):
        return metrics
    data, merged = data_of_factors(metrics.dataset, places), groups_of_factors(metrics.dataset, places)

    def judged(found: GroupMetrics | None) -> GroupMetrics | None:
        return found and merged_metrics(found, merged, len(data.attributes))

    rows = [
        replace(row, train=judged(row.train), val=judged(row.val), test=judged(row.test), corrected=None)
        for row in metrics.rows
    ]
    return replace(metrics, dataset=data, rows=rows)
