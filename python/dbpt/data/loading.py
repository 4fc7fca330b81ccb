"""``load_dataset``: from the name of a benchmark or a path to a checked data set, with the user's words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbpt.data import table_formats, webdataset
from dbpt.data.columns import REQUIRED, DataRequest, check_columns, shortened
from dbpt.data.dataset import Dataset
from dbpt.data.dataset_checks import check_dataset, check_names, published_notes, spelled_as_on_disk
from dbpt.data.huggingface import is_saved_dataset, read_saved_dataset
from dbpt.data.huggingface_objects import path_of
from dbpt.data.image_folder import read_image_folder
from dbpt.data.paths import absolute, is_file, is_folder, is_there
from dbpt.data.reader import DATASETS, DatasetReader
from dbpt.data.words import Vocabulary, Words, check_vocabulary
from dbpt.errors import InputError, nearest

if TYPE_CHECKING:
    from dbpt.data.huggingface_objects import HuggingFaceData


def load_dataset(
    data: "str | Path | HuggingFaceData",
    root: str | Path | None = None,
    *,
    classes: Vocabulary | None = None,
    attributes: Vocabulary | None = None,
    templates: Sequence[str] | None = None,
    attribute_templates: Sequence[str] | None = None,
    celeba_target: str | None = None,
    celeba_attributes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    training: bool = True,
    images: bool = True,
    check: bool = True,
) -> Dataset:
    """Read the labels of a data set, and check them and that the image files exist. Opens no image.

    Raises `InputError` for anything wrong, in one line with the file, the line and the value.

    Args:
        data: ``"waterbirds"``, ``"celeba"``, ``"metashift"``, or the path of a ``.csv``, ``.tsv``, ``.jsonl``
            or ``.parquet`` table, of a folder of images ``split/class/*.jpg``, of WebDataset's shards
            ``train-{000..146}.tar``, or of a folder that ``save_to_disk`` of Hugging Face's datasets wrote. Or a
            ``Dataset`` or ``DatasetDict`` of that library, which is saved in the default cache.
        root: the folder of a benchmark, or its parent; for a table, the folder that its paths are relative to, by
            default its own.
        classes: names and wordings in index order. A benchmark needs as many as it has classes. The labels of a table
            are these names, or integers 0..C-1. None uses the data set's own words, here and in the next three.
        attributes: the same for the spurious attribute.
        templates, attribute_templates: sentences with one ``{}``, for classes and for attributes.
        celeba_target: the attribute of CelebA to classify; None is ``"Blond_Hair"``.
        celeba_attributes: CelebA's spurious attributes. Their combinations are numbered as binary numbers whose first
            digit is the first attribute; None is ``["Male"]``.
        columns: the columns of a table or saved data set that are not called ``path``, ``label``, ``split`` and
            ``attribute``: ``{"label": "y"}``. ``{"attribute": ""}`` ignores that column.
        training: False also accepts data without training rows, or classes without any, for evaluation.
        images: False needs no image files, for rows with precomputed features. A table's paths are then any names, and
            their column is optional.
        check: False accepts rows that can't be used, which `check_data` lists.
    """
    for argument, vocabulary in (("classes", classes), ("attributes", attributes)):
        if vocabulary is not None:
            check_vocabulary(vocabulary, argument)
    request = DataRequest(
        source=path_of(data),
        root=None if root is None else absolute(root),
        classes=classes,
        attributes=attributes,
        templates=_listed(templates),
        attribute_templates=_listed(attribute_templates),
        celeba_target=celeba_target,
        celeba_attributes=_listed(celeba_attributes),
        columns=columns or {},
        images=images,
    )
    check_columns(request.columns, "--columns")
    reader = DATASETS.get(request.source)
    for name, value in (("celeba_target", celeba_target), ("celeba_attributes", celeba_attributes)):
        if value is not None and (reader is None or name not in reader.settings):
            given = f"--{name.replace('_', '-')} {value!r} with data {request.source!r}"
            raise InputError(f"{given}: only celeba has attributes to choose; drop it")
    dataset = _read_own(request) if reader is None else _read_known(request, reader)
    check_names(dataset)
    if images:
        dataset = spelled_as_on_disk(dataset)
    if check:
        check_dataset(dataset, training=training, images=images)
    return dataset


def _listed(strings: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the strings as a tuple; a single string is one of them."""
    return (strings,) if isinstance(strings, str) else strings if strings is None else tuple(strings)


def _read_known(request: DataRequest, reader: type[DatasetReader]) -> Dataset:
    """Read a data set that is known by name. Given words replace its own, by index."""
    name = request.source
    if request.columns:
        raise InputError(f"--columns: data set {name!r} has its own columns; --columns is for tables")
    if request.root is None:
        raise InputError(f"data set {name!r} needs root, the folder that holds {reader.holds}")
    dataset = reader.read(request.root, request)
    own = dataset.words
    for argument, given, names in (
        ("classes", request.classes, own.classes),
        ("attributes", request.attributes, own.attributes),
    ):
        if given is not None and len(given) != len(names):
            expected = f"{len(names)} ({', '.join(names)}, in this order)"
            raise InputError(f"{argument}: the data set has {expected}, found {len(given)} ({shortened(given)})")
    words = Words(
        request.classes or own.classes,
        request.attributes or own.attributes,
        own.templates if request.templates is None else request.templates,
        own.attribute_templates if request.attribute_templates is None else request.attribute_templates,
    )
    return replace(dataset, words=words, notes=(*dataset.notes, *published_notes(dataset)))


def _read_own(request: DataRequest) -> Dataset:
    """Read a table, shards, or a folder, depending on the path."""
    path, root = absolute(request.source), request.root
    is_table = path.suffix.lower() in table_formats.READERS
    given = "--embeddings" if root is None else f"--root {root}"
    if webdataset.is_pattern_of_shards(request.source):
        if root is not None or not request.images:
            raise InputError(f"{given}: {path} has its images inside; drop it, or give a table")
        return webdataset.read_webdataset(str(path), request)
    if not is_table and is_folder(path):
        if not request.images:
            raise InputError(f"--embeddings with the folder {path}: its files have no order to go by; give a table")
        is_saved = is_saved_dataset(path)
        if root is not None or (request.columns and not is_saved):
            raise InputError(f"{'--columns' if root is None else given}: {path} has its images inside; drop it")
        return (read_saved_dataset if is_saved else read_image_folder)(path, request)
    if not is_table:
        if is_there(path) and not is_file(path):
            way_out = "give a table, a folder of images or .tar shards"
            raise InputError(f"{path}: is not a regular file or folder; {way_out}")
        known, endings = ", ".join(DATASETS), ", ".join(table_formats.READERS)
        raise InputError(
            f"data {path.name!r} is neither a known data set ({known}) nor the path of a {endings} table, nor a "
            f"folder, nor .tar shards{nearest(path.name.lower(), list(DATASETS))}"
        )
    if not is_there(path):
        names = request.column_names
        optional = "".join(f"[, {name}]" for role, name in names.items() if role not in REQUIRED)
        columns = f"{names['path']}, {names['label']}{optional}"
        raise InputError(f"{path}: does not exist; expected a table with the columns {columns}")
    if root is not None and not is_folder(root):
        expected = f"expected the one that the paths of {path.name} are relative to"
        raise InputError(f"--root {root} is not a folder; {expected}")
    return table_formats.read_table(path, path.parent if root is None else root, request)
