"""The doubts about CLIP's guesses of the attribute, and pictures of them, for people to check before training."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.clip.zero_shot import zero_shot_logits
from dbpt.data import SPLITS, Dataset
from dbpt.data.stored_features import StoredFeatures
from dbpt.discovery.catalogue import catalogue_words
from dbpt.errors import in_quotes
from dbpt.experiments.figures import Labelled
from dbpt.files.disk import is_missing, write_atomically
from dbpt.groups import group_counts
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes import PseudoAttributes
from dbpt.pseudo_attributes.class_clusters import ClassClusters
from dbpt.pseudo_attributes.doubt import Doubt, doubt
from dbpt.pseudo_attributes.factors import by_suspect
from dbpt.pseudo_attributes.fewer_names import names_to_leave_out
from dbpt.pseudo_attributes.from_file import METHOD
from dbpt.pseudo_attributes.label import METHODS
from dbpt.pseudo_attributes.pseudo_groups import NO_ATTRIBUTE, comparable_attributes, group_pairs, pseudo_groups
from dbpt.pseudo_attributes.trust import TEMPLATES, Guesses, GuessesOfFactor, guess_trust, judged_rows
from dbpt.report.contact_sheets import contact_sheets
from dbpt.report.guesses import GuessSheets, render_guesses
from dbpt.settings.combinations import PSEUDO_SELECTIONS
from dbpt.settings.config import FitConfig

logger = logging.getLogger(__name__)

NOT_GUESSED = (METHOD, NO_ATTRIBUTE)


def judged_guesses(
    dataset: Dataset,
    features: NDArray[np.float32] | StoredFeatures,
    backbone: Backbone,
    pseudo: PseudoAttributes,
    rows: NDArray[np.int64] | None = None,
) -> Guesses:
    """Return how the guesses were made, and the doubts about those of ``rows``, by default all but the test rows.

    Doubts are about the names, so guesses below ``min_confidence`` count too. Guesses from a file have those that are
    beside them, those by a probe what cross-validation says. Attributes that nobody guessed get none.
    """
    rows = fitted_rows(dataset) if rows is None else rows
    if len(rows) < len(dataset):
        dataset, pseudo = dataset.take(rows), pseudo.take(rows)
    if pseudo.class_clusters is not None:
        return _judged_clusters(dataset, pseudo, pseudo.class_clusters)
    factors, parts = dataset.words.factors, pseudo.factors or (pseudo,)
    found = [_Doubts([Doubt(kind="file", sentence=text) for text in part.doubts or ()]) for part in parts]
    is_judged = pseudo.method != METHOD or all(part.doubts is not None for part in parts)
    judged = [None] * len(parts) if pseudo.probe is None else list(pseudo.probe.figures)
    if pseudo.probe is not None:
        found = [_Doubts(each.doubts) for each in pseudo.probe.figures]
    elif pseudo.method not in NOT_GUESSED:
        method = next(name for name in METHODS if pseudo.method.startswith(name))
        found = _doubts(dataset, features, rows, backbone, [_likeliest(part) for part in parts], method)
    figures = _figures(pseudo, dataset.attributes, dataset.num_attributes)
    judged_by: list[dict[str, Any]] = [
        vars(each) | {"cross_validated": of_probe} for each, of_probe in zip(found, judged, strict=True)
    ]
    if not factors:
        return Guesses(method=pseudo.method, is_judged=is_judged, **figures, **judged_by[0])
    for factor, each in zip(factors, judged_by, strict=True):
        each["doubts"] = [replace(doubt, factor=factor.name) for doubt in each["doubts"]]
    of_factors = [
        GuessesOfFactor(
            name=factor.name, values=list(factor.values), **_figures(part, known, len(factor.values)), **judged_as
        )
        for factor, part, judged_as, known in zip(factors, parts, judged_by, dataset.factor_attributes, strict=True)
    ]
    doubted = found[0].doubted if len(found) == 1 else []
    figures |= {"doubts": [doubt for each in of_factors for doubt in each.doubts], "doubted": doubted}
    figures["factors"] = of_factors
    return Guesses(method=pseudo.method, is_judged=is_judged, **figures)


def _judged_clusters(dataset: Dataset, pseudo: PseudoAttributes, clusters: ClassClusters) -> Guesses:
    """Return the figures of clusters, which are right if their commonest true attribute is."""
    comparable = comparable_attributes(dataset, pseudo, np.arange(len(dataset)))
    figures = _figures(replace(pseudo, pseudo_attributes=comparable), dataset.attributes, dataset.num_attributes)
    figures |= {"shares": [], "n_unknown": int((pseudo.pseudo_attributes < 0).sum())}
    return Guesses(method=pseudo.method, doubts=clusters.doubts(dataset.class_names), **figures)


def _figures(pseudo: PseudoAttributes, attributes: NDArray[np.int64], num_attributes: int) -> dict[str, Any]:
    guessed, confidence = pseudo.pseudo_attributes, pseudo.confidence
    assert confidence is not None
    both = (attributes >= 0) & (guessed >= 0)
    if pseudo.is_given is not None:
        both &= ~pseudo.is_given
    counts = np.bincount(guessed[guessed >= 0], minlength=num_attributes)
    if (guessed >= 0).any():  # the others have none, or one that is too low
        confidence = confidence[guessed >= 0]
    return {
        "shares": (counts / max(1, counts.sum())).tolist(),
        "mean_confidence": min(1.0, float(confidence.mean())),
        "n_unknown": int((guessed < 0).sum()),
        "n_known": int(both.sum()),
        "accuracy": float((attributes == guessed)[both].mean()) if both.any() else None,
    }


def _likeliest(pseudo: PseudoAttributes) -> NDArray[np.int64]:
    """Return the guesses (N,), also those below the smallest confidence."""
    assert pseudo.posterior is not None
    return np.where(pseudo.pseudo_attributes >= 0, pseudo.pseudo_attributes, pseudo.posterior.argmax(axis=1))


@dataclass
class _Doubts:
    """The doubts about an attribute, and the fields of `GuessesOfFactor` that go with them."""

    doubts: list[Doubt] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)


def _doubts(
    dataset: Dataset,
    features: NDArray[np.float32] | StoredFeatures,
    taken: NDArray[np.int64],
    backbone: Backbone,
    guessed: Sequence[NDArray[np.int64]],
    method: str,
) -> list[_Doubts]:
    """Return the doubts about the guesses (n,) of each suspect. ``taken`` (n,) are the rows of the ``features``.

    Classes that share their values are judged together, by their `judged_rows`. ``method`` is that of the guesses.
    """
    words = dataset.words
    parts = [
        (place, values, classes, np.flatnonzero(np.isin(dataset.labels, classes)))
        for place, suspect in enumerate(words.suspects)
        for values, classes in words.vocabularies(suspect).items()
    ]
    parts = [part for part in parts if len(part[1]) > 1 and len(part[3])]
    read = np.unique(np.concatenate([np.empty(0, np.int64), *(judged_rows(rows) for *_, rows in parts)]))
    logits, *by_template = (
        by_suspect(zero_shot_logits(backbone, features, *each.attribute_texts(), rows=taken[read]), words)
        for each in (words, *(replace(words, attribute_templates=(template,)) for template in TEMPLATES))
    )
    found, to_compare = [_Doubts() for _ in words.suspects], catalogue_words()
    for place, values, classes, rows in parts:
        judged, known = judged_rows(rows), list(words.suspects[place].values)
        cells, code = np.ix_(np.searchsorted(read, judged), np.array(values)), np.full(len(known) + 1, -1)  # last: -1
        code[list(values)] = np.arange(len(values))
        counts = np.bincount(guessed[place][rows] + 1, minlength=len(known) + 1)[1:]
        evidence = (
            logits[place][cells],
            [each[place][cells] for each in by_template],
            zero_shot_logits(backbone, features, to_compare, rows=taken[judged]),
            dataset.labels[judged],
        )
        names = [known[value] for value in values]
        trust = guess_trust(code[guessed[place][judged]], *evidence, names, counts[list(values)])
        if trust.doubts:
            of_part, of_suspect, doubts = len(classes) < dataset.num_classes, found[place], trust.doubts
            if leave_out := names_to_leave_out(trust, *evidence, method=method):
                kept = in_quotes([name for name in names if name not in leave_out])
                doubts.append(doubt("leave out", in_quotes(leave_out), kept=kept))
            of_classes = f"for {', '.join(dataset.class_names[label] for label in classes)}, " if of_part else ""
            of_suspect.doubts += [replace(each, sentence=of_classes + each.sentence) for each in doubts]
            of_suspect.doubted += [name for name in names if name not in of_suspect.doubted]
            of_suspect.leave_out += [] if of_part else leave_out
    return found


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
    clusters = _shares_of_class(labelled, rows)
    return GuessSheets(labelled.guesses, {} if clusters else dataset.words.guessed(), sheets, clusters)


def _shares_of_class(labelled: Labelled, rows: NDArray[np.int64]) -> list[tuple[str, str, float]]:
    """Return class, cluster, and its share of the class's ``rows``, of each cluster; nothing without clusters."""
    dataset, pseudo = labelled.dataset, labelled.pseudo
    if pseudo.class_clusters is None:
        return []
    pairs = group_pairs(dataset, pseudo)
    counts_CK = group_counts(pseudo_groups(dataset, pseudo)[rows], len(pairs)).reshape(dataset.num_classes, -1)
    shares_G = (counts_CK / counts_CK.sum(axis=1, keepdims=True).clip(1)).ravel()
    return [(y, a, share) for (y, a), share in zip(pairs, shares_G.tolist(), strict=True)]


