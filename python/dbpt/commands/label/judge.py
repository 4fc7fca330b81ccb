"""The human check: a person labels the attribute of about 200 images, which correct the figures over pseudo groups.

`draw_label_sample` turns a finished run into a folder with a page for labelling. `judge_labels` computes the figures
from that folder and the CSV of the page, without the run, the images or torch.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt._core import __version__
from dbpt.commands.label.estimates import LabelledStrata, estimate
from dbpt.commands.label.result import (
    CorrectedWorst,
    Judged,
    JudgedData,
    JudgedFactor,
    JudgedGroup,
    StrataCounts,
    WorstByPseudo,
    label_warnings,
)
from dbpt.commands.label.sample import Design, read_design
from dbpt.data import SPLITS, Columns, factor_codes, joint_codes
from dbpt.data.tables import SEPARATORS, read_columns
from dbpt.data.text_array import Texts
from dbpt.data.writing import Column, csv_of_columns, unmarked
from dbpt.errors import InputError
from dbpt.groups import worst_group
from dbpt.runs.run_folder import RUN_FOLDER, finished_run
from dbpt.settings.fields import Command
from dbpt.storage.files import check_output, write_atomically, write_json
from dbpt.study.data import load_rows


def write_labelled_table(
    out: Path,
    design: Design,
    answers: NDArray[np.int64],
    *,
    data: str | Path | None = None,
    root: str | Path | None = None,
) -> str:
    """Write a CSV with path, label, split and attribute of all images of the run; return the command to refit.

    The attribute is that of the answers, else the known one that the run kept, else empty. With several factors, each
    has a column of its own.

    Args:
        out: the CSV.
        design: the sample, with the run.
        answers: (n, Q) from `read_answers`.
        data, root: those of the run, if they have moved.

    Raises:
        InputError: without the run or its data.
    """
    run = Path(design.run)
    words, config = finished_run(run).words, RUN_FOLDER.read_settings(run)
    dataset, rows = load_rows(run, config, words, design.paths, data, root)
    columns: dict[str, Column] = {
        "path": dataset.paths,
        "label": Texts.coded(dataset.class_names, dataset.labels),
        "split": Texts.coded(SPLITS, dataset.splits),
    }
    known = dataset.factor_attributes
    is_kept = config.keeps_known and config.pseudo_attributes is None
    for i, (question, names) in enumerate(design.questions.items()):
        codes = known[i].copy() if is_kept else np.full(len(dataset), -1)
        codes[rows] = np.where(answers[:, i] >= 0, answers[:, i], codes[rows])
        columns[question] = Texts.coded(names, codes)
    write_atomically(out, csv_of_columns(columns), overwrite=False)
    labels = {"pseudo_attributes": out, "guess_only_unknown": True}
    return str(Command("fit", arguments={"config": run / "config.toml", **labels, "out": f"{run}-refit"}))


SCHEMA_VERSION = 3
CANNOT_TELL, NOT_ANSWERED = -1, -2


def judge_labels(
    folder: str | Path,
    labels: str | Path,
    *,
    table: str | Path | None = None,
    data: str | Path | None = None,
    root: str | Path | None = None,
) -> Judged:
    """Estimate the accuracy of a run's pseudo attributes, and correct its accuracy by group, with a person's labels.

    All figures are estimates for the whole split. Their 95 % intervals are for the figure if the person labelled all
    images of the split; they don't cover other images.

    Args:
        folder: the folder of `draw_label_sample`.
        labels: the CSV that the page exported.
        table: a CSV to write: the run's table with the labels in its columns of attributes or factors, for `dbpt.fit`
            with ``guess_only_unknown``.
        data, root: the data of the run and the folder of its images, if they have moved.

    Returns:
        The figures, as ``judged.json`` in the folder has them. An estimate has ``value``, ``low`` and ``high``,
        fractions that are None if no label determines them. With several factors, the figures are about the
        combinations, and ``factors`` has those of each factor alone. With ``table``, ``refit`` is the command that fits
        again.

    Raises:
        InputError: for a folder that is no sample or was changed, for labels that don't belong to it, and if the table
            exists or the run or its data are gone.
    """
    design = read_design(arguments.path("folder", folder))
    file = Path(folder) / "judged.json"
    check_output("the result", file, overwrite=True, advice="move it away")
    if table is not None:
        if os.path.lexists(table):
            raise InputError(f"--table {table}: exists; choose another name")
        check_output("--table", arguments.path("table", table), overwrite=False, ending=".csv")
    answers = read_answers(arguments.path("labels", labels), design)
    result = _judged(design, answers)
    refit = None
    if table is not None:
        refit = write_labelled_table(Path(table), design, answers, data=data, root=root)
    write_json(file, result.to_dict())
    return replace(result, refit=refit)


def read_answers(path: Path, design: Design) -> NDArray[np.int64]:
    """Read the CSV that the page exports.

    The columns are ``sample``, the same in each line; ``path``; and ``attribute``, or each factor: a name, or empty for
    "can't tell". Spreadsheets may have written semicolons or tabs, and lines with nothing else at the end.

    Returns:
        The answers to each question, (n, Q) int64: the index of an attribute; -1 if the person can't tell, and -2 for
        an image without a line.

    Raises:
        InputError: for a file that isn't of this sample, and if no image has an answer.
    """
    try:
        table = read_columns(path, ("sample", "path", *design.questions), delimiters=SEPARATORS)
    except InputError as error:
        raise InputError(f"{error}; give the CSV that the sample's index.html saves, labels.csv") from None
    filled = [row for row, cells in enumerate(zip(*table.values.values(), strict=True)) if any(map(str.strip, cells))]
    values = {name: [unmarked(column[row]) for row in filled] for name, column in table.values.items()}
    columns = Columns(path, [table.lines[row] for row in filled], values)
    position = {name: i for i, name in enumerate(design.paths)}
    first: dict[str, int] = {}
    for row, (sample, name) in enumerate(zip(columns.values["sample"], columns.values["path"], strict=True)):
        if sample.strip() != design.sample:
            raise InputError(
                f"{columns.where(row)}: is of sample {sample!r}, expected {design.sample!r}: the labels belong to "
                "other images; give the folder of their sample"
            )
        if name not in position:
            raise InputError(f"{columns.where(row)}: path {name!r} is not an image of this sample")
        if first.setdefault(name, row) != row:
            raise InputError(f"{columns.where(row)}: path {name!r} is already at line {columns.lines[first[name]]}")
    answers = np.full((len(design.paths), len(design.questions)), NOT_ANSWERED, dtype=np.int64)
    rows = [position[name] for name in columns.values["path"]]
    for i, (question, names) in enumerate(design.questions.items()):
        codes = {name: number for number, name in enumerate(names)} | {"": CANNOT_TELL}
        answers[rows, i] = columns.decode(question, codes.get, list(names), hint="; leave it empty if you can't tell")
    if not (answers >= 0).all(axis=1).any():
        lacking = f"a value of each of {', '.join(design.factors)}" if design.factors else "an attribute"
        raise InputError(f"{path}: no image has {lacking}, so there is nothing to judge")
    return answers


def _strata(
    design: Design, pseudo_attributes: NDArray[np.int64], answers: NDArray[np.int64], size: int
) -> LabelledStrata:
    """Return the strata with one of ``size`` pseudo attributes each, (H,), and the ``answers`` (n,) about it."""
    counts = np.zeros((len(design.strata), size), dtype=np.int64)
    known = answers >= 0
    np.add.at(counts, (np.array(design.stratum)[known], answers[known]), 1)
    sizes, labels, right = np.array([(s.size, s.label, s.right) for s in design.strata], dtype=np.int64).T
    return LabelledStrata(sizes, labels, pseudo_attributes, right, counts, len(design.classes))


def _judged(design: Design, answers: NDArray[np.int64]) -> Judged:
    """Return the content of ``judged.json``."""
    sizes = [len(names) for names in design.questions.values()]
    combined = joint_codes(list(answers.T), sizes)
    combined[(answers == NOT_ANSWERED).all(axis=1)] = NOT_ANSWERED  # else -1 if one answer is missing
    pseudo_attributes = np.array([stratum.pseudo_attribute for stratum in design.strata], dtype=np.int64)
    strata = _strata(design, pseudo_attributes, combined, len(design.attributes))
    factors = []
    if len(design.factors) > 1:
        columns = zip(design.factors.items(), factor_codes(pseudo_attributes, sizes), answers.T, strict=True)
        for (name, values), guesses, own_answers in columns:
            figures = _figures(_strata(design, guesses, own_answers, len(values)), own_answers)
            factors.append(JudgedFactor(name=name, values=list(values), **figures))
    blank = strata.sizes[strata.labelled == 0]
    judged = Judged(
        schema_version=SCHEMA_VERSION,
        dbpt_version=__version__,
        sample=design.sample,
        run=design.run,
        dataset=JudgedData(name=design.dataset, classes=list(design.classes), attributes=list(design.attributes)),
        split=design.split,
        n=design.size,
        n_drawn=len(answers),
        n_not_labelled=int((combined == NOT_ANSWERED).sum()),
        average=int((strata.sizes * strata.right).sum()) / design.size,
        factors=factors,
        strata=StrataCounts(n=len(strata.sizes), n_not_labelled=len(blank), n_images_not_labelled=int(blank.sum())),
        **_figures(strata, combined),
    )
    return replace(judged, warnings=label_warnings(judged))


def _figures(strata: LabelledStrata, answers: NDArray[np.int64]) -> dict[str, Any]:
    """Return the `JudgedFigures` about the attribute, or about one factor, by name."""
    estimates = estimate(strata)
    pseudo = strata.sizes[:, None] * strata.is_pseudo
    n_G, right_G, labelled_G = (
        strata.by_group(images).astype(int) for images in (pseudo, pseudo * strata.right[:, None], strata.counts)
    )
    accuracies = [float(right / n) if n else None for right, n in zip(right_G, n_G, strict=True)]
    worst = worst_group(right_G, n_G)
    return {
        "n_labelled": int((answers >= 0).sum()),
        "n_cannot_tell": int((answers == CANNOT_TELL).sum()),
        "pseudo_accuracy": estimates.pseudo_accuracy,
        "by_pseudo": WorstByPseudo(
            worst_group=worst, worst_group_accuracy=None if worst is None else accuracies[worst]
        ),
        "corrected": CorrectedWorst(
            worst_group=estimates.worst_group, worst_group_accuracy=estimates.worst_group_accuracy
        ),
        "groups": [
            JudgedGroup(
                group=group,
                label=group // strata.num_attributes,
                attribute=group % strata.num_attributes,
                n_pseudo=int(n_G[group]),
                accuracy_by_pseudo=accuracies[group],
                precision=estimates.precision[group],
                n_labelled=int(labelled_G[group]),
                n_estimated=estimates.images[group],
                accuracy=estimates.accuracy[group],
            )
            for group in range(len(n_G))
        ],
    }
