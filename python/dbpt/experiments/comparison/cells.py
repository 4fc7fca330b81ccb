"""A cell of a comparison: trained like the `dbpt fit` of the same settings, its result written to one file.

The file, ``cells/NAME.safetensors``, is written whole, when the cell is finished. It holds ``correct`` (n,) uint8,
``groups`` (n,) int32 and ``rows`` (n,) int64 of the n judged images, the tensors of the classifier under
``classifier.``, and in its metadata the fingerprint of all that determines it, and figures as JSON.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.experiments.comparison.plan import Cell
from dbpt.experiments.methods import trained_row, zero_shot_row
from dbpt.experiments.stages import Embedded, Experiment, Labelled, arrange, embed, label
from dbpt.files.tensors import read_tensors, write_tensors
from dbpt.files.typed_json import Count, typed_json
from dbpt.settings.config import FitConfig

SCHEMA_VERSION = 2
WAY_OUT = "delete it, and it is trained again"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """``metrics`` are those of `GroupMetrics.to_json`, ``warnings`` those of training, as in `fit`."""

    metrics: dict[str, Any]
    selected_epoch: Count | None
    epochs: Count
    seconds: float
    warnings: list[str]


@dataclass(frozen=True)
class CellResult(Figures):
    """A cell's result on test, else validation: ``correct`` (n,) and ``groups`` (n,), -1 if unknown, of the images."""

    correct: NDArray[np.bool_]
    groups: NDArray[np.int64]


class Stages:
    """The experiment of each cell: the images are embedded once for all, and labelled once for each seed."""

    def __init__(self, configs: Sequence[FitConfig]) -> None:
        self.embedded = embed(configs)
        self.data_digest = _digest(self.embedded)
        self._labelled: dict[int, Labelled] = {}

    def labelled(self, config: FitConfig) -> Labelled:
        """Return the labels and splits of the seed of ``config``."""
        if config.seed not in self._labelled:
            self._labelled[config.seed] = label(self.embedded, config)
        return self._labelled[config.seed]

    def experiment(self, cell: Cell) -> Experiment:
        """Return the start of ``cell``. Raises `InputError` if its rows and groups don't allow it."""
        return arrange(self.labelled(cell.config), cell.config)

    def fingerprint(self, cell: Cell) -> str:
        """Return a digest of all that the result of ``cell`` depends on."""
        identity = json.dumps([cell.name, cell.config.identity(), self.data_digest], sort_keys=True)
        return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()


def _digest(embedded: Embedded) -> str:
    """Return a digest of the images and their labels; words and encoder stand for the zero-shot classifier."""
    dataset, backbone = embedded.dataset, embedded.backbone
    described = [asdict(dataset.words), sorted(backbone.encoder_key.items()), backbone.spec["config"]]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode("utf-8", "surrogateescape"))
    for array in (embedded.features, dataset.labels, dataset.attributes, dataset.splits):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def result_path(folder: Path, cell: Cell) -> Path:
    """Return the file of the result of ``cell``."""
    return folder / "cells" / f"{cell.name}.safetensors"


def run_cell(stages: Stages, cell: Cell, folder: Path) -> None:
    """Train ``cell``, from its checkpoint if there is one, write its result, and delete the checkpoint."""
    experiment = stages.experiment(cell)
    checkpoint = folder / "checkpoints" / f"{cell.name}.safetensors"
    if cell.head is None:
        row = zero_shot_row(experiment)
    else:
        objective = cell.config.objective
        row = trained_row(experiment, objective, checkpoint_path=checkpoint, quiet=True)
    entry, rows = row.to_json(), experiment.rows(experiment.split)
    figures = {"metrics": entry[experiment.split]}
    figures |= {name: entry[name] for name in ("selected_epoch", "epochs", "seconds", "warnings")}
    # predictions for all images at once, as for the metrics: a product over fewer rows may round otherwise
    correct = row.classifier.predictions(experiment.features) == experiment.dataset.labels
    tensors = {
        "correct": correct[rows].astype(np.uint8),
        "groups": experiment.evaluation_groups[rows].astype(np.int32),
        "rows": rows,
        **{f"classifier.{name}": tensor for name, tensor in row.classifier.tensors.items()},
    }
    metadata = {"fingerprint": stages.fingerprint(cell), "figures": json.dumps(figures)}
    write_tensors(result_path(folder, cell), tensors, metadata, version=SCHEMA_VERSION)
    checkpoint.unlink(missing_ok=True)


def read_result(path: Path, fingerprint: str) -> CellResult | None:
    """Read a cell's result; None if it isn't there yet. Refuses one that was made with other settings or data."""
    if not os.path.lexists(path):
        return None
    tensors, metadata = read_tensors(
        path, "result", version=SCHEMA_VERSION, way_out=WAY_OUT, needs=("correct", "groups")
    )
    if metadata.get("fingerprint") != fingerprint:
        raise InputError(
            f"{path}: made with other settings or data than this comparison's; use the same ones, or start again with "
            "--overwrite"
        )
    figures = typed_json(metadata, "figures", Figures, path, WAY_OUT)
    return CellResult(tensors["correct"].astype(np.bool_), tensors["groups"].astype(np.int64), **vars(figures))
