"""Which candidate of ``--prompts auto`` is saved: the hedge, unless validation shows clearly that another is better.

A user's validation split is as skewed as training: two to five rows in a rare group, which would choose by chance.
So group prompts part of the way between untrained and trained are kept, unless a candidate leads them in their worst
group by more than two standard errors. docs/explanation/group_prompts.md has the measurements.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.commands.mixed_prompts import alpha_of, mixed_result
from dbpt.commands.trained_methods import MethodResult, rows_for
from dbpt.data.stored_features import Features
from dbpt.evaluation.results import Choice, Row
from dbpt.groups import SMALL_GROUP
from dbpt.objectives.training_free import GroupPromptsSum
from dbpt.settings.all_settings import PROBABILITY_SELECTIONS
from dbpt.settings.combinations import why_not_mixed
from dbpt.settings.fields import AUTO
from dbpt.study.stages import judged_class_words
from dbpt.study.study import Study
from dbpt.training.model_selection import shrunken_means

STANDARD_ERRORS = 2.0
SMALLEST_DEVIATION = 0.25
"""Of the differences of a row: rows that happen to agree are no proof."""


def with_mixed(study: Study, trained: Mapping[str, MethodResult]) -> tuple[dict[str, MethodResult], str | None]:
    """Return the candidates by name: with those ``trained`` also untrained and mixed group prompts, and the hedge.

    The hedge is the mixture by `alpha_of`, at its ends the untrained or the trained group prompts; None where nothing
    can be mixed. Without ``--prompts auto`` there are no untrained ones, unless ``--alpha 0`` asks for them.
    """
    of_groups = next((candidate for candidate in trained.values() if candidate.row.prompts == "group"), None)
    config, untrained = study.config, GroupPromptsSum.name
    has_words = study.training_grouping.has_words
    if of_groups is None or why_not_mixed(config.head, has_words=has_words) is not None:
        return dict(trained), None
    alpha = 1.0 if config.alpha is None and config.prompts != AUTO else alpha_of(study)
    hedge = {0.0: untrained, 1.0: of_groups.row.method}.get(alpha, f"{of_groups.row.method}:mixed")
    mixtures = {untrained: 0.0} if config.prompts == AUTO else {}
    mixtures |= {} if hedge == of_groups.row.method else {hedge: alpha}
    mixed = {name: mixed_result(study, of_groups, share, name) for name, share in mixtures.items()}
    return {**mixed, **trained} if hedge not in mixed else {**mixed, **trained, hedge: mixed[hedge]}, hedge


def choose(study: Study, candidates: Mapping[str, MethodResult], hedge: str | None) -> tuple[str, Choice]:
    """Return the name of the candidate to save, and how it was chosen.

    The hedge is kept, unless each group has `SMALL_GROUP` validation rows and another candidate clearly leads in its
    worst one. Without a hedge the one with the best worst group of validation is taken, the first if two are level; if
    the words fail that the hedge starts from, the best of the trained ones. With ``--model-selection last`` it is the
    hedge, or then the first trained one.

    Args:
        study: the data with groups, and the settings.
        candidates: the results by name.
        hedge: the name of the candidate that is kept if no other one is clearly better.
    """
    config, names = study.config, list(candidates)
    selection = config.selection_of(config.trained_objective)
    choice = Choice(candidates=names, hedge=hedge, why="last", figure=selection.rpartition("-")[2])
    free = [name for name in names if candidates[name].row.alpha is None]
    if lost := hedge is not None and words_fail(study, candidates):
        choice = replace(choice, why="words")
    if selection == "last":
        return free[0] if lost or hedge is None else hedge, choice
    rows, by_group = rows_for(study, "selection", "val"), config.selecting_groups is not None
    labels, grouping = rows.labels, study.selection_grouping
    groups = rows.groups if by_group else np.zeros_like(labels)  # one group of all rows, for the average
    values = {name: _values(classifier, rows.features, labels, selection) for name, classifier in candidates.items()}
    means = {name: shrunken_means(values_N, labels, groups) for name, values_N in values.items()}
    if hedge is None or lost:
        best = max(free, key=lambda name: float(np.nanmin(means[name])))
        return best, replace(choice, why="words" if lost else "score")
    worst = int(np.nanargmin(means[hedge]))
    members = groups == worst
    choice = replace(choice, why="hedge", group=grouping.names[worst] if by_group else None, n=int(members.sum()))
    in_val, in_training = grouping.counts(study.rows("val")), grouping.counts(study.rows("train"))
    fewest = int(in_val[(in_val > 0) | (in_training > 0)].min(initial=len(labels))) if by_group else len(labels)
    if fewest < SMALL_GROUP:  # what few rows of a group say is chance
        return hedge, replace(choice, why="few", n=fewest)
    leads = {name: _lead((values[name] - values[hedge])[members]) for name in names if name != hedge}
    # A rival that leads there may be worse in another group.
    ahead = {
        name: (lead, limit)
        for name, (lead, limit) in leads.items()
        if lead > limit and np.nanmin(means[name]) > np.nanmin(means[hedge])
    }
    if not ahead:
        return hedge, choice
    best = max(ahead, key=lambda name: ahead[name][0] - ahead[name][1])
    return best, replace(choice, why="better", lead=ahead[best][0], limit=ahead[best][1])


WORD_DOUBTS = {"sentences", "spread", "other words"}
"""Doubts about an attribute that blame its words. Others, such as a low separation, blame the images or CLIP's eye."""


def words_fail(study: Study, candidates: Mapping[str, MethodResult]) -> bool:
    """Return whether the sentences of the groups are no start worth staying near.

    They aren't if the words of the attribute are doubted, or if untrained group prompts don't tell the classes apart.
    """
    if study.guesses is not None and any(doubt.kind in WORD_DOUBTS for doubt in study.guesses.doubts):
        return True
    if GroupPromptsSum.name not in candidates:
        return False
    rows = np.concatenate([study.rows("train"), study.rows("val")])
    untrained = candidates[GroupPromptsSum.name].classifier
    return bool(judged_class_words(study.embedded, study.pseudo, rows, untrained))


def harder_test(row: Row) -> list[Caution]:
    """Warn if the intervals of a row's worst group on validation and on test don't meet: a shift beyond the groups."""
    val, test = row.val, row.test
    if val is None or test is None or val.worst_group_low is None or test.worst_group_high is None:
        return []
    worst_in_val = 0 if test.worst_group is None else val.groups[test.worst_group].n
    if val.worst_group_low <= test.worst_group_high or not worst_in_val:  # of a group without rows, val says nothing
        return []
    worst = {"val": val.worst_group_accuracy, "test": test.worst_group_accuracy}
    return [caution("test is harder", **{split: 100 * (value or 0.0) for split, value in worst.items()})]


def _values(result: MethodResult, features: Features, labels: NDArray[np.int64], selection: str) -> NDArray[np.float64]:
    """Return the figure (n,) of each row that model selection looks at: p of the true class, or correctness."""
    if selection in PROBABILITY_SELECTIONS:
        p_true = result.classifier.probabilities(features)[np.arange(len(labels)), labels]
        return np.asarray(p_true, np.float64)
    return np.asarray(result.classifier.predictions(features) == labels, np.float64)


def _lead(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of paired differences (n,), and what it must exceed: two standard errors."""
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean()), STANDARD_ERRORS * max(deviation, SMALLEST_DEVIATION) / math.sqrt(len(differences))
