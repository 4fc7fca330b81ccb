"""From settings to data and known attributes: tables and folders, objects in memory, a run's data, and demos."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import (
    DATASETS,
    Dataset,
    Words,
    check_precomputed_file,
    entries_of,
    factor_entries,
    load_dataset,
    parse_factors,
)
from dbpt.data.columns import PREDICTION_ROLES
from dbpt.data.demo import draw_into_cache, mini_clip_paths
from dbpt.data.layouts.huggingface import materialize
from dbpt.data.loading import DataLike, is_in_memory, save_table
from dbpt.data.text_array import TextIndex
from dbpt.data.validation_split import few_shots
from dbpt.data.words import parse_vocabulary
from dbpt.errors import InputError, in_quotes
from dbpt.guesses import GuessedFactors
from dbpt.guesses.apply_method import attributes_of_data, read_pseudo_attributes
from dbpt.guesses.base import PROBE, PSEUDO_METHODS, no_attributes
from dbpt.objectives import OBJECTIVES
from dbpt.runs.output_folder import refuse_missing_data
from dbpt.runs.pretrained import StoredClassifier
from dbpt.runs.run_folder import classifier_of, read_classifier
from dbpt.settings.all_settings import WordSettings
from dbpt.settings.config import FitConfig, make_config
from dbpt.settings.fields import NOT_WITH_WORD, asked_word
from dbpt.study.column_attributes import check_coded, has_coded
from dbpt.study.study import storing_texts

if TYPE_CHECKING:
    from dbpt.runs.classifier import Classifier

DATA_SETTINGS = ("root", "columns", "celeba_target", "celeba_attributes", *(each.name for each in fields(WordSettings)))
"""The settings that `load_dataset` takes under the same names."""
OF_OWN_DATA = {
    "columns": None,
    "embeddings": None,
    "pseudo_attributes": None,
    "guess_only_unknown": False,
    "probe_rows": None,
    "shots": None,
}
"""The settings of a run that say nothing about other data, unset."""


def with_data(config: FitConfig, data: DataLike, *, training: bool = True, other_columns: bool = False) -> FitConfig:
    """Return the settings with ``data``. Objects in memory are saved in the cache, to get a path.

    Their words become settings. Without ``training`` they need no such split. A data frame is saved with its
    ``other_columns`` if they are asked for.
    """
    if isinstance(data, str | os.PathLike):  # then no cache is needed, which without a home has no place
        return replace(config, data=os.fspath(data))
    if not is_in_memory(data):
        return replace(config, data=materialize(data, config.cache_dir))
    dataset = configured_dataset(config, data=data, training=training, other_columns=other_columns)
    known: dict[str, Any] = {}
    if isinstance(data, Dataset):
        words = dataset.words
        known = {"template": words.templates}
        if words.attributes and not config.names_none:
            known["attribute_template"] = words.attribute_templates
            known["group_template"] = words.group_templates or None
        known["classes"] = entries_of(words.classes, "--classes")
        if not config.names_none:
            known["attributes"] = None if words.factors else entries_of(words.attributes, "--attributes") or None
            known["factors"] = factor_entries(words.factors) or None
        known["average"] = config.average or (dataset.average if config.shots is None else None)
    if config.names_none:  # a column of combinations is read without the factors' names
        dataset = replace(dataset, known_factors=())
    table = save_table(dataset, config.cache_dir)
    of_predictions = [entry for entry in config.columns or () if entry.partition("=")[0].strip() in PREDICTION_ROLES]
    return replace(config, data=str(table), root=str(dataset.root), columns=tuple(of_predictions) or None, **known)


def configured_dataset(config: FitConfig, **changes: Any) -> Dataset:
    """Load the data set that ``config`` names, with ``changes`` of the arguments of `load_dataset`."""
    arguments = {name: getattr(config, name) for name in ("data", *DATA_SETTINGS)}
    if config.names_none:
        arguments["attributes"] = None
    if config.coded is not None and config.coded[0] == "column":
        changes["other_columns"] = True
    return load_dataset(**arguments | {"images": config.opens_images} | changes)


def open_dataset(
    config: FitConfig, *, training: bool = True, needs_attributes: bool = True, other_columns: bool = False
) -> Dataset:
    """Load the data set of ``config``, for ``training`` or not. Refuses one that names no attribute if it must."""
    dataset = configured_dataset(config, training=training, other_columns=other_columns)
    check_coded(config, dataset)
    if needs_attributes and not dataset.attribute_names and not config.lacks_words:
        others = ", ".join(name for name, objective in OBJECTIVES.loaded.items() if not objective.uses_groups)
        raise InputError(
            f"{dataset.source}: no spurious attribute is named; name what the classifier might rely on, for example "
            "--attributes 'land=land background' 'water=water background', several things with --factors, or let "
            "--attributes auto or clusters find it, or take a column (--attributes column:NAME)"
            + (f"; only --group-source ppa and the objectives {others} need none" if training else "")
        )
    return dataset


def rows_with_known(config: FitConfig, dataset: Dataset) -> tuple[Dataset, GuessedFactors | None]:
    """Return the rows that ``--shots`` leaves, and their attributes that are not guessed, -1 where unknown.

    These come from the file ``--pseudo-attributes``, or with ``--guess-only-unknown`` or a probe from the data. They
    are None if all are guessed.
    """
    is_given = config.names_none or config.pseudo_attributes is not None or config.learns_attributes
    if not (is_given or dataset.has_true_attributes):
        _refuse_classes(dataset)
    known = _known_attributes(config, dataset)
    if config.shots is None:
        return dataset, known
    drawn = few_shots(dataset, config.shots, val_fraction=config.val_fraction, seed=config.seed)
    assert drawn.places is not None
    return drawn, None if known is None else known.take(drawn.places)


def _known_attributes(config: FitConfig, dataset: Dataset) -> GuessedFactors | None:
    if config.names_none:
        return None
    if not dataset.attribute_names:
        return no_attributes(dataset)
    if config.pseudo_attributes is None:
        is_known = any((codes >= 0).any() for codes in dataset.factor_attributes)
        if config.keeps_known and not is_known:
            option = f"--pseudo-method {config.pseudo_method}" if config.learns_attributes else "--guess-only-unknown"
            advice = "name the file that has some with --pseudo-attributes"
            raise InputError(f"{option}: {dataset.source} has no attribute for any image; {advice}")
        return attributes_of_data(dataset) if config.keeps_known else None
    return read_pseudo_attributes(Path(config.pseudo_attributes), dataset)


def _refuse_classes(dataset: Dataset) -> None:
    """Refuse attributes that are the classes: CLIP would guess the class of each image once more."""
    classes = {each.casefold() for name, wordings in dataset.words.classes.items() for each in (name, *wordings)}
    for suspect in dataset.words.suspects:
        if classes.issuperset(name.casefold() for name in suspect.values):
            option = f"--factors: {suspect.name}" if suspect.prefix else "--attributes"
            raise InputError(
                f"{option}: {in_quotes(suspect.values)} are classes or words for them, so CLIP would guess the class "
                "again; name something else that a classifier might rely on, such as a background or a style"
            )


def config_for(data: DataLike, settings: Mapping[str, Any]) -> FitConfig:
    """Return the settings for `unchecked_dataset`; a demo is drawn."""
    config = make_config(settings)
    return config if is_in_memory(data) else resolve_demo(with_data(config, data))


def unchecked_dataset(data: DataLike, config: FitConfig) -> Dataset:
    """Return the unchecked data set, without a copy of rows in memory."""
    return configured_dataset(config, check=False, **({"data": data} if is_in_memory(data) else {}))


def run_with_data(
    run: str | Path,
    data: "DataLike | None",
    *,
    root: str | Path | None,
    weights: str | Path | None,
    device: str,
    given: Mapping[str, Any],
    other_columns: bool = False,
) -> tuple["Classifier", FitConfig, Dataset, GuessedFactors | None]:
    """Return the classifier of a run, its settings with those that are ``given``, and `rows_with_known` of ``data``.

    The run's probe guesses the run's own attributes; on other data it guesses them for all images.

    Args:
        run: a run folder, or that of a saved classifier.
        data: a name, a path or rows in memory; None for the run's own data.
        root: the folder of the images; by default the run's, for its own data.
        weights: the present path of the backbone's local weights file, if it has moved.
        device: a torch device, or ``auto``.
        given: settings by name. One that is None is the run's; columns and embeddings are the run's only for its own
            data. Attributes replace those of the run. Without any, those of the data are read.
        other_columns: whether to read the columns of the data that have no role.
    """
    stored = read_classifier(run, weights)
    own, overrides = stored.config, {name: value for name, value in given.items() if value is not None}
    cache = overrides.get("cache", own.cache)
    if data is None:
        refuse_missing_data(own.data, run)
        data = own.data
    data = data if is_in_memory(data) else materialize(data, cache)
    if is_own := names_own_data(data, own):
        root = own.root if root is None else root
    else:
        overrides = OF_OWN_DATA | overrides
    # The data may have other attributes than the run's words: without names here, their own are read.
    settings = vars(own).copy()
    has_own_names = not overrides.keys() & {"attributes", "factors"}
    if not has_own_names:
        settings |= {"attributes": None, "factors": None}
    probe = stored.probe if has_own_names and overrides.get("pseudo_method", PROBE) == PROBE else None
    if probe is None and own.learns_attributes:
        of_method = ("pseudo_method", *PSEUDO_METHODS[own.pseudo_method].settings)
        settings = {name: value for name, value in settings.items() if name not in of_method}
    if (asked := asked_word(make_config({"attributes": overrides.get("attributes")}).attributes)) is not None:
        settings = {name: value for name, value in settings.items() if name not in NOT_WITH_WORD[asked[0]]}
    config = make_config(settings | overrides | {"features": "cached"})
    if isinstance(data, str):
        resolved = resolve_demo(replace(config, data=data, root=None if root is None else str(root)))
        data, root = resolved.data, resolved.root
    _refuse_other_classes(data, stored)
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings))
    words = stored.words
    if "attributes" in overrides and not config.lacks_words:
        named = {} if config.asks_auto else parse_vocabulary(overrides["attributes"], "--attributes")
        words = replace(words, attributes=named, factors=())
    if "factors" in overrides:
        words = replace(words, factors=parse_factors(overrides["factors"]))
    if "attribute_template" in overrides:
        words = replace(words, attribute_templates=tuple(overrides["attribute_template"]))
    dataset = load_for_run(config, words, data, root, other_columns=other_columns)
    if "attributes" in overrides:
        check_coded(config, dataset)
    elif config.coded is not None and not has_coded(config, dataset):
        missing = f"the data have no {' '.join(config.coded)}, so the groups of the run are missing here"
        config, dataset = replace(config, attributes=None), replace(dataset, notes=(*dataset.notes, missing))
    known = None
    if probe is None or is_own:
        dataset, known = rows_with_known(config, dataset)
    classifier = classifier_of(stored, device)
    return replace(classifier, backbone=storing_texts(classifier.backbone, config), probe=probe), config, dataset, known


def _refuse_other_classes(data: DataLike, stored: StoredClassifier) -> None:
    """Refuse other words for data with numeric labels, which could be mistaken for the run's classes."""
    words = stored.words
    if isinstance(data, Dataset):
        name, own = data.name, data.words
    elif isinstance(data, str) and data in DATASETS and data != stored.config.data:
        name, own = data, DATASETS[data].words
    else:
        return
    for kind, names, expected in (
        ("classes", own.classes, words.classes),
        ("attributes", own.attributes, words.attributes),
    ):
        if names and expected and list(names) != list(expected):
            advice = f"{stored.config.data} or " if stored.config.data in DATASETS else ""
            raise InputError(
                f"data {name!r}: its {kind} are {', '.join(names)}, the run's are {', '.join(expected)}; evaluate on "
                f"{advice}a table of the run's {kind}"
            )


