"""The probe that guessed the attributes of a run (``--pseudo-method probe``), to guess those of other images."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.files.disk import is_missing
from dbpt.files.tensors import read_tensors, write_tensors
from dbpt.files.typed_json import typed_json
from dbpt.pseudo_attributes.cross_validation import CrossValidated
from dbpt.pseudo_attributes.linear_probe import AttributeProbe
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION, WAY_OUT

FILE = "probe.safetensors"
ARRAYS = ("weights", "biases")


def write_probe(run: Path, probe: AttributeProbe) -> None:
    """Write the probe of a run."""
    tensors = {name: getattr(probe, name) for name in ARRAYS}
    metadata = {"cross_validated": json.dumps([asdict(each) for each in probe.figures])}
    write_tensors(run / FILE, tensors, metadata, version=TENSORS_SCHEMA_VERSION)


def read_probe(run: Path, words: Words) -> AttributeProbe:
    """Read the probe of a run with these words. Raises `InputError` if it is missing or was changed."""
    path = run / FILE
    if is_missing(path):
        raise InputError(f"{path}: is missing; {WAY_OUT}")
    tensors, metadata = read_tensors(path, "run's probe", version=TENSORS_SCHEMA_VERSION, way_out=WAY_OUT, needs=ARRAYS)
    figures = typed_json(metadata, "cross_validated", list[CrossValidated], path, WAY_OUT)
    weights, biases = (tensors[name] for name in ARRAYS)
    sizes = [len(suspect.values) for suspect in words.suspects]
    of_figures = [(len(each.counts), len(each.n_guessed), len(each.precision)) for each in figures]
    if (
        weights.ndim != 2
        or len(weights) != sum(sizes)
        or biases.shape != (sum(sizes),)
        or of_figures != [(size,) * 3 for size in sizes]
        or any(array.dtype != np.float32 or not np.isfinite(array).all() for array in (weights, biases))
    ):
        raise InputError(f"{path}: does not belong to this run; {WAY_OUT}")
    return AttributeProbe(weights, biases, tuple(figures))
