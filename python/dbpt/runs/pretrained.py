"""A classifier in a folder as the Hugging Face Hub keeps models.

The folder has config.json, model.safetensors and README.md. CLIP's own weights stay where they are: the folder names
them, with their digest.
"""

import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt._core import __version__
from dbpt.data.demo import mini_clip_paths
from dbpt.data.words import Words
from dbpt.errors import InputError, foreign_errors
from dbpt.guesses.linear_probe import AttributeProbe
from dbpt.heads import HEADS
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.settings.config import FitConfig, make_config
from dbpt.storage.files import check_can_create, is_missing, read_regular, system_errors, write_json
from dbpt.storage.tensors import are_finite, read_tensors, write_tensors
from dbpt.storage.typed_json import check_version, read_json, typed

if TYPE_CHECKING:
    from huggingface_hub import ModelCard


CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
SCHEMA_VERSION = 1
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
HINT = "save or download it again"
SETTINGS = ("head", "objective", "prompts", "group_source", "embed_batch_size", "label_model", "label_pretrained")
"""The settings of the run that a classifier reads, and those that they are checked with."""
PROBE = ("probe.weights", "probe.biases")


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig:
    """The content of ``config.json``. Files of the backbone are named without their folders."""

    library_name: Literal["dbpt"]
    schema_version: int
    dbpt_version: str
    backbone: dict[str, Any]
    logit_scale: float
    logit_bias: float | None
    words: Words
    settings: dict[str, Any]


def is_pretrained(folder: Path) -> bool:
    """Return whether a folder has the files that `write_pretrained` writes, as those of other libraries have."""
    return not (is_missing(folder / CONFIG) or is_missing(folder / TENSORS))


def write_pretrained(
    folder: Path,
    backbone: "clip.Backbone",
    head: FeatureClassifier,
    words: Words,
    config: FitConfig,
    probe: AttributeProbe | None,
) -> None:
    """Write ``config.json`` and ``model.safetensors`` of a classifier, of whose backbone only the description."""
    settings = {name: getattr(config, name) for name in SETTINGS}
    if config.lacks_words:
        settings["attributes"] = config.attributes
    content = PretrainedConfig(
        library_name="dbpt",
        schema_version=SCHEMA_VERSION,
        dbpt_version=__version__,
        backbone=_without_folders(backbone.spec),
        logit_scale=backbone.logit_scale,
        logit_bias=backbone.logit_bias,
        words=words,
        settings=_without_folders({name: value for name, value in settings.items() if value is not None}),
    )
    arrays = {} if probe is None else dict(zip(PROBE, (probe.weights, probe.biases), strict=True))
    write_tensors(folder / TENSORS, {**head.tensors, **arrays}, version=SCHEMA_VERSION)
    write_json(folder / CONFIG, asdict(content))


