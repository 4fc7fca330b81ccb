"""Rows, vocabularies and folders as they are written, and the one line of a refusal; for the tests of data."""

from refusals import line_of

from dbpt.data import load_dataset


def refused(data, *args, **options):
    return line_of(load_dataset, data, *args, **options)


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
