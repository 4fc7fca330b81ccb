"""`audit`: what a classifier gets wrong in which groups, and whether the suspected attribute explains it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.assembly import audited
from dbpt.auditing.auto import with_found_attributes
from dbpt.auditing.charts import audit_figures
from dbpt.auditing.figures import SCHEMA_VERSION, AuditFigures
from dbpt.auditing.page import render_audit
from dbpt.auditing.result import Audit
from dbpt.auditing.subject import Subject, opened_subject
from dbpt.data.in_memory import DataLike
from dbpt.experiments.stages import log_warnings
from dbpt.files.csv import csv_of_columns, csv_text
from dbpt.files.disk import write_atomically, write_json
from dbpt.groups.accuracy import worst_first
from dbpt.pseudo_attributes import PseudoAttributes
from dbpt.pseudo_attributes.pseudo_groups import group_pairs, pseudo_groups
from dbpt.report.charts import Chart, write_figures
from dbpt.report.contact_sheets import contact_sheets
from dbpt.report.examples import group_examples
from dbpt.report.gallery import surest_mistakes
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
    ``pseudo_attributes`` have it. With ``attributes="clusters"`` the groups are clusters within each class, even if the
    data have true attributes. With ``attributes="auto"`` the attribute is the first family that `dbpt.discover`
    proposes for the same predictions; zero-shot CLIP's errors are searched in images that aren't audited, if there are
    any.

    Args:
        data: as for `dbpt.fit`; no split is needed. None with the folder of a run is the run's own data.
        predictions: whose errors: ``"zero-shot"``, CLIP itself; ``"probe"``, a linear probe of CLIP's features, whose
            predictions are out of fold; the folder of a finished run; a CSV or Parquet file with the columns path and
            prediction, and optionally label and a probability for each class, ``p_CLASS``; a ``.npy`` file in the order
            of the data; a data frame of pandas or polars with the columns of such a file; or an array: (N,) integers,
            which are class indices, (N,) class names, or (N, C) probabilities.
        out: a folder for ``audit.html``, ``audit.json``, ``groups.csv`` and ``images.csv``; it must not exist unless
            ``overwrite``.
        split: "train", "val", "test" or "all"; by default the one that `dbpt.fit` reports: test, else val, else train.
            A probe takes the first of train, val and test, since it learns from these images.
        weights: with a run, the present path of the backbone's local weights file, if it has moved.
        settings: those of `FitConfig` for data, words, backbone and pseudo attributes, ``seed`` and ``average``. With a
            run, classes and backbone are the run's, and attributes too unless they are given.

    Raises `InputError` for wrong settings, data or predictions, and if ``out`` can't be used.
    """
    why = "an audit trains no prompt"
    of = {"predictions": predictions, "data": data, "split": split, "weights": weights}
    with opened_subject(AUDIT_FOLDER, AUDIT_SETTINGS, why, settings, out=out, overwrite=overwrite, **of) as opened:
        subject = with_found_attributes(opened)
        found, pseudo = audited(subject, subject.command("audit", {"--weights": weights, "--out": out}))
        if out is not None:
            found = replace(found, folder=Path(out))
            charts = audit_figures(found.figures)
            page = _page(subject, found.figures, pseudo, charts)
            _write(found, page, charts, subject.config, overwrite=overwrite)
    log_warnings(found.warnings, subject.told)
    return found


def _page(subject: Subject, figures: AuditFigures, pseudo: PseudoAttributes, charts: Mapping[str, Chart | None]) -> str:
    """Return the HTML page, with contact sheets and the surest mistakes in a group if there are images."""
    dataset, rows, predictions = subject.dataset, subject.audited, subject.predictions
    if not subject.config.opens_images:
        return render_audit(figures, None, charts=charts)
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
        first=[each.index for each in worst_first(figures.groups)],
    )
    shown = figures.named_group or figures.worst_group
    if shown is None:
        return render_audit(figures, sheets, None, examples, charts)
    members, label = np.flatnonzero(groups == shown.index), dataset.class_names.index(shown.class_name)
    mistakes = surest_mistakes(
        [paths[i] for i in members],
        dataset.root,
        names[shown.index],
        [dataset.class_names[y] for y in predictions.predictions[members]],
        None if predictions.probabilities is None else predictions.probabilities[members, label],
    )
    return render_audit(figures, sheets, mistakes, examples, charts)


def _write(found: Audit, page: str, charts: Mapping[str, Chart | None], config: FitConfig, *, overwrite: bool) -> None:
    """Write the files of the held folder."""
    assert found.folder is not None
    out, rows = found.folder, found.group_rows()
    AUDIT_FOLDER.start(out, {}, config, resume=False, overwrite=overwrite)
    write_json(out / "audit.json", asdict(found.figures))
    write_atomically(out / "groups.csv", csv_text([list(rows[0]), *(row.values() for row in rows)]))
    if of_factors := found.factor_rows():
        write_atomically(out / "factors.csv", csv_text([list(of_factors[0]), *(row.values() for row in of_factors)]))
    write_atomically(out / "images.csv", csv_of_columns(found.images))
    write_figures(out, charts)
    write_atomically(out / "audit.html", page)
    AUDIT_FOLDER.finish(out, {}, config)
