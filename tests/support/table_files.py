"""Rows, vocabularies and folders as they are written, and the one line of a refusal; for the tests of data."""

import numpy as np
from refusals import line_of

from dbpt.data import load_dataset


def refused(data, *args, **options):
    return line_of(load_dataset, data, *args, **options)


def rows(*lines, header="path,label,split"):
    return "\n".join((header, *lines)) + "\n"


def written(path, content):
    """Write a text, bytes or an array; returns the path."""
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def vocabulary(*names):
    return {name: (name,) for name in names}


def link_as_folder(tiny, folder):
    """The images of the tiny task as ``split/class/``."""
    for row in tiny.rows():
        link = folder / row["split"] / row["label"] / row["path"].replace("/", "-")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tiny.table.parent / row["path"])
