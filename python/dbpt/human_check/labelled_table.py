"""Labels by hand as a table to fit again with: a copy of the run's CSV or TSV, or a new table for other data."""

import codecs
import os
import re
import shlex
from collections.abc import Iterator, Mapping
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


def write_labelled_table(
    out: Path,
    design: Design,
    answers: NDArray[np.int64],
    *,
    data: str | Path | None = None,
    root: str | Path | None = None,
) -> str:
    """Write the run's table with the ``answers`` (n,) of `read_answers` as attributes; return the command to refit.

    The copy of a CSV or TSV keeps the bytes of other columns, and the attributes of images without an answer. Other
    data get a new CSV with path, label, split and attribute, which is empty without an answer. ``data`` and ``root``
    are those of the run, if they have moved. Raises `InputError` without the run or its data.
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
    names = list(design.attributes)
    labels = {row_of[path]: names[a] for path, a in zip(design.paths, answers.tolist(), strict=True) if a >= 0}
    column = parse_columns(config.columns or ()).get("attribute", "attribute")
    refit = ["dbpt", "fit", "--config", str(run / "config.toml"), "--guess-only-unknown", "--out", f"{run}-refit"]
    if data not in DATASETS and Path(data).suffix.lower() in COPIED and column and config.pseudo_attributes is None:
        content = _copy(dataset, column, labels)
        at_root = [] if config.root is None and _is_same(out.parent, dataset.root) else ["--root", str(dataset.root)]
        refit[2:2] = [str(out), *at_root]
    else:
        content = csv_of_columns(
            {
                "path": dataset.paths,
                "label": [dataset.class_names[label] for label in dataset.labels.tolist()],
                "split": [SPLITS[split] for split in dataset.splits.tolist()],
                "attribute": [labels.get(row, "") for row in range(len(dataset))],
            }
        ).encode("utf-8", "surrogateescape")
        refit[4:4] = ["--pseudo-attributes", str(out)]
    write_atomically(out, content, overwrite=False)
    return shlex.join(refit)


def _is_same(folder: Path, other: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(other)


def _copy(dataset: Dataset, column: str, labels: Mapping[int, str]) -> bytes:
    """Return the table of ``dataset`` with ``labels``, by row, in a ``column`` that it may lack."""
    path = dataset.source
    text, has_bom = read_text(path), read_regular(path, "file").startswith(codecs.BOM_UTF8)
    separator = separator_of(text, COPIED[path.suffix.lower()])
    first, header = next(separated_rows(path, text, separator))
    position = next((i for i, name in enumerate(header) if name.strip() == column), None)
    spelled = _spelling(dataset, None if position is None else column)
    cells = {int(dataset.lines[row]): _quoted(spelled[name], separator) for row, name in labels.items()}
    parts, end = [], 0
    for line, spans in _records(text, separator):
        if position is None:
            begin = stop = spans[-1][1]
            cell = separator + (_quoted(column, separator) if line == first else cells.get(line, ""))
        elif line in cells:
            (begin, stop), cell = spans[position], cells[line]
        else:
            continue
        parts += [text[end:begin], cell]
        end = stop
    content = "".join([*parts, text[end:]]).encode()
    return codecs.BOM_UTF8 + content if has_bom else content


def _spelling(dataset: Dataset, column: str | None) -> dict[str, str]:
    """Return how the ``column`` writes each attribute: as its name, unless it has indices or the like."""
    names, path = dataset.attribute_names, dataset.source
    found: dict[int, str] = {}
    if column is not None:
        cells = read_columns(path, (column,), delimiters=COPIED[path.suffix.lower()]).values[column]
        found = {a: cell.strip() for a, cell in zip(dataset.attributes.tolist(), cells, strict=True) if a >= 0}
    are_indices = bool(found) and not set(found.values()) & set(names)
    return {name: found.get(a, str(a) if are_indices else name) for a, name in enumerate(names)}


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
