"""The run folder: its files, which ARCHITECTURE.md lists, and the loading of a finished run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.files.tensors import read_tensors
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes.base import PROBE
from dbpt.runs.output_folder import FIGURES, Marker, OutputFolder, figures_named, read_settings

if TYPE_CHECKING:
    from dbpt.runs.classifier import Classifier

TENSORS_SCHEMA_VERSION = 1
WAY_OUT = "fit again"
FILES = (
    "classifier.safetensors",
    "pseudo_attributes.safetensors",
    "clusters.safetensors",
    "probe.safetensors",
    "groups.csv",
    "guesses.html",
    "predictions.csv",
    "history.jsonl",
    "metrics.json",
    "report.html",
)
"""The files of a run; some are missing without images, attributes, clusters or a probe, and some heads add one."""


@dataclass(frozen=True)
class RunMarker(Marker):
    """The content of ``run.json``: the specs of the backbone and, with ``--label-model``, of the CLIP that guessed.

    ``notes`` say how settings were found that the user left to ``--attributes auto``.
    """

    dbpt_version: str
    backbone: dict[str, Any]
    label_model: dict[str, Any] | None
    words: Words
    notes: list[str]


RUN_FOLDER = OutputFolder(
    title="run",
    command="dbpt fit",
    marker="run.json",
    record=RunMarker,
    schema_version=1,
    is_file=lambda name: name in FILES or name.removesuffix(".safetensors") in HEADS,
    subfolders={
        "checkpoints": lambda name: name.removesuffix(".safetensors") in OBJECTIVES,
        FIGURES: figures_named("accuracy", "weights", "probability", "validation"),
    },
)


def finished_run(folder: Path) -> RunMarker:
    """Return the content of ``run.json``. Raises `InputError` if the run isn't there, or not finished."""
    marker = RUN_FOLDER.read_marker(folder)
    if marker.status != "complete":
        way_on = shlex.join(["dbpt", "fit", "--resume", "--out", str(folder)])
        raise InputError(f"{folder}: this run is not finished; finish it with: {way_on}")
    return marker


def load(run: str | Path, *, device: str = "auto", weights: str | Path | None = None) -> Classifier:
    """Load the classifier of the finished run in the folder ``run``.

    ``device`` is a torch device, or ``auto``; ``weights`` is the present path of the backbone's local weights file, if
    it has moved. Raises `InputError` if the run is not finished, a file is damaged, or the backbone is gone or
    changed.
    """
    from dbpt.clip import check_spec, load_backbone_from_spec
    from dbpt.runs.classifier import Classifier, FeatureClassifier
    from dbpt.runs.saved_probe import read_probe

    folder = Path(run)
    marker = finished_run(folder)
    config, path = read_settings(folder), folder / "classifier.safetensors"
    tensors, _ = read_tensors(path, "classifier", version=TENSORS_SCHEMA_VERSION, way_out=WAY_OUT)
    try:
        head = FeatureClassifier(tensors, HEADS[config.head])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a readable classifier ({error}); {WAY_OUT}") from None
    check_spec(marker.backbone, folder / RUN_FOLDER.marker)
    backbone = load_backbone_from_spec(marker.backbone, device=device, weights=weights)
    if head.weights.shape != (len(marker.words.classes), backbone.embed_dim):
        raise InputError(
            f"{path}: weights of shape {head.weights.shape}, but the run has {len(marker.words.classes)} classes and "
            f"embed_dim {backbone.embed_dim}"
        )
    probe = read_probe(folder, marker.words) if config.pseudo_method == PROBE else None
    return Classifier(backbone, head, marker.words, config, probe)
