"""From trainings to rows: means and deviations over repeats, differences to another row, figures over some factors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS
from dbpt.data.words import factor_codes, joint_codes
from dbpt.errors import InputError, nearest
from dbpt.evaluation import Group, GroupMetrics, merged_metrics, worst_group_difference_interval
from dbpt.evaluation.accuracy_by_group import worst_first
from dbpt.evaluation.results import FIGURES, DataSummary, Metrics, Repeat, Row
from dbpt.evaluation.row_differences import (
    Difference,
    FigureDifference,
    interval_over_draws,
    mean_and_deviation,
    paired_t_interval,
    within_reach,
)
from dbpt.objectives import OBJECTIVES, Objective


@dataclass(frozen=True)
class Evaluated:
    """A row with a single repeat, and its answers to the n images of the split that tables show.

    ``correct`` (n,) are bool, and ``groups`` (n,) int64, -1 if unknown.
    """

    row: Row
    correct: NDArray[np.bool_]
    groups: NDArray[np.int64]

    @property
    def repeat(self) -> Repeat:
        """The only one."""
        (repeat,) = self.row.repeats
        return repeat

    @property
    def metrics(self) -> GroupMetrics:
        """The metrics of the split that tables show."""
        assert self.row.shown is not None
        return self.row.shown


Repeated = tuple[Row, Sequence[Evaluated]]
"""A row without figures, and its finished repeats."""


def with_rows(metrics: Metrics, rows: Sequence[Repeated], factors: Sequence[int] | None = None) -> Metrics:
    """Return the metrics with ``rows``, which have means and deviations over their repeats, and differences.

    With ``factors``, positions of those of the data set, all figures are over the groups of only these.
    """
    data = metrics.dataset
    if factors is not None and len(factors) < len(data.factors):
        merged = groups_of_factors(np.arange(len(data.groups)), data, factors)
        metrics = replace(metrics, dataset=data_of_factors(data, factors, merged))

        def of_factors(result: Evaluated) -> Evaluated:
            by_split = {split: getattr(result.row, split) for split in SPLITS}
            by_split = {
                split: each and merged_metrics(each, merged, metrics.dataset.groups) for split, each in by_split.items()
            }
            groups = groups_of_factors(result.groups, data, factors)
            return Evaluated(replace(result.row, **by_split), result.correct, groups)

        rows = [(row, [of_factors(result) for result in results]) for row, results in rows]
    metrics = replace(metrics, rows=[_combined(row, results) for row, results in rows])
    of_rows = {id(row): results for row, (_, results) in zip(metrics.rows, rows, strict=True)}

    def difference(row: Row, other: Row | None, confidence: float = 0.95) -> Difference | None:
        if other is None:
            return None
        answers = of_rows[id(row)], of_rows[id(other)]
        return difference_of(row, other, answers, metrics.dataset.smallest_group, confidence)

    with_differences = [replace(row, difference=difference(row, metrics.reference(row))) for row in metrics.rows]
    by_accuracy = sorted(metrics.candidates, key=lambda i: -(metrics.rows[i].figure("worst_group_accuracy") or 0.0))
    if metrics.saved is None and by_accuracy:
        best, *others = by_accuracy
        of_others = {i: difference(metrics.rows[i], metrics.rows[best], shared_by(len(others))) for i in others}
        tied = (i for i, each in of_others.items() if each and not each.is_told(repeats=metrics.repeats))
        metrics = replace(metrics, leaders=[best, *tied])
    return replace(metrics, rows=with_differences)


def rows_named(argument: str, rows: Sequence[Row], name: object) -> list[Row]:
    """Return the rows that a name means. Raises `InputError` if there are none, or if it is no text."""
    found = [row for row in rows if isinstance(name, str) and row.has_name(name)]
    if not found:
        methods = list(dict.fromkeys(row.method for row in rows))
        full = () if len(methods) == len(rows) else (row.full_name for row in rows)
        names = list(dict.fromkeys([*methods, *full]))
        raise InputError(
            f"{argument} {name}: no row has this name{nearest(str(name), names)}; names are {' '.join(names)}"
        )
    return found


def shared_by(intervals: int) -> float:
    """Return the confidence of each of several intervals so that all hold at once at 95 % (Bonferroni)."""
    return 1 - 0.05 / max(1, intervals)


def complexity(row: Row, metrics: Metrics) -> tuple[object, ...]:
    """Return by what rows are called simple: first no true attribute and no training, at last few own settings."""
    kind = None if row.objective is None else OBJECTIVES.get(row.objective, Objective)
    if kind is None:
        return False, False
    stages = kind.refits or kind.trains_on != "train" or row.epochs > row.varied.get("epochs", metrics.settings.epochs)
    of_groups = kind.uses_groups, row.prompts == "group", row.alpha is not None
    return row.group_source == "true", True, stages, *of_groups, len(kind.settings)


def groups_of_factors(groups: NDArray[np.int64], data: DataSummary, positions: Sequence[int]) -> NDArray[np.int64]:
    """Return the groups (N,) over only the factors at ``positions`` that contain the ``groups`` (N,); -1 stays -1."""
    sizes = [len(data.classes), *(len(factor.values) for factor in data.factors)]
    codes = factor_codes(groups, sizes)
    kept = [0, *(1 + position for position in positions)]
    return joint_codes([codes[position] for position in kept], [sizes[position] for position in kept])


def data_of_factors(data: DataSummary, positions: Sequence[int], merged: NDArray[np.int64]) -> DataSummary:
    """Return the data set with only the factors at ``positions``, whose groups are ``merged`` to those (G,)."""
    factors = [data.factors[position] for position in positions]
    attributes = [", ".join(values) for values in product(*(factor.values for factor in factors))]

    def summed(counts: Sequence[int]) -> list[int]:
        return np.bincount(merged, counts, len(data.classes) * len(attributes)).astype(int).tolist() if counts else []

    counts = {split: summed(each) for split, each in data.counts.items()}
    pseudo = summed(data.train_counts_pseudo)
    return replace(data, attributes=attributes, factors=factors, counts=counts, train_counts_pseudo=pseudo)


def _combined(row: Row, results: Sequence[Evaluated]) -> Row:
    """Return the row with the means of its seeds, the deviations over its draws or else seeds, and all repeats."""
    of_seeds = [result for result in results if result.repeat.draw is None]
    first = of_seeds[0].row if of_seeds else None
    by_split: dict[str, Any] = {split: _mean([getattr(repeat.row, split) for repeat in of_seeds]) for split in SPLITS}
    row = replace(
        row,
        repeats=[replace(result.repeat, figures=_figures(result)) for result in results],
        alpha=None if first is None else first.alpha,
        **by_split,
    )
    by_group = list(zip(*(result.row.groups for result in of_seeds), strict=True))
    repeats = row.draw_repeats or row.seed_repeats
    by_figure: dict[str, list[float | None]] = {"validation_score": [repeat.validation_score for repeat in repeats]}
    by_figure |= {name: [repeat.figures[name] for repeat in repeats] for name in FIGURES}
    deviations = {name: _deviation(values) for name, values in by_figure.items()}
    if row.head is None:  # nothing was trained, so neither seeds nor draws change anything
        deviations = {name: value or None for name, value in deviations.items()}
    return replace(
        row,
        deviations=deviations,
        group_deviations=[_deviation([group.accuracy for group in groups]) for groups in by_group],
        groups_differ=any(len({group.n for group in groups}) > 1 for groups in by_group),
    )


def _deviation(values: Iterable[float | None]) -> float | None:
    return mean_and_deviation([value for value in values if value is not None])[1]


def _mean(by_seed: Sequence[GroupMetrics | None]) -> GroupMetrics | None:
    """Return the means of the figures of seeds.

    The mean bounds cover at least as often as those of one seed, because the mean varies less than the seeds.
    """
    known = [value for value in by_seed if value is not None]
    if len(known) < 2:
        return known[0] if known else None
    names = ("n", "worst_group_low", "worst_group_high", *FIGURES)
    means: dict[str, Any] = {name: _mean_of(known, name) for name in names}
    groups = tuple(_mean_group(of_seeds) for of_seeds in zip(*(figures.groups for figures in known), strict=True))
    worst = next(iter(worst_first(groups)), None)
    means |= {"n": round(means["n"]), "groups": groups, "worst_group": None if worst is None else worst.index}
    return replace(known[0], **means, warnings=tuple(dict.fromkeys(text for each in known for text in each.warnings)))


def _mean_group(by_seed: Sequence[Group]) -> Group:
    counts = {name: _mean_of(by_seed, name) for name in ("n", "correct", "false_positives", "n_others")}
    figures: dict[str, Any] = {name: None if value is None else round(value) for name, value in counts.items()}
    figures |= {name: _mean_of(by_seed, name) for name in ("accuracy", "low", "high", "confidence")}
    return replace(by_seed[0], **figures)


def _mean_of(by_seed: Sequence[object], name: str) -> float | None:
    known = [value for figures in by_seed if (value := getattr(figures, name)) is not None]
    return fmean(known) if known else None


def difference_of(
    row: Row, other: Row, answers: tuple[Sequence[Evaluated], Sequence[Evaluated]], smallest: int, confidence: float
) -> Difference:
    """Return a row minus another one, seed by seed and draw by draw, over the repeats that both have.

    Args:
        row, other: the rows, with the figures of their repeats.
        answers: the answers of both with all training rows, for the interval over images.
        smallest: the number of training rows of the smallest pseudo-group.
        confidence: that of each interval.
    """
    own, theirs = ({(each.seed, each.draw is not None): each for each in of.repeats} for of in (row, other))
    pairs = {number: (own[number], theirs[number]) for number in own if number in theirs}
    of_seeds = {seed: pair for (seed, is_drawn), pair in pairs.items() if not is_drawn}
    of_draws = [pair for (_, is_drawn), pair in pairs.items() if is_drawn]
    figures = {}
    for name in FIGURES:
        by_seed, by_draw = _differences(name, of_seeds.values()), _differences(name, of_draws)
        mean = mean_and_deviation(by_seed)[0]
        over_draws = None if mean is None else interval_over_draws(mean, by_draw, smallest, confidence)
        over_seeds = within_reach(paired_t_interval(by_seed, confidence))
        figures[name] = FigureDifference(mean=mean, over_seeds=over_seeds, over_draws=within_reach(over_draws))
    ours, others = ({each.repeat.seed: each for each in of if each.repeat.draw is None} for of in answers)
    intervals = (
        worst_group_difference_interval(ours[n].correct, others[n].correct, ours[n].groups, confidence=confidence)
        for n in of_seeds
        if n in ours and n in others
    )
    bounds = [interval for interval in intervals if interval is not None]
    return Difference(
        method=other.method,
        head=other.head,
        seeds=list(of_seeds),
        figures=figures,
        over_images=(fmean(low for low, _ in bounds), fmean(high for _, high in bounds)) if bounds else None,
        varied=other.varied,
    )


def _figures(result: Evaluated) -> dict[str, float | None]:
    return {name: getattr(result.metrics, name) for name in FIGURES}


def _differences(name: str, pairs: Iterable[tuple[Repeat, Repeat]]) -> list[float]:
    """Return the differences in the figure ``name``, without the pairs that lack it."""
    values = [(one.figures[name], other.figures[name]) for one, other in pairs]
    return [one - other for one, other in values if one is not None and other is not None]
