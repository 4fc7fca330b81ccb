"""The answers of the headline's row, and of one before it, to the same images: what the page of a comparison shows."""

from collections.abc import Mapping
from pathlib import Path

from dbpt.experiments.comparison.cells import CellResult, Stages, cell_classifier
from dbpt.experiments.comparison.plan import BASELINE, Cell, Plan
from dbpt.report.comparison_page import Answers
from dbpt.report.comparison_summary import ComparisonSummary
from dbpt.report.confusion import confusion_counts
from dbpt.report.examples import group_examples, worst_first
from dbpt.runs.comparison_metrics import ComparisonMetrics


def answers_of(
    plan: Plan, results: Mapping[str, CellResult], metrics: ComparisonMetrics, stages: Stages, folder: Path
) -> Answers | None:
    """Return the answers of the `_compared` rows to the shown split, from ``folder``; None if no result is there."""
    chosen = next(place for place, row in enumerate(ComparisonSummary(metrics).rows) if row.chosen)
    places = _compared(plan, results, chosen)
    if not places:
        return None
    number = _first_finished(plan, results, places[-1])
    cells = [plan.rows[place].cells[number] for place in places]
    study = stages.study(cells[-1])
    dataset, features = study.dataset, study.features
    rows = study.rows(study.split)
    predictions = [cell_classifier(folder, cell).predictions(features)[rows] for cell in cells]
    config = cells[-1].config
    return Answers(
        rows=places,
        seed=config.seed,
        examples=group_examples(
            [dataset.paths[row] for row in rows],
            dataset.root if config.opens_images else None,
            study.groups(study.group_kind)[rows],
            predictions,
            group_names=study.group_pairs(study.group_kind),
            classes=dataset.class_names,
            seed=config.seed,
            first=worst_first([each.accuracy for each in results[cells[-1].name].metrics.groups]),
        ),
        confusions=[confusion_counts(dataset.labels[rows], each, dataset.num_classes) for each in predictions],
        has_images=config.opens_images,
    )


def _first_finished(plan: Plan, results: Mapping[str, CellResult], place: int) -> int:
    """Return the number of the first seed of the row at ``place`` that is finished, or -1."""
    return next((n for n, cell in enumerate(plan.rows[place].cells) if cell.name in results), -1)


def _compared(plan: Plan, results: Mapping[str, CellResult], after: int) -> list[int]:
    """Return the places of the row before and of the row ``after``; the latter alone, or none, without results.

    Before is zero-shot, else ERM with the same head, else the first row.
    """
    if (number := _first_finished(plan, results, after)) < 0:
        return []

    def rank(cell: Cell) -> tuple[bool, bool]:
        is_erm = cell.method.name == BASELINE and cell.head == plan.rows[after].head
        return cell.method.name != "zero-shot", not is_erm

    others = [place for place in range(len(plan.rows)) if place != after]
    others = [place for place in others if plan.rows[place].cells[number].name in results]
    return [*sorted(others, key=lambda place: rank(plan.rows[place].cells[number]))[:1], after]
