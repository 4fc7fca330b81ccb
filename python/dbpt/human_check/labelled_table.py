"""Labels by hand as a table of attributes, to fit again with."""

import shlex
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS
from dbpt.errors import InputError
from dbpt.files.csv import Column, csv_of_columns
from dbpt.files.disk import write_atomically
from dbpt.human_check.design import Design
from dbpt.runs.output_folder import read_settings
from dbpt.runs.run_folder import finished_run
from dbpt.settings.data import load_for_run


def write_labelled_table(
    out: Path,
    design: Design,
    answers: NDArray[np.int64],
    *,
    data: str | Path | None = None,
    root: str | Path | None = None,
) -> str:
    """Write a CSV with path, label, split and attribute of all images of the run; return the command to refit.

    The attribute is the one in the ``answers`` (n, Q) of `read_answers`, else the known one that the run kept, else
    empty.
    With several factors, each has a column in its place. ``data`` and ``root`` are those of the run, if they have
    moved. Raises `InputError` without the run or its data, and for the name of another format.
    """
    if out.suffix.lower() != ".csv":
        raise InputError(f"--table {out}: is written as CSV; choose a name that ends in .csv")
    run = Path(design.run)
    config, words = read_settings(run), finished_run(run).words
    data, root = config.data if data is None else data, config.root if root is None else root
    dataset = load_for_run(config, words, data, root)
    row_of = {path: row for row, path in enumerate(dataset.paths)}
    if gone := [path for path in design.paths if path not in row_of]:
        raise InputError(
            f"{dataset.source}: has no image {gone[0]!r} of the sample; name the data of the run in --data"
        )
    rows = [row_of[path] for path in design.paths]
    columns: dict[str, Column] = {
        "path": dataset.paths,
        "label": [dataset.class_names[label] for label in dataset.labels.tolist()],
        "split": [SPLITS[split] for split in dataset.splits.tolist()],
    }
    known = dataset.factor_attributes if design.factors else [dataset.attributes]
    is_kept = config.keeps_known and config.pseudo_attributes is None
    for place, (question, names) in enumerate(design.questions.items()):
        codes = known[place].copy() if is_kept else np.full(len(dataset), -1)
        codes[rows] = np.where(answers[:, place] >= 0, answers[:, place], codes[rows])
        columns[question] = [[*names, ""][code] for code in codes.tolist()]
    write_atomically(out, csv_of_columns(columns), overwrite=False)
    refit = ["dbpt", "fit", "--config", str(run / "config.toml"), "--pseudo-attributes", str(out)]
    return shlex.join([*refit, "--guess-only-unknown", "--out", f"{run}-refit"])
