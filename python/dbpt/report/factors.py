"""Accuracy for each of several attributes alone, from the figures of their combinations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeAlias

from dbpt.groups import simultaneous_intervals
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.runs.metrics import FactorSummary, Metrics


class GroupFigures(NamedTuple):
    """The accuracy of a group in a row, with its 95 % interval (`simultaneous_intervals`); None over no images.

    In a comparison the figures are means over the seeds, and ``n`` is None if they disagree.
    """

    class_name: str
    attribute: str
    n: int | None
    accuracy: float | None
    low: float | None
    high: float | None


CellFigures: TypeAlias = Sequence[tuple[int | None, float | None, float | None, float | None]]
"""(images, accuracy, low, high) of each group."""


@dataclass(frozen=True)
class FactorFigures:
    """Accuracy by class and value of one factor, whatever the values of the others.

    ``groups`` are those with images. ``gap`` is the row's average minus the accuracy of the ``worst`` group.
    """

    name: str
    groups: list[GroupFigures]
    worst: GroupFigures | None
    gap: float | None


def factor_figures(metrics: Metrics, cells: CellFigures, average: float | None) -> list[FactorFigures]:
    """Return the figures of each factor; none for one factor, which the groups show already."""
    factors = metrics.dataset.factors
    if len(factors) < 2 or not cells:
        return []
    found = []
    for place, factor in enumerate(factors):
        groups = [
            _margin(class_name, value, [cells[g] for g in members])
            for (class_name, value), members in _members(metrics, place).items()
        ]
        groups = _with_intervals([group for group in groups if group.n != 0])
        known = [group for group in groups if group.accuracy is not None]
        worst = min(known, key=lambda group: group.accuracy or 0.0, default=None)
        gap = None if worst is None or average is None else average - (worst.accuracy or 0.0)
        found.append(FactorFigures(factor.name, groups, worst, gap))
    return found


def nothing_is_trusted(guesses: Guesses) -> bool:
    """Return True if the guesses of the attribute, or of each of several factors, are doubted."""
    return bool(guesses.doubts) and all(factor.doubts for factor in guesses.factors)


def doubted_factors(guesses: Guesses, metrics: Metrics) -> list[str]:
    """Return the names of the factors whose guesses are doubted; none if the groups are true ones."""
    return [] if metrics.group_kind == "true" else [factor.name for factor in guesses.factors if factor.doubts]


def judged_factors(guesses: Guesses, metrics: Metrics) -> list[int]:
    """Return the places of the factors by which a bias is judged: all but the doubted ones, or all if all are."""
    doubted, names = doubted_factors(guesses, metrics), [factor.name for factor in metrics.dataset.factors]
    return [place for place, name in enumerate(names) if name not in doubted] or list(range(len(names)))


def _members(metrics: Metrics, place: int) -> dict[tuple[str, str], list[int]]:
    """Return the groups of each class and value of a factor."""
    found: dict[tuple[str, str], list[int]] = {}
    factors = metrics.dataset.factors
    combinations = product(metrics.dataset.classes, *(factor.values for factor in factors))
    for group, (class_name, *values) in enumerate(combinations):
        found.setdefault((class_name, values[place]), []).append(group)
    return found


def _margin(class_name: str, value: str, cells: CellFigures) -> GroupFigures:
    """Return the accuracy over all images of the cells."""
    sizes = [n for n, *_ in cells if n is not None]
    if len(sizes) < len(cells):  # the seeds disagree
        return GroupFigures(class_name, value, None, None, None, None)
    if not (total := sum(sizes)):
        return GroupFigures(class_name, value, 0, None, None, None)
    correct = sum((n or 0) * (accuracy or 0.0) for n, accuracy, *_ in cells)
    return GroupFigures(class_name, value, total, correct / total, None, None)


def _with_intervals(groups: Sequence[GroupFigures]) -> list[GroupFigures]:
    """Add the intervals, which hold for all groups at once."""
    sizes = [each.n or 0 for each in groups]
    correct = [round(n * (each.accuracy or 0.0)) for n, each in zip(sizes, groups, strict=True)]
    bounds = [each or (None, None) for each in simultaneous_intervals(correct, sizes)]
    return [each._replace(low=low, high=high) for each, (low, high) in zip(groups, bounds, strict=True)]


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
