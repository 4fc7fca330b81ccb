"""The errors of pseudo attributes as a person found them: ``judged.json`` of `dbpt label`, for ``--label-noise``."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.files.typed_json import Count, Limits, check_version, read_json, typed
from dbpt.groups import LabelNoise

SCHEMA_VERSION = 1
"""The version of ``judged.json``, which `dbpt.judge_labels` writes."""
ENOUGH = 10
"""Labelled images of a pseudo-group from which its errors are estimated by themselves."""
WAY_OUT = "judge the labels again with dbpt label"


@dataclass(frozen=True)
class Names:
    """The names in ``judged.json`` that the run must have too."""

    name: str
    classes: list[str]
    attributes: list[str]


@dataclass(frozen=True)
class Judged:
    """The part of ``judged.json`` that is read. ``confusion`` [y, a', a] are estimated images of the split.

    They are of class y and true attribute a, with the pseudo attribute a'. ``n_judged`` [y, a'] are labelled by hand.
    """

    dataset: Names
    split: str
    confusion: list[list[list[Annotated[float, Limits(0, 1e18)]]]]
    n_judged: list[list[Count]]


@dataclass(frozen=True)
class JudgedNoise:
    """The label noise that a person found in ``n_labelled`` training images, with warnings."""

    noise: LabelNoise
    n_labelled: int
    warnings: tuple[str, ...]


def read_label_noise(path: Path, classes: tuple[str, ...], attributes: tuple[str, ...]) -> JudgedNoise:
    """Read ``judged.json`` for a run with these names.

    A pseudo-group with fewer than `ENOUGH` labelled images gets the errors of its attribute in all classes; if these
    are too few as well, no errors. Raises `InputError` for a file that is none, or of other names.
    """
    value = read_json(path, "result of dbpt label")
    if "confusion" not in value or "dataset" not in value:
        raise InputError(f"{path}: is not the judged.json of dbpt label; {WAY_OUT}")
    check_version(path, value.get("schema_version"), SCHEMA_VERSION)
    judged = typed({each.name: value.get(each.name) for each in fields(Judged)}, Judged, path, WAY_OUT)
    for what, found, expected in (
        ("classes", judged.dataset.classes, classes),
        ("attributes", judged.dataset.attributes, attributes),
    ):
        if sorted(found) != sorted(expected):
            raise InputError(
                f"{path}: is about the {what} {', '.join(found)}; expected {', '.join(expected)}: give the file of a "
                "run with these names"
            )
    if judged.split != "train":  # too few errors of the small groups are seen in other splits, with other shares
        raise InputError(
            f"{path}: is about images of the {judged.split} split, but group weights need those of the training split; "
            "label a sample of dbpt label RUN --split train"
        )
    size, num_classes = len(attributes), len(classes)
    rows_fit = (
        [len(rows) for rows in judged.n_judged] == [len(rows) for rows in judged.confusion] == [size] * num_classes
    )
    if not rows_fit or any(len(row) != size for rows in judged.confusion for row in rows):
        raise InputError(f"{path}: confusion and n_judged don't fit the names; the file was changed, {WAY_OUT}")
    of_class = [judged.dataset.classes.index(name) for name in classes]
    of_attribute = [judged.dataset.attributes.index(name) for name in attributes]
    confusion = np.array(judged.confusion)[np.ix_(of_class, of_attribute, of_attribute)]
    n_judged = np.array(judged.n_judged)[np.ix_(of_class, of_attribute)]
    warnings = [
        f"label noise: only {n_judged[y, a]} labelled images of the pseudo-group {classes[y]} · {attributes[a]}, so it "
        f"gets {'no errors' if n_judged[:, a].sum() < ENOUGH else 'the errors of its attribute in all classes'}; label "
        "more with --n"
        for y, a in np.argwhere((n_judged < ENOUGH) & (confusion.sum(axis=2) > 0)).tolist()
    ]
    noise = LabelNoise(error_rates(confusion, n_judged))
    return JudgedNoise(noise, int(n_judged.sum()), tuple(warnings))


def error_rates(confusion: NDArray[np.float64], n_judged: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the rates (C, A, A) of `LabelNoise` from the arrays of `Judged`.

    An attribute without images in a class counts as always labelled right.
    """
    size = confusion.shape[1]
    images_CA = confusion.sum(axis=2)
    pooled_AA = confusion.sum(axis=0)
    pooled_AA = pooled_AA / np.maximum(pooled_AA.sum(axis=1, keepdims=True), 1e-300)
    pooled_AA = np.where((n_judged.sum(axis=0) >= ENOUGH)[:, None], pooled_AA, np.eye(size))
    few = (n_judged < ENOUGH)[:, :, None]
    images = np.where(few, images_CA[:, :, None] * pooled_AA, confusion).swapaxes(1, 2)
    total = images.sum(axis=2, keepdims=True)
    return np.where(total > 0, images / np.where(total > 0, total, 1), np.eye(size))
