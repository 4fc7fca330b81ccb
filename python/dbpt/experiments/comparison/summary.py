"""From the results of the cells to all numbers of a comparison: what ``compare.json`` holds and every table prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dbpt.experiments.comparison.cells import CellResult
from dbpt.experiments.comparison.plan import BASELINE, Cell, Plan, Row
from dbpt.experiments.comparison.statistics import mean_and_deviation, paired_t_interval
from dbpt.groups import worst_group_difference_interval

FIGURES = ("worst_group_accuracy", "average", "adjusted_average", "group_mean", "gap", "adjusted_gap")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Findings:
    """The result of each cell of a plan, by the cell's name, or why it has none."""

    plan: Plan
    results: Mapping[str, CellResult]
    failures: Mapping[str, str]

    def of(self, row: Row) -> dict[int, CellResult]:
        """What is there of a row, by seed."""
        found = {cell.config.seed: self.results.get(cell.name) for cell in row.cells}
        return {seed: result for seed, result in found.items() if result is not None}


def summarize(findings: Findings, described: Mapping[str, Any], split: str, warnings: Sequence[str]) -> dict[str, Any]:
    """What ``compare.json`` holds. ``described`` is what `describe_data` says, ``split`` the one that was judged."""
    plan = findings.plan
    baselines = _baselines(plan)
    return {
        **described,
        "schema_version": SCHEMA_VERSION,
        "split": split,
        "n": max((len(result.rows) for result in findings.results.values()), default=0),
        "seeds": list(plan.seeds),
        "heads": list(plan.heads),
        "selection": plan.config.select,
        "settings": _settings(plan),
        "rows": [_row(findings, row, baselines.get(number)) for number, row in enumerate(plan.rows)],
        "left_out": list(plan.left_out),
        "failed": [
            _failed(cell, findings.failures[cell.name]) for cell in plan.cells if cell.name in findings.failures
        ],
        "warnings": [*warnings, *_warnings_of_figures(findings)],
    }


def _settings(plan: Plan) -> dict[str, Any]:
    """What the training of every row has in common; the learning rate by head."""
    names = ("epochs", "batch_size", "optimizer", "sgd_momentum", "weight_decay", "warmup_epochs", "features")
    lr = {cell.config.head: cell.config.peak_lr for cell in plan.cells if cell.head is not None}
    return {name: getattr(plan.config, name) for name in names} | {"lr": lr}


def _baselines(plan: Plan) -> dict[int, int]:
    """For each row but ERM's, by number, that of ERM with the same head; zero-shot has that of the first head."""
    of_head = {row.head: number for number, row in enumerate(plan.rows) if row.method.objective == BASELINE}
    if of_head:
        of_head[None] = next(iter(of_head.values()))
    return {
        number: of_head[row.head]
        for number, row in enumerate(plan.rows)
        if row.head in of_head and row.method.objective != BASELINE
    }


def _row(findings: Findings, row: Row, baseline: int | None) -> dict[str, Any]:
    found = findings.of(row)
    config, results = row.cells[0].config, found.values()
    against = None if baseline is None else findings.plan.rows[baseline]
    return {
        "method": row.method.name,
        "title": row.method.title,
        "objective": row.method.objective,
        "group_source": row.method.group_source,
        "head": row.head,
        "apply": config.application(config.objective) if row.head is not None else None,
        "seeds": list(found),
        "selected_epochs": [result.selected_epoch for result in results],
        "epochs": max((result.epochs for result in results), default=0),
        "seconds": [result.seconds for result in results],
        "warnings": [list(result.warnings) for result in results],
        "figures": {name: _figure(row, [result.metrics[name] for result in results]) for name in FIGURES},
        "groups": _groups([result.metrics["groups"] for result in results]),
        "difference": None if against is None else _difference(found, findings.of(against), against),
    }


def _figure(row: Row, by_seed: list[float | None]) -> dict[str, Any]:
    known = [value for value in by_seed if value is not None]
    mean, deviation = mean_and_deviation(known) if known else (None, None)
    if row.head is None and deviation == 0:
        deviation = None  # nothing was trained, so there is nothing that seeds could spread
    return {"mean": mean, "sd": deviation, "by_seed": by_seed}


def _groups(by_seed: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Mean accuracy of each group over the seeds; its number of images is None where the seeds disagree on it."""
    groups = []
    for entries in zip(*by_seed, strict=True):
        known = [entry["accuracy"] for entry in entries if entry["accuracy"] is not None]
        sizes = {entry["n"] for entry in entries}
        mean, deviation = mean_and_deviation(known) if known else (None, None)
        groups.append({"n": sizes.pop() if len(sizes) == 1 else None, "mean": mean, "sd": deviation})
    return groups


def _difference(found: dict[int, CellResult], baseline: dict[int, CellResult], against: Row) -> dict[str, Any]:
    """Row minus ERM, seed by seed, over the seeds that both have."""
    seeds = [seed for seed in found if seed in baseline]
    figures = {}
    for name in FIGURES:
        pairs = [(found[seed].metrics[name], baseline[seed].metrics[name]) for seed in seeds]
        by_seed = [one - other for one, other in pairs if one is not None and other is not None]
        interval = paired_t_interval(by_seed) if by_seed else None
        figures[name] = {
            "mean": mean_and_deviation(by_seed)[0] if by_seed else None,
            "over_seeds": None if interval is None else list(interval),
        }
    over_images = _interval_over_images([(found[seed], baseline[seed]) for seed in seeds])
    return {"head": against.head, "seeds": seeds, "figures": figures, "over_images": over_images}


def _interval_over_images(pairs: Sequence[tuple[CellResult, CellResult]]) -> list[float] | None:
    """Of the mean difference in worst-group accuracy: the bounds of the seeds, averaged.

    It covers, if anything, more often than one seed's: a mean over seeds varies no more than the seeds do on average.
    """
    intervals = [worst_group_difference_interval(one.correct, other.correct, one.groups) for one, other in pairs]
    known = [interval for interval in intervals if interval is not None]
    return [fmean(bounds) for bounds in zip(*known, strict=True)] if known else None


def _warnings_of_figures(findings: Findings) -> dict[str, None]:
    """What the figures of all cells warn of, each said once: a small worst group, groups without rows."""
    return dict.fromkeys(text for result in findings.results.values() for text in result.metrics["warnings"])


def _failed(cell: Cell, reason: str) -> dict[str, Any]:
    return {"method": cell.method.name, "head": cell.head, "seed": cell.config.seed, "reason": reason}
