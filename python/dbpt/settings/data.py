"""From a run's settings to what `load_dataset` takes, for whoever reads data that settings describe."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.data.columns import parse_columns
from dbpt.data.huggingface_objects import path_of
from dbpt.data.words import check_templates, parse_vocabulary
from dbpt.settings.config import FitConfig, make_config

if TYPE_CHECKING:
    from dbpt.data.huggingface_objects import HuggingFaceData


def config_with_data(
    data: "str | Path | HuggingFaceData", settings: Mapping[str, Any], log: Callable[[str], None]
) -> FitConfig:
    """`make_config` with data that may be an object, which is saved where the settings have their cache."""
    config = make_config({"data": "", **settings})
    return replace(config, data=path_of(data, config.cache_dir, log))


def data_arguments(config: FitConfig) -> dict[str, Any]:
    """The keywords of `load_dataset` for the data of ``config``.

    Raises:
        InputError: a vocabulary or a sentence that is not well-formed, under the name of its option.
    """
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


def same_task(config: FitConfig, data: str | Path) -> dict[str, Any]:
    """The keywords of `load_dataset` that read ``data`` for the task of the run of ``config``, whose words it has."""
    if str(data) != config.data:
        return {}
    return {"celeba_target": config.celeba_target, "celeba_attributes": config.celeba_attributes}
