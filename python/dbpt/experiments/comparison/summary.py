"""From the results of the cells to the content of ``compare.json``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import fmean, stdev

from dbpt.experiments.comparison.cells import CellResult
from dbpt.experiments.comparison.plan import BASELINE, Plan, PlannedRow
from dbpt.groups import GroupAccuracy, worst_group_difference_interval
from dbpt.runs.comparison_metrics import (
    FIGURES,
    ComparisonMetrics,
    ComparisonRow,
    ComparisonSettings,
    Difference,
    FailedTraining,
    FigureDifference,
    SeedFigure,
    SeedGroup,
)
from dbpt.runs.metrics import Metrics, Split


def summarize(
    plan: Plan,
    results: Mapping[str, CellResult],
    failures: Mapping[str, str],
    shared: Metrics,
    split: Split,
    warnings: Sequence[str],
) -> ComparisonMetrics:
    """Return the content of ``compare.json``. It begins with the entries ``shared``; figures are for ``split``.

    ``results``, and the reasons of ``failures``, are by the names of the cells.
    """
    lr = {cell.config.head: cell.config.peak_lr for cell in plan.cells if cell.head is not None}
    settings = {each.name: getattr(plan.config, each.name) for each in fields(ComparisonSettings)}
    of_figures = dict.fromkeys(text for each in results.values() for text in each.metrics.warnings)
    return ComparisonMetrics(
        **vars(shared),
        split=split,
        n=max((len(result.correct) for result in results.values()), default=0),
        seeds=list(plan.seeds),
        resampled=plan.resampled,
        heads=list(plan.heads),
        model_selection=plan.config.model_selection,
        settings=ComparisonSettings(**settings | {"lr": lr}),
        rows=[_row(plan, results, row, split) for row in plan.rows],
        left_out=list(plan.left_out),
        failed=[
            FailedTraining(method=cell.method.name, head=cell.head, seed=cell.config.seed, reason=failures[cell.name])
            for cell in plan.cells
            if cell.name in failures
        ],
        warnings=[*warnings, *of_figures],  # each once: a small worst group, groups without rows
    )


def _by_seed(row: PlannedRow, results: Mapping[str, CellResult]) -> dict[int, CellResult]:
    return {cell.config.seed: results[cell.name] for cell in row.cells if cell.name in results}


def _row(plan: Plan, all_results: Mapping[str, CellResult], row: PlannedRow, split: Split) -> ComparisonRow:
    found = _by_seed(row, all_results)
    config, results = row.cells[0].config, found.values()
    # ERM with the same head; for zero-shot, with the first head
    erm = [each for each in plan.rows if each.method.objective == BASELINE and row.head in (each.head, None)]
    against = erm[0] if erm and row.method.objective != BASELINE else None
    return ComparisonRow(
        method=row.method.name,
        title=row.method.title,
        objective=row.method.objective,
        group_source=row.method.group_source,
        head=row.head,
        apply=config.application(config.objective) if row.head is not None else None,
        seeds=list(found),
        best_epochs=[result.row.best_epoch for result in results],
        epochs=max((result.row.epochs for result in results), default=0),
        seconds=[result.row.seconds for result in results],
        warnings=[result.row.warnings for result in results],
        figures={name: _figure(row, [getattr(result.metrics, name) for result in results]) for name in FIGURES},
        groups=[_group(entries) for entries in zip(*(result.metrics.groups for result in results), strict=True)],
        difference=None
        if against is None
        else _difference(found, _by_seed(against, all_results), against, resampled=plan.resampled),
        over_images=_mean_bounds([(each.metrics.worst_group_low, each.metrics.worst_group_high) for each in results]),
    )


def _figure(row: PlannedRow, by_seed: list[float | None]) -> SeedFigure:
    mean, deviation = mean_and_deviation([value for value in by_seed if value is not None])
    if row.head is None and deviation == 0:
        deviation = None  # nothing was trained, so neither seeds nor draws change anything
    return SeedFigure(mean=mean, sd=deviation, by_seed=by_seed)


def _group(by_seed: Sequence[GroupAccuracy]) -> SeedGroup:
    sizes = {entry.n for entry in by_seed}
    mean, deviation = mean_and_deviation([entry.accuracy for entry in by_seed if entry.accuracy is not None])
    low, high = _mean_bounds([(entry.low, entry.high) for entry in by_seed]) or (None, None)
    return SeedGroup(n=sizes.pop() if len(sizes) == 1 else None, mean=mean, sd=deviation, low=low, high=high)


def _mean_bounds(by_seed: Sequence[tuple[float | None, float | None] | None]) -> tuple[float, float] | None:
    """Return the means of the bounds of intervals, one for each seed, without those that are None.

    They cover at least as often as those of one seed, because the mean varies less than the seeds.
    """
    lows = [each[0] for each in by_seed if each is not None and each[0] is not None]
    highs = [each[1] for each in by_seed if each is not None and each[1] is not None]
    return (fmean(lows), fmean(highs)) if lows and highs else None


def _difference(
    found: dict[int, CellResult], baseline: dict[int, CellResult], against: PlannedRow, *, resampled: bool
) -> Difference:
    """Return row minus ERM, seed by seed, over the seeds that both have."""
    interval = bootstrap_interval if resampled else paired_t_interval
    seeds = [seed for seed in found if seed in baseline]
    figures = {}
    for name in FIGURES:
        pairs = [(getattr(found[seed].metrics, name), getattr(baseline[seed].metrics, name)) for seed in seeds]
        by_seed = [one - other for one, other in pairs if one is not None and other is not None]
        mean = mean_and_deviation(by_seed)[0]
        figures[name] = FigureDifference(mean=mean, over_seeds=within_reach(interval(by_seed)))
    pairs_of_results = [(found[seed], baseline[seed]) for seed in seeds]
    intervals = [worst_group_difference_interval(a.correct, b.correct, a.groups) for a, b in pairs_of_results]
    return Difference(head=against.head, seeds=seeds, figures=figures, over_images=_mean_bounds(intervals))


def within_reach(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the part of an interval that differences of accuracies can reach; two or three draws may give more.

    >>> within_reach((-1.9, 0.4))
    (-1.0, 0.4)
    """
    return None if interval is None else (max(interval[0], -1.0), min(interval[1], 1.0))


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (over n - 1) of one value for each seed; None if there are too few.

    >>> mean_and_deviation([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    return fmean(values) if values else None, stdev(values) if len(values) > 1 else None


def paired_t_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of ``differences``, one for each seed: mean ± t · s / √n.

    It assumes that differences are normally distributed. None for a single one, and if all are equal.

    >>> low, high = paired_t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    mean, deviation = mean_and_deviation(differences)
    if mean is None or not deviation:
        return None
    half = student_t_quantile(0.95, len(differences) - 1) * deviation / math.sqrt(len(differences))
    return mean - half, mean + half


def bootstrap_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the expected difference, from that of each draw: mean ± t · s · √(1 + 1/n).

    The standard deviation over bootstrap draws is itself the standard error of the difference (Efron and Tibshirani,
    1993, chapter 6), so more draws don't make it smaller; 1/n is the share of the draws. None for a single one, and if
    all are equal.

    >>> low, high = bootstrap_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-2.968, 6.968)
    """
    mean, deviation = mean_and_deviation(differences)
    if mean is None or not deviation:
        return None
    n = len(differences)
    half = student_t_quantile(0.95, n - 1) * deviation * math.sqrt(1 + 1 / n)
    return mean - half, mean + half


def student_t_quantile(confidence: float, degrees: int) -> float:
    """Return the t with P(|T| <= t) = ``confidence``, by bisection of the closed form for whole ``degrees``.

    Abramowitz and Stegun (1964), 26.7.3 and 26.7.4. Good to about 1e-12 of the angle arctan(t / √degrees).

    >>> round(student_t_quantile(0.95, 4), 3)
    2.776
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability_within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _probability_within(angle: float, degrees: int) -> float:
    """Return P(|T| <= t) for t = √degrees · tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * step / (step + 1)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
