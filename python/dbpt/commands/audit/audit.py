"""`audit`: in which groups a classifier errs, and whether the suspected attribute explains it; its files."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import caution
from dbpt.commands.audit.next_step import next_step
from dbpt.commands.audit.page import audit_figures, render_audit
from dbpt.commands.audit.result import Audit
from dbpt.commands.audit.suspicious import suspicious_images, suspicious_pictures
from dbpt.commands.auto_attributes import search_auto_attributes
from dbpt.data import DataLike
from dbpt.data.writing import write_table
from dbpt.evaluation import GroupMetrics, gap_interval
from dbpt.evaluation.audit_fields import SCHEMA_VERSION, AuditFigures
from dbpt.evaluation.audit_subject import Subject, figures_of_subject, opened_subject
from dbpt.evaluation.audit_verdict import association, audited_factors, verdict_of_factors
from dbpt.evaluation.study_metrics import metrics_of
from dbpt.groups import group_name
from dbpt.groups.ids import contingency_table
from dbpt.guesses import GuessedFactors
from dbpt.guesses.base import BY_VALUES, OWN_VALUES
from dbpt.guesses.doubts import order_doubts
from dbpt.guesses.grouping import Grouping
from dbpt.report.audit_sentences import with_sentences
from dbpt.report.charts import Chart, write_figures
from dbpt.report.discovery_sentences import advice_of
from dbpt.report.group_pictures import contact_sheets, group_examples
from dbpt.report.tables import csv_of_lines
from dbpt.report.text import setting_texts
from dbpt.report.thumbnails import ImageFiles
from dbpt.runs.output_folder import FIGURES, Marker, OutputFolder, figures_named
from dbpt.settings.all_settings import AUDIT_SETTINGS
from dbpt.settings.config import FitConfig, shows_settings
from dbpt.settings.keywords import FitSettings
from dbpt.storage.files import write_atomically, write_json
from dbpt.study.stages import image_columns, judged_class_words, judged_guesses, log_warnings
from dbpt.study.study import Study, true_or_pseudo

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

AUDIT_FOLDER = OutputFolder(
    title="audit",
    verb="audit",
    marker="status.json",
    record=Marker,
    schema_version=SCHEMA_VERSION,
    is_file=lambda name: (
        name in ("audit.html", "audit.json", "groups.csv", "factors.csv")
        or name in ("images.csv", "images.parquet", "suspicious.csv", "suspicious.parquet")
    ),
    subfolders={FIGURES: figures_named("accuracy", r"accuracy_factor-\d+")},
    can_resume=False,
)


@shows_settings(FitSettings, AUDIT_SETTINGS)
def audit(
    data: "DataLike | None" = None,
    *,
    predictions: str | os.PathLike[str] | NDArray[Any] | Sequence[Any] = "zero-shot",
    out: str | Path | None = None,
    split: str | None = None,
    overwrite: bool = False,
    weights: str | Path | None = None,
    **settings: "Unpack[FitSettings]",
) -> Audit:
    """Show in which groups a classifier errs, and test whether the suspected attribute explains its errors.

    Nothing is trained but the probe. CLIP guesses the attribute where neither the data nor ``pseudo_attributes`` have
    it. With ``attributes="clusters"`` the groups are clusters within each class, even if the data have true attributes.
    With ``attributes="column:NAME"`` or ``"measured:NAME"`` they are over the values of a column of the data or a
    measured property of the images. With ``attributes="auto"`` the attribute is the first family that `dbpt.discover`
    proposes for the same predictions; zero-shot CLIP's errors are searched in images that aren't audited, if there are
    any.

    Args:
        data: as for `dbpt.fit`; no split is needed. None with the folder of a run is the run's own data.
        predictions: whose errors: ``"zero-shot"``, CLIP itself; ``"probe"``, a linear probe of CLIP's features, whose
            predictions are out of fold; the folder of a finished run; a CSV or Parquet file with the columns path and
            prediction, and optionally label and a probability for each class, ``p_CLASS``; a ``.npy`` file in the order
            of the data; a data frame of pandas or polars with the columns of such a file; or an array: (N,) integers,
            which are class indices, (N,) class names, or (N, C) probabilities.
        out: a folder for ``audit.html``, ``audit.json``, ``groups.csv``, ``images.csv`` and ``suspicious.csv``; it must
            not exist unless ``overwrite``.
        split: "train", "val", "test" or "all"; by default the one that `dbpt.fit` reports: test, else val, else train.
            A probe takes the first of train, val and test, since it learns from these images.
        overwrite: replace the audit in ``out``.
        weights: with a run, the present path of the backbone's local weights file, if it has moved.
        settings: those listed below. With a run, classes and backbone are the run's, and attributes too unless they are
            given.

    Returns:
        The groups with their accuracy, and the verdict.

    Raises:
        InputError: for wrong settings, data or predictions, and if ``out`` can't be used.
    """
    why = "an audit trains no prompt"
    of = {"predictions": predictions, "data": data, "split": split, "weights": weights}
    with opened_subject(AUDIT_FOLDER, AUDIT_SETTINGS, why, settings, out=out, overwrite=overwrite, **of) as opened:
        subject = search_auto_attributes(opened)
        result, study = audited(subject, opened.command("audit", weights=weights, out=out))
        if out is not None:
            result = replace(result, folder=Path(out))
            charts = audit_figures(result.figures)
            page = _page(subject, result, study, charts, Path(out))
            _write(Path(out), result, page, charts, subject.config, overwrite=overwrite)
    log_warnings(result.warnings, subject.logged)
    return result


def audited(subject: Subject, command: str) -> tuple[Audit, Study]:
    """Return the audit that ``command`` makes, and its study of all images of the data."""
    dataset, rows, config, words = subject.dataset, subject.audited, subject.config, subject.dataset.words
    predictions = subject.predictions.predictions
    pseudo = subject.embedded.guess(config, subject.probe)
    guesses = judged_guesses(subject.embedded, pseudo, rows)
    grouping, parts = groupings_of(subject, pseudo)
    splits = dataset.splits
    study = Study(embedded=subject.embedded, config=config, pseudo=pseudo, splits=splits, audited=grouping)
    factors, explained = audited_factors(subject, grouping, parts, guesses)
    verdict, training = verdict_of_factors(factors), study.rows("train")
    metrics = metrics_of(
        grouping,
        predictions,
        rows,
        train_counts=study.train_counts,
        # Combinations that nobody expects, and groups that mean nothing, need no warning that they are empty.
        expected=grouping.counts() > 0 if parts[1:] or verdict.kind == "untrusted" else None,
        confidence=subject.predictions.confidence,
    )
    metrics = replace(metrics, groups=tuple(group for group in metrics.groups if group.n))
    confusion = contingency_table(subject.labels, predictions, (dataset.num_classes, dataset.num_classes)).tolist()
    taken_for = {
        name: {other: n for other, n in zip(dataset.class_names, counts, strict=True) if n}
        for name, counts in zip(dataset.class_names, confusion, strict=True)
        if any(counts)
    }
    biased = [part for part, of in zip(parts, factors, strict=True) if of.verdict.kind == "bias"]
    associations = [association(part, training) for part in biased]
    step = next_step(
        subject,
        verdict,
        guesses,
        by_guesses=grouping.kind == "pseudo",
        factors=factors,
        association=max((known for known in associations if known is not None), default=None),
    )
    guessed = {} if guesses.provenance in OWN_VALUES else words.guessed()
    gap = _gap_interval(metrics, None if study.average == "plain" else study.train_counts)
    names = dataset.attribute_names if grouping.has_words else ()
    # Clusters of one class are not those of another, and guesses that can't be trusted say nothing.
    compares = grouping.provenance != "clusters" and verdict.kind != "untrusted"
    sizes = study.train_counts if study.train_counts.any() else grouping.counts(rows)
    suspicious, looks, wrong_errors = suspicious_images(subject, grouping, sizes, compares_attributes=compares)
    about_words = judged_class_words(subject.embedded, pseudo, rows)
    if about_words and subject.by != "zero-shot":  # which alone reads the words
        about_words = (caution("words of suspicious"),)
    if subject.by in ("file", "run"):
        numbers = "predictions" if subject.by == "file" else "labels"
        of = predictions, subject.labels, grouping.codes[rows], dataset.class_names
        about_words += order_doubts(*of, "order of predictions", numbers)
    warnings = [*about_words, *subject.logged, *pseudo.warnings]
    named = None if parts[1:] else next((each for each in metrics.groups if each.index == verdict.group), None)
    if named and 2 * wrong_errors[named.index] >= named.n - named.correct:
        values = {"n": int(wrong_errors[named.index]), "of": named.n - named.correct}
        group = group_name(named.class_name, named.attribute)
        warnings.append(caution("errors are wrong labels", group=group, **values))
    figures = AuditFigures(
        schema_version=SCHEMA_VERSION,
        verdict=verdict,
        group_kind=grouping.kind,
        average=study.average,
        metrics=metrics,
        gap_low=gap and gap[0],
        gap_high=gap and gap[1],
        confusion=taken_for,
        cramers_v=association(grouping, rows),
        training_cramers_v=association(grouping, training),
        explained=explained,
        guesses=guesses,
        warnings=warnings,
        words={name: list(wordings) for name, wordings in (*words.classes.items(), *guessed.items())},
        templates=list(words.templates),
        attribute_templates=list(words.attribute_templates) if guessed else [],
        next_step=step,
        suspicious=looks,
        factors=factors if parts[1:] else [],
        keeps_known=config.guess_only_unknown,
        settings=setting_texts(config, (name for name in vars(config) if name in AUDIT_SETTINGS)),
        **figures_of_subject(subject, command, names, pseudo),
    )
    images = image_columns(
        dataset,
        pseudo,
        guesses,
        rows,
        attributes=grouping.names_of_rows(rows),
        predictions=predictions,
        probabilities=subject.predictions.probabilities,
    )
    figures = with_sentences(replace(figures, next_step=replace(step, sentence=advice_of(figures))))
    return Audit(figures, images, suspicious, None), study


def groupings_of(subject: Subject, pseudo: GuessedFactors) -> tuple[Grouping, list[Grouping]]:
    """Return the groups to audit, and those of each attribute alone, one or more.

    They are clusters or the values of a column if the audit was asked for them, else those of `true_or_pseudo`
    attributes. Each of several factors has its true values if enough audited images have one, whatever the others
    have. Combinations with a factor that is not known have the true values of the others where these are known.
    """
    rows, guessed = subject.audited, Grouping.guessed(subject.dataset, pseudo)
    true, labels = Grouping.true(subject.dataset), subject.dataset.labels[rows]
    if subject.config.lacks_words and ("attributes" in subject.read or not true.factors):
        return guessed, [guessed]

    def known_or_guessed(true: Grouping, guessed: Grouping) -> Grouping:
        kind = true_or_pseudo(labels, true.codes[rows], subject.dataset.num_classes)
        return true if kind == "true" else guessed

    parts = [known_or_guessed(true.alone(i), guessed.alone(i)) for i in range(len(guessed.factors))]
    filled = [
        replace(factor, codes=np.where(part.codes >= 0, part.codes, factor.codes))
        for factor, part in zip(guessed.factors, parts, strict=True)
    ]
    return known_or_guessed(true, replace(guessed, factors=tuple(filled))), parts


def _gap_interval(metrics: GroupMetrics, train_counts: NDArray[np.int64] | None) -> tuple[float, float] | None:
    """Return the interval of the gap to the adjusted average, or to the plain one without ``train_counts`` (G,)."""
    correct, counts = ([getattr(group, name) for group in metrics.groups] for name in ("correct", "n"))
    if train_counts is not None:
        return gap_interval(correct, counts, [train_counts[group.index] for group in metrics.groups])
    rest = metrics.n - sum(counts)
    return gap_interval(correct, counts, counts, rest=(round(metrics.average * metrics.n) - sum(correct), rest))


def _page(subject: Subject, result: Audit, study: Study, charts: Mapping[str, Chart | None], folder: Path) -> str:
    """Return the HTML page for the ``folder``, with contact sheets and the images of each group if there are images."""
    dataset, rows, pseudo, figures = subject.dataset, subject.audited, study.pseudo, result.figures
    if not subject.config.opens_images:
        return render_audit(figures, None, charts=charts)
    assert pseudo.confidence is not None
    guessed, images = study.grouping("pseudo"), ImageFiles(dataset.paths_of(rows), dataset.root, folder)
    seed = subject.config.seed
    of: dict[str, Any] = {"group_names": guessed.pairs, "seed": seed, "is_known": guessed.provenance in BY_VALUES}
    sheets = contact_sheets(images, guessed.groups[rows], pseudo.confidence[rows], **of)
    examples = group_examples(
        images,
        study.reported.groups[rows],
        [subject.predictions.predictions],
        group_names=study.reported.pairs,
        classes=dataset.class_names,
        p_true=subject.p_true,
        seed=seed,
    )
    suspicious = suspicious_pictures(result.suspicious, dataset.root, folder)
    return render_audit(figures, sheets, examples, charts, suspicious)


def _write(
    out: Path, result: Audit, page: str, charts: Mapping[str, Chart | None], config: FitConfig, *, overwrite: bool
) -> None:
    """Write the files of the held folder ``out``."""
    AUDIT_FOLDER.start(out, {}, config, resume=False, overwrite=overwrite)
    write_json(out / "audit.json", asdict(result.figures))
    for name, rows in (("groups.csv", result.group_rows()), ("factors.csv", result.factor_rows())):
        if rows:
            write_atomically(out / name, csv_of_lines(rows))
    write_table(out, "images", result.images)
    write_table(out, "suspicious", result.suspicious)
    write_figures(out, charts)
    write_atomically(out / "audit.html", page)
    AUDIT_FOLDER.finish(out, {}, config)
