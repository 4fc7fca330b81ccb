"""`audit`: what a classifier gets wrong in which groups, and whether the suspected attribute explains it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.auditing.by_group import audited_groups
from dbpt.auditing.factors import audited_factors, verdict_of_factors
from dbpt.auditing.figures import SCHEMA_VERSION, AuditedFactor, AuditFigures
from dbpt.auditing.next_step import next_step
from dbpt.auditing.page import audit_figures, render_audit
from dbpt.auditing.result import Audit
from dbpt.auditing.subject import Subject, subject_of
from dbpt.auditing.verdict import verdict_of
from dbpt.data import SPLITS
from dbpt.data.in_memory import DataLike
from dbpt.errors import InputError
from dbpt.experiments.figures import backbone_summary, clusters_summary, true_or_pseudo
from dbpt.experiments.guess import refuse_unread
from dbpt.experiments.guesses import judged_guesses
from dbpt.experiments.stages import label_dataset, log_warnings
from dbpt.files.csv import csv_of_columns, csv_text
from dbpt.files.disk import write_atomically, write_json
from dbpt.groups import group_counts, group_ids, group_metrics, group_name
from dbpt.groups.association import cramers_v, explained_errors
from dbpt.pseudo_attributes import PseudoAttributes
from dbpt.pseudo_attributes.image_table import image_columns
from dbpt.pseudo_attributes.pseudo_groups import group_pairs, pseudo_groups
from dbpt.report.confusion import confusion_counts
from dbpt.report.contact_sheets import contact_sheets
from dbpt.report.examples import group_examples, worst_first
from dbpt.report.figures import write_figures
from dbpt.report.gallery import surest_mistakes
from dbpt.report.made_by import setting_texts
from dbpt.runs.audited import AuditedData
from dbpt.runs.output_folder import FIGURES, Marker, OutputFolder, figures_named
from dbpt.settings.config import FitConfig, shows_settings
from dbpt.settings.keywords import FitSettings
from dbpt.settings.sections import AUDIT_SETTINGS

if TYPE_CHECKING:
    from typing_extensions import Unpack

AUDIT_FOLDER = OutputFolder(
    title="audit",
    command="dbpt audit",
    marker="status.json",
    record=Marker,
    schema_version=SCHEMA_VERSION,
    is_file=lambda name: name in ("audit.html", "audit.json", "groups.csv", "factors.csv", "images.csv"),
    subfolders={FIGURES: figures_named("accuracy", r"accuracy_factor-\d+")},
    can_resume=False,
)


@shows_settings(FitSettings)
def audit(
    data: DataLike | None = None,
    *,
    predictions: str | os.PathLike[str] | NDArray[Any] | Sequence[Any] = "zero-shot",
    out: str | Path | None = None,
    split: str | None = None,
    overwrite: bool = False,
    weights: str | Path | None = None,
    **settings: Unpack[FitSettings],
) -> Audit:
    """Show in which groups a classifier errs, and test whether the suspected attribute explains its errors.

    Nothing is trained but the probe. CLIP guesses the attribute where neither the data nor
    ``pseudo_attributes`` have it.

    Args:
        data: as for `dbpt.fit`; no split is needed. None with the folder of a run is the run's own data.
        predictions: whose errors: ``"zero-shot"``, CLIP itself; ``"probe"``, a linear probe of CLIP's features, whose
            predictions are out of fold; the folder of a finished run; a CSV or Parquet file with the columns path and
            prediction, and optionally label and a probability for each class, ``p_CLASS``; a ``.npy`` file in the order
            of the data; or an array: (N,) class indices or names, or (N, C) probabilities.
        out: a folder for ``audit.html``, ``audit.json``, ``groups.csv`` and ``images.csv``; it must not exist unless
            ``overwrite``.
        split: "train", "val", "test" or "all"; by default the one that `dbpt.fit` reports: test, else val, else train.
        weights: with a run, the present path of the backbone's local weights file, if it has moved.
        settings: those of `FitConfig` for data, words, backbone and pseudo attributes, ``seed`` and ``average``. With a
            run, classes and backbone are the run's, and attributes too unless they are given.

    Raises `InputError` for wrong settings, data or predictions, and if ``out`` can't be used.
    """
    chosen = dict[str, Any](settings)
    refuse_unread(chosen, AUDIT_SETTINGS, "an audit trains no prompt")
    with ExitStack() as held:
        if out is not None:
            held.enter_context(AUDIT_FOLDER.held(Path(out), resume=False, overwrite=overwrite))
        subject = subject_of(predictions, data, chosen, split, weights)
        written = ["--weights", str(weights)] if weights is not None else []
        written += ["--out", str(out)] if out is not None else []
        found, pseudo = _audited(subject, shlex.join(["dbpt", "audit", *subject.command, *written]))
        if out is not None:
            found = replace(found, folder=Path(out))
            _write(found, _page(subject, found.figures, pseudo), subject.config, overwrite=overwrite)
    log_warnings(found.warnings, subject.told)
    return found


def _audited(subject: Subject, command: str) -> tuple[Audit, PseudoAttributes]:
    """Return the audit that ``command`` makes, and CLIP's guesses for all images of the data."""
    dataset, rows, predictions = subject.dataset, subject.audited, subject.predictions
    words, readable = dataset.words, subject.readable
    pseudo = label_dataset(dataset, readable.evidence(), subject.config)
    guesses = judged_guesses(dataset, readable.label_features, readable.labeller, pseudo, rows)
    labels = dataset.labels[rows]
    kind = true_or_pseudo(labels, dataset.attributes[rows], dataset.num_classes)
    attributes = dataset.attributes if kind == "true" else pseudo.pseudo_attributes
    over_clusters = kind == "pseudo" and pseudo.class_clusters is not None
    pairs = group_pairs(dataset, pseudo if kind == "pseudo" else None)
    size = {"num_classes": dataset.num_classes, "num_attributes": len(pairs) // dataset.num_classes}
    training = dataset.splits == SPLITS.index("train")
    train_groups = group_ids(dataset.labels, attributes, size["num_attributes"])[training]
    train_counts = group_counts(train_groups, len(pairs))
    right = predictions.predictions == labels
    groups = audited_groups(
        predictions.predictions,
        labels,
        attributes[rows],
        predictions.probabilities,
        class_names=dataset.class_names,
        attribute_names=[attribute for _, attribute in pairs[: size["num_attributes"]]],
    )
    if over_clusters:  # other classes have other clusters
        own = [attribute for _, attribute in pairs]
        groups = [replace(g, attribute=a, false_positives=0, n_others=0) for g, a in zip(groups, own, strict=True)]
    explained = explained_errors(right, labels, attributes[rows], seed=subject.config.seed, **size)
    judged_by: Any = {"by": subject.by, "by_guesses": kind == "pseudo"}
    factors: list[AuditedFactor] = []
    if len(words.factors) > 1 and pseudo.class_clusters is None:
        seed = subject.config.seed
        factors = audited_factors(predictions, labels, attributes[rows], words, guesses, seed=seed, **judged_by)
        verdict = verdict_of_factors(factors, subject.by)
    else:
        verdict = verdict_of(groups, explained, guesses, attributes=dataset.attribute_names, **judged_by)
    average = subject.config.average or dataset.average
    if subject.config.average == "adjusted" and not train_counts.any():
        raise InputError(f"--average adjusted: {dataset.source} has no training rows, whose shares are the weights")
    advice, commands = next_step(subject, verdict, guesses, by_guesses=kind == "pseudo", factors=factors)
    figures = AuditFigures(
        schema_version=SCHEMA_VERSION,
        dbpt_version=__version__,
        verdict=verdict,
        data=AuditedData(
            name=dataset.name,
            root=str(dataset.root),
            split=cast(Any, subject.split),
            n=len(rows),
            failed_images=len(subject.readable.failures),
            classes=list(dataset.class_names),
            attributes=[] if over_clusters else list(dataset.attribute_names),
            clusters=clusters_summary(pseudo),
            notes=list(dataset.notes),
        ),
        backbone=backbone_summary(subject.backbone, subject.config),
        predictions_by=subject.by,
        predictions_from=subject.title,
        group_kind=kind,
        average="adjusted" if average == "adjusted" and train_counts.any() else "plain",
        metrics=group_metrics(
            predictions.predictions,
            labels,
            attributes[rows],
            train_counts=train_counts if train_counts.any() else None,
            group_names=[group_name(*pair) for pair in pairs],
            occurring=group_counts(dataset.groups(attributes), dataset.num_groups) > 0 if factors else None,
            **size,
        ),
        groups=groups,
        confusion=confusion_counts(labels, predictions.predictions, dataset.num_classes).tolist(),
        cramers_v=None if over_clusters else cramers_v(labels, attributes[rows], **size),
        training_cramers_v=None if over_clusters else cramers_v(dataset.labels[training], attributes[training], **size),
        explained=explained,
        guesses=guesses,
        warnings=[*subject.told, *pseudo.warnings],
        words={name: list(wordings) for name, wordings in (*words.classes.items(), *words.guessed().items())},
        templates=list(words.templates),
        attribute_templates=list(words.attribute_templates),
        command=command,
        next_step=advice,
        next_commands=commands,
        factors=factors,
        settings=setting_texts(subject.config, (name for name in vars(subject.config) if name in AUDIT_SETTINGS)),
    )
    images = image_columns(
        dataset,
        pseudo,
        rows,
        attributes=None if over_clusters else attributes[rows],
        predictions=predictions.predictions,
        probabilities=predictions.probabilities,
    )
    return Audit(figures, images, None), pseudo


def _page(subject: Subject, figures: AuditFigures, pseudo: PseudoAttributes) -> str:
    """Return the HTML page, with contact sheets and the surest mistakes in a group if there are images."""
    dataset, rows, predictions = subject.dataset, subject.audited, subject.predictions
    if not subject.config.opens_images:
        return render_audit(figures, None)
    assert pseudo.confidence is not None
    paths, guessed = [dataset.paths[row] for row in rows], pseudo_groups(dataset, pseudo)[rows]
    names, seed = group_pairs(dataset, pseudo), subject.config.seed
    sheets = contact_sheets(paths, dataset.root, guessed, pseudo.confidence[rows], group_names=names, seed=seed)
    groups = guessed if figures.group_kind == "pseudo" else dataset.groups(dataset.attributes)[rows]
    names = figures.data.groups
    examples = group_examples(
        paths,
        dataset.root,
        groups,
        [predictions.predictions],
        group_names=names,
        classes=dataset.class_names,
        seed=seed,
        first=worst_first([each.accuracy for each in figures.groups]),
    )
    group = figures.metrics.worst_group if figures.verdict.group is None else figures.verdict.group
    if group is None:
        return render_audit(figures, sheets, None, examples)
    members, label = np.flatnonzero(groups == group), group // (len(names) // dataset.num_classes)
    mistakes = surest_mistakes(
        [paths[i] for i in members],
        dataset.root,
        names[group],
        [dataset.class_names[y] for y in predictions.predictions[members]],
        None if predictions.probabilities is None else predictions.probabilities[members, label],
    )
    return render_audit(figures, sheets, mistakes, examples)


def _write(found: Audit, page: str, config: FitConfig, *, overwrite: bool) -> None:
    """Write the files of the held folder."""
    assert found.folder is not None
    out, rows = found.folder, found.group_rows()
    AUDIT_FOLDER.start(out, {}, config, resume=False, overwrite=overwrite)
    write_json(out / "audit.json", asdict(found.figures))
    write_atomically(out / "groups.csv", csv_text([list(rows[0]), *(row.values() for row in rows)]))
    if of_factors := found.factor_rows():
        write_atomically(out / "factors.csv", csv_text([list(of_factors[0]), *(row.values() for row in of_factors)]))
    write_atomically(out / "images.csv", csv_of_columns(found.images))
    write_figures(out, audit_figures(found.figures))
    write_atomically(out / "audit.html", page)
    AUDIT_FOLDER.finish(out, {}, config)
