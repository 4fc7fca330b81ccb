"""The command group. It turns errors and Ctrl-C into one line and an exit code."""

import contextlib
import errno
import gc
import json
import logging
import os
import shlex
import shutil
import signal
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from dbpt._core import __version__
from dbpt.cli.audit_discover_guess_label import audit, discover, guess, label
from dbpt.cli.embed_data_demo_cache_env import cache, data, demo, embed, env
from dbpt.cli.evaluate_predict_export import evaluate, export, predict
from dbpt.cli.fit_and_compare import compare, fit
from dbpt.cli.options import SettingsCommand, help_all
from dbpt.environment import launched, launched_rank, local_rank
from dbpt.errors import InputError, out_of_memory
from dbpt.registry import import_plugins
from dbpt.storage.files import check_name
from dbpt.training.ranks import OwnError

INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143
SHARED = ("embed", "fit")
WITHOUT_PLUGINS = ("demo", "cache", "env")
REFUSED_OUTPUT = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EFBIG)
KEPT = {"fit": "nothing is half-written", "compare": "nothing is half-written", "embed": "finished shards are kept"}
LEVEL = "dbpt.level"


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""


RECEIVED: list[KeyboardInterrupt] = []
"""The exceptions that the signals of the present command have raised."""


class Interrupted(click.Abort):
    """Ctrl-C or SIGTERM, with the line to print and the exit code."""

    def __init__(self, context: click.Context, cause: BaseException) -> None:
        by_signal = isinstance(cause, Terminated)
        self.exit_code = TERMINATED if by_signal else INTERRUPTED
        line = "Terminated" if by_signal else "Interrupted"
        if kept := KEPT.get(context.invoked_subcommand or ""):
            program = "torchrun ... -m dbpt" if launched() else "dbpt"
            line += f"; {kept}; continue with: {program} {shlex.join(context.obj)}"
        super().__init__(line)