def _without_folders(value: Any) -> Any:
    """Return JSON with the names of files instead of their paths."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


@dataclass(frozen=True)
class StoredClassifier:
    """The files of a classifier: all but its backbone, read without torch. `Classifier.of` loads the rest.

    Attributes:
        spec: the stored description of the backbone, in ``file``.
        weights: the present path of its local weights file, if it has moved.
        tensors: those of the head, of the file ``tensors_file``.
        words, config, probe, card: as in `Classifier`.
    """

    file: Path
    spec: dict[str, Any]
    weights: str | Path | None
    tensors_file: Path
    tensors: dict[str, NDArray[np.float32]]
    words: Words
    config: FitConfig
    probe: AttributeProbe | None
    card: str | None


def read_pretrained(folder: Path, weights: str | Path | None) -> StoredClassifier:
    """Return what `write_pretrained` wrote.

    A local weights file is ``weights``, or the one of that name in the folder. Other files are in the folder, too.

    Raises:
        InputError: if a file is missing, damaged or of another version.
    """
    path = folder / CONFIG
    if not is_pretrained(folder):
        hint = "; dbpt.load reads the folder of a run" if not is_missing(folder / "run.json") else ""
        raise InputError(f"{folder}: holds no {CONFIG} and {TENSORS}, so no saved classifier{hint}")
    record = read_json(path, "config of a classifier")
    if record.get("library_name") != "dbpt":
        raise InputError(f"{path}: its library_name is {record.get('library_name')!r}; expected a classifier of 'dbpt'")
    check_version(path, record.get("schema_version"), SCHEMA_VERSION)
    content = typed(record, PretrainedConfig, path, HINT)
    clip.check_spec(content.backbone, path)
    if unread := content.settings.keys() - {*SETTINGS, "attributes"}:
        raise InputError(f"{path}: settings.{min(unread)} is none of {', '.join(SETTINGS)}; {HINT}")
    spec, settings = content.backbone, content.settings
    for entries in (spec["tokenizer"], settings):  # files are named without their folders
        files = {key: PurePath(str(value)) for key, value in entries.items()}
        entries |= {key: str(folder / f.name) for key, f in files.items() if f.suffix in (".json", ".safetensors")}
    config, local = make_config(settings), spec["weights"].get("path")
    if os.path.lexists(tower := str(spec["config"]["text_cfg"].get("hf_model_name") or "")):
        raise InputError(f"{path}: its text tower {tower!r} is a folder here, expected a name on the Hub")
    if local is not None and weights is None:
        name, sha256 = PurePath(local).name, spec["weights"]["sha256"][:12]
        folders = (folder, mini_clip_paths()[1].parent)  # the second has the one that comes with dbpt
        weights = next((parent / name for parent in folders if not is_missing(parent / name)), None)
        if weights is None:
            hint = "name the file as weights, or put it there"
            raise InputError(f"{folder}: needs CLIP's weights {name} (sha256 {sha256}…); {hint}")
    tensors, _ = read_tensors(folder / TENSORS, "classifier", version=SCHEMA_VERSION, hint=HINT)
    arrays, size = [tensors.pop(name) for name in PROBE if name in tensors], sum(content.words.sizes)
    width = arrays[0].size // max(1, size) if arrays and config.label_model else spec["config"]["embed_dim"]
    if arrays and ([array.shape for array in arrays] != [(size, width), (size,)] or not are_finite(*arrays)):
        raise InputError(f"{folder / TENSORS}: its probe does not belong to its words and backbone; {HINT}")
    probe = AttributeProbe(arrays[0], arrays[1], ()) if arrays else None
    head = folder / TENSORS, tensors
    return StoredClassifier(path, spec, weights, *head, content.words, config, probe, read_card(folder))


def head_of(stored: StoredClassifier) -> FeatureClassifier:
    """Return the head of a stored classifier.

    Raises `InputError` if tensors are missing, or don't fit the words or the width of the features.
    """
    path, config, words = stored.tensors_file, stored.config, stored.words
    try:
        classifier = FeatureClassifier(stored.tensors, HEADS[config.head])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path}: not a readable classifier ({error}); make it again") from None
    shape = classifier.weights.shape
    attributes = shape[1:-1] if config.has_unnamed_groups or len(shape) == 2 else (len(words.attributes),)
    embed_dim = stored.spec["config"]["embed_dim"]
    if shape != (len(words.classes), *attributes, embed_dim):
        sizes = f"{len(words.classes)} classes, {len(words.attributes)} attributes, embed_dim {embed_dim}"
        raise InputError(f"{path}: weights of shape {shape}, but the run has {sizes}")
    return classifier


def read_card(folder: Path) -> str | None:
    """Return the text of the model card in a folder; None if there is none."""
    path = folder / CARD
    return None if is_missing(path) else read_regular(path, "model card", 1 << 22).decode("utf-8", "replace")


def check_new(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is neither new nor empty, unless ``overwrite`` and `write_pretrained` wrote it."""
    if not os.path.lexists(folder):  # Path.exists raises on a name that is too long
        check_can_create(folder, option="save_pretrained")
        return
    with system_errors(f"{folder}: is no folder to write to"):
        names, library = {entry.name for entry in folder.iterdir()}, None
    with suppress(InputError):  # another library may write anything
        library = read_json(folder / CONFIG, "config").get("library_name")
    if names and (library != "dbpt" or "run.json" in names):
        content = "is the folder of a run" if "run.json" in names else "holds files that dbpt did not write"
        raise InputError(f"{folder}: {content}; name a new folder")
    if names and not overwrite:
        raise InputError(f"{folder}: exists; name another folder, or replace it with overwrite=True")


def downloaded(repository: str, **options: Any) -> Path:
    """Return the folder that holds the files of a Hub repository; ``options`` are those of ``snapshot_download``."""
    from huggingface_hub import snapshot_download

    if not REPOSITORY.fullmatch(repository):
        kind = "a file" if os.path.lexists(repository) else "no folder"
        raise InputError(f"{repository!r}: is {kind}, and not the name of a repository, owner/name")
    with foreign_errors(f"{repository!r}: no such folder, and the Hub could not give it"), clip.quiet_hub():
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, TENSORS, CARD], **options))


ORIGIN = {"license": "License", "base_model": "Base model"}


def origin_line(name: str, value: str | None) -> str:
    """Return the line of a model card that states its license or base model, or asks for it."""
    asks = f'not stated; name it in `push_to_hub(..., model_card_kwargs={{"{name}": "..."}})`'
    return f"- {ORIGIN[name]}: {asks if value is None else value}"


def with_origin(card: str, **stated: str | None) -> "ModelCard":
    """Return a model card with what is ``stated`` of `ORIGIN`, in its metadata and its text."""
    from huggingface_hub import ModelCard

    changed = ModelCard(card)
    for name, value in stated.items():
        if value is None:
            continue
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise InputError(f"model_card_kwargs: {name} is {value!r:.200}; expected a name of the Hub, such as mit")
        setattr(changed.data, name, value)
        line = origin_line(name, value).replace("\\", r"\\")
        changed.text = re.sub(rf"(?m)^- {ORIGIN[name]}: .*$", line, changed.text, count=1)
    return changed
