"""The files of finished cells, ``cells/NAME.safetensors``.

Each has ``correct`` (n,) uint8, ``groups`` (n,) int32 and ``rows`` (n,) int64 of the n judged images, the tensors of
the classifier under ``classifier.``, and in its metadata the fingerprint of all that determines it, and its row of
``metrics.json``.
"""

import os
from pathlib import Path

import numpy as np

from dbpt.commands.compare.plan import Cell, cell_name
from dbpt.errors import InputError
from dbpt.evaluation.repeats import Evaluated
from dbpt.evaluation.results import Row
from dbpt.heads import HEADS
from dbpt.objectives.training_free import TRAINING_FREE
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.storage.tensors import read_tensors
from dbpt.storage.typed_json import typed_json

SCHEMA_VERSION = 7
HINT = "delete it, and it is trained again"


def result_path(folder: Path, cell: Cell) -> Path:
    """Return the file of the result of ``cell``."""
    return folder / "cells" / f"{cell.name}.safetensors"


def cell_classifier(folder: Path, cell: Cell) -> FeatureClassifier:
    """Return the classifier of a finished ``cell``."""
    tensors, _ = read_tensors(result_path(folder, cell), "result", version=SCHEMA_VERSION, hint=HINT)
    prefix = "classifier."
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return FeatureClassifier(own, TRAINING_FREE[cell.method.name] if cell.head is None else HEADS[cell.head])


def read_result(path: Path, fingerprint: str) -> Evaluated | None:
    """Read a cell's result; return None if it doesn't exist. Refuses one of other settings, data or code."""
    stored = _read(path)
    if stored is not None and stored[1] != fingerprint:
        raise InputError(
            f"{path}: made with other settings or data than this comparison's, or with other code of a registered "
            "class; use the same ones, delete the file to train it again, or start again with --overwrite"
        )
    return stored and stored[0]


def _read(path: Path) -> tuple[Evaluated, str | None] | None:
    """Read a cell's result and its fingerprint; return None if it doesn't exist."""
    if not os.path.lexists(path):
        return None
    tensors, metadata = read_tensors(path, "result", version=SCHEMA_VERSION, hint=HINT)
    row = typed_json(metadata, "row", Row, path, HINT)
    answers = tensors["correct"].astype(np.bool_), tensors["groups"].astype(np.int64)
    return Evaluated(row, *answers), metadata.get("fingerprint")


def stored_answers(folder: Path, row: Row) -> list[Evaluated]:
    """Return the repeats of a row of a finished comparison with all training rows; none if the folder lacks one."""
    names = (cell_name(row.method, row.head, tuple(row.varied.items()), f"seed-{r.seed}") for r in row.seed_repeats)
    stored = [_read(folder / "cells" / f"{name}.safetensors") for name in names]
    return [] if None in stored else [evaluated for evaluated, _ in filter(None, stored)]
