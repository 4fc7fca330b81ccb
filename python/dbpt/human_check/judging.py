"""`judge_labels`: from a person's labels to the accuracy of the pseudo attributes and a corrected worst group."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.data.columns import Columns
from dbpt.data.table_formats import SEPARATORS, read_columns
from dbpt.errors import InputError
from dbpt.files.csv import unmarked
from dbpt.files.disk import check_output, write_json
from dbpt.groups import SMALL_GROUP, worst_group
from dbpt.human_check.design import Design, read_design
from dbpt.human_check.estimates import LabelledStrata, estimate
from dbpt.pseudo_attributes.judged import SCHEMA_VERSION

MANY_UNSURE = 0.05
CANNOT_TELL, NOT_ANSWERED = -1, -2
COLUMNS = ("sample", "path", "attribute")


def judge_labels(
    folder: str | Path,
    labels: str | Path,
    *,
    table: str | Path | None = None,
    data: str | Path | None = None,
    root: str | Path | None = None,
) -> dict[str, Any]:
    """Estimate the accuracy of a run's pseudo attributes, and correct its accuracy by group, with a person's labels.

    All figures are estimates for the whole split. Their 95 % intervals are for the figure if the person labelled all
    images of the split; they don't cover other images.

    ``folder`` is that of `draw_label_sample`, ``labels`` the CSV that the page exported. Returns the content of
    ``judged.json``, which is written into the folder. ``pseudo_accuracy`` is that of the pseudo attributes, ``average``
    that of the classifier. ``by_pseudo`` and ``corrected`` have the worst-group accuracy over pseudo groups (exact for
    this split) and over the person's groups. ``groups`` has the pseudo-group with its precision, and the corrected
    accuracy. ``confusion`` [y, a', a] are estimated images by class, pseudo attribute and the person's, of which
    ``n_judged`` [y, a'] are labelled; ``--label-noise`` reads them. An estimate is a dict of ``value``, ``low`` and
    ``high``, which are None if no label determines it.

    ``table`` is a CSV to write: the run's table with the labels in its column of attributes, for `dbpt.fit` with
    ``guess_only_unknown``. ``data`` and ``root`` are the data of the run and the folder of its images, if they have
    moved. The result then has ``refit`` too, the command that fits again. Raises `InputError` for a folder that is no
    sample or was changed, for labels that don't belong to it, and if the table exists or the run or its data are gone.
    """
    design = read_design(Path(folder))
    judged = Path(folder) / "judged.json"
    check_output("the result", judged, overwrite=True, advice="move it away")
    if table is not None:
        if os.path.lexists(table):
            raise InputError(f"--table {table}: exists; choose another name")
        check_output("--table", Path(table), overwrite=False)
    answers = read_answers(Path(labels), design)
    known = answers >= 0
    counts = np.zeros((len(design.strata), len(design.attributes)), dtype=np.int64)
    np.add.at(counts, (np.array(design.stratum)[known], answers[known]), 1)
    columns = np.array([(s.size, s.label, s.pseudo_attribute, s.right) for s in design.strata], dtype=np.int64)
    sizes, labels_H, pseudo_attributes, right = columns.T
    strata = LabelledStrata(sizes, labels_H, pseudo_attributes, right, counts, len(design.classes))
    result = _described(design, answers, strata)
    refit = {}
    if table is not None:
        from dbpt.human_check.labelled_table import write_labelled_table

        refit["refit"] = write_labelled_table(Path(table), design, answers, data=data, root=root)
    write_json(judged, result)
    return result | refit


def read_answers(path: Path, design: Design) -> NDArray[np.int64]:
    """Return the attribute of each image, (n,) int64; -1 if the person can't tell, -2 if there is no line.

    The columns are ``sample``, the same in each line; ``path``; and ``attribute``, a name, or empty for "can't tell".
    Spreadsheets may have written semicolons or tabs, and lines with nothing else at the end. Raises `InputError`.
    """
    table = read_columns(path, COLUMNS, delimiters=SEPARATORS)
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
    codes = {name: number for number, name in enumerate(design.attributes)} | {"": CANNOT_TELL}
    attributes = columns.decode("attribute", codes.get, list(design.attributes))
    if (attributes == CANNOT_TELL).all():
        raise InputError(f"{path}: no image has an attribute, so there is nothing to judge")
    answers = np.full(len(design.paths), NOT_ANSWERED, dtype=np.int64)
    answers[[position[name] for name in columns.values["path"]]] = attributes
    return answers


def _described(design: Design, answers: NDArray[np.int64], strata: LabelledStrata) -> dict[str, Any]:
    estimates = estimate(strata)
    pseudo = strata.sizes[:, None] * strata.is_pseudo
    n_G, right_G, labelled_G = (
        strata.by_group(images).astype(int) for images in (pseudo, pseudo * strata.right[:, None], strata.counts)
    )
    accuracies = [float(right / n) if n else None for right, n in zip(right_G, n_G, strict=True)]
    worst = worst_group(right_G, n_G)
    return {
        "schema_version": SCHEMA_VERSION,
        "dbpt_version": __version__,
        "sample": design.sample,
        "run": design.run,
        "dataset": {"name": design.dataset, "classes": list(design.classes), "attributes": list(design.attributes)},
        "split": design.split,
        "n": design.size,
        "n_drawn": len(answers),
        "n_labelled": int((answers >= 0).sum()),
        "n_cannot_tell": int((answers == CANNOT_TELL).sum()),
        "n_not_labelled": int((answers == NOT_ANSWERED).sum()),
        "pseudo_accuracy": vars(estimates.pseudo_accuracy),
        "average": int((strata.sizes * strata.right).sum()) / design.size,
        "by_pseudo": {"worst_group": worst, "worst_group_accuracy": None if worst is None else accuracies[worst]},
        "corrected": {
            "worst_group": estimates.worst_group,
            "worst_group_accuracy": vars(estimates.worst_group_accuracy),
        },
        "groups": [
            {
                "group": group,
                "label": group // strata.num_attributes,
                "attribute": group % strata.num_attributes,
                "n_pseudo": int(n_G[group]),
                "accuracy_by_pseudo": accuracies[group],
                "precision": vars(estimates.precision[group]),
                "n_labelled": int(labelled_G[group]),
                "n_estimated": estimates.images[group],
                "accuracy": vars(estimates.accuracy[group]),
            }
            for group in range(len(n_G))
        ],
        "confusion": estimates.confusion,
        "n_judged": strata.by_pseudo_group(strata.counts).sum(axis=2).astype(int).tolist(),
        "warnings": list(_warnings(design, strata, answers, labelled_G, n_G)),
    }


def _warnings(
    design: Design,
    strata: LabelledStrata,
    answers: NDArray[np.int64],
    labelled_G: NDArray[np.int64],
    n_G: NDArray[np.int64],
) -> Iterator[str]:
    names = [f"{y} · {a}" for y in design.classes for a in design.attributes]
    for group in np.flatnonzero(labelled_G == 0):
        among = f", though the run puts {n_G[group]} there" if n_G[group] else ""
        yield f"group {names[group]}: no image was labelled as this{among}; missing from the worst group, not 0"
    few = [f"{name} ({n})" for name, n in zip(names, labelled_G, strict=True) if 0 < n < SMALL_GROUP]
    if few:
        yield f"under {SMALL_GROUP} labelled images: {', '.join(few)}; read their intervals, or draw more with --n"
    missing, unsure = int((answers == NOT_ANSWERED).sum()), int((answers == CANNOT_TELL).sum())
    answered = len(answers) - missing
    if missing:
        yield f"{missing} of {len(answers)} drawn images are not labelled; they count as not drawn"
    if unsure > MANY_UNSURE * answered:
        yield (
            f"{unsure} of {answered} images could not be told; they count as not drawn, which makes "
            "the figures too high if they are the hard ones"
        )
    blank = strata.counts.sum(axis=1) == 0
    if blank.any():
        yield (
            f"{int(blank.sum())} of {len(blank)} strata ({int(strata.sizes[blank].sum())} images) have no labelled "
            "image; the most similar strata replace them"
        )
    if design.split == "train":
        yield "the classifier was trained on this split, so its accuracies are too high"
