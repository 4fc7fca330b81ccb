"""A saved data set as a `Dataset`: which columns hold what, and what the names of a ClassLabel mean."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.column_names import ROLES
from dbpt.data.dataset import Dataset
from dbpt.data.huggingface.saved_folder import SavedSplit, find_splits
from dbpt.data.huggingface.saved_rows import SavedRows, image_file_names, read_saved_rows
from dbpt.data.rows import column_position, relative_path, shortened
from dbpt.data.table import SPLIT_NAMES, attribute_indices, class_indices
from dbpt.data.value_codes import notes_on_numbers
from dbpt.errors import InputError
from dbpt.words import Vocabulary, Words


def read_saved_dataset(
    folder: Path,
    root: Path | None,
    classes: Vocabulary | None,
    attributes: Vocabulary | None,
    templates: Sequence[str],
    attribute_templates: Sequence[str],
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Read what ``save_to_disk`` has written; no image is read.

    Args:
        folder: a DatasetDict with the splits train, val (valid, validation) and test, or a Dataset, with a column of
            splits or all of one.
        root: the folder of images that are kept as paths (the data set's own if None).
        classes: names that the labels use, in index order, or which numbers 0..C-1 index. None takes the names of a
            ClassLabel that rows have, in its order.
        attributes: the same for attributes.
        templates: sentences for classes.
        attribute_templates: sentences for attributes.
        columns: role to the column that holds it, where it is not called so. The images are the column of feature
            Image, unless ``path`` says which of several.

    Raises:
        InputError: a damaged or half-written folder, no column of images or more than one, a row without a label; as
            tables do for values and paths.
    """
    splits = find_splits(folder)
    given = dict(columns or {})
    named = dict(zip(ROLES, ROLES, strict=True)) | given
    image = _image_column(folder, splits, given.get("path"))
    others = [role for role in ("attribute", "split") if role in given or _is_read(role, splits)]
    for split in splits:
        for column in (named["label"], *(named[role] for role in others if role in given)):
            column_position(str(folder / split.name), list(split.features), column)
    rows = read_saved_rows(folder, splits, image, named["label"], [named[role] for role in others])
    if not rows.members:
        raise InputError(
            f"{folder}: no row has a {named['label']}; save rows that have one, or name its column: label=NAME"
        )
    root, paths = _paths(rows, image, root)
    class_words, labels = class_indices(rows, named["label"], classes or _own_names(rows, named["label"]))
    attribute_words, indices = attribute_indices(
        rows, named["attribute"], attributes or _own_names(rows, named["attribute"])
    )
    return Dataset(
        name=folder.name,
        root=root,
        source=folder,
        paths=paths,
        lines=np.zeros(len(paths), dtype=np.int64),
        labels=labels,
        attributes=indices,
        splits=_split_codes(rows, named["split"] if "split" in others else None),
        words=Words(class_words, attribute_words, tuple(templates), tuple(attribute_templates)),
        notes=(*_left_out(rows, named["label"], classes is None), *notes_on_numbers(class_words, attribute_words)),
    )


def _image_column(folder: Path, splits: Sequence[SavedSplit], given: str | None) -> str:
    """The column of images in every split: the given one, or the only one."""
    found = [column for column in splits[0].features if splits[0].kind(column) == "Image"]
    if given is None and len(found) != 1:
        problem = (
            f"{shortened(found)} all hold images; say which: --columns path={found[0]}"
            if found
            else (
                f"no column has the feature Image (columns: {shortened(splits[0].features)}); cast the one of images: "
                "cast_column(NAME, datasets.Image())"
            )
        )
        raise InputError(f"{folder / splits[0].name}: {problem}")
    column = found[0] if given is None else given
    for split in splits:
        column_position(str(folder / split.name), list(split.features), column)
        if split.kind(column) != "Image":
            raise InputError(
                f"{folder / split.name}: column {column!r} has the feature {split.kind(column)}, expected Image; cast "
                f"it: cast_column({column!r}, datasets.Image())"
            )
    return column


def _is_read(role: str, splits: Sequence[SavedSplit]) -> bool:
    """Whether a column is read that nobody has named. Of several splits each says what its rows are."""
    return (role == "attribute" or len(splits) == 1) and any(role in split.features for split in splits)


def _paths(rows: SavedRows, image: str, root: Path | None) -> tuple[Path, tuple[str, ...]]:
    """The root and the paths of the images: inside the Arrow files or, where none holds bytes, of files."""
    folder = rows.path
    if any(rows.has_bytes):
        if root is not None:
            raise InputError(f"--root {root}: {folder} has its images inside; drop it")
        return folder, tuple(rows.members)
    names = image_file_names(rows, image)
    if root is None and os.path.isabs(names[0]):  # noqa: PTH117 (as it is written)
        raise InputError(
            f"{rows.where(0)}: {image} is the file {names[0]!r}, not bytes; give the folder that holds all such files, "
            f"such as --root {os.path.dirname(names[0])}"  # noqa: PTH120 (as above)
        )
    root = root or folder
    return root, tuple(relative_path(name, root, rows.where(row)) for row, name in enumerate(names))


def _own_names(rows: SavedRows, column: str) -> Vocabulary | None:
    """Of a ClassLabel the names that rows have, in its order; None if it has no two of them, or is another feature."""
    present = set(rows.values.get(column, ()))
    names = dict.fromkeys(name for split in rows.splits for name in split.class_names(column))
    vocabulary: Vocabulary = {name: (name,) for name in names if name in present}
    return vocabulary if len(vocabulary) > 1 else None


def _split_codes(rows: SavedRows, column: str | None) -> NDArray[np.int64]:
    if column is None:
        return np.array(rows.split_codes(), dtype=np.int64)
    return rows.decode(column, lambda value: SPLIT_NAMES.get(value.lower()), ["train", "val", "test"])


def _left_out(rows: SavedRows, label: str, with_classes: bool) -> Iterator[str]:
    for name, number in rows.unlabelled.items():
        if number:
            yield f"split {name!r} is left out: its {number} rows have no {label} (-1 or empty)"
    names = {name for split in rows.splits for name in split.class_names(label)} - set(rows.values[label])
    if with_classes and names:
        yield f"no row has {len(names)} of the names of {label!r}, which are left out: {shortened(sorted(names), 3)}"
