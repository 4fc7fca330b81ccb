"""The report of a run: what the predictions of its methods show of the images."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from dbpt.experiments.figures import Study
from dbpt.experiments.methods import MethodResult
from dbpt.groups import class_and_attribute
from dbpt.groups.intervals import worst_group_difference_interval
from dbpt.report.charts import Chart
from dbpt.report.confusion import confusion_counts
from dbpt.report.examples import group_examples, worst_first
from dbpt.report.factors import judged_factors
from dbpt.report.gallery import Mistake, surest_mistakes
from dbpt.report.guesses import GuessSheets, label_command
from dbpt.report.made_by import made_by_entries, setting_entries, setting_texts
from dbpt.report.page import RunPage, render_report
from dbpt.report.summary import summarize
from dbpt.runs.metrics import RunMetrics
from dbpt.runs.some_factors import groups_of_factors, run_of_factors


def run_page(
    study: Study,
    results: Sequence[MethodResult],
    metrics: RunMetrics,
    charts: Mapping[str, Chart | None],
    sheets: GuessSheets,
    out: Path,
    command: str,
) -> str:
    """Return ``report.html`` of the run in ``out``, which ``command`` made.

    It compares the first of ``results`` with the last, the chosen one.
    """
    dataset, config = study.dataset, study.config
    words = dataset.words
    rows = study.rows(study.split)
    groups, labels = study.groups(study.group_kind)[rows], dataset.labels[rows]
    predictions = {each.row.name: each.classifier.predictions(study.features[rows]) for each in results}
    before, after = predictions[results[0].row.name], predictions[results[-1].row.name]
    places = judged_factors(sheets.guesses, metrics)
    judged = run_of_factors(metrics, places)
    strongest, shown = summarize(judged).baseline, results[-1].row.shown
    difference = None
    if strongest is not None:
        against = predictions[strongest.record.name]
        judged_groups = groups if judged is metrics else groups_of_factors(groups, metrics.dataset, places)
        difference = worst_group_difference_interval(after == labels, against == labels, judged_groups)
    examples = group_examples(
        [dataset.paths[row] for row in rows],
        dataset.root if config.opens_images else None,
        groups,
        [before, after],
        group_names=study.group_pairs(study.group_kind),
        classes=dataset.class_names,
        seed=config.seed,
        first=worst_first([each.accuracy for each in shown.groups] if shown else []),
    )
    return render_report(
        RunPage(
            metrics=metrics,
            judged=judged,
            charts=charts,
            mistakes=worst_group_mistakes(study, results[-1]),
            sheets=sheets,
            examples=examples,
            confusions=[confusion_counts(labels, each, dataset.num_classes) for each in (before, after)],
            words=made_by_entries(
                [*words.classes.items(), *sheets.words.items()], words.templates, words.attribute_templates, {}
            ),
            settings=setting_entries(setting_texts(config.resolved(), (each.name for each in fields(config)))),
            command=command,
            label_command=label_command(out),
            difference=difference,
        )
    )


def worst_group_mistakes(study: Study, result: MethodResult) -> list[Mistake] | None:
    """Return the 24 most confident mistakes in the worst group of the shown split; None if the run has no images."""
    if not study.config.opens_images:
        return None
    metrics = result.row.shown
    if metrics is None or metrics.worst_group is None:
        return []
    dataset, members = study.dataset, study.rows(study.split)
    members = members[study.groups(study.group_kind)[members] == metrics.worst_group]
    logits = result.classifier.logits(study.features[members])
    pairs = study.group_pairs(study.group_kind)
    label, _ = class_and_attribute(metrics.worst_group, len(pairs) // dataset.num_classes)
    p_true = np.exp(logits[:, label] - np.logaddexp.reduce(logits, axis=1))
    return surest_mistakes(
        [dataset.paths[row] for row in members],
        dataset.root,
        pairs[metrics.worst_group],
        [dataset.class_names[y] for y in logits.argmax(axis=1)],
        p_true,
    )
