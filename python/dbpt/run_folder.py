"""The run folder: what stands in it, how it comes to be, how it is read back.

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

import json
import os
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from dbpt.backbone import load_backbone_from_spec
from dbpt.classifier import Classifier
from dbpt.config import FitConfig, make_config, read_config
from dbpt.errors import InputError
from dbpt.feature_classifier import FeatureClassifier
from dbpt.files import check_can_create, write_atomically
from dbpt.words import Words

SCHEMA_VERSION = 1
CONTENTS = frozenset(
    {
        "run.json",
        "config.toml",
        "checkpoints",
        "classifier.safetensors",
        "prompt.safetensors",
        "pseudo_attributes.safetensors",
        "groups.csv",
        "history.jsonl",
        "metrics.json",
        "report.html",
    }
)
# Where things lie, and what no checkpoint depends on.
MAY_CHANGE = frozenset(
    {"data", "root", "cache", "model", "pretrained", "tokenizer", "device", "max_failures", "baselines"}
)


def open_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that ``folder`` may become, or go on being, a run's folder. Changes nothing.

    Raises:
        InputError: it exists and neither ``resume`` nor ``overwrite`` was said, or it holds something else than a run.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite: choose one")
    if not os.path.lexists(folder):  # Path.exists raises on a name that is too long
        check_can_create(folder)
        return
    if not folder.is_dir():
        raise InputError(f"--out {folder}: exists and is not a folder; choose another name")
    if not _holds_a_run(folder):
        if _never_started(folder):
            return
        raise InputError(f"--out {folder}: exists and is not a run folder; choose another name")
    replaces = overwrite or not (folder / "config.toml").is_file()
    if (resume or overwrite) and replaces and (foreign := _foreign(folder)):
        raise InputError(
            f"--out {folder}: holds {foreign[0].name!r}, which is no run's; move it or choose another name"
        )
    if not resume and not overwrite:
        raise InputError(f"--out {folder}: exists; continue it with --resume, replace it with --overwrite")


def _holds_a_run(folder: Path) -> bool:
    """Whether ``run.json`` there is one of ours."""
    try:
        return "backbone" in _read_description(folder)
    except InputError:
        return False


def _foreign(folder: Path) -> list[Path]:
    """What no run has written: `_clear` must not take it."""
    ours = [entry for entry in folder.iterdir() if entry.name in CONTENTS or _is_leftover(entry)]
    return sorted(set(folder.iterdir()) - set(ours))


def _never_started(folder: Path) -> bool:
    """Whether the folder is empty but for what `start_run` leaves if it is killed."""
    rest = [entry for entry in folder.iterdir() if not _is_leftover(entry)]
    return not rest or (rest == [folder / "checkpoints"] and not any(rest[0].iterdir()))


def _is_leftover(entry: Path) -> bool:
    """Whether `write_atomically` was killed while it wrote this file."""
    return entry.name.startswith(".") and entry.name.endswith(".tmp")


def start_run(folder: Path, description: dict[str, Any], config: FitConfig, *, resume: bool) -> None:
    """Create the folder with ``run.json`` (status ``training``) and then ``config.toml``, or go on with the run there.

    A run that stands there is dropped unless ``resume``; one that is continued keeps its files until `finish_run`.
    Raises `InputError` if it has other settings, or if the disk refuses; then a new folder is taken away again.
    """
    is_new = not os.path.lexists(folder)
    try:
        if resume and not is_new and (folder / "config.toml").is_file():
            if _check_same_settings(folder, config):
                write_atomically(folder / "config.toml", config.to_toml())
            (folder / "checkpoints").mkdir(exist_ok=True)
            _remove_leftovers(folder)
            return
        if not is_new:
            _clear(folder)
        (folder / "checkpoints").mkdir(parents=True)
        _write_description(folder, "training", description)
        write_atomically(folder / "config.toml", config.to_toml())
    except (OSError, InputError) as error:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, InputError):
            raise
        raise InputError(f"--out {folder}: cannot create: {error.strerror}") from None


def _check_same_settings(folder: Path, config: FitConfig) -> bool:
    """Refuse to continue a run under other settings; other data or weights are told by the checkpoint's fingerprint.

    A lower learning rate may be named as long as the run is not finished, for one that blew up; True if it is.
    """
    before, asked = make_config(read_config(folder / "config.toml")).resolved(), config.resolved()
    unfinished = _read_description(folder).get("status") == "training"
    lowered = unfinished and config.lr is not None and config.lr < before.peak_lr
    for name in sorted(setting.name for setting in fields(config) if setting.name not in MAY_CHANGE):
        old, new = getattr(before, name), getattr(asked, name)
        if old != new and not (name == "lr" and lowered):
            lower = ", or a lower --lr while it is not finished" if name == "lr" else ""
            raise InputError(
                f"--resume: {folder} was started with {name} = {old!r}, found {new!r}; use the same settings{lower}, "
                "or start afresh with --overwrite"
            )
    return lowered


def _clear(folder: Path) -> None:
    """Drop what stands in the folder, ``run.json`` last, so that after a kill it is still known as a run's."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == "run.json"):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _remove_leftovers(folder: Path) -> None:
    for entry in (*folder.iterdir(), *(folder / "checkpoints").iterdir()):
        if _is_leftover(entry):
            entry.unlink()


def finish_run(folder: Path, description: dict[str, Any], config: FitConfig) -> None:
    """Say that every file is there."""
    write_atomically(folder / "config.toml", config.to_toml())
    _write_description(folder, "complete", description)


def _write_description(folder: Path, status: str, description: dict[str, Any]) -> None:
    write_json(folder / "run.json", {"schema_version": SCHEMA_VERSION, "status": status, **description})


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, NaN refused."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


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
    description = _read_description(folder)
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


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        raise InputError(f"{folder}: not a run folder (no run.json); give the folder named by --out in dbpt fit")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(description, dict) or description.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{path}: not of schema version {SCHEMA_VERSION}, which this version of dbpt reads")
    return description
