"""From settings to data: tables and folders, objects in memory, a run's data, and demos."""

import logging
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dbpt._core import __version__
from dbpt.data import Dataset, Words, entries_of, factor_entries, load_dataset
from dbpt.data.columns import PREDICTION_ROLES
from dbpt.data.demo import DEMO_NAMES, mini_clip_paths, write_demo
from dbpt.data.layouts.huggingface import materialize
from dbpt.data.loading import DataLike, is_in_memory, save_table
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig, make_config
from dbpt.settings.sections import WordSettings

DATA_SETTINGS = (
    "root",
    "columns",
    "celeba_target",
    "celeba_attributes",
    *(setting.name for setting in fields(WordSettings)),
)
"""The settings that `load_dataset` takes under the same names."""

logger = logging.getLogger(__name__)


def with_data(config: FitConfig, data: DataLike) -> FitConfig:
    """Return the settings with ``data``. Objects in memory are saved in the cache, to get a path.

    Their words become settings.
    """
    if isinstance(data, str | os.PathLike):  # then no cache is needed, which without a home has no place
        return replace(config, data=os.fspath(data))
    if not is_in_memory(data):
        return replace(config, data=materialize(data, config.cache_dir))
    dataset = configured_dataset(config, data=data)
    known: dict[str, Any] = {}
    if isinstance(data, Dataset):
        words = dataset.words
        known = {"template": words.templates}
        if words.attributes and not config.names_none:
            known["attribute_template"] = words.attribute_templates
        known["classes"] = entries_of(words.classes, "--classes")
        if not config.names_none:
            known["attributes"] = None if words.factors else entries_of(words.attributes, "--attributes") or None
            known["factors"] = factor_entries(words.factors) or None
        known["average"] = config.average or (dataset.average if config.shots is None else None)
    if config.names_none:  # a column of combinations is read without the factors' names
        dataset = replace(dataset, known_factors=())
    table = save_table(dataset, config.cache_dir)
    of_predictions = [each for each in config.columns or () if each.partition("=")[0].strip() in PREDICTION_ROLES]
    return replace(config, data=str(table), root=str(dataset.root), columns=tuple(of_predictions) or None, **known)


def configured_dataset(config: FitConfig, **changes: Any) -> Dataset:
    """Load the data set that ``config`` names, with ``changes`` of the arguments of `load_dataset`."""
    arguments = {name: getattr(config, name) for name in ("data", *DATA_SETTINGS)}
    if config.names_none:
        arguments["attributes"] = None
    return load_dataset(**arguments | {"images": config.opens_images} | changes)


def config_for(data: DataLike, settings: Mapping[str, Any]) -> FitConfig:
    """Return the settings for `unchecked_dataset`; a demo is drawn."""
    config = make_config(settings)
    return config if is_in_memory(data) else resolve_demo(with_data(config, data))


def unchecked_dataset(data: DataLike, config: FitConfig) -> Dataset:
    """Return the unchecked data set, without a copy of rows in memory."""
    return configured_dataset(config, check=False, **({"data": data} if is_in_memory(data) else {}))


def load_for_run(config: FitConfig, words: Words, data: DataLike, root: str | Path | None) -> Dataset:
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
        training=False,
        **task,
    )


def names_own_data(data: DataLike, config: FitConfig) -> bool:
    """Return whether ``data`` is the name or path that is in ``config``."""
    return isinstance(data, str | os.PathLike) and os.fspath(data) == config.data


def resolve_demo(config: FitConfig) -> FitConfig:
    """Draw the demo that ``config.data`` names into the cache, and name its files and the small CLIP instead.

    Other settings are returned unchanged, and a named model is kept. Raises `InputError` for an
    unknown demo, or one with a ``root``.
    """
    data = config.data
    if data != "demo" and not (data.startswith("demo-") and not Path(data).suffix):  # a table may be called demo-x.csv
        return config
    if config.root is not None:
        raise InputError(f"--root {config.root}: {data} is drawn into --cache; leave --root out")
    name = "demo-waterbirds" if data == "demo" else data
    root = config.cache_dir / "demo" / f"{name}-{__version__}"
    if not root.exists():
        if name in DEMO_NAMES:
            logger.info(f"drawing {name} into {root}")
        try:
            write_demo(name, root)
        except InputError:
            if not root.exists():  # another run may have drawn it meanwhile
                raise
    config = replace(config, data=name.removeprefix("demo-"), root=str(root))
    if config.model:
        return config
    model, pretrained = mini_clip_paths()
    return replace(config, model=str(model), pretrained=config.pretrained or str(pretrained))
