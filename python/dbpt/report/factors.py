"""Accuracy for each of several attributes alone, from the figures of their combinations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from dbpt.groups import Group
from dbpt.groups.accuracy import merged_groups
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.runs.metrics import FactorSummary, Metrics
from dbpt.runs.some_factors import groups_of_factors


@dataclass(frozen=True)
class FactorFigures:
    """Accuracy by class and value of one factor, whatever the values of the others.

    ``groups`` are those with images. ``gap`` is the row's average minus the accuracy of the ``worst`` group.
    """

    name: str
    groups: list[Group]
    worst: Group | None
    gap: float | None


def factor_figures(
    metrics: Metrics, groups: Sequence[Group], average: float | None, *, groups_differ: bool = False
) -> list[FactorFigures]:
    """Return the figures of each factor from the ``groups`` of all combinations.

    None for one factor, which the groups show already, and if the seeds of a comparison disagree on the groups.
    """
    data = metrics.dataset
    if len(data.factors) < 2 or not groups or groups_differ:
        return []
    found = []
    for place, factor in enumerate(data.factors):
        merged = groups_of_factors(np.arange(len(groups)), data, [place])
        names = list(product(data.classes, factor.values))
        alone = [group for group in merged_groups(groups, merged, names) if group.n]
        worst = min(alone, key=lambda group: group.accuracy or 0.0, default=None)
        gap = None if worst is None or average is None else average - (worst.accuracy or 0.0)
        found.append(FactorFigures(factor.name, alone, worst, gap))
    return found


def nothing_is_trusted(guesses: Guesses) -> bool:
    """Return True if the guesses of the attribute, or of each of several factors, are doubted."""
    return all(each.doubts for each in guesses.by_suspect)


def doubted_factors(guesses: Guesses, metrics: Metrics) -> list[str]:
    """Return the names of the factors whose guesses are doubted; none if the groups are true ones."""
    return [] if metrics.group_kind == "true" else [factor.name for factor in guesses.factors if factor.doubts]


def judged_factors(guesses: Guesses, metrics: Metrics) -> list[int]:
    """Return the places of the factors by which a bias is judged: all but the doubted ones, or all if all are."""
    doubted, names = doubted_factors(guesses, metrics), [factor.name for factor in metrics.dataset.factors]
    return [place for place, name in enumerate(names) if name not in doubted] or list(range(len(names)))


def by_factor(factors: Sequence[FactorSummary], values: Sequence[float]) -> list[list[float]]:
    """Return the sums over the combinations (A,) that have each value, a list for each factor."""
    found = [[0.0] * len(factor.values) for factor in factors]
    combinations = product(*(range(len(factor.values)) for factor in factors))
    for codes, number in zip(combinations, values, strict=True):
        for sums, code in zip(found, codes, strict=True):
            sums[code] += number
    return found


def right_by_factor(factors: Sequence[FactorSummary], confusion: Sequence[Sequence[int]]) -> list[float | None]:
    """Return the fraction of right guesses of each factor, from the confusion (A, A) of their combinations."""
    codes = list(product(*(range(len(factor.values)) for factor in factors)))
    total = sum(map(sum, confusion))

    def right(same: Callable[[tuple[int, ...], tuple[int, ...]], bool]) -> float | None:
        pairs = ((codes[i], codes[j], n) for i, line in enumerate(confusion) for j, n in enumerate(line) if n)
        return sum(n for one, other, n in pairs if same(one, other)) / total if total else None

    return [right(lambda one, other, at=place: one[at] == other[at]) for place in range(len(factors))]  # type: ignore[misc]
