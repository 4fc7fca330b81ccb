"""From settings to the data that they name: tables and folders, objects in memory, a run's data, and demos."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbpt._core import __version__
from dbpt.data import Dataset, load_dataset
from dbpt.data.columns import parse_columns
from dbpt.data.demo import DEMO_NAMES, mini_clip_paths, write_demo
from dbpt.data.huggingface_objects import HuggingFaceData, path_of
from dbpt.data.words import Words, check_templates, parse_vocabulary
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig, make_config

logger = logging.getLogger(__name__)


def config_with_data(data: str | Path | HuggingFaceData, settings: Mapping[str, Any]) -> FitConfig:
    """`make_config` with data that may be an object, which is saved in the cache that the settings name."""
    config = make_config({"data": "", **settings})
    is_path = isinstance(data, str | os.PathLike)  # then no cache is needed, which without a home has no place
    return replace(config, data=str(data) if is_path else path_of(data, config.cache_dir))


def data_arguments(config: FitConfig) -> dict[str, Any]:
    """Return the keywords of `load_dataset` for the data of ``config``; refuses a malformed vocabulary or sentence."""
    for argument, templates in (("--template", config.template), ("--attribute-template", config.attribute_template)):
        if templates is not None:
            check_templates(templates, argument)
    return {
        "classes": parse_vocabulary(config.classes, "--classes") if config.classes is not None else None,
        "attributes": parse_vocabulary(config.attributes, "--attributes") if config.attributes is not None else None,
        "templates": config.template,
        "attribute_templates": config.attribute_template,
        "celeba_target": config.celeba_target,
        "celeba_attributes": config.celeba_attributes,
        "columns": parse_columns(config.columns) if config.columns is not None else None,
        "images": config.embeddings is None,
    }


def load_for_run(config: FitConfig, words: Words, data: str | Path, root: str | Path | None) -> Dataset:
    """Load ``data`` with the ``words`` of a finished run; if they are the run's own, for the task of its ``config``."""
    is_own = str(data) == config.data
    return load_dataset(
        data,
        root,
        classes=words.classes,
        attributes=words.attributes,
        templates=words.templates,
        attribute_templates=words.attribute_templates,
        celeba_target=config.celeba_target if is_own else None,
        celeba_attributes=config.celeba_attributes if is_own else None,
        columns=None if config.columns is None else parse_columns(config.columns),
        training=False,
        images=config.embeddings is None,
    )


def resolve_demo(config: FitConfig) -> FitConfig:
    """Draw the demo that ``config.data`` names into the cache, and name its files and the small CLIP instead.

    Settings that name no demo are returned unchanged, and a model that they name is kept. Raises `InputError` for an
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
