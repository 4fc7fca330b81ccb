"""Rows, vocabularies and folders as they are written, and the one line of a refusal; for the tests of data."""

import pytest

from dbpt.data import load_dataset
from dbpt.errors import InputError


def refused(data, *args, **options):
    with pytest.raises(InputError) as error:
        load_dataset(data, *args, **options)
    return str(error.value)


def rows(*lines, header="path,label,split"):
    return "\n".join((header, *lines)) + "\n"


def vocabulary(*names):
    return {name: (name,) for name in names}


def link_as_folder(tiny, folder):
    """The images of the tiny task as ``split/class/``."""
    for row in tiny.rows():
        link = folder / row["split"] / row["label"] / row["path"].replace("/", "-")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tiny.table.parent / row["path"])
