"""Reading the CSV that the page exports: which images a person has labelled, and how."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.rows import read_columns
from dbpt.errors import InputError
from dbpt.human_check.design import Design

CANNOT_TELL, NOT_LABELLED = -1, -2


def read_labels(path: Path, design: Design) -> NDArray[np.int64]:
    """(n,) attribute of each image of ``design``, -1 where the person could not tell, -2 where there is no line.

    Columns: ``sample``, the same in each line; ``path``; ``attribute``, a name, empty for "can't tell".

    Raises:
        InputError: a malformed file; a line of another sample, of an image that was not drawn, or of one that stands
            already above; an unknown attribute; not one attribute.
    """
    columns = read_columns(path, ("sample", "path", "attribute"))
    position = {name: i for i, name in enumerate(design.paths)}
    first: dict[str, int] = {}
    for row, (sample, name) in enumerate(zip(columns.values["sample"], columns.values["path"], strict=True)):
        if sample.strip() != design.sample:
            raise InputError(
                f"{columns.where(row)}: is of sample {sample!r}, expected {design.sample!r}: the labels were given to "
                "other images; give the folder that they were drawn into"
            )
        if name not in position:
            raise InputError(f"{columns.where(row)}: path {name!r} is no image of this sample")
        if first.setdefault(name, row) != row:
            raise InputError(f"{columns.where(row)}: path {name!r} stands already at line {columns.lines[first[name]]}")
    codes = {name: number for number, name in enumerate(design.attribute_names)} | {"": CANNOT_TELL}
    attributes = columns.decode("attribute", codes.get, design.attribute_names)
    if (attributes == CANNOT_TELL).all():
        raise InputError(f"{path}: not one image has an attribute, so there is nothing to judge")
    labels = np.full(len(design.paths), NOT_LABELLED, dtype=np.int64)
    labels[[position[name] for name in columns.values["path"]]] = attributes
    return labels