def load_for_run(
    config: FitConfig, words: Words, data: DataLike, root: str | Path | None, *, other_columns: bool = False
) -> Dataset:
    """Load ``data`` with the ``words`` of a finished run; if they are the run's own, for the task of its ``config``."""
    task = {} if names_own_data(data, config) else {"celeba_target": None, "celeba_attributes": None}
    return configured_dataset(
        config,
        data=data,
        root=root,
        classes=words.classes,
        attributes=None if words.factors else words.attributes or None,
        factors=factor_entries(words.factors) or None,
        template=words.templates,
        attribute_template=words.attribute_templates if words.attributes else None,
        group_template=words.group_templates or None,
        training=False,
        other_columns=other_columns,
        of_run=True,
        **task,
    )


def load_rows(
    run: str | Path,
    config: FitConfig,
    words: Words,
    paths: Sequence[str],
    data: str | Path | None,
    root: str | Path | None,
) -> tuple[Dataset, NDArray[np.int64]]:
    """Return the data of a run, and the rows (n,) of some images.

    Args:
        run, config, words: the run's folder, settings and words.
        paths: (n,) the images; one that is gone is an `InputError`.
        data, root: where the data are now; None if they haven't moved.
    """
    if data is None:
        refuse_missing_data(config.data, run, "--data")
    dataset = load_for_run(config, words, data or config.data, root or config.root)
    rows = TextIndex(dataset.paths).find(paths)
    for gone in np.flatnonzero(rows < 0)[:1].tolist():
        raise InputError(
            f"{dataset.source}: has no image {paths[gone]!r}, which the run had ({np.count_nonzero(rows < 0)} of "
            f"{len(paths)} are missing); give the data that the run was fitted on"
        )
    return dataset, rows


def names_own_data(data: DataLike, config: FitConfig) -> bool:
    """Return whether ``data`` is the name or path that is in ``config``."""
    return isinstance(data, str | os.PathLike) and os.path.abspath(data) == os.path.abspath(config.data)  # noqa: PTH100


def resolve_demo(config: FitConfig) -> FitConfig:
    """Draw the demo that ``config.data`` names into the cache, and name its files and the small CLIP instead.

    Other settings are returned unchanged, and a named model is kept. Raises `InputError` for an
    unknown demo, or one with a ``root``.
    """
    demo = draw_into_cache(config.data, config.root, config.cache_dir)
    if demo is None:
        return config
    config = replace(config, data=demo[0], root=str(demo[1]))
    if config.model:
        return config
    model, pretrained = mini_clip_paths()
    return replace(config, model=str(model), pretrained=config.pretrained or str(pretrained))
