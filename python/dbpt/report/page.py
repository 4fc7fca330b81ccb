"""The HTML report: the content and charts for the template, which does the layout; the style sheet has the colours.

One file without scripts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.report.charts import MOST_BARS, Chart
from dbpt.report.confusion import confusions
from dbpt.report.examples import GroupExamples, worst_first
from dbpt.report.factors import doubted_factors
from dbpt.report.gallery import Mistake
from dbpt.report.guesses import GuessSheets
from dbpt.report.headline import headline, verdict, zero_shot_line
from dbpt.report.made_by import Entries
from dbpt.report.run_charts import (
    MOST_CURVES,
    chosen_accuracy,
    narrow_chart,
    row_colors,
    validation_title,
)
from dbpt.report.summary import (
    SPLIT_NAMES,
    Summary,
    average_note,
    cluster_note,
    groups_line,
    pseudo_text,
    selected_by,
    selecting_figure,
    shots_text,
    summarize,
)
from dbpt.report.templates import render
from dbpt.runs.metrics import RunMetrics
from dbpt.settings.sections import PSEUDO_SELECTIONS, TRUE_SELECTIONS

MOST_ROWS = 200
"""If there are more groups, the tables show the ones with the lowest accuracy."""
SOURCES = {None: "none", "pseudo": "pseudo attributes", "true": "true attributes (an oracle)"}
APPLICATIONS = {None: "none", "loss": "in the loss", "sampling": "by sampling"}
TRAINED = {
    "prompt": "the prompt, which are the words around the class names",
    "linear": "a linear layer on CLIP's features",
    "adapter": "an adapter on CLIP's features",
}


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """The content of the page of a run: its metrics, their charts, and the findings in its images.

    ``judged`` are the metrics over the `judged_factors`, for verdict and headline. ``mistakes`` of the chosen row in
    its worst group are None without images. ``examples`` of each group have the predictions of the first and of the
    chosen row, and ``confusions`` are their confusion counts (C, C). ``command`` made the run, ``label_command`` is the
    next step. ``difference`` is the 95 % interval of the chosen row's worst-group accuracy minus that of the strongest
    other one in ``judged``, on the same images.
    """

    metrics: RunMetrics
    judged: RunMetrics
    charts: Mapping[str, Chart | None]
    mistakes: list[Mistake] | None
    sheets: GuessSheets
    examples: list[GroupExamples]
    confusions: list[NDArray[np.int64]]
    words: Entries
    settings: Entries
    command: str
    label_command: str
    difference: tuple[float, float] | None


def render_report(page: RunPage) -> str:
    """Return the HTML page of a run."""
    metrics, charts = page.metrics, page.charts
    summary, judged, guesses = summarize(metrics), summarize(page.judged), page.sheets.guesses
    colors, quality, classes = row_colors(summary.rows), metrics.pseudo_quality, metrics.dataset.classes
    accuracies = [chosen_accuracy(summary, g) for g in range(len(metrics.dataset.groups))]
    shown = metrics.dataset.shown_groups
    context = vars(page) | {
        "summary": summary,
        "split_name": SPLIT_NAMES[summary.split],
        "verdict": verdict(judged, guesses, page.difference),
        "warnings": summary.other_warnings,
        "headline": headline(judged, page.difference),
        "groups_line": groups_line(metrics),
        "shots_text": shots_text(metrics),
        "average_note": average_note(metrics.average),
        "zero_shot_line": zero_shot_line(judged),
        "titled": [(row.title, row) for row in summary.rows],
        "doubted_factors": doubted_factors(guesses, metrics),
        "rows": list(zip(summary.rows, colors, strict=True)),
        "tabled": sorted([g for g in worst_first(accuracies) if g in shown][:MOST_ROWS]),
        "num_groups": len(shown),
        "bars": charts["accuracy"],
        "narrow_bars": narrow_chart(summary),
        "shows_images": page.mistakes is not None,
        "compared": [summary.rows[0].title, summary.chosen.title],
        "confusions": [confusions(counts, classes) for counts in page.confusions],
        "weights": charts["weights"],
        "p_true": charts["probability"],
        "validation": charts["validation"],
        "validation_title": validation_title(metrics),
        "quality": quality if quality and quality.smallest_group is not None else None,
        "true_uses": _true_uses(summary),
        "selected_by": selected_by(metrics),
        "pseudo_selects": metrics.dataset.has_attributes and metrics.model_selection in PSEUDO_SELECTIONS,
        "cluster_note": cluster_note(metrics),
        "how_trained": _how_trained(summary),
        "entries": [*_settings(summary), *page.words],
        "most_bars": MOST_BARS if len(shown) > MOST_BARS else None,
        "most_curves": MOST_CURVES if len(shown) > MOST_CURVES else None,
    }
    return render("report/template.html.j2", **context)


def _how_trained(summary: Summary) -> str:
    """Return sentences about the training of the chosen row and the choice of its epoch."""
    record, title = summary.chosen.record, summary.chosen.title
    told = f"Training ({title}) tunes {TRAINED.get(str(record.head), f'the head {record.head}')}"
    if record.group_source is not None:
        told += f", and weighs the images by class · attribute group, by the {SOURCES[record.group_source]}"
    if any(row.record.name == "erm" for row in summary.others):
        told += "; ERM is plain training, without such weights"
    if record.epochs < 2:
        return told
    if summary.metrics.model_selection == "last":
        return f"{told}. Of all epochs, the one kept is the last one"
    figure, over, _ = selecting_figure(summary.metrics)
    return f"{told}. Of all epochs, the one kept is the one with the highest {figure} on the validation images{over}"


def _true_uses(summary: Summary) -> str:
    """Return the uses of true attributes. A run without an oracle setting only measures with them."""
    uses = ["this table", "the metrics"] if summary.metrics.group_kind == "true" else ["this table"]
    if summary.metrics.model_selection in TRUE_SELECTIONS:
        uses.append("model selection (as requested)")
    oracles = [row.title for row in summary.rows if row.record.group_source == "true"]
    if oracles:
        uses.append(f"the training of {' and '.join(oracles)} (as requested)")
    return ", ".join(uses)


def _settings(summary: Summary) -> list[tuple[str, str]]:
    metrics, record = summary.metrics, summary.chosen.record
    return [
        ("Data", metrics.dataset.root),
        ("Backbone", metrics.backbone.model),
        ("Weights", str(metrics.backbone.pretrained)),
        ("Width of the features", str(metrics.backbone.embed_dim)),
        ("Image tower", metrics.backbone.image_tower),
        ("Head", str(record.head)),
        ("Objective", summary.chosen.title),
        ("Weights applied", APPLICATIONS[record.apply]),
        ("Groups trained on", SOURCES[record.group_source]),
        ("Pseudo attributes by", pseudo_text(metrics)),
        ("Best epoch by", selected_by(metrics)),
        ("Seed", str(metrics.seed)),
        ("Images that could not be read", str(metrics.failed_images)),
        ("Time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in metrics.seconds.items())),
    ]
