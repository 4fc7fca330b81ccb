"""The run folder: how it is read back, with its prompt, probe and clusters."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dbpt.clip.checks import check_spec
from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.guesses.base import PROBE
from dbpt.guesses.clusters import ClassClusters
from dbpt.guesses.linear_probe import AttributeProbe, CrossValidated
from dbpt.guesses.value_families import Coding
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.runs.output_folder import EVENTS, FIGURES, Marker, OutputFolder, figures_named
from dbpt.runs.pretrained import (
    StoredClassifier,
    is_pretrained,
    read_card,
    read_pretrained,
)
from dbpt.settings.config import FitConfig
from dbpt.settings.fields import Command
from dbpt.storage.files import is_missing, write_json
from dbpt.storage.tensors import are_finite, read_tensors, write_tensors
from dbpt.storage.typed_json import read_json, typed, typed_json

if TYPE_CHECKING:
    from dbpt.runs.classifier import Classifier

T = TypeVar("T")
TENSORS_SCHEMA_VERSION = 1
HINT = "fit again"
TENSORS = ("classifier", "pseudo_attributes", "clusters", "probe")
CODING = "coding.json"
PREDICTIONS = ("predictions.csv", "predictions.parquet")
TABLES_AND_PAGES = (CODING, "groups.csv", "guesses.html", *PREDICTIONS, "history.jsonl", "metrics.json")
FILES = (*(f"{name}.safetensors" for name in TENSORS), *TABLES_AND_PAGES, "report.html", "README.md")
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
    verb="fit",
    marker="run.json",
    record=RunMarker,
    schema_version=1,
    is_file=lambda name: name in FILES or name.removesuffix(".safetensors") in HEADS or name.startswith(EVENTS),
    subfolders={
        "checkpoints": lambda name: name.removesuffix(".safetensors").removesuffix("-group") in OBJECTIVES,
        FIGURES: figures_named("accuracy", "weights", "probability", "validation"),
    },
)


def finished_run(folder: Path) -> RunMarker:
    """Return the content of ``run.json``. Raises `InputError` if the run isn't there, or not finished."""
    marker = RUN_FOLDER.read_marker(folder)
    if marker.status != "complete":
        way_on = Command("fit", arguments={"resume": True, "out": folder})
        raise InputError(f"{folder}: this run is not finished; finish it with: {way_on}")
    return marker


def load(run: str | Path, *, device: str = "auto", weights: str | Path | None = None) -> "Classifier":
    """Load the classifier of a finished run, or one that `Classifier.save_pretrained` wrote.

    Args:
        run: the folder.
        device: a torch device, or ``auto``: a GPU if there is one.
        weights: the present path of the backbone's local weights file, if it has moved.

    Returns:
        The classifier, with its backbone.

    Raises:
        InputError: if the run is not finished, a file is damaged, or the backbone is gone or changed.
    """
    return classifier_of(read_classifier(run, weights), device)


def classifier_of(stored: StoredClassifier, device: str) -> "Classifier":
    """Return `Classifier.of` a stored one, which imports torch."""
    from dbpt.runs.classifier import Classifier

    return Classifier.of(stored, device)


def read_classifier(run: str | Path, weights: str | Path | None) -> StoredClassifier:
    """Read the classifier of `load` without its backbone, and without torch. Raises `InputError` as it does."""
    if not isinstance(run, str | os.PathLike):
        raise InputError(f"run is a {type(run).__name__}; expected the path of its folder, such as Result.folder")
    folder = Path(run)
    if is_pretrained(folder) and is_missing(folder / RUN_FOLDER.marker):
        return read_pretrained(folder, weights)
    marker = finished_run(folder)
    config, path = RUN_FOLDER.read_settings(folder), folder / "classifier.safetensors"
    check_spec(marker.backbone, folder / RUN_FOLDER.marker)
    tensors, _ = read_tensors(path, "classifier", version=TENSORS_SCHEMA_VERSION, needs=("weights",))
    config = config.for_one("group" if tensors["weights"].ndim == 3 else "class")
    probe = read_probe(folder, marker.words) if config.pseudo_method == PROBE else None
    backbone = folder / RUN_FOLDER.marker, marker.backbone, weights
    return StoredClassifier(*backbone, path, tensors, marker.words, config, probe, read_card(folder))


PROBE_ARRAYS, CLUSTER_ARRAYS = ("weights", "biases"), ("weights", "biases", "separation")


def write_probe(run: Path, probe: AttributeProbe) -> None:
    """Write the probe of a run."""
    _write(run, "probe", probe, PROBE_ARRAYS, cross_validated=[asdict(figures) for figures in probe.figures])


