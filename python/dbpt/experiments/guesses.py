"""The doubts about CLIP's guesses of the attribute, and pictures of them, for people to check before training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.clip.zero_shot import zero_shot_logits
from dbpt.data import SPLITS, Dataset
from dbpt.experiments.figures import Labelled
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes import PseudoAttributes
from dbpt.pseudo_attributes.from_file import METHOD
from dbpt.pseudo_attributes.pseudo_groups import NO_ATTRIBUTE, group_pairs, pseudo_groups
from dbpt.pseudo_attributes.trust import TEMPLATES, Guesses, guess_trust
from dbpt.report.contact_sheets import contact_sheets
from dbpt.report.guesses import GuessSheets
from dbpt.settings.config import FitConfig


def judged_guesses(
    dataset: Dataset,
    features: NDArray[np.float32],
    backbone: Backbone,
    pseudo: PseudoAttributes,
    rows: NDArray[np.int64] | None = None,
) -> Guesses:
    """Return how the guesses were made, and the doubts about those of ``rows``, by default all but the test rows.

    Doubts are about the names, so guesses below ``min_confidence`` count too. Attributes that nobody guessed get none.
    """
    rows = fitted_rows(dataset) if rows is None else rows
    attributes, guessed = dataset.attributes[rows], pseudo.pseudo_attributes[rows]
    both = (attributes >= 0) & (guessed >= 0) & (not pseudo.holds_truth)
    counts = np.bincount(guessed[guessed >= 0], minlength=dataset.num_attributes)
    assert pseudo.confidence is not None and pseudo.posterior is not None
    is_guessed, confidence = pseudo.method not in (METHOD, NO_ATTRIBUTE), pseudo.confidence[rows]
    if (guessed >= 0).any():  # the others have none, or one that is too low
        confidence = confidence[guessed >= 0]
    likeliest = np.where(guessed >= 0, guessed, pseudo.posterior[rows].argmax(axis=1))
    return Guesses(
        method=pseudo.method,
        shares=(counts / max(1, counts.sum())).tolist(),
        mean_confidence=min(1.0, float(confidence.mean())),
        doubts=_doubts(dataset.take(rows), features[rows], backbone, likeliest) if is_guessed else [],
        n_unknown=int((guessed < 0).sum()),
        n_known=int(both.sum()),
        accuracy=float((attributes == guessed)[both].mean()) if both.any() else None,
    )


def _doubts(
    dataset: Dataset, features: NDArray[np.float32], backbone: Backbone, guessed: NDArray[np.int64]
) -> list[str]:
    logits = zero_shot_logits(backbone, features, *dataset.words.attribute_texts())
    by_template = [
        zero_shot_logits(backbone, features, *replace(dataset.words, attribute_templates=(template,)).attribute_texts())
        for template in TEMPLATES
    ]
    return guess_trust(guessed, logits, by_template, dataset.labels, dataset.attribute_names).doubts


def guess_sheets(labelled: Labelled, config: FitConfig) -> GuessSheets:
    """Return the judged guesses of all but the test rows, with contact sheets if there are images."""
    dataset, pseudo, rows = labelled.dataset, labelled.pseudo, fitted_rows(labelled.dataset)
    assert labelled.guesses is not None and pseudo.confidence is not None
    sheets = None
    if config.opens_images and labelled.has_attributes:
        sheets = contact_sheets(
            [dataset.paths[row] for row in rows],
            dataset.root,
            pseudo_groups(dataset, pseudo)[rows],
            pseudo.confidence[rows],
            group_names=group_pairs(dataset, pseudo),
            seed=config.seed,
        )
    return GuessSheets(labelled.guesses, dataset.words.attributes, sheets)


def fitted_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Return the rows on which the guesses are fitted: all but those of the test split, unless there are no others."""
    is_test = dataset.splits == SPLITS.index("test")
    return np.flatnonzero(is_test.all() | ~is_test)


def trust_warnings(guesses: Guesses, labelled: Labelled, configs: Sequence[FitConfig] = ()) -> tuple[str, ...]:
    """Return the doubts about the guesses as one warning, if figures or trainings with ``configs`` depend on them."""
    depends = labelled.group_kind == "pseudo" or any(
        config.model_selection == "pseudo-wga"
        or (OBJECTIVES[config.objective].uses_groups and config.group_source != "true")
        for config in configs
    )
    return doubts_in_words(guesses, labelled.dataset) if depends else ()


def doubts_in_words(guesses: Guesses, dataset: Dataset) -> tuple[str, ...]:
    """Return the doubts about the guesses as one warning, or nothing."""
    if not guesses.doubts:
        return ()
    return (
        f"CLIP's guesses of {' / '.join(dataset.attribute_names)} can't be trusted: {'; '.join(guesses.doubts)}; use "
        "other words, give each name more wordings, or look at the guesses with dbpt audit",
    )