def write_guesses(out: Path, sheets: GuessSheets, name: str, label_commands: str, *, again: bool = False) -> None:
    """Write ``guesses.html`` if there are images, so that people can check the guesses during training.

    A page that is there is kept unless ``again``.
    """
    if sheets.sheets is None:
        return
    page = out / "guesses.html"
    if again or is_missing(page):
        write_atomically(page, render_guesses(sheets, name, label_commands))
    shown = str(page).encode("utf-8", "backslashreplace").decode()  # most handlers of logs refuse other names
    logger.info(f"{sheets.guesses.called}, to check before training: {shown}")


def fitted_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Return the rows on which the guesses are fitted: all but those of the test split, unless there are no others."""
    is_test = dataset.splits == SPLITS.index("test")
    return np.flatnonzero(is_test.all() | ~is_test)


def trust_warnings(guesses: Guesses, labelled: Labelled, configs: Sequence[FitConfig] = ()) -> tuple[str, ...]:
    """Return the doubts about the guesses as warnings, if figures or trainings with ``configs`` depend on them."""
    depends = labelled.group_kind == "pseudo" or any(
        config.model_selection in PSEUDO_SELECTIONS
        or (OBJECTIVES[config.objective].uses_groups and config.group_source != "true")
        for config in configs
    )
    return doubts_in_words(guesses, labelled.dataset) if depends else ()


def doubts_in_words(guesses: Guesses, dataset: Dataset) -> tuple[str, ...]:
    """Return the doubts about the guesses of each suspect as one warning."""
    if guesses.by_clusters and guesses.doubts:
        way_out = "name attributes (--attributes NAME NAME), or look at the clusters with dbpt audit"
        return (f"the clusters can't be trusted: {'; '.join(map(str, guesses.doubts))}; {way_out}",)
    told: list[tuple[str, Guesses | GuessesOfFactor]] = [
        (f"{each.name} ({' / '.join(each.values)})", each) for each in guesses.factors
    ]
    warnings, way_out = [], "label more images" if guesses.by_probe else "use other words, give each name more wordings"
    for names, each in told or [(" / ".join(dataset.attribute_names), guesses)]:
        if reasons := "; ".join(doubt.sentence for doubt in each.doubts):
            ways_out = f"{'' if each.leave_out else f'{way_out}, '}or look at the guesses with dbpt audit"
            warnings.append(f"{guesses.guesser}'s guesses of {names} can't be trusted: {reasons}; {ways_out}")
    return tuple(warnings)
