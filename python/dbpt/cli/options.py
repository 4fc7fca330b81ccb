"""Options made from `FitConfig`, so that a setting has one name, one help text and one default everywhere."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from typing import Any

import click
from click.shell_completion import CompletionItem

from dbpt.data import DATASETS
from dbpt.registry import Registry
from dbpt.settings.config import FitConfig
from dbpt.settings.recipes import RECIPES

LISTS = ("columns", "classes", "attributes", "template", "attribute_template", "celeba_attributes", "proportions")
TASK_SETTINGS = ("classes", "attributes", "celeba_target", "celeba_attributes")
DATA_SETTINGS = ("root", "columns", *TASK_SETTINGS, "cache", "max_failures")
EMBED_SETTINGS = (*DATA_SETTINGS, "model", "pretrained", "image_precision", "device", "embed_batch_size")


class RegisteredName(click.ParamType):  # type: ignore[type-arg]
    """A name in a registry. Those of installed packages are listed only for help and completion."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.name, self._registry = registry.setting, registry

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the names as `click.Choice` shows them."""
        return f"[{'|'.join(self._registry)}]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin as typed."""
        return [CompletionItem(name) for name in self._registry if name.startswith(incomplete)]


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

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the data sets that are known by name."""
        with formatter.section("Data sets known by name"):
            formatter.write_text(", ".join(["demo", *DATASETS]))


def settings_options(names: Collection[str], hidden: Collection[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with an option for each of the settings ``names``. An option that is not given is None."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for setting in reversed(fields(FitConfig)):
            if setting.name in names:
                command = _option(setting, setting.name in hidden)(command)
        return command

    return decorate


def training_options(hidden: Collection[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with ``--recipe`` and an option for each setting but ``data``; help leaves out ``hidden``."""
    names = [setting.name for setting in fields(FitConfig) if setting.name != "data"]
    text = "named set of training settings; options that you give win [default: default]"
    recipe = click.option("--recipe", type=click.Choice(list(RECIPES)), help=text)
    return lambda command: recipe(settings_options(names, hidden)(command))


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that stand on the command line."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def settings_and_data(
    data: str | None, configured: dict[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Return the settings of a config file, overridden by ``options``, and the data set, which either may name."""
    from dbpt.settings.recipes import override

    settings = override(configured, given(options))
    in_config = settings.pop("data", None)
    if not (data or in_config):
        raise click.UsageError("Missing argument 'DATA': name a data set or the path of a table (before the options)")
    return settings, data or in_config


def _option(setting: Field[Any], hidden: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name, default, metadata = setting.name, setting.default, setting.metadata
    flag = f"--{name.replace('_', '-')}"
    text = metadata["help"] + ("" if default is None else f" [default: {default}]")
    if isinstance(default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text, hidden=hidden)
    kind: Any = type(default)
    if isinstance(choices := metadata.get("choices"), Registry):
        kind = RegisteredName(choices)
    elif choices:
        kind = click.Choice(list(choices))
    elif default is None:
        kind = next((number for number in (float, int) if number.__name__ in str(setting.type)), str)
    return click.option(flag, name, type=kind, default=None, multiple=name in LISTS, help=text, hidden=hidden)
