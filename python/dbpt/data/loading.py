"""``load_dataset``: from a known name or a table's path to a checked data set, the user's words over the defaults."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbpt.data import celeba, image_folder, metashift, table, waterbirds, webdataset
from dbpt.data.checks import GroupCounts, check_dataset, published_note
from dbpt.data.column_names import ROLES, check_columns
from dbpt.data.dataset import Dataset
from dbpt.data.rows import shortened
from dbpt.errors import InputError, nearest
from dbpt.words import Vocabulary, Words, check_vocabulary


@dataclass(frozen=True)
class _Known:
    """A data set with a layout, words and published group counts of its own."""

    read: Callable[[Path, Words], Dataset]
    words: Words
    published: GroupCounts
    holds: str


KNOWN = {
    "waterbirds": _Known(
        waterbirds.read_waterbirds, waterbirds.WORDS, waterbirds.PUBLISHED, f"{waterbirds.FOLDERS[0]}/metadata.csv"
    ),
    "celeba": _Known(celeba.read_celeba, celeba.WORDS, celeba.PUBLISHED, "list_attr_celeba.txt and img_align_celeba/"),
    "metashift": _Known(metashift.read_metashift, metashift.WORDS, metashift.PUBLISHED, f"{metashift.FOLDER}/"),
}


def load_dataset(
    data: str | Path,
    root: str | Path | None = None,
    *,
    classes: Vocabulary | None = None,
    attributes: Vocabulary | None = None,
    templates: Sequence[str] | None = None,
    attribute_templates: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    training: bool = True,
    images: bool = True,
) -> Dataset:
    """Read the labels of a data set, check them, and check that the image files exist; opens no image.

    Args:
        data: ``"waterbirds"``, ``"celeba"``, ``"metashift"``, or the path of a ``.csv``, ``.tsv``, ``.jsonl``
            or ``.parquet`` table, of a folder of images ``split/class/*.jpg``,
            or of WebDataset's shards: ``train-{000..146}.tar``.
        root: for a known name, its folder or that folder's parent; for a table, what its paths are relative to
            (the table's own folder if None).
        classes: names and wordings in index order. For a known name, as many as it has; for a table, the names that
            its labels use, or labels are integers 0..C-1. None takes the data set's own.
        attributes: the same for the spurious attribute.
        templates: sentences with one ``{}`` for classes; None takes the data set's own.
        attribute_templates: the same for attributes.
        columns: of a table, which column holds ``path``, ``label``, ``split`` and ``attribute``, where it is called
            something else: ``{"label": "y"}``.
        training: False also accepts data without training rows or with classes that have none, for evaluation.
        images: False asks for no image file, for rows whose features are given. A table's paths are then any names, and
            need no column: without one, rows are called by their number.

    Raises:
        InputError: anything that does not fit, in one line with its file, line and value.
    """
    for argument, vocabulary in (("classes", classes), ("attributes", attributes)):
        if vocabulary is not None:
            check_vocabulary(vocabulary, argument)
    if str(data) in KNOWN:
        if columns:
            raise InputError(f"--columns: data set {str(data)!r} has columns of its own; give columns of a table alone")
        dataset = _load_known(data, root, classes, attributes, templates, attribute_templates)
    else:
        check_columns(columns or {}, "--columns")
        dataset = _load_own(data, root, classes, attributes, templates, attribute_templates, columns, images)
    check_dataset(dataset, training=training, images=images)
    return dataset


def _load_known(
    data: str | Path,
    root: str | Path | None,
    classes: Vocabulary | None,
    attributes: Vocabulary | None,
    templates: Sequence[str] | None,
    attribute_templates: Sequence[str] | None,
) -> Dataset:
    known = KNOWN[str(data)]
    if root is None:
        raise InputError(f"data set {str(data)!r} needs root, the folder that holds {known.holds}")
    words = Words(
        _same_number("classes", classes, known.words.classes),
        _same_number("attributes", attributes, known.words.attributes),
        _sentences(templates, known.words.templates),
        _sentences(attribute_templates, known.words.attribute_templates),
    )
    dataset = known.read(_absolute(root), words)
    note = published_note(dataset, known.published)
    return replace(dataset, notes=(*dataset.notes, note)) if note else dataset


def _load_own(
    data: str | Path,
    root: str | Path | None,
    classes: Vocabulary | None,
    attributes: Vocabulary | None,
    templates: Sequence[str] | None,
    attribute_templates: Sequence[str] | None,
    columns: Mapping[str, str] | None,
    images: bool,
) -> Dataset:
    path = _absolute(data)
    sentences = (
        _sentences(templates, table.TEMPLATES),
        _sentences(attribute_templates, table.ATTRIBUTE_TEMPLATES),
    )
    if webdataset.is_pattern_of_shards(str(data)):
        if root is not None or not images:
            given = f"--root {root}" if root is not None else "--embeddings"
            raise InputError(f"{given}: {path} has its images inside; drop it, or give a table")
        return webdataset.read_webdataset(str(path), classes, attributes, *sentences, columns)
    if path.suffix.lower() not in table.READERS and os.path.isdir(path):  # noqa: PTH112 (as below)
        if root is not None or columns:
            given = f"--root {root}" if root is not None else "--columns"
            raise InputError(f"{given}: {path} is a folder of images, which says where all is; drop it")
        if not images:
            raise InputError(f"--embeddings with the folder {path}: its files have no order to go by; give a table")
        return image_folder.read_image_folder(path, classes, attributes, *sentences)
    if path.suffix.lower() not in table.READERS:
        raise InputError(
            f"data {path.name!r} is neither a known data set ({', '.join(KNOWN)}) nor the path of a "
            f"{', '.join(table.READERS)} table, nor a folder, nor .tar shards{nearest(path.name.lower(), list(KNOWN))}"
        )
    folder = path.parent if root is None else _absolute(root)
    if not os.path.exists(path):  # noqa: PTH110 (Path.exists raises on a name that is too long)
        named = [(columns or {}).get(role, role) for role in ROLES]
        raise InputError(
            f"{path}: does not exist; expected a table with the columns {', '.join(named[:3])}[, {named[3]}]"
        )
    if not os.path.isdir(folder):  # noqa: PTH112 (as above)
        raise InputError(
            f"--root {folder} is not a folder; expected the one that the paths of {path.name} are relative to"
        )
    return table.read_table(
        path,
        folder,
        classes,
        attributes,
        *sentences,
        columns,
        images=images,
    )


def _same_number(argument: str, given: Vocabulary | None, own: Vocabulary) -> Vocabulary:
    if given is not None and len(given) != len(own):
        raise InputError(
            f"{argument}: the data set has {len(own)} ({', '.join(own)}, in this order), "
            f"found {len(given)} ({shortened(given)})"
        )
    return given or own


def _sentences(given: Sequence[str] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return default
    return (given,) if isinstance(given, str) else tuple(given)


def _absolute(path: str | Path) -> Path:
    """Absolute without following links, so that messages show what the user wrote."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps '..')
