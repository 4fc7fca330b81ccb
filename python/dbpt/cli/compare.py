"""``dbpt compare``."""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SpreadCommand, settings_and_data, training_options
from dbpt.experiments.comparison.plan import BY_THE_PLAN, METHODS

logger = logging.getLogger(__name__)


def _seeds(_ctx: click.Context, _param: click.Parameter, text: str) -> int | tuple[int, ...]:
    """``5`` for 0 to 4, or the seeds themselves: ``3,7``; a single one is written with a comma, ``3,``."""
    try:
        if "," not in text:
            return int(text)
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor a list such as 3,7") from None


@click.command(cls=SpreadCommand)
@click.argument("data", required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="folder, created by this command")
@click.option(
    "--methods",
    default=",".join(METHODS),
    show_default=True,
    help="zero-shot, an objective, or one with its groups (groupdro:true, dbpt:soft); separated by commas",
)
@click.option("--heads", default="prompt", show_default=True, help="prompt, linear, adapter; separated by commas")
@click.option(
    "--seeds", callback=_seeds, default="5", show_default=True, help="how many, from 0; or a list such as 3,7"
)
@click.option("--jobs", type=int, default=1, show_default=True, help="processes that train at the same time")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings; options here override it")
@click.option(
    "--resume", is_flag=True, help="go on with the comparison in --out; more methods or seeds may be asked for"
)
@click.option("--overwrite", is_flag=True, help="replace the comparison in --out")
@training_options(hidden=BY_THE_PLAN)
def compare(data: str | None, out: Path, config: Path | None, **options: Any) -> None:
    """Train METHODS with HEADS and SEEDS on DATA and put them into one table.

    DATA and the options below are those of dbpt fit, and hold for every row. The table has mean and standard deviation
    over the seeds, and the paired difference to ERM with its intervals over seeds and over images.
    """
    from dbpt.errors import InputError
    from dbpt.experiments.comparison.comparing import compare as run_compare
    from dbpt.report.comparison import WIDEST
    from dbpt.settings.config import read_config

    own = {name: options.pop(name) for name in ("methods", "heads", "seeds", "jobs", "resume", "overwrite")}
    configured = read_config(config) if config else {}  # one that `fit` wrote serves too
    if left_out := [name for name in BY_THE_PLAN if configured.pop(name, None) is not None]:
        logger.info(f"{config}: {', '.join(left_out)} left out, each row of a comparison has its own")
    settings, data = settings_and_data(data, configured, options)
    comparison = run_compare(data, out=out, **own, **settings)
    width = min(WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDEST
    click.echo(f"\n{comparison.table(width, warnings=False)}\n\ntables: {out / 'compare'}.csv, .md, .tex, .json")
    if failed := len(comparison.failed):
        raise InputError(
            f"trainings that failed: {failed}, see under the table; the same with --resume tries them again, other "
            "settings need --overwrite"
        )
