"""What the pages of `fit` and `compare` show of a study besides figures: answers to images, words and settings."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from dbpt.evaluation.accuracy import worst_first
from dbpt.evaluation.results import Metrics
from dbpt.heads.base import group_templates
from dbpt.report.page import Answers, MadeBy
from dbpt.report.pictures import GuessSheets, group_examples
from dbpt.report.tables import confusion_counts
from dbpt.study.study import Study


def compared_rows(metrics: Metrics, finished: Collection[int]) -> list[int]:
    """Return the positions of the two rows whose answers a page shows: one before, and the chosen one.

    Before is zero-shot, else ERM with the same head, else the first of the ``finished`` rows; none if it has no other.
    """
    chosen = metrics.rows[metrics.chosen]

    def rank(position: int) -> tuple[bool, bool]:
        row = metrics.rows[position]
        return row.method != "zero-shot", (row.method, row.head) != ("erm", chosen.head)

    others = [position for position in sorted(finished) if position != metrics.chosen]
    return [*sorted(others, key=rank)[:1], metrics.chosen]


def answers_of(study: Study, metrics: Metrics, predictions: Mapping[int, NDArray[np.int64]]) -> Answers:
    """Return the answers to the images of the split that tables show.

    Args:
        study: the data of the rows, with their seed.
        metrics: the figures of all rows.
        predictions: (N,) by the position of the row, the chosen one last.
    """
    dataset, config, rows = study.dataset, study.config, study.rows(study.split)
    shown = metrics.rows[metrics.chosen].shown
    return Answers(
        rows=list(predictions),
        seed=config.seed,
        examples=group_examples(
            [dataset.paths[row] for row in rows],
            dataset.root if config.opens_images else None,
            study.reported.groups[rows],
            [predicted[rows] for predicted in predictions.values()],
            group_names=study.reported.pairs,
            classes=dataset.class_names,
            seed=config.seed,
            first=[group.index for group in worst_first(shown.groups)] if shown else [],
        ),
        confusions=[
            confusion_counts(dataset.labels[rows], each[rows], dataset.num_classes) for each in predictions.values()
        ],
        has_images=config.opens_images,
    )


def made_by_words(
    study: Study, metrics: Metrics, sheets: GuessSheets, command: str, settings: Mapping[str, str]
) -> MadeBy:
    """Return the ``command`` that makes a page, with the words of the study and the ``settings`` as texts."""
    words, chosen = study.dataset.words, metrics.rows[metrics.chosen]
    named = chosen.prompts == "group" and study.grouping(chosen.group_source or "pseudo").has_words
    of_groups = [group_templates(words)] if named else []
    return MadeBy(
        command=command,
        words=[*words.classes.items(), *sheets.words.items()],
        templates=(words.templates, words.attribute_templates, *of_groups),
        settings=settings,
    )
