"""`load_dataset`: whatever names or holds data becomes a `Dataset`, also rows in memory."""

import hashlib
import logging
import os
import re
import sys
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.arguments import is_missing
from dbpt.data import columns as tabular
from dbpt.data import tables as table_formats
from dbpt.data.dataset import SPLITS, Dataset, as_on_disk, check_dataset, check_names, check_possible
from dbpt.data.labels_and_splits import taken_in_order
from dbpt.data.layouts import DATASETS, DatasetReader
from dbpt.data.layouts.huggingface import is_saved_dataset, materialize, read_saved_dataset
from dbpt.data.layouts.image_folder import read_image_folder
from dbpt.data.layouts.webdataset import is_pattern_of_shards, read_webdataset
from dbpt.data.other_columns import RESERVED, OtherCells
from dbpt.data.paths import NOT_PUBLISHED, absolute, common_root, is_folder, is_there, list_entries, refuse_own_folder
from dbpt.data.tables import dataset_of, wanted_columns
from dbpt.data.text_array import Texts
from dbpt.data.words import FactorNames, Names, joint_codes, parse_factors, parse_vocabulary
from dbpt.data.writing import csv_of_columns
from dbpt.environment import cache_folder
from dbpt.errors import InputError, nearest, optional_module
from dbpt.storage.files import nearest_file, system_errors, write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from dbpt.data.layouts.huggingface import HuggingFaceData

logger = logging.getLogger(__name__)


def load_dataset(
    data: "DataLike",
    root: str | Path | None = None,
    *,
    classes: Names | None = None,
    attributes: Names | None = None,
    factors: FactorNames | None = None,
    template: str | Sequence[str] | None = None,
    attribute_template: str | Sequence[str] | None = None,
    group_template: str | Sequence[str] | None = None,
    celeba_target: str | None = None,
    celeba_attributes: str | Sequence[str] | None = None,
    columns: tabular.ColumnNames | None = None,
    training: bool = True,
    images: bool = True,
    check: bool = True,
    other_columns: bool = False,
    of_run: bool = False,
) -> Dataset:
    """Read the labels of a data set, and check them and that the image files exist. Opens no image.

    Args:
        data: ``"waterbirds"``, ``"celeba"``, ``"metashift"``; a demo such as ``"demo"``, which is drawn into the
            default cache; or the path of a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` table, of a folder of images
            ``split/class/*.jpg``, of WebDataset's shards ``train-{000..146}.tar``, or of a folder that ``save_to_disk``
            of Hugging Face's datasets wrote. Or a pandas ``DataFrame`` with the columns of a table, a `Dataset`, or a
            ``Dataset`` or ``DatasetDict`` of that library, which is saved in the default cache.
        root: the folder of a benchmark, or its parent; for a table, the folder that its paths are relative to, by
            default its own or, if all its paths are absolute, one that holds them; for a DataFrame, by default the
            working directory or, if its paths are absolute, the folder that holds them all.
        classes: names and wordings in index order: ``["animal=dog|elephant", "thing"]``, or ``{"animal": ["dog",
            "elephant"], "thing": "thing"}``. A benchmark or `Dataset` needs as many as it has classes. The labels of a
            table are these names, or integers 0..C-1. None uses the data set's own words, here and in the next three.
        attributes: the same for the spurious attribute. A benchmark or `Dataset` keeps its true attributes if these are
            its own names, in any order and wordings; else it has none, and a note says so.
        factors: instead, several attributes, each with its values: ``{"style": ["photo", "sketch"], "place": {"sea":
            ["sea", "harbour"], "land": "land"}}``, or ``["style: photo, sketch", "place: sea=sea|harbour, land"]``.
            with ``place[ship]``, images of class ship can only have these. The data set's attributes are then their
            combinations. A table may have a column for each factor, of the same name.
        template, attribute_template: sentences with one ``{}``, for classes and for attributes.
        group_template: sentences with one ``{class}`` and one ``{attribute}``, for groups.
        celeba_target: the attribute of CelebA to classify; None is ``"Blond_Hair"``.
        celeba_attributes: CelebA's spurious attributes. Their combinations are numbered as binary numbers whose first
            digit is the first attribute; None is ``["Male"]``.
        columns: the columns of a table or saved data set that are not called ``path``, ``label``, ``split`` and
            ``attribute``: ``{"label": "y"}`` or ``["label=y"]``. ``{"attribute": ""}`` ignores that column, or the
            attribute of a data set with a name.
        training: False also accepts data without training rows, or classes without any, for evaluation.
        images: False needs no image files, for rows with precomputed features. A table's paths are then any names, and
            their column is optional.
        check: False accepts rows that can't be used, which `check_data` lists.
        other_columns: True also reads the columns of a table, of WebDataset's JSON or of a saved data set that have no
            role here or in a table of predictions, as ``Dataset.other_columns``.
        of_run: True if the classes and attributes are those of a finished run, so that the data must have these names.

    Returns:
        All rows, in the order of the source.

    Raises:
        InputError: for anything wrong, in one line with the file, the line and the value.
    """
    if attributes is not None and factors is not None:
        raise InputError("--factors with --attributes: factors replace attributes; drop one of the two")
    parsed = None if factors is None else parse_factors(factors)
    source = "" if is_in_memory(data) else materialize(data)
    if source.startswith("demo"):
        from dbpt.data.demo import draw_into_cache  # imports Pillow, which reading a table does not need

        source, root = draw_into_cache(source, root, cache_folder()) or (source, root)
    named = {} if columns is None else tabular.parse_columns(columns, parsed or ())
    of_predictions = {*(named.get(role, role) for role in tabular.PREDICTION_ROLES), "error"}  # as dbpt predict has it
    request = tabular.DataRequest(
        source=source,
        root=None if root is None else absolute(root),
        classes=None if classes is None else parse_vocabulary(classes, "--classes"),
        attributes=None if attributes is None else parse_vocabulary(attributes, "--attributes"),
        templates=_listed(template),
        attribute_templates=_listed(attribute_template),
        group_templates=_listed(group_template),
        celeba_target=celeba_target,
        celeba_attributes=_listed(celeba_attributes),
        columns=tabular.of_data(named, parsed or ()),
        images=images,
        factors=parsed,
        of_run=of_run,
        role_elsewhere=frozenset(of_predictions) if other_columns else None,
    )
    reader = DATASETS.get(request.source)
    has_columns = isinstance(data, Dataset) or reader is not None
    if has_columns and (set(request.columns) - {"attribute"} or request.columns.get("attribute")):
        name = data.name if isinstance(data, Dataset) else request.source
        hint = "it only accepts 'attribute=', which ignores its attribute"
        raise InputError(f"--columns: data set {name!r} has fixed columns; {hint}")
    for name, value in (("celeba_target", celeba_target), ("celeba_attributes", celeba_attributes)):
        if value is not None and (reader is None or name not in reader.settings):
            given = f"--{name.replace('_', '-')} {value!r} with data {request.source or type(data).__name__!r}"
            raise InputError(f"{given}: only celeba has attributes to choose; drop it")
    if isinstance(data, Dataset):
        dataset = replace(data, root=request.root or data.root)
        dataset = _reworded(dataset.without_attributes() if request.ignores_attributes else dataset, request)
    elif is_in_memory(data):
        dataset = read_frame(data, request)
    else:
        dataset = _read_own(request) if reader is None else _read_known(request, reader)
    check_names(dataset)
    check_possible(dataset)
    if images:
        dataset = as_on_disk(dataset)
    if check:
        check_dataset(dataset, training=training, images=images)
    return dataset


