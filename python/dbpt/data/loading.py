"""``load_dataset``: from a known name or a table's path to a checked data set, the user's words over the defaults."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbpt.data import image_folder, table, webdataset
from dbpt.data.checks import check_dataset, check_names, spelled_as_on_disk
from dbpt.data.choices import Choices, listed
from dbpt.data.column_names import check_columns
from dbpt.data.dataset import Dataset
from dbpt.data.folders import absolute, is_file, is_folder, is_there
from dbpt.data.huggingface import is_saved_dataset, read_saved_dataset
from dbpt.data.huggingface_objects import path_of
from dbpt.data.known import KNOWN, read_known
from dbpt.data.words import Vocabulary, check_vocabulary
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
    """Read the labels of a data set, check them, and check that the image files exist; opens no image.

    Args:
        data: ``"waterbirds"``, ``"celeba"``, ``"metashift"``, or the path of a ``.csv``, ``.tsv``, ``.jsonl``
            or ``.parquet`` table, of a folder of images ``split/class/*.jpg``, of WebDataset's shards
            ``train-{000..146}.tar``, or of a folder that ``save_to_disk`` of Hugging Face's datasets has written. Or a
            ``Dataset`` or ``DatasetDict`` of theirs, of which such a folder is made in the default cache.
        root: for a known name, its folder or that folder's parent; for a table, what its paths are relative to
            (the table's own folder if None).
        classes: names and wordings in index order. For a known name, as many as it has; for a table, the names that
            its labels use, or labels are integers 0..C-1. None takes the data set's own.
        attributes: the same for the spurious attribute.
        templates: sentences with one ``{}`` for classes; None takes the data set's own.
        attribute_templates: the same for attributes.
        celeba_target: of CelebA, the attribute that is the class; None is ``"Blond_Hair"``.
        celeba_attributes: of CelebA, the spurious attributes, whose combinations are numbered as binary numbers with
            the first attribute in front; None is ``["Male"]``.
        columns: of a table or saved data set, which column holds ``path``, ``label``, ``split`` and ``attribute``,
            where it is called something else: ``{"label": "y"}``.
        training: False also accepts data without training rows or with classes that have none, for evaluation.
        images: False asks for no image file, for rows whose features are given. A table's paths are then any names, and
            need no column: without one, rows are called by their number.
        check: False takes the rows as they are written, whether they can be used or not; `check_data` judges them.

    Raises:
        InputError: anything that does not fit, in one line with its file, line and value.
    """
    for argument, vocabulary in (("classes", classes), ("attributes", attributes)):
        if vocabulary is not None:
            check_vocabulary(vocabulary, argument)
    choices = Choices(
        classes,
        attributes,
        None if templates is None else listed(templates),
        None if attribute_templates is None else listed(attribute_templates),
        columns or {},
    )
    data = path_of(data)
    if data != "celeba":
        _refuse_celeba_task(data, celeba_target, celeba_attributes)
    if data in KNOWN:
        if columns:
            raise InputError(f"--columns: data set {data!r} has columns of its own; give columns of a table alone")
        dataset = read_known(data, root, choices, celeba_target, celeba_attributes)
    else:
        check_columns(columns or {}, "--columns")
        dataset = _load_own(data, root, choices, images)
    check_names(dataset)
    if images:
        dataset = spelled_as_on_disk(dataset)
    if check:
        check_dataset(dataset, training=training, images=images)
    return dataset


def _refuse_celeba_task(data: str, target: str | None, attributes: Sequence[str] | None) -> None:
    for flag, given in (("--celeba-target", target), ("--celeba-attributes", attributes)):
        if given is not None:
            raise InputError(f"{flag} {given!r} with data {data!r}: only celeba has attributes to choose; drop it")


def _load_own(data: str, root: str | Path | None, choices: Choices, images: bool) -> Dataset:
    path = absolute(data)
    if webdataset.is_pattern_of_shards(data):
        if root is not None or not images:
            given = f"--root {root}" if root is not None else "--embeddings"
            raise InputError(f"{given}: {path} has its images inside; drop it, or give a table")
        return webdataset.read_webdataset(str(path), choices)
    if path.suffix.lower() not in table.READERS and is_folder(path):
        if not images:
            raise InputError(f"--embeddings with the folder {path}: its files have no order to go by; give a table")
        is_saved = is_saved_dataset(path)
        if root is not None or (choices.columns and not is_saved):
            given = f"--root {root}" if root is not None else "--columns"
            raise InputError(f"{given}: {path} has its images inside; drop it")
        if is_saved:
            return read_saved_dataset(path, choices)
        return image_folder.read_image_folder(path, choices)
    if path.suffix.lower() not in table.READERS:
        if is_there(path) and not is_file(path):
            raise InputError(
                f"{path}: is not a regular file or folder; give a table, a folder of images or .tar shards"
            )
        raise InputError(
            f"data {path.name!r} is neither a known data set ({', '.join(KNOWN)}) nor the path of a "
            f"{', '.join(table.READERS)} table, nor a folder, nor .tar shards{nearest(path.name.lower(), list(KNOWN))}"
        )
    if not is_there(path):
        named = list(choices.named.values())
        raise InputError(
            f"{path}: does not exist; expected a table with the columns {', '.join(named[:3])}[, {named[3]}]"
        )
    images_at = path.parent if root is None else _root_folder(root, path)
    return table.read_table(path, images_at, choices, images=images)


def _root_folder(root: str | Path, path: Path) -> Path:
    folder = absolute(root)
    if not is_folder(folder):
        raise InputError(
            f"--root {folder} is not a folder; expected the one that the paths of {path.name} are relative to"
        )
    return folder
