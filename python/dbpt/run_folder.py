"""The run folder: what stands in it, and how it is read back; `output_folder` has the rules of how it comes to be.

    run.json                        schema version, status, backbone spec, words
    config.toml                     the resolved settings; `dbpt fit --config` takes it
    checkpoints/OBJECTIVE.safetensors
    classifier.safetensors          the tensors of `FeatureClassifier`; classes as JSON in the metadata
    prompt.safetensors              context (n_ctx, d) float32, or (C, n_ctx, d) if class-specific; of head ``prompt``
    pseudo_attributes.safetensors   pseudo_attributes (N,), posterior (N, A), confidence (N,), splits (N,), paths
    groups.csv                      the groups of the ``group_source``: rows per split, weight in the kept epoch
    history.jsonl, metrics.json, report.html

Each file is replaced whole. ``run.json`` says ``complete`` only after all others are there.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from dbpt.backbone import check_spec, load_backbone_from_spec
from dbpt.classifier import Classifier
from dbpt.config import make_config, read_config
from dbpt.errors import InputError
from dbpt.feature_classifier import FeatureClassifier
from dbpt.objectives import OBJECTIVES
from dbpt.output_folder import OutputFolder
from dbpt.words import Words

RUN_FOLDER = OutputFolder(
    title="run",
    command="dbpt fit",
    marker="run.json",
    key="backbone",
    schema_version=1,
    files=frozenset(
        {
            "classifier.safetensors",
            "prompt.safetensors",
            "pseudo_attributes.safetensors",
            "groups.csv",
            "history.jsonl",
            "metrics.json",
            "report.html",
        }
    ),
    subfolders={"checkpoints": lambda name: name.removesuffix(".safetensors") in OBJECTIVES},
)


def words_to_json(words: Words) -> dict[str, Any]:
    """`Words` as JSON; `words_from_json` reads it."""
    return asdict(words)


def words_from_json(value: dict[str, Any]) -> Words:
    """Read what `words_to_json` wrote."""
    return Words(
        classes={name: tuple(wordings) for name, wordings in value["classes"].items()},
        attributes={name: tuple(wordings) for name, wordings in value["attributes"].items()},
        templates=tuple(value["templates"]),
        attribute_templates=tuple(value["attribute_templates"]),
    )


def load(run: str | Path, *, device: str = "auto", weights: str | Path | None = None) -> Classifier:
    """Load the classifier of a finished run.

    Args:
        run: the folder given to ``--out``.
        device: a torch device, or ``auto``.
        weights: where the backbone's local weights file is now, if it has moved; it must be the same file.

    Raises:
        InputError: no such run, one that is not finished, a damaged file, or a backbone that is gone or has changed.
    """
    folder = Path(run)
    description = RUN_FOLDER.read_marker(folder)
    if description.get("status") != "complete":
        raise InputError(f"{folder}: this run is not finished; run its fit command again with --resume")
    path = folder / "classifier.safetensors"
    try:
        tensors = load_file(path)
        matrix = tensors["weights"]
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"{path}: not a readable classifier ({error})") from None
    try:
        spec, words = description["backbone"], words_from_json(description["words"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / 'run.json'}: has no usable {error}; the file was changed, fit anew") from None
    check_spec(spec, folder / "run.json")
    backbone = load_backbone_from_spec(spec, device=device, weights=weights)
    if matrix.shape != (len(words.classes), backbone.embed_dim):
        raise InputError(
            f"{path}: weights of shape {matrix.shape}, but the run has {len(words.classes)} classes and embed_dim "
            f"{backbone.embed_dim}"
        )
    try:
        head = FeatureClassifier.from_tensors(tensors)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a readable classifier ({error})") from None
    return Classifier(backbone, head, words, make_config(read_config(folder / "config.toml")))
