"""Options made from `FitConfig`, so that a setting has one name, one help text and one default everywhere."""

from collections.abc import Callable, Collection
from dataclasses import fields
from typing import Any

import click

from dbpt.experiments.comparison.plan import BY_THE_PLAN
from dbpt.settings.config import FitConfig
from dbpt.settings.recipes import RECIPES

LISTS = ("columns", "classes", "attributes", "template", "attribute_template", "celeba_attributes", "proportions")
DATA_SETTINGS = (
    "root",
    "columns",
    "classes",
    "attributes",
    "celeba_target",
    "celeba_attributes",
    "cache",
    "max_failures",
)

EMBED_SETTINGS = (*DATA_SETTINGS, "by_content", "model", "pretrained", "image_precision", "device", "embed_batch_size")


class SpreadCommand(click.Command):
    """Lets a list option take its values one after another: ``--classes "dog=dog|puppy" cat``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the list option's name before each further value, then parse as click does."""
        names = {f"--{name.replace('_', '-')}" for name in LISTS}
        spread: list[str] = []
        current, expects_value = "", False
        for position, argument in enumerate(args):
            if argument == "--":
                spread += args[position:]
                break
            if argument.startswith("-") and not expects_value:
                name, equals, _ = argument.partition("=")
                current = name if name in names else ""
                expects_value = current != "" and not equals
            elif current and not expects_value:
                spread.append(current)
            else:
                expects_value = False
            spread.append(argument)
        return super().parse_args(ctx, spread)


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate ``command`` with ``--recipe`` and an option for each setting but ``data``. What is not given is None."""
    return _options(command, hidden=())


def compare_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but the help is silent on what a comparison gives each row: `dbpt.compare` says what to do instead."""
    return _options(command, hidden=tuple(BY_THE_PLAN))


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate ``command`` with an option for each setting that says what the data are."""
    return _settings_options(command, DATA_SETTINGS)


def embed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate ``command`` with an option for each setting that the features of images depend on."""
    return _settings_options(command, EMBED_SETTINGS)


def _options(command: Callable[..., Any], hidden: Collection[str]) -> Callable[..., Any]:
    names = [setting.name for setting in fields(FitConfig) if setting.name != "data"]
    command = _settings_options(command, names, hidden)
    recipe = "what training settings that are not given are taken from [default: default]"
    return click.option("--recipe", type=click.Choice(list(RECIPES)), help=recipe)(command)


def _settings_options(
    command: Callable[..., Any], names: Collection[str], hidden: Collection[str] = ()
) -> Callable[..., Any]:
    for setting in reversed(fields(FitConfig)):
        if setting.name in names:
            item = next((kind for kind in (float, int) if kind.__name__ in str(setting.type)), str)
            is_hidden = setting.name in hidden
            command = _option(setting.name, setting.default, item, dict(setting.metadata), is_hidden)(command)
    return command


def _option(
    name: str, default: Any, item: type, metadata: dict[str, Any], hidden: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    flag = f"--{name.replace('_', '-')}"
    text = metadata["help"] + ("" if default is None else f" [default: {default}]")
    if isinstance(default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text, hidden=hidden)
    kind: Any = (
        click.Choice(list(metadata["choices"])) if "choices" in metadata else item if default is None else type(default)
    )
    return click.option(flag, name, type=kind, default=None, multiple=name in LISTS, help=text, hidden=hidden)
