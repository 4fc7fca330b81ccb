"""Labels by hand as a table to fit again with: a copy of the run's CSV or TSV, or a new table for other data."""

import codecs
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data import DATASETS, SPLITS, Dataset
from dbpt.data.columns import parse_columns
from dbpt.data.table_formats import SEPARATORS, read_columns, read_text, separated_rows, separator_of
from dbpt.errors import InputError
from dbpt.files.csv import csv_of_columns
from dbpt.files.disk import read_regular, write_atomically
from dbpt.human_check.design import Design
from dbpt.runs.output_folder import read_settings
from dbpt.runs.run_folder import finished_run
from dbpt.settings.data import load_for_run

COPIED = {".csv": SEPARATORS, ".tsv": "\t"}
"""The tables that are copied, and their separators."""
NEW_LINE, LINE_END = re.compile(r"\r\n?|\n"), re.compile(r"\r\n?|\n|\Z")


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels by hand for one ``column``: the name by row. ``known`` (N,) are the indices that the data have."""

    column: str
    names: list[str]
    by_row: dict[int, str]
    known: NDArray[np.int64]


def write_labelled_table(
    out: Path,
    design: Design,
    answers: NDArray[np.int64],
    *,
    data: str | Path | None = None,
    root: str | Path | None = None,
) -> str:
    """Write the run's table with the ``answers`` (n, Q) of `read_answers` as attributes; return the command to refit.

    The copy of a CSV or TSV keeps the bytes of other columns, and the attributes of images without an answer. Other
    data get a new CSV with path, label, split and attribute, which is empty without an answer. With several factors,
    each has a column in place of the attribute. ``data`` and ``root`` are those of the run, if they have moved. Raises
    `InputError` without the run or its data, and for the name of another format.
    """
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
    asked = parse_columns(config.columns or (), words.factors)
    known = dataset.factor_attributes if design.factors else [dataset.attributes]
    labels = []
    for place, (question, names) in enumerate(design.questions.items()):
        by_row = {row: list(names)[a] for row, a in zip(rows, answers[:, place].tolist(), strict=True) if a >= 0}
        labels.append(Labels(asked.get(question, question), list(names), by_row, known[place]))
    refit = ["dbpt", "fit", "--config", str(run / "config.toml"), "--guess-only-unknown", "--out", f"{run}-refit"]
    suffix = "" if data in DATASETS or config.pseudo_attributes is not None else Path(data).suffix.lower()
    is_copy = suffix in COPIED and all(each.column for each in labels)
    if out.suffix.lower() not in (".csv", suffix if is_copy else ".csv"):
        raise InputError(f"--table {out}: is written as CSV; choose a name that ends in .csv")
    content: bytes | Iterable[str]
    if is_copy:
        content = _copy(dataset, labels)
        at_root = [] if config.root is None and _is_same(out.parent, dataset.root) else ["--root", str(dataset.root)]
        refit[2:2] = [str(out), *at_root]
    else:
        columns = {
            "path": dataset.paths,
            "label": [dataset.class_names[label] for label in dataset.labels.tolist()],
            "split": [SPLITS[split] for split in dataset.splits.tolist()],
        }
        for question, each in zip(design.questions, labels, strict=True):
            columns[question] = [each.by_row.get(row, "") for row in range(len(dataset))]
        content = csv_of_columns(columns)
        refit[4:4] = ["--pseudo-attributes", str(out)]
    write_atomically(out, content, overwrite=False)
    return shlex.join(refit)


def _is_same(folder: Path, other: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(other)


def _copy(dataset: Dataset, labels: Sequence[Labels]) -> bytes:
    """Return the table of ``dataset`` with ``labels`` in their columns, which it may lack."""
    path = dataset.source
    text, has_bom = read_text(path), read_regular(path, "file").startswith(codecs.BOM_UTF8)
    separator = separator_of(text, COPIED[path.suffix.lower()])
    first, header = next(separated_rows(path, text, separator))
    header = [name.strip() for name in header]
    present = sorted((each for each in labels if each.column in header), key=lambda each: header.index(each.column))
    cells = {each.column: _cells(dataset, each, separator, is_new=each not in present) for each in labels}
    parts, end = [], 0
    for line, spans in _records(text, separator):
        for each in present:
            if line in cells[each.column]:
                begin, stop = spans[header.index(each.column)]
                parts += [text[end:begin], cells[each.column][line]]
                end = stop
        for each in labels:
            if each not in present and line >= first:  # Excel's line that names the separator stays as it is
                cell = _quoted(each.column, separator) if line == first else cells[each.column].get(line, "")
                parts += [text[end : spans[-1][1]], separator, cell]
                end = spans[-1][1]
    content = "".join([*parts, text[end:]]).encode()
    return codecs.BOM_UTF8 + content if has_bom else content


def _cells(dataset: Dataset, labels: Labels, separator: str, *, is_new: bool) -> dict[int, str]:
    """Return the cells to write, by line: the labels, and in a new column what is known of other images."""
    spelled = {name: name for name in labels.names} if is_new else _spelling(dataset.source, labels)
    by_row = {row: labels.names[a] for row, a in enumerate(labels.known.tolist()) if a >= 0} if is_new else {}
    found = (by_row | labels.by_row).items()
    return {int(dataset.lines[row]): _quoted(spelled[name], separator) for row, name in found}


def _spelling(path: Path, labels: Labels) -> dict[str, str]:
    """Return how the column writes each attribute: as its name, unless it has indices or the like."""
    cells = read_columns(path, (labels.column,), delimiters=COPIED[path.suffix.lower()]).values[labels.column]
    found = {a: cell.strip() for a, cell in zip(labels.known.tolist(), cells, strict=True) if a >= 0}
    are_indices = bool(found) and not set(found.values()) & set(labels.names)
    return {name: found.get(a, str(a) if are_indices else name) for a, name in enumerate(labels.names)}


def _records(text: str, separator: str) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the first line of each record that is not blank, and where its fields begin and end in ``text``."""
    field = re.compile(rf'"(?:[^"]|"")*"|[^{separator}\r\n]*')
    position, line = 0, 1
    while position < len(text):
        spans = [field.match(text, position).span()]  # type: ignore[union-attr]
        while text[spans[-1][1] : spans[-1][1] + 1] == separator:
            spans.append(field.match(text, spans[-1][1] + 1).span())  # type: ignore[union-attr]
        if spans[-1][1] > position:
            yield line, spans
        end = LINE_END.match(text, spans[-1][1]).end()  # type: ignore[union-attr]
        line += len(NEW_LINE.findall(text, position, end))
        position = end


def _quoted(cell: str, separator: str) -> str:
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if re.search(rf'[{separator}"\r\n]', cell) else cell
