"""``--attributes column:NAME`` and ``measured:NAME``: from a column or a property of the images to their attributes."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dbpt.data import Codes, Dataset
from dbpt.data.columns import PREDICTION_ROLES, ROLES, parse_columns
from dbpt.data.other_columns import CodedSource, Unreadable, Unusable
from dbpt.errors import InputError, nearest
from dbpt.features import measure_files
from dbpt.features.image_properties import NUMBERS, TEXTS
from dbpt.guesses import GuessedFactors
from dbpt.guesses.apply_method import attributes_of_codes
from dbpt.guesses.column_values import Cells
from dbpt.guesses.value_families import Coding, learn_coding
from dbpt.settings.config import FitConfig

WHY: dict[Unreadable | Unusable, str] = {
    "type": "some of its cells are neither text nor numbers",
    "name": "its name has control characters or more than 200 letters",
    "repeated": "several columns have this name",
    "too many columns": "more than 200 columns before it have no role",
    "empty": "hardly any training or validation image has a value",
    "one value": "the training and validation images have a single common value",
    "same within classes": "it is the same for all images of a class, so nothing tells it from the class",
    "free text": "it is free text",
    "identifiers": "nearly every image has another value",
    "too many values": "the commonest 20 values are those of less than half of the images",
}
"""Why a column makes no groups."""


def measured_columns(dataset: Dataset, config: FitConfig) -> Mapping[str, Cells]:
    """Return the measured properties of the images by name, (N,) each."""
    measured = measure_files(dataset.root, dataset.paths, cache_dir=config.cache_dir / "features")
    # That a file says nothing is a value, too; an image that can't be read, of code -1, has none.
    texts = {
        name: np.array([*(value or "none" for value in text.values), ""], object)[text.codes]
        for name, text in measured.texts.items()
    }
    return {**measured.numbers, **texts}


def has_coded(config: FitConfig, dataset: Dataset) -> bool:
    """Return whether the data have the column that the settings name, or images to measure."""
    assert config.coded is not None
    source, name = config.coded
    return name in dataset.other_columns.cells if source == "column" else config.opens_images


def check_coded(config: FitConfig, dataset: Dataset) -> None:
    """Refuse a column or a property that is unknown, and a column that makes no groups, before images are read."""
    if config.coded is None:
        return
    (source, name), option = config.coded, f"--attributes {':'.join(config.coded)}"
    if source == "measured":
        if name not in (*NUMBERS, *TEXTS):
            known = f"{', '.join((*NUMBERS, *TEXTS))}{nearest(name, [*NUMBERS, *TEXTS])}"
            raise InputError(f"{option}: is none of the measured properties {known}")
        return
    columns = dataset.other_columns
    if has_coded(config, dataset):
        _learned(source, name, dataset, columns.cells[name])
        return
    if reasons := [WHY[each.reason] for each in columns.left_out if each.name == name]:
        raise InputError(f"{option}: {dataset.source}: {reasons[0]}; change the column, or choose another one")
    if name in {*ROLES, *PREDICTION_ROLES, "error", *parse_columns(config.columns or ()).values()}:
        hint = "give it another name in the table"
        hint = f"{hint}, or train with --group-source true" if name == "attribute" else hint
        raise InputError(f"{option}: {dataset.source}: this is the name of a column with a role; {hint}")
    others = list(columns.cells)
    known = ", ".join(others[:20]) or "none"
    raise InputError(f"{option}: {dataset.source} has no such column{nearest(name, others)}; it could be: {known}")


def coded_attributes(config: FitConfig, dataset: Dataset, coding: Coding | None = None) -> GuessedFactors:
    """Return the values of the column or the property that ``config`` names, for all rows.

    Args:
        config: the settings.
        dataset: N images.
        coding: that of a run; None learns it from all rows but those of the test split.
    """
    assert config.coded is not None
    source, name = config.coded
    columns = measured_columns(dataset, config) if source == "measured" else dataset.other_columns.cells
    coding = coding or _learned(source, name, dataset, columns[name])
    known = attributes_of_codes(Codes(coding.rule.codes_of(columns[name]), None), len(coding.values))
    known = replace(known, method=coding.source, note=f" {coding.name}")
    return GuessedFactors((known,), names=(tuple(coding.values),) * dataset.num_classes, coding=coding)


def _learned(source: CodedSource, name: str, dataset: Dataset, cells: Cells) -> Coding:
    coding = learn_coding(source, name, cells, dataset.rows_to_fit, dataset.labels)
    if isinstance(coding, str):
        hint = "choose another one, or let --attributes clusters find groups"
        raise InputError(f"--attributes {source}:{name}: {dataset.source}: {WHY[coding]}; {hint}")
    return coding