def _listed(strings: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the strings as a tuple; a single string is one of them."""
    return (strings,) if isinstance(strings, str) else strings if strings is None else tuple(strings)


def _read_known(request: tabular.DataRequest, reader: type[DatasetReader]) -> Dataset:
    if request.root is None:
        raise InputError(f"data set {request.source!r} needs --root, the folder that holds {reader.holds}")
    dataset = reader.read(request.root, request)
    if request.ignores_attributes:
        dataset = dataset.without_attributes()
    dataset = _reworded(dataset, request)
    if any(is_there(folder / NOT_PUBLISHED) for folder in (request.root, dataset.root)):
        return replace(dataset, published=None, name=f"demo-{dataset.name}")
    return replace(dataset, notes=(*dataset.notes, *published_notes(dataset)))


def published_notes(dataset: Dataset) -> list[str]:
    """Return a note for each split whose group counts differ from the published ones."""
    groups, notes = dataset.groups(dataset.attributes), []
    for split, expected in enumerate(dataset.published or ()):
        rows = groups[(dataset.splits == split) & (groups >= 0)]
        counts = tuple(np.bincount(rows, minlength=dataset.num_groups).tolist())
        if counts != expected:
            shown, published = ("/".join(map(str, numbers)) for numbers in (counts, expected))
            notes.append(f"{SPLITS[split]}: group counts {shown} differ from the published {published}")
    return notes


def _reworded(dataset: Dataset, request: tabular.DataRequest) -> Dataset:
    """Return the data set with the given words in place of its own.

    Classes go by index. True attributes go by name, since other names may mean another attribute: with the same names
    in any order they are kept, also as the values of one of several factors, else they are left out. The names 0..A-1
    of a table without names go by index.
    """
    own, given = dataset.words, request.classes
    if given is not None:
        names = own.classes
        moved = any(name != own_name and name in names for name, own_name in zip(given, names, strict=False))
        if moved or len(given) != len(names):
            expected = f"{len(names)} ({', '.join(names)}, in this order)"
            raise InputError(f"--classes: the data set has {expected}, found {len(given)} ({tabular.shortened(given)})")
    words = request.words(own)
    if not (dataset.has_true_attributes or dataset.known_factors):
        return replace(dataset, words=words)
    pairs = zip(own.suspects, dataset.factor_attributes, strict=True)
    before = [(factor.name, factor.values, codes) for factor, codes in pairs]
    after = [(suspect.name, suspect.values) for suspect in words.suspects]
    # With one suspect on a side its name doesn't matter: the attribute of a benchmark has none of its own.
    several = min(len(before), len(after)) > 1
    if not several and set(own.attributes) == set(words.attributes):  # or the combinations of one are those of another
        before, after = [("", own.attributes, dataset.attributes)], [("", words.attributes)]
    known = [
        [
            _recoded(codes, old, values)
            for old_name, old, codes in before
            if set(old) == set(values) and (old_name == name or not several)
        ]
        for name, values in after
    ]
    # Each suspect has found its codes; of one against several, exactly one has, or it would be a guess which.
    if sum(map(len, known)) == (max(len(before), len(after)) if several else 1):
        codes = [matches[0] if matches else np.full_like(dataset.attributes, -1) for matches in known]
        return replace(
            dataset,
            words=words,
            attributes=joint_codes(codes, [len(values) for _, values in after]),
            known_factors=tuple(codes) if (dataset.known_factors and several) or len(after) > len(before) else (),
            published=dataset.published if list(words.attributes) == list(own.attributes) else None,
        )
    if list(own.attributes) == [str(code) for code in range(len(words.attributes))]:
        note = taken_in_order("the data set", words.attributes)
        return replace(dataset, words=words, notes=(*dataset.notes, note))
    named = "; ".join(f"{factor.name}: {', '.join(factor.values)}" for factor in words.factors)
    named = named or ", ".join(words.attributes)
    note = (
        f"the true attributes of the data ({', '.join(own.attributes)}) are left out: other names are given ({named})"
    )
    return replace(dataset.without_truth(), words=words, notes=(*dataset.notes, note), published=None)


def _recoded(codes: NDArray[np.int64], before: Iterable[Hashable], after: Iterable[Hashable]) -> NDArray[np.int64]:
    """Return codes (N,) of the names ``before`` as codes of the same names in the order ``after``; -1 stays."""
    code_of = {name: code for code, name in enumerate(after)}
    moved: NDArray[np.int64] = np.array([*map(code_of.__getitem__, before), -1])[codes]
    return moved


def _read_own(request: tabular.DataRequest) -> Dataset:
    """Read a table, shards, or a folder, depending on the path."""
    path, root = absolute(request.source), request.root
    given = "--embeddings" if root is None else f"--root {root}"
    if re.match(r"pipe:|\w+://", request.source):
        raise InputError(f"data {request.source!r}: is not on this machine; download it, and give the path")
    if is_pattern_of_shards(request.source):
        if root is not None or not request.images:
            raise InputError(f"{given}: {path} contains its images; drop it, or give a table")
        return read_webdataset(str(path), request)
    if path.suffix.lower() in table_formats.READERS:
        return _read_table(path, request)
    if not is_folder(path):
        problem = "does not exist" + (nearest(path.name, list(DATASETS)) or nearest_file(path))
        problem = "is a file of another kind" if is_there(path) else problem
        known, endings = ", ".join(DATASETS), ", ".join(table_formats.READERS)
        expected = f"expected a data set ({known}), a {endings} table, .tar shards, or a folder (images, save_to_disk)"
        raise InputError(f"data {request.source!r}: {problem}; {expected}")
    if not request.images:
        raise InputError(f"--embeddings with the folder {path}: files of a folder have no order; give a table")
    refuse_own_folder(path)
    is_saved = is_saved_dataset(path)
    if root is not None or (request.columns and not is_saved):
        raise InputError(f"{'--columns' if root is None else given}: {path} contains its images; drop it")
    try:
        return (read_saved_dataset if is_saved else read_image_folder)(path, request)
    except InputError as error:
        names = [entry.name for entry in list_entries(path)]
        tables = [name for name in names if Path(name).suffix.lower() in table_formats.READERS]
        if is_saved or not tables:
            raise
        table = path / min(tables, key=lambda name: Path(name).stem not in names)  # images.csv beside images/
        raise InputError(f"{path}: give its table, {table}; it can't be read as folders of classes: {error}") from None


def _read_table(path: Path, request: tabular.DataRequest) -> Dataset:
    if not is_there(path):
        columns = ", ".join(request.column_names.values())
        raise InputError(f"{path}: does not exist{nearest_file(path)}; expected a table with columns such as {columns}")
    root = path.parent if request.root is None else request.root
    if request.root is not None and not is_folder(root):
        expected = f"expected the one that the paths of {path.name} are relative to"
        raise InputError(f"--root {root} is not a folder; {expected}")
    return table_formats.read_table(path, root, request)


DataLike: TypeAlias = "str | os.PathLike[str] | Dataset | pd.DataFrame | HuggingFaceData"
"""Whatever has DATA in its place takes: a name or path, or rows in memory."""

FRAME = Path("DataFrame")  # where a row of one is, in messages
HINT = "; name the columns, for example columns={'label': 'y'}"


def is_in_memory(data: object) -> bool:
    """Return whether ``data`` is a `Dataset` or a pandas DataFrame, without importing pandas."""
    pandas = sys.modules.get("pandas")  # whoever has such an object has imported it
    return isinstance(data, Dataset) or (pandas is not None and isinstance(data, pandas.DataFrame))


def import_pandas() -> Any:
    """Return the module. Raises `InputError` if it is not installed."""
    return optional_module("pandas", "a data frame")


def read_frame(frame: "pd.DataFrame", request: tabular.DataRequest) -> Dataset:
    """Read a DataFrame as a table; its index is ignored.

    Without a root, paths are relative to the working directory, or to their common folder if they are absolute.
    """
    columns = frame_columns(frame, FRAME, *wanted_columns(request), hint=HINT, with_role=request.with_role)
    paths = columns.values.get(request.column_names["path"], [])
    return dataset_of(columns, request.root or common_root(paths) or absolute("."), request, "dataframe")


def frame_columns(
    frame: Any,
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    hint: str = "",
    with_role: Collection[str] | None = None,
) -> tabular.Columns:
    """Return the named columns of a data frame.

    Args:
        frame: of pandas or polars, with a row for each image.
        path: what messages call it.
        required: names of columns; a missing one is an `InputError`.
        optional: names of columns that may be missing.
        hint: the end of the message about a missing column.
        with_role: names of columns with a role; all columns but these are read too, as ``others``. None ignores them.
    """
    header = [str(name) for name in frame.columns]
    positions = tabular.positions_of(str(path), header, required, optional, hint)
    if not len(frame):
        raise InputError(f"{path}: has columns but no rows; expected one row per image")
    of_pandas = hasattr(frame, "iloc")
    others = OtherCells(with_role)
    beside = others.positions(header)
    cells = {
        name: frame.iloc[:, at] if of_pandas else frame[name] for name, at in [*positions.items(), *beside.items()]
    }
    others.add({name: _known(cells[name]) for name in beside}, len(frame))
    values = {name: _cells(cells[name], name, path) for name in positions}
    return tabular.Columns(path, range(1, len(frame) + 1), values, unit="row", others=others.columns())


def _known(column: Any) -> list[Any]:
    """Return the values of a column of a data frame, None where one is missing."""
    return [None if is_missing(value) else value for value in column.to_list()]


def _cells(column: Any, name: str, path: Path) -> list[str]:
    cells: list[str] = []
    for value in _known(column):
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        text = tabular.cell_text(value.item() if isinstance(value, np.generic) else value)
        if text is None:
            raise InputError(f"{path} row {len(cells) + 1}: {name} is {value!a:.80}, expected text or a number")
        cells.append(text)
    return cells


def save_table(dataset: Dataset, cache: Path) -> Path:
    """Write the rows as a CSV in the cache folder, unless it exists, and return its path.

    Reading it with the words of ``dataset`` gives the same labels, attributes and splits.
    """
    columns: dict[str, Sequence[str]] = {
        "path": dataset.paths,
        "label": Texts.coded(dataset.class_names, dataset.labels),
    }
    if dataset.splits.any():  # else all are of split train, which a reader notes where it is not written
        columns["split"] = Texts.coded(SPLITS, dataset.splits)
    for factor, codes in zip(dataset.words.factors, dataset.known_factors, strict=bool(dataset.known_factors)):
        columns[factor.name] = Texts.coded(factor.values, codes)
    if dataset.num_attributes and not dataset.known_factors:
        columns["attribute"] = Texts.coded(dataset.attribute_names, dataset.attributes)
    roles = {*tabular.ROLES, *(factor.name for factor in dataset.words.factors)}
    for name, cells in dataset.other_columns.cells.items():
        columns[f"{RESERVED}{name}" if name in roles else name] = cells
    digest = hashlib.sha256()
    for part in csv_of_columns(columns, str):
        digest.update(part.encode())
    file = cache / "datasets" / digest.hexdigest()[:32] / (re.sub(r"[^\w-]", "_", dataset.name) + ".csv")
    if not file.is_file():
        logger.info(f"saving {len(dataset)} rows as {file}")
        with system_errors(f"{file}: cannot save the rows there"):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, csv_of_columns(columns, str))
    return file
