"""Options made from `FitConfig`, so that a setting has one name, one help text and one default everywhere."""

import logging
import os
import shlex
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from dbpt.data import DATASETS, SPLITS, parse_factors
from dbpt.registry import Registry
from dbpt.settings.all_settings import SECTIONS
from dbpt.settings.config import RECIPES, FitConfig, override, read_config
from dbpt.settings.fields import flag_of, main_first
from dbpt.storage.files import is_missing, nearest_file

logger = logging.getLogger(__name__)

METHOD = ("groups", "head")
SETTINGS = [setting for section in SECTIONS for setting in main_first(fields(section))]
NAMED = ((setting.name, section.title) for section in SECTIONS for setting in fields(section))
TITLES = {name: "Method" if title in METHOD else title.capitalize() for name, title in NAMED}
MAIN, OTHER = "Main options", "Other options"
SHOW_ALL = "dbpt.help_all"
TASK_SETTINGS = ("classes", "attributes", "factors", "celeba_target", "celeba_attributes")
ALL_AFTER = "write all values after the first: {0} A B C"
FACTORS_EXAMPLE = "'style: photo, sketch' 'place: indoor, outdoor'"
REPEATED = {
    "--attributes": f"{ALL_AFTER.format('--attributes')}, or several attributes as --factors {FACTORS_EXAMPLE}",
    "--factors": f"write all factors after the first: --factors {FACTORS_EXAMPLE}",
}
DATA_SETTINGS = ("root", "columns", *TASK_SETTINGS, "cache", "max_failures")
EMBED_SETTINGS = (*DATA_SETTINGS, "model", "pretrained", "image_precision", "device", "embed_batch_size")


