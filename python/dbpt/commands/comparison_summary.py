"""From the results of the cells to the content of ``compare.json``."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from statistics import fmean, stdev
from typing import Any

from dbpt.cautions import Caution
from dbpt.commands.comparison_cells import CellResult
from dbpt.commands.comparison_plan import BASELINE, Cell, Plan, PlannedRow
from dbpt.evaluation import Group, worst_group_difference_interval
from dbpt.evaluation import results as metrics
from dbpt.settings.fields import varied_in_words


def comparison_metrics(
    plan: Plan,
    results: Mapping[str, CellResult],
    failures: Mapping[str, str],
    shared: metrics.Metrics,
    split: metrics.Split,
    warnings: Sequence[Caution],
) -> metrics.ComparisonMetrics:
    """Return the content of ``compare.json``.

    Args:
        plan: the cells and rows of the comparison.
        results: of the finished cells, by name.
        failures: the reasons why cells failed, by name.
        shared: the entries that every kind of metrics has.
        split: the one that the figures are for.
        warnings: those of the whole comparison.
    """
    lr = {cell.config.head: cell.config.peak_lr for cell in reversed(plan.cells) if cell.head is not None}
    settings = {each.name: getattr(plan.config, each.name) for each in fields(metrics.ComparisonSettings)}
    of_figures = dict.fromkeys(text for each in results.values() for text in each.metrics.warnings)
    return metrics.ComparisonMetrics(
        **vars(shared),
        split=split,
        n=max((len(result.correct) for result in results.values()), default=0),
        seeds=list(plan.seeds),
        draws=list(range(plan.draws)),
        heads=list(plan.heads),
        model_selection=plan.config.model_selection,
        settings=metrics.ComparisonSettings(**settings | {"lr": lr}),
        rows=[_row(plan, results, row, split, shared.dataset.smallest_group) for row in plan.rows],
        left_out=list(plan.left_out),
        failed=[
            metrics.FailedTraining(
                method=cell.method.name,
                head=cell.head,
                seed=cell.config.seed,
                draw=cell.draw,
                reason=failures[cell.name],
                varied=dict(cell.varied),
            )
            for cell in plan.cells
            if cell.name in failures
        ],
        warnings=[*warnings, *of_figures],  # each once: a small worst group, groups without rows
    )


def _finished(cells: Sequence[Cell], results: Mapping[str, CellResult]) -> dict[int, CellResult]:
    """Return the results of the cells that have one, by their seed; that of a draw is its number."""
    return {cell.config.seed: results[cell.name] for cell in cells if cell.name in results}


def _row(
    plan: Plan, all_results: Mapping[str, CellResult], row: PlannedRow, split: metrics.Split, smallest: int
) -> metrics.ComparisonRow:
    by_seed, by_draw = _finished(row.cells, all_results), _finished(row.draws, all_results)
    config, results = row.cells[0].config, by_seed.values()
    by_group = list(zip(*(result.metrics.groups for result in results), strict=True))
    # ERM with the same head; for zero-shot, with the first head
    erm = [each for each in plan.rows if each.method.objective == BASELINE and row.head in (each.head, None)]
    own, last = dict(row.varied), config.model_selection == "last"
    erm = [each for each in erm if all(own.get(name, value) == value for name, value in each.varied)]
    against = erm[0] if erm and row.method.objective != BASELINE else None
    return metrics.ComparisonRow(
        method=row.method.name,
        title=row.method.title + varied_in_words(own),
        objective=row.method.objective,
        group_source=row.method.group_source,
        head=row.head,
        apply=config.application(config.trained_objective) if row.head is not None else None,
        seeds=list(by_seed),
        draws=list(by_draw),
        best_epochs=[result.row.best_epoch for result in results],
        epochs=max((result.row.epochs for result in results), default=0),
        seconds=[result.row.seconds for result in results],
        warnings=[result.row.warnings for result in results],
        figures={name: _figure(row, _values(name, by_seed), _values(name, by_draw)) for name in metrics.FIGURES},
        groups=[_group(entries) for entries in by_group],
        deviations=[
            mean_and_deviation([each.accuracy for each in entries if each.accuracy is not None])[1]
            for entries in by_group
        ],
        groups_differ=any(len({each.n for each in entries}) > 1 for entries in by_group),
        difference=None if against is None else _difference(row, against, all_results, smallest),
        over_images=_mean_bounds([(each.metrics.worst_group_low, each.metrics.worst_group_high) for each in results]),
        varied=own,
        validation=_figure(row, _validation(by_seed, is_last=last), _validation(by_draw, is_last=last)),
    )


def _validation(results: Mapping[int, CellResult], *, is_last: bool) -> list[float | None]:
    """Return the figures that selected the epochs; without a selection, the average accuracies on validation."""
    rows = [result.row for result in results.values()]
    if is_last:
        return [None if row.val is None or row.head is None else row.val.average for row in rows]
    return [row.validation_score for row in rows]


def _values(name: str, results: Mapping[int, CellResult]) -> list[float | None]:
    return [getattr(result.metrics, name) for result in results.values()]


def _figure(row: PlannedRow, by_seed: list[float | None], by_draw: list[float | None]) -> metrics.SeedFigure:
    mean = mean_and_deviation([value for value in by_seed if value is not None])[0]
    deviation = mean_and_deviation([value for value in (by_draw or by_seed) if value is not None])[1]
    if row.head is None and deviation == 0:
        deviation = None  # nothing was trained, so neither seeds nor draws change anything
    return metrics.SeedFigure(mean=mean, sd=deviation, by_seed=by_seed, by_draw=by_draw)


def _group(by_seed: Sequence[Group]) -> Group:
    """Return the means of a group over the seeds."""

    def mean(figure: str) -> float | None:
        known = [value for each in by_seed if (value := getattr(each, figure)) is not None]
        return fmean(known) if known else None

    means = {name: mean(name) for name in ("n", "correct", "false_positives", "n_others")}
    counts: dict[str, Any] = {name: None if value is None else round(value) for name, value in means.items()}
    rest: dict[str, Any] = {name: mean(name) for name in ("accuracy", "low", "high", "confidence")}
    return replace(by_seed[0], **counts, **rest)


def _mean_bounds(by_seed: Sequence[tuple[float | None, float | None] | None]) -> tuple[float, float] | None:
    """Return the means of the bounds of intervals, one for each seed, without those that are None.

    They cover at least as often as those of one seed, because the mean varies less than the seeds.
    """
    lows = [each[0] for each in by_seed if each is not None and each[0] is not None]
    highs = [each[1] for each in by_seed if each is not None and each[1] is not None]
    return (fmean(lows), fmean(highs)) if lows and highs else None


def _difference(
    row: PlannedRow, against: PlannedRow, results: Mapping[str, CellResult], smallest: int
) -> metrics.Difference:
    """Return row minus ERM, seed by seed and draw by draw, over those that both have.

    ``smallest`` is the number of training rows of the smallest pseudo-group.
    """
    pairs, drawn = _pairs(row.cells, against.cells, results), _pairs(row.draws, against.draws, results)
    figures = {}
    for name in metrics.FIGURES:
        by_seed, by_draw = _differences(name, pairs.values()), _differences(name, drawn.values())
        mean = mean_and_deviation(by_seed)[0]
        figures[name] = metrics.FigureDifference(
            mean=mean,
            over_seeds=within_reach(paired_t_interval(by_seed)),
            over_draws=None if mean is None else within_reach(interval_over_draws(mean, by_draw, smallest)),
        )
    intervals = [worst_group_difference_interval(a.correct, b.correct, a.groups) for a, b in pairs.values()]
    return metrics.Difference(
        head=against.head,
        seeds=list(pairs),
        figures=figures,
        over_images=_mean_bounds(intervals),
        varied=dict(against.varied),
    )


def _pairs(
    cells: Sequence[Cell], others: Sequence[Cell], results: Mapping[str, CellResult]
) -> dict[int, tuple[CellResult, CellResult]]:
    own, baseline = _finished(cells, results), _finished(others, results)
    return {number: (own[number], baseline[number]) for number in own if number in baseline}


def _differences(name: str, pairs: Iterable[tuple[CellResult, CellResult]]) -> list[float]:
    """Return the differences in the figure ``name``, without the pairs that lack it."""
    values = [(getattr(one.metrics, name), getattr(other.metrics, name)) for one, other in pairs]
    return [one - other for one, other in values if one is not None and other is not None]


def within_reach(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the part of an interval that differences of accuracies can reach; two or three seeds may give more.

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


def interval_over_draws(difference: float, by_draw: Sequence[float], smallest_group: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the expected ``difference`` over training images of the same kind and number.

    It is difference ± t · s. The difference is that with all rows, which has no bias, unlike those with half of them.
    Their standard deviation s is its standard error (`half_of_each`), so more draws don't make it smaller. Few rows
    estimate s as badly as few draws, so t has 1 / (1/(K - 1) + 1/(n - 1)) degrees of freedom for K draws and n training
    rows in the ``smallest_group``; but at least 2, unless K is 2. None for a single draw, and if all are equal.

    >>> low, high = interval_over_draws(2.5, [1.0, 2.0, 3.0], 14)
    >>> round(low, 3), round(high, 3)
    (-1.803, 6.803)
    """
    deviation = mean_and_deviation(by_draw)[1]
    if not deviation:
        return None
    of_draws, of_rows = len(by_draw) - 1, max(1, smallest_group - 1)
    degrees = max(min(2, of_draws), round(1 / (1 / of_draws + 1 / of_rows)))
    half = student_t_quantile(0.95, degrees) * deviation
    return difference - half, difference + half


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
    # The series of Abramowitz and Stegun, in odd powers of the cosine for odd degrees, in even ones for even degrees.
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * step / (step + 1)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
