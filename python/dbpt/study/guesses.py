"""Tell what to think of the guesses of a study: doubts, warnings, contact sheets, and a table of images."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.clip.backbone import zero_shot_logits
from dbpt.data import SPLITS, Dataset
from dbpt.discovery.catalogue import catalogue_words
from dbpt.errors import in_quotes
from dbpt.groups import group_counts
from dbpt.guesses import ClassClusters, base
from dbpt.guesses.doubts import Doubt, doubt
from dbpt.guesses.label import METHOD, by_suspect, doubts_column
from dbpt.guesses.trust import AGREEMENT_TEMPLATES, Guesses, guess_trust, judged_rows, names_to_leave_out
from dbpt.objectives import OBJECTIVES
from dbpt.report.guesses import GuessSheets, doubts_in_words
from dbpt.report.pictures import contact_sheets
from dbpt.settings.config import FitConfig
from dbpt.storage.files import Column, is_missing, write_atomically
from dbpt.study.embedded import Embedded
from dbpt.study.study import Study

logger = logging.getLogger(__name__)

MOST_IN_SHORT = 10
"""So many probabilities with four digits still sum to 1, up to 0.0005; those of more classes have six."""


def image_columns(
    dataset: Dataset,
    pseudo: base.PseudoAttributes,
    guesses: Guesses | None,
    rows: NDArray[np.int64] | None = None,
    *,
    attributes: list[str] | None = None,
    predictions: NDArray[np.int64] | None = None,
    probabilities: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Column]:
    """Return the columns of the table, by name, for the ``rows`` (n,) of ``dataset``, by default all.

    Columns of text are lists, those of numbers arrays.

    They are ``path``, ``label``, ``split``, ``pseudo_attribute``, its ``confidence``, ``doubts``, and ``group``, the
    number y * A + a of label and pseudo attribute. With several factors, ``pseudo_NAME``, ``confidence_NAME`` and
    ``doubts_NAME`` of each follow the doubts. The doubts are those of ``guesses``, by `doubts_column`; the columns
    are missing if nobody judged the guesses. Also ``attribute``, ``prediction`` and a probability ``p_CLASS`` for each
    class, for which the names ``attributes`` (n,), ``predictions`` (n,) and ``probabilities`` (n, C) are of ``rows``.
    Names stand for indices; an unknown attribute is "", its group -1. Without named attributes the columns about it are
    missing.
    """
    rows = np.arange(len(dataset)) if rows is None else rows
    classes = dataset.class_names
    found: dict[str, Column] = {
        "path": [dataset.paths[row] for row in rows.tolist()],
        "label": [classes[label] for label in dataset.labels[rows].tolist()],
        "split": [SPLITS[split] for split in dataset.splits[rows].tolist()],
    }
    if predictions is not None:
        found["prediction"] = [classes[label] for label in predictions.tolist()]
    if attributes is not None:
        found["attribute"] = attributes
    if pseudo.method != base.NO_ATTRIBUTE:
        judged = guesses if guesses is not None and guesses.is_judged else None
        found |= _columns("", base.names_of_rows(dataset, pseudo), pseudo, judged, rows)
        for place, part in enumerate(pseudo.parts):
            suspect, of_part = dataset.words.suspects[place], judged and judged.factors[place]
            values = [*suspect.values, ""]  # the last for -1
            named = [values[value] for value in part.pseudo_attributes.tolist()]
            found |= _columns(suspect.name, named, part, of_part, rows)
        found["group"] = base.pseudo_groups(dataset, pseudo)[rows]
    if probabilities is not None:
        digits = 4 if len(classes) <= MOST_IN_SHORT else 6
        found |= {f"p_{name}": _rounded(column, digits) for name, column in zip(classes, probabilities.T, strict=True)}
    return found


def _columns(
    name: str, named: list[str], pseudo: base.PseudoAttributes, judged: Guesses | None, rows: NDArray[np.int64]
) -> dict[str, Column]:
    """Return the columns of one attribute, whose value in each row of the data is ``named``."""
    assert pseudo.confidence is not None
    suffix = name and f"_{name}"
    found: dict[str, Column] = {f"pseudo_{name or 'attribute'}": [named[row] for row in rows.tolist()]}
    found[f"confidence{suffix}"] = _rounded(pseudo.confidence[rows])
    if judged:
        doubts = [doubt.sentence if name else str(doubt) for doubt in judged.doubts]
        found[f"doubts{suffix}"] = doubts_column(doubts, len(rows))
    return found


def _rounded(values: NDArray[np.floating[Any]], digits: int = 4) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = values.astype(np.float64).round(digits)
    return rounded


def judged_guesses(images: Embedded, pseudo: base.PseudoAttributes, rows: NDArray[np.int64] | None = None) -> Guesses:
    """Return how the guesses were made, and the doubts about those of ``rows``, by default all but the test rows.

    Doubts are about the names, so guesses below ``min_confidence`` count too. Guesses from a file have those that are
    beside them, those by a probe what cross-validation says. Attributes that nobody guessed get none.
    """
    dataset = images.dataset
    rows = dataset.rows_to_fit if rows is None else rows
    if len(rows) < len(dataset):
        dataset, pseudo = dataset.take(rows), pseudo.take(rows)
    if pseudo.names is not None:
        return _judged_clusters(dataset, pseudo, pseudo.class_clusters)
    method, parts, suspects = base.PSEUDO_METHODS.get(pseudo.method), pseudo.factors, dataset.words.suspects
    judged: list[dict[str, Any]]
    judged = [{"doubts": [Doubt(kind="file", sentence=text) for text in part.doubts or ()]} for part in parts]
    is_judged = method is not None or pseudo.method != METHOD or all(part.doubts is not None for part in parts)
    if pseudo.probe is not None:
        judged = [{"doubts": each.doubts, "cross_validated": each} for each in pseudo.probe.figures]
    elif method is not None:
        judged = _doubts(images, dataset, rows, [_likeliest(part) for part in parts], method.name)
    how: dict[str, Any] = {"method": pseudo.described, "is_judged": is_judged}
    of_suspects = [
        Guesses(name=suspect.name, values=list(suspect.values), **_figures(part, known), **how, **of)
        for suspect, part, known, of in zip(suspects, parts, dataset.factor_attributes, judged, strict=True)
    ]
    if not dataset.words.factors:
        return of_suspects[0]
    for each in of_suspects:
        each.doubts[:] = [replace(doubt, factor=each.name) for doubt in each.doubts]
    return Guesses(
        values=list(dataset.attribute_names),
        doubts=[doubt for each in of_suspects for doubt in each.doubts],
        doubted=of_suspects[0].doubted if len(of_suspects) == 1 else [],
        factors=of_suspects,
        **_figures(pseudo, dataset.attributes),
        **how,
    )


def _judged_clusters(dataset: Dataset, pseudo: base.PseudoAttributes, clusters: ClassClusters | None) -> Guesses:
    """Return the figures of clusters, which are right if their commonest true attribute is; or of no attribute."""
    comparable = base.comparable_attributes(dataset, pseudo, np.arange(len(dataset)))
    figures = _figures(replace(pseudo, pseudo_attributes=comparable), dataset.attributes)
    figures |= {"shares": [], "n_unknown": int((pseudo.pseudo_attributes < 0).sum())}
    doubts = [] if clusters is None else clusters.doubts(dataset.class_names)
    return Guesses(method=pseudo.method, doubts=doubts, **figures)


def _figures(pseudo: base.PseudoAttributes, attributes: NDArray[np.int64]) -> dict[str, Any]:
    guessed, confidence = pseudo.pseudo_attributes, pseudo.confidence
    assert confidence is not None and pseudo.posterior is not None
    both = (attributes >= 0) & (guessed >= 0)
    if pseudo.is_given is not None:
        both &= ~pseudo.is_given
    counts = np.bincount(guessed[guessed >= 0], minlength=pseudo.posterior.shape[1])
    if (guessed >= 0).any():  # the others have none, or one that is too low
        confidence = confidence[guessed >= 0]
    return {
        "shares": (counts / max(1, counts.sum())).tolist(),
        "mean_confidence": min(1.0, float(confidence.mean())),
        "n_unknown": int((guessed < 0).sum()),
        "n_known": int(both.sum()),
        "accuracy": float((attributes == guessed)[both].mean()) if both.any() else None,
    }


def _likeliest(pseudo: base.PseudoAttributes) -> NDArray[np.int64]:
    """Return the guesses (N,), also those below the smallest confidence."""
    assert pseudo.posterior is not None
    return np.where(pseudo.pseudo_attributes >= 0, pseudo.pseudo_attributes, pseudo.posterior.argmax(axis=1))


def _doubts(
    images: Embedded, dataset: Dataset, taken: NDArray[np.int64], guessed: Sequence[NDArray[np.int64]], method: str
) -> list[dict[str, Any]]:
    """Return the fields of `Guesses` about the doubts of each suspect, whose guesses are (n,).

    ``dataset`` has the rows ``taken`` (n,) of ``images``. Classes that share their values are judged together, by their
    `judged_rows`. ``method`` is that of the guesses.
    """
    words, logits_of = dataset.words, partial(zero_shot_logits, images.labeller, images.label_features)
    parts = [
        (place, values, classes, np.flatnonzero(np.isin(dataset.labels, classes)))
        for place, suspect in enumerate(words.suspects)
        for values, classes in words.vocabularies(suspect).items()
    ]
    parts = [part for part in parts if len(part[1]) > 1 and len(part[3])]
    read = np.unique(np.concatenate([np.empty(0, np.int64), *(judged_rows(rows) for *_, rows in parts)]))
    logits, *by_template = (
        by_suspect(logits_of(*each.attribute_texts(), rows=taken[read]), words)
        for each in (words, *(replace(words, attribute_templates=(template,)) for template in AGREEMENT_TEMPLATES))
    )
    to_compare = catalogue_words()
    found: list[dict[str, Any]] = [{"doubts": [], "doubted": [], "leave_out": []} for _ in words.suspects]
    for place, values, classes, rows in parts:
        judged, known = judged_rows(rows), list(words.suspects[place].values)
        cells, code = np.ix_(np.searchsorted(read, judged), np.array(values)), np.full(len(known) + 1, -1)  # last: -1
        code[list(values)] = np.arange(len(values))
        counts = np.bincount(guessed[place][rows] + 1, minlength=len(known) + 1)[1:]
        others, of_templates = logits_of(to_compare, rows=taken[judged]), [each[place][cells] for each in by_template]
        evidence = logits[place][cells], of_templates, others, dataset.labels[judged]
        names = [known[value] for value in values]
        trust = guess_trust(code[guessed[place][judged]], *evidence, names, counts[list(values)])
        if trust.doubts:
            of_part, of_suspect, doubts = len(classes) < dataset.num_classes, found[place], trust.doubts
            if leave_out := names_to_leave_out(trust, *evidence, method=method):
                kept = in_quotes([name for name in names if name not in leave_out])
                doubts.append(doubt("leave out", in_quotes(leave_out), kept=kept))
            of_classes = f"for {', '.join(dataset.class_names[label] for label in classes)}, " if of_part else ""
            of_suspect["doubts"] += [replace(each, sentence=of_classes + each.sentence) for each in doubts]
            of_suspect["doubted"] += [name for name in names if name not in of_suspect["doubted"]]
            of_suspect["leave_out"] += [] if of_part else leave_out
    return found


def guess_sheets(study: Study) -> GuessSheets:
    """Return the judged guesses of all but the test rows, with contact sheets if there are images.

    Of clusters, add class, cluster and its share of the class for each.
    """
    dataset, pseudo, rows = study.dataset, study.pseudo, study.dataset.rows_to_fit
    assert study.guesses is not None and pseudo.confidence is not None
    groups, pairs = base.pseudo_groups(dataset, pseudo)[rows], base.group_pairs(dataset, pseudo)
    sheets, clusters = None, list[tuple[str, str, float]]()
    if study.config.opens_images and study.has_attributes:
        paths, seed = [dataset.paths[row] for row in rows], study.config.seed
        sheets = contact_sheets(paths, dataset.root, groups, pseudo.confidence[rows], group_names=pairs, seed=seed)
    if pseudo.class_clusters is not None:
        counts_CK = group_counts(groups, len(pairs)).reshape(dataset.num_classes, -1)
        shares_G = (counts_CK / counts_CK.sum(axis=1, keepdims=True).clip(1)).ravel()
        clusters = [(y, a, share) for (y, a), share in zip(pairs, shares_G.tolist(), strict=True)]
    return GuessSheets(study.guesses, {} if clusters else dataset.words.guessed(), sheets, clusters)


def write_guesses(out: Path, sheets: GuessSheets, name: str, label_commands: str, *, again: bool = False) -> None:
    """Write ``guesses.html`` if there are images, so that people can check the guesses during training.

    A page that is there is kept unless ``again``.
    """
    if sheets.sheets is None:
        return
    from dbpt.report.sections import render_guesses  # imports matplotlib, which most commands don't need

    page = out / "guesses.html"
    if again or is_missing(page):
        write_atomically(page, render_guesses(sheets, name, label_commands))
    shown = str(page).encode("utf-8", "backslashreplace").decode()  # most handlers of logs refuse other names
    logger.info(f"{sheets.guesses.called}, to check before training: {shown}")


def trust_warnings(study: Study, configs: Sequence[FitConfig] = ()) -> tuple[str, ...]:
    """Return the doubts about the guesses as warnings, if figures or trainings with ``configs`` depend on them."""
    depends = study.group_kind == "pseudo" or any(
        config.selecting_groups == "pseudo"
        or (OBJECTIVES[config.trained_objective].uses_groups and config.group_source == "pseudo")
        for config in configs
    )
    return doubts_in_words(study.guesses) if depends and study.guesses else ()