class RegisteredName(click.ParamType):  # type: ignore[type-arg]
    """A name in a registry. Those of installed packages are listed only for help and completion."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.name, self._registry = registry.setting, registry

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the names as `click.Choice` shows them, in lines."""
        lines = textwrap.wrap("| ".join(self._registry), 60, break_on_hyphens=False)
        names = "\n      ".join(lines).replace("| ", "|")
        return f"[{names}]{' ...' if param.multiple else ''}"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin with the typed text."""
        return [CompletionItem(name) for name in self._registry if name.startswith(incomplete)]


path_option = partial(click.option, type=click.Path(path_type=Path))
weights_option = path_option("--weights", help="the backbone's weights file, if it has moved")


def _refuse_missing(_ctx: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and is_missing(path):
        way_on = "give a TOML file of settings, such as the config.toml of a run"
        raise click.UsageError(f"--config {path}: does not exist{nearest_file(path)}; {way_on}")
    return path


config_option = path_option(
    "--config", callback=_refuse_missing, help="TOML file of settings; options here override it"
)


def check_run_is_first(verb: str, run: Path, others: Iterable[str | None]) -> None:
    """Refuse a ``RUN`` that is none if one of the ``others``, which come after it, is one."""
    later = [] if _is_run(run) else [other for other in others if other is not None and _is_run(Path(other))]
    if later:
        command = f"dbpt {verb} {shlex.join([later[0], str(run)])}"
        raise click.UsageError(f"{run}: is not the folder of a run, but {later[0]} is; write it first: {command}")


def _is_run(path: Path) -> bool:
    return not is_missing(path / "run.json")


class SettingsCommand(click.Command):
    """A command with settings: a list option takes its values one after another, and help is in sections.

    The section of a setting is its group; the command's own options come first. ``--help`` shows only main settings.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.params.append(help_all("show all options, also those that --help leaves out"))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the list option's name before each further value, then parse as click does."""
        # click's options that are given several times have a value each: --classes a b becomes --classes a --classes b.
        lists = {option: param for param in self.params if param.multiple for option in param.opts}
        spread: list[str] = []
        current, expects_value, given = "", False, set[str]()
        for position, argument in enumerate(args):
            if argument == "--":
                spread += args[position:]
                break
            if current and lists[current].type is click.FLOAT and "," in argument:
                raise click.UsageError(f"{current}: found {argument}; separate numbers by spaces, not commas")
            if argument.startswith("-") and not expects_value:
                name, equals, _ = argument.partition("=")
                current = name if name in lists else ""
                expects_value = current != "" and not equals
                if current and current in given:
                    raise click.UsageError(f"{name} is given twice; {REPEATED.get(name, ALL_AFTER.format(name))}")
                given.add(current)
            elif current and not expects_value:
                spread.append(current)
            else:
                expects_value = False
            spread.append(argument)
        return super().parse_args(ctx, spread)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the arguments before the options, where no list can take them for its values."""
        options, *arguments = super().collect_usage_pieces(ctx)
        return [*arguments, options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in sections."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in (MAIN, *TITLES.values(), OTHER)}
        order = [setting.name for setting in SETTINGS if ctx.meta.get(SHOW_ALL) or setting.metadata["main"]]
        params = {param.name or "": param for param in self.get_params(ctx)}
        for name in [name for name in params if name not in TITLES] + [name for name in order if name in params]:
            record = params[name].get_help_record(ctx) if isinstance(params[name], click.Option) else None
            if record is not None:
                sections[TITLES.get(name, MAIN if params[name].expose_value else OTHER)].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the data sets with names, then the examples."""
        with formatter.section("Data sets known by name"):
            formatter.write_text(", ".join(["demo", *DATASETS]))
        super().format_epilog(ctx, formatter)


def settings_command(*, examples: str, group: click.Group | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a `SettingsCommand`, of a ``group`` if given, whose help ends with ``examples``."""
    make = click.command if group is None else group.command
    return make(cls=SettingsCommand, epilog=f"\b\nExamples:{examples}")


def help_all(text: str | None) -> click.Option:
    """Return the option ``--help-all``; help leaves it out without a ``text``, where --help shows all."""
    how: dict[str, Any] = {"is_flag": True, "is_eager": True, "expose_value": False, "callback": _help_all}
    return click.Option(["--help-all"], help=text, hidden=text is None, **how)


def _help_all(ctx: click.Context, _option: click.Parameter, is_given: bool) -> None:
    if is_given:
        ctx.meta[SHOW_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


def settings_options(
    names: Collection[str], hidden: Collection[str] = (), of_run: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with an option for each of the settings ``names``. An option that is not given is None.

    The settings ``of_run`` default to those of a run, as help says.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for setting in reversed(fields(FitConfig)):
            if setting.name in names:
                command = _option(setting, setting.name in hidden, setting.name in of_run)(command)
        return command

    return decorate


def training_options(hidden: Collection[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with ``--recipe`` and an option for each setting but ``data``; help leaves out ``hidden``."""
    names = [setting.name for setting in fields(FitConfig) if setting.name != "data"]
    text = "named set of training settings; options that you give win [default: default]"
    recipe = click.option("--recipe", type=click.Choice(list(RECIPES)), help=text)
    return lambda command: recipe(settings_options(names, hidden)(command))


def data_and_settings(names: Collection[str]) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with ``DATA``, which a config file may name, ``--config``, and the settings ``names``."""
    return lambda command: data_argument(required=False)(config_option(settings_options(names)(command)))


def data_argument(*, required: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with ``DATA``, which a shell completes to a name or a path."""

    def complete(_ctx: click.Context, _param: click.Parameter, text: str) -> list[CompletionItem]:
        from dbpt.data.demo import DEMO_NAMES

        names = [name for name in ("demo", *DEMO_NAMES, *DATASETS) if text and name.startswith(text)]
        return [*map(CompletionItem, names), CompletionItem(text, type="file")]

    return click.argument("data", required=required, shell_complete=complete)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are on the command line."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def settings_and_data(
    data: str | None, configured: dict[str, Any], options: Mapping[str, Any], *, resume: bool = False
) -> tuple[dict[str, Any], str | None]:
    """Return the settings of a config file, overridden by ``options``, and the data set, named by either.

    With ``resume`` it may be missing, as it defaults to that of the run.
    """
    settings = override(configured, given(options))
    in_config = settings.pop("data", None)
    if not (data or in_config or resume):
        values = [(name, str(value)) for name, of in given(options).items() if isinstance(of, tuple) for value in of]
        files = (each for each in values if os.path.exists(each[1]))  # noqa: PTH110 (Path.exists may raise)
        read = next((f"; {value} is a value of {flag_of(name)}" for name, value in files), "")
        raise click.UsageError(
            f"Missing argument 'DATA': name a data set or the path of a table, before the options{read}"
        )
    return settings, data or in_config


def settings_for(
    read: Collection[str], *, config: Path | None, data: str | None, data_required: bool = True, **options: Any
) -> tuple[dict[str, Any], str | None]:
    """Return the settings and the data for a command that reads only the settings ``read`` of a config file."""
    settings = read_config(config) if config else {}
    if unread := [name for name in settings if name not in read and name != "data"]:
        logger.debug(f"{config}: not read by this command: {', '.join(unread)}")
    configured = {name: value for name, value in settings.items() if name not in unread}
    return settings_and_data(data, configured, options, resume=not data_required)


@contextmanager
def resumable(verb: str, out: Path) -> Iterator[None]:
    """Let Ctrl-C advise ``dbpt VERB --resume --out OUT``, once this command has written its settings there.

    Until then, it advises the command itself.
    """
    root, before = click.get_current_context().find_root(), _identity(out / "config.toml")
    try:
        yield
    finally:  # any error, since libraries turn the exception of a signal into others
        if _identity(out / "config.toml") != before:
            root.obj = [verb, "--resume", "--out", str(out)]


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns


def _option(setting: Field[Any], hidden: bool, of_run: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name, default, metadata = setting.name, setting.default, setting.metadata
    flag = flag_of(name)
    shown, purpose = ("that of the run", metadata["purpose"]) if of_run else (default, metadata["help"])
    text = purpose + ("" if shown is None else f" [default: {shown}]")
    if isinstance(default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text, hidden=hidden)
    kind: Any = type(default)
    if isinstance(choices := metadata.get("choices"), Registry):
        kind = RegisteredName(choices)
    elif choices:
        kind = click.Choice(list(choices))
    elif default is None:
        kind = next((number for number in (float, int) if number.__name__ in str(setting.type)), str)
    how: dict[str, Any] = {"type": kind, "default": None}
    if str(setting.type).startswith("tuple"):
        value = f"[{'|'.join(choices)}]" if choices else kind.__name__.upper().replace("STR", "TEXT")
        how |= {"multiple": True, "metavar": f"{value} ..."}
    if name == "factors":
        how["callback"] = _well_written_factors
    return click.option(flag, name, help=text, hidden=hidden, **how)


def _well_written_factors(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse wrong syntax before the slow imports of a command."""
    if values:
        parse_factors(values)
    return values


def subject_options(read: frozenset[str], *, verb: str, result: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with DATA, its predictions, and the settings ``read``; help says ``verb`` and ``result``."""
    options: list[Callable[[Any], Any]] = [
        path_option("--out", help="folder for the report and its tables"),
        click.option(
            "--predictions",
            default="zero-shot",
            show_default=True,
            help="classifier to examine: zero-shot CLIP; probe, a linear probe of CLIP's features, out of fold; the "
            "folder of a run; or a file of your classifier's predictions: a table with the columns path and "
            "prediction, and optionally p_CLASS for each class, or .npy in the order of DATA",
        ),
        click.option(
            "--split",
            type=click.Choice([*SPLITS, "all"]),
            help=f"images to {verb} [default: test, else val, else train; train first for a probe]",
        ),
        click.option("--overwrite", is_flag=True, help=f"replace the {result} in --out"),
        path_option("--weights", help="with a run: the backbone's weights file, if moved"),
        data_and_settings(read),
    ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def subject_arguments(read: frozenset[str], **options: Any) -> dict[str, Any]:
    """Return the arguments of `dbpt.audit` or `dbpt.discover` that the ``options`` of `subject_options` ask for."""
    from dbpt.evaluation.audit_subject import OF_THE_RUN, kind_of

    own = {name: options.pop(name) for name in ("predictions", "out", "split", "overwrite", "weights")}
    by_run = kind_of(own["predictions"]) == "run"
    settings, data = settings_for(read.difference(OF_THE_RUN if by_run else ()), data_required=not by_run, **options)
    return {"data": data, **own, **settings}
