"""``load_dataset``: from a known name or a table's path to a checked data set, the user's words over the defaults."""

import os
from collections.abc import Sequence
from pathlib import Path

from dbpt.data import table
from dbpt.data.checks import check_dataset, spelled_as_on_disk
from dbpt.data.dataset import Dataset
from dbpt.data.known import KNOWN, read_known
from dbpt.errors import InputError, nearest
from dbpt.words import Vocabulary, check_vocabulary


def load_dataset(
    data: str | Path,
    root: str | Path | None = None,
    *,
    classes: Vocabulary | None = None,
    attributes: Vocabulary | None = None,
    templates: Sequence[str] | None = None,
    attribute_templates: Sequence[str] | None = None,
    celeba_target: str | None = None,
    celeba_attributes: Sequence[str] | None = None,
    training: bool = True,
    check: bool = True,
) -> Dataset:
    """Read the labels of a data set, check them, and check that the image files exist; opens no image.

    Args:
        data: ``"waterbirds"``, ``"celeba"``, ``"metashift"``, or the path of a ``.csv`` or ``.tsv`` table.
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
        training: False also accepts data without training rows or with classes that have none, for evaluation.
        check: False takes the rows as they are written, whether they can be used or not; `check_data` judges them.

    Raises:
        InputError: anything that does not fit, in one line with its file, line and value.
    """
    for argument, vocabulary in (("classes", classes), ("attributes", attributes)):
        if vocabulary is not None:
            check_vocabulary(vocabulary, argument)
    vocabularies = classes, attributes, templates, attribute_templates
    if str(data) != "celeba":
        _refuse_celeba_task(data, celeba_target, celeba_attributes)
    if str(data) in KNOWN:
        dataset = read_known(str(data), root, *vocabularies, celeba_target, celeba_attributes)
    else:
        dataset = _load_table(data, root, *vocabularies)
    dataset = spelled_as_on_disk(dataset)
    if check:
        check_dataset(dataset, training=training)
    return dataset


def _refuse_celeba_task(data: str | Path, target: str | None, attributes: Sequence[str] | None) -> None:
    for flag, given in (("--celeba-target", target), ("--celeba-attributes", attributes)):
        if given is not None:
            raise InputError(f"{flag} {given!r} with data {str(data)!r}: only celeba has attributes to choose; drop it")


def _load_table(
    data: str | Path,
    root: str | Path | None,
    classes: Vocabulary | None,
    attributes: Vocabulary | None,
    templates: Sequence[str] | None,
    attribute_templates: Sequence[str] | None,
) -> Dataset:
    path = _absolute(data)
    if path.suffix.lower() not in table.DELIMITERS:
        raise InputError(
            f"data {path.name!r} is neither a known data set ({', '.join(KNOWN)}) nor the path of a .csv or .tsv table"
            f"{nearest(path.name.lower(), list(KNOWN))}"
        )
    folder = path.parent if root is None else _absolute(root)
    if not os.path.exists(path):  # noqa: PTH110 (Path.exists raises on a name that is too long)
        raise InputError(f"{path}: does not exist; expected a table with the columns path, label, split[, attribute]")
    if not os.path.isdir(folder):  # noqa: PTH112 (as above)
        raise InputError(
            f"--root {folder} is not a folder; expected the one that the paths of {path.name} are relative to"
        )
    return table.read_table(
        path,
        folder,
        classes,
        attributes,
        _sentences(templates, table.TEMPLATES),
        _sentences(attribute_templates, table.ATTRIBUTE_TEMPLATES),
    )


def _sentences(given: Sequence[str] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return default
    return (given,) if isinstance(given, str) else tuple(given)


def _absolute(path: str | Path) -> Path:
    """Absolute without following links, so that messages show what the user wrote."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps '..')