class Commands(click.Group):
    """The group; ``obj`` of its context are the arguments that continue a command.

    Ctrl-C passes as `click.Abort`, because click prints an empty line when it makes one itself.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are used."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command.

        After a signal it ends as interrupted, whichever error it ends with: libraries such as safetensors turn the
        exception of a signal into an error of their own, which reads as if a file were damaged.
        """
        try:
            result = super().invoke(ctx)
        except BaseException as error:
            if RECEIVED or isinstance(error, KeyboardInterrupt | click.Abort):
                raise Interrupted(ctx, RECEIVED[0] if RECEIVED else error) from None
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            options = {option for parameter in command.params for option in parameter.opts} if command else ()
            if (line := out_of_memory(error, options)) is None:
                raise
            raise InputError(line) from None
        if RECEIVED:  # a library has swallowed the exception
            raise Interrupted(ctx, RECEIVED[0])
        return result


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nStart with:\n  dbpt fit demo --out runs/demo\n  dbpt fit --help",
)
@click.version_option(__version__, prog_name="dbpt")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Debiased prompt tuning for CLIP, without attribute annotations."""
    try:
        Path.cwd()
    except OSError:  # nothing could be found from there, and some libraries abort
        raise InputError("the working directory has been deleted; go to another one, then start dbpt again") from None
    if launched() and ctx.invoked_subcommand not in SHARED:  # each process would do, write and print all of it
        raise InputError(
            f"dbpt {ctx.invoked_subcommand}: started as one of several processes, but only "
            f"{' and '.join(f'dbpt {verb}' for verb in SHARED)} can share work; start it without torchrun"
        )
    if launched_rank():
        logging.getLogger("dbpt").setLevel(logging.CRITICAL)  # the first rank speaks
    if ctx.invoked_subcommand not in WITHOUT_PLUGINS:
        import_plugins()  # even if only dbpt's own names are asked for, since a misspelt module would not be noticed


for command in (audit, discover, guess, fit, compare, evaluate, predict, export, label, data, demo, embed, cache, env):
    commands.add_command(command)


def _set_level(ctx: click.Context, option: click.Parameter, is_given: bool) -> None:
    if is_given and ctx.meta.setdefault(LEVEL, option.name) != option.name:
        raise click.UsageError("-q and -v: choose one")
    if is_given and not launched_rank():
        logging.getLogger("dbpt").setLevel(logging.WARNING if option.name == "quiet" else logging.DEBUG)


for command in (commands, *commands.commands.values(), *data.commands.values(), *cache.commands.values()):
    for name, text in (("quiet", "print only warnings and results"), ("verbose", "print details, such as each epoch")):
        names: list[str] = [f"-{name[0]}", f"--{name}"]
        option = click.Option(names, is_flag=True, expose_value=False, callback=_set_level, help=text)
        command.params.append(option)
    if not isinstance(command, SettingsCommand):
        command.params.append(help_all(None))


def main(arguments: list[str] | None = None) -> None:
    """Run ``dbpt``. Exit code 2 for the user's errors, 130 for Ctrl-C, 141 for a closed pipe, 143 for SIGTERM."""
    # torch's threads spin while they wait for each other, by default so long that on cores that others want too
    # embedding takes four times as long. Must be set before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    gc.set_threshold(100_000)  # importing makes no garbage, but the collector spends a fifth of its time on looking
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by >&-; the next file that is opened would become it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
        if hasattr(stream := getattr(sys, name), "reconfigure"):
            # names of files that are not UTF-8 keep their bytes; elsewhere some characters have none
            is_utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "replace")
    stdout = sys.stdout
    try:
        with warnings.catch_warnings(), _logged_lines(), _signals_interrupt():
            warnings.showwarning = lambda message, *_where, **_more: logging.getLogger("dbpt").warning(message)
            arguments = sys.argv[1:] if arguments is None else arguments
            for argument in arguments:  # before click asks whether they are files
                check_name(argument, f"{argument!r}: cannot be an argument")
            commands.main(arguments, prog_name="dbpt", standalone_mode=False, obj=arguments)
        sys.stdout.flush()
    except InputError as error:
        _leave(f"Error: {error}", 2, of_any=isinstance(error, OwnError))
    except click.ClickException as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the help
            error.show()
            sys.exit(2)
        _leave(f"Error: {_with_way_out(error, arguments or sys.argv[1:])}", 2)
    except Interrupted as error:
        _leave(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _leave("Interrupted", INTERRUPTED)
    except SystemExit as error:  # click's own for a closed pipe is 1, after it has replaced the streams
        sys.exit(error.code if sys.stdout is stdout else BROKEN_PIPE)
    except OSError as error:
        if error.filename is not None or error.errno not in REFUSED_OUTPUT:  # files that we write have their own lines
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit finds no fault either
        if isinstance(error, BrokenPipeError):  # whoever reads has seen enough
            sys.exit(BROKEN_PIPE)
        _leave(f"Error: standard output: cannot write: {error.strerror}", 2)


def _with_way_out(error: click.ClickException, arguments: list[str]) -> str:
    """Return the message of an error of click's own with what to do, which it lacks but for misspelt options."""
    line = error.format_message()
    is_own = type(error) is click.UsageError and not line.startswith("Got unexpected")
    having = _commands_with(error)
    if isinstance(error, click.NoSuchOption) and having:  # rather than what is spelt alike
        line = f"No such option {error.option_name!r}; commands that have it: {', '.join(having)}"
    elif is_own or not isinstance(error, click.UsageError) or ";" in line or "Did you mean" in line:
        return line
    line, param = line.rstrip("."), error.param if isinstance(error, click.MissingParameter) else None
    if isinstance(param, click.Option):
        way = f"add {param.opts[0]} {param.type.name.upper()}"
        return f"{line}: {param.help}; {way}"
    if error.ctx is not None and (param is not None or line.startswith("Got unexpected")):
        return f"{line}; {error.ctx.get_usage().replace('Usage:', 'write')}"
    return f"{line}; see {error.ctx.command_path if error.ctx else 'dbpt'} --help"


def _commands_with(error: click.ClickException) -> list[str]:
    """Return the commands that have the option which another one lacks."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return []
    root = error.ctx.find_root()
    assert isinstance(root.command, click.Group)
    commands = {name: root.command.get_command(root, name) for name in root.command.list_commands(root)}
    options = {name: [option.opts for option in each.params] for name, each in commands.items() if each}
    return [name for name, names in options.items() if [error.option_name] in names]


class Lines(logging.Handler):
    """Prints log records to standard error: the bare message, with ``warning:`` in front of a warning."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, above the progress bars."""
        from tqdm import tqdm

        line = record.getMessage()
        if record.levelno >= logging.WARNING:
            line = "warning: " + line.replace("\n", " ")
            if sys.stderr.isatty():
                room = shutil.get_terminal_size().columns
                line = textwrap.fill(line, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(line, err=True)


@contextlib.contextmanager
def _logged_lines() -> Iterator[None]:
    """Print the log of dbpt, but not that of other libraries."""
    logger, level = logging.getLogger("dbpt"), logging.getLogger("dbpt").level
    handlers = {logger: Lines(), logging.root: logging.NullHandler()}
    for owner, handler in handlers.items():
        owner.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        for owner, handler in handlers.items():
            owner.removeHandler(handler)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Raise `KeyboardInterrupt` for SIGINT and `Terminated` for SIGTERM, so that both end a command in the same way.

    Within an import, where C extensions may swallow exceptions, leave at once instead; commands survive any kill.
    SIGTERM is left alone in one of several launched processes: Python sees no signal while it waits for another rank,
    so torchrun, which ends all of them by SIGTERM when one fails, would wait too.
    """
    raised: dict[int, type[KeyboardInterrupt]] = {}
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            raised[signal.SIGINT] = KeyboardInterrupt
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and not launched():
            raised[signal.SIGTERM] = Terminated

    RECEIVED.clear()

    def stop(number: int, frame: FrameType | None) -> None:
        error, context = raised[number](), click.get_current_context(silent=True)
        RECEIVED.append(error)
        # Is an import among the calls that the signal has interrupted?
        while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
            frame = frame.f_back
        if frame is None or context is None:
            raise error
        interrupted = Interrupted(context.find_root(), error)
        try:
            _leave(str(interrupted), interrupted.exit_code)
        finally:
            os._exit(interrupted.exit_code)

    before = {number: signal.signal(number, stop) for number in raised}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(line: str, code: int, *, of_any: bool = False) -> None:
    """End with a line. Unless it is ``of_any`` rank's own, only the first of each machine prints it: all have it."""
    try:
        is_first = local_rank() == 0
    except InputError:  # that is the line to print
        is_first = True
    if is_first or of_any:
        with contextlib.suppress(OSError):  # nobody can read it
            click.echo(line.replace("\n", " "), err=True)
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):  # torchrun shows only exit codes otherwise
        with contextlib.suppress(OSError):
            reason = {"message": line, "extraInfo": {"timestamp": str(int(time.time()))}}
            Path(path).write_text(json.dumps({"message": reason}), encoding="utf-8")
    sys.exit(code)