def read_probe(run: Path, words: Words) -> AttributeProbe:
    """Read the probe of a run with these words. Raises `InputError` if it is missing or was changed."""
    (weights, biases), figures = _read(run, "probe", PROBE_ARRAYS, "cross_validated", list[CrossValidated])
    shapes = weights.shape[:1], biases.shape, [(len(f.counts), len(f.n_guessed), len(f.precision)) for f in figures]
    wanted = (sum(words.sizes),), (sum(words.sizes),), [(size,) * 3 for size in words.sizes]
    _check_fit(run, "probe", weights.ndim == 2 and shapes == wanted and are_finite(weights, biases))
    return AttributeProbe(weights, biases, tuple(figures))


def write_clusters(run: Path, clusters: ClassClusters) -> None:
    """Write the clusters of a run, so that other images can be assigned to them."""
    _write(run, "clusters", clusters, CLUSTER_ARRAYS, names=clusters.names)


def read_clusters(run: Path, num_classes: int) -> ClassClusters:
    """Read the clusters of a run. Raises `InputError` if they are missing or were changed."""
    (weights, biases, separation), names = _read(run, "clusters", CLUSTER_ARRAYS, "names", list[list[str]])
    number = len(names[0]) if names else 0
    shapes = (weights.shape[:2], biases.shape, separation.shape, [len(of_class) for of_class in names])
    wanted = ((num_classes, number), (num_classes, number), (num_classes,), [number] * num_classes)
    _check_fit(run, "clusters", weights.ndim == 3 and shapes == wanted and number > 0 and are_finite(weights, biases))
    return ClassClusters(weights, biases, separation, tuple(map(tuple, names)))


def write_coding(run: Path, coding: Coding) -> None:
    """Write how a run codes a column or a measured property, so that other images get the same values."""
    write_json(run / CODING, {"schema_version": TENSORS_SCHEMA_VERSION} | asdict(coding))


def read_coding(run: Path, config: FitConfig) -> Coding:
    """Read the coding of a run with these settings. Raises `InputError` if it is missing or was changed."""
    path = run / CODING
    coding = typed(read_json(path, "coding of a run", TENSORS_SCHEMA_VERSION), Coding, path, HINT)
    rule, size = coding.rule, len(coding.values)
    fits = (coding.source, coding.name) == config.coded and size > 1
    fits &= all(0 <= code < size for code in rule.codes.values()) and list(rule.edges) == sorted(set(rule.edges))
    if not fits or len(rule.edges) != (0 if rule.codes else size - 1):
        raise InputError(f"{path}: does not belong to this run; {HINT}")
    return coding


def read_saved(run: Path, config: FitConfig, num_classes: int) -> ClassClusters | Coding | None:
    """Read what gives the groups of a run that no words name; None for others. Raises `InputError` as the parts do."""
    if config.coded is not None:
        return read_coding(run, config)
    return None if config.num_clusters is None else read_clusters(run, num_classes)


def _write(run: Path, what: str, value: object, arrays: Sequence[str], **entries: object) -> None:
    """Write the ``arrays`` of a value and ``entries`` of JSON as ``what.safetensors``."""
    tensors = {name: getattr(value, name) for name in arrays}
    metadata = {name: json.dumps(entry) for name, entry in entries.items()}
    write_tensors(run / f"{what}.safetensors", tensors, metadata, version=TENSORS_SCHEMA_VERSION)


def _read(run: Path, what: str, arrays: Sequence[str], entry: str, kind: type[T]) -> tuple[list[NDArray[Any]], T]:
    """Return the arrays and the entry, of this type, that `_write` wrote."""
    path = run / f"{what}.safetensors"
    tensors, metadata = read_tensors(path, f"run's {what}", version=TENSORS_SCHEMA_VERSION, needs=arrays)
    return [tensors[name] for name in arrays], typed_json(metadata, entry, kind, path, HINT)


def _check_fit(run: Path, what: str, fits: bool) -> None:
    if not fits:
        raise InputError(f"{run / what}.safetensors: does not belong to this run; {HINT}")


PROMPT, CONTEXT = "prompt.safetensors", "context"


def read_context(start_from: str) -> NDArray[np.float32]:
    """Return the context in the ``prompt.safetensors`` that is named, or that is in the run folder that is.

    It is (n_ctx, d), or (C, n_ctx, d) if class-specific.
    """
    path = Path(start_from)
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
        if not os.path.lexists(path / PROMPT):
            raise InputError(
                f"--start-from {path}: has no {PROMPT}; name a finished run of the head prompt, or the file"
            )
        path = path / PROMPT
    hint = "name the prompt of another run, or train this one again"
    tensors, _ = read_tensors(path, "prompt", version=TENSORS_SCHEMA_VERSION, hint=hint, needs=(CONTEXT,))
    context = tensors[CONTEXT]
    if context.dtype != np.float32 or context.ndim not in (2, 3) or not context.size:
        raise InputError(f"{path}: its context is {context.dtype} of shape {context.shape}; {hint}")
    if not np.isfinite(context).all():
        raise InputError(f"{path}: its context has NaN or an infinity; {hint}")
    return context
