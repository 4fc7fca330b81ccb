"""``dbpt compare``."""

import logging
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import (
    INTEGER,
    RegisteredName,
    SettingsCommand,
    config_option,
    data_argument,
    resumable,
    settings_and_data,
    training_options,
)
from dbpt.errors import plain_number
from dbpt.experiments.comparison.plan import BY_THE_PLAN, DEFAULT_HEADS, DEFAULT_SEEDS, METHODS
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.training_free import TRAINING_FREE

EXAMPLES = """\b
Examples:
  dbpt compare demo --out runs/compare --resample 20
  dbpt compare photos.csv --out runs/heads --methods erm dbpt groupdro \\
      --heads prompt linear --attributes photo "drawing=sketch|cartoon"
"""

logger = logging.getLogger(__name__)


def _names(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> str | None:
    return ",".join(values) if values else None


def _seeds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> int | tuple[int, ...] | None:
    """``5`` for 0 to 4, or the seeds themselves: ``3 7``; a single one is written with a comma, ``3,``."""
    text = _names(ctx, param, values)
    try:
        parts = [part for part in (text or "").split(",") if part.strip()]
        for part in parts:
            plain_number(part)
        return None if text is None else tuple(map(int, parts)) if "," in text else int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor a list such as 3 7") from None


@click.command(cls=SettingsCommand, main=("out", "methods", "resample", "classes", "attributes"), epilog=EXAMPLES)
@data_argument(required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="folder, created by this command")
@click.option(
    "--methods",
    callback=_names,
    multiple=True,
    type=RegisteredName(OBJECTIVES),
    metavar="METHOD ...",
    help="objectives, as for dbpt fit; an objective with its groups, such as groupdro:true; or without training: "
    f"{', '.join(TRAINING_FREE)} [default: {' '.join(METHODS)}]",
)
@click.option(
    "--heads",
    callback=_names,
    multiple=True,
    type=RegisteredName(HEADS),
    help=f"heads to train with each method [default: {' '.join(DEFAULT_HEADS)}]",
)
@click.option(
    "--seeds",
    callback=_seeds,
    multiple=True,
    metavar="N ...",
    help=f"number of seeds, counted from 0; or the seeds themselves: 3 7 [default: {DEFAULT_SEEDS}]",
)
@click.option(
    "--resample",
    type=INTEGER,
    metavar="K",
    help="train each row K more times, each time on half of the training and validation rows of each class and pseudo "
    "attribute: gives intervals for other training images; 20 are recommended",
)
@click.option("--jobs", type=INTEGER, default=1, show_default=True, help="processes that train at the same time")
@config_option
@click.option(
    "--resume",
    is_flag=True,
    help="continue the comparison in --out; without DATA, with its own data and settings; more methods, heads, "
    "seeds and draws may be given",
)
@click.option("--overwrite", is_flag=True, help="replace the comparison in --out")
@training_options(hidden=BY_THE_PLAN)
def compare(data: str | None, out: Path, config: Path | None, **options: Any) -> None:
    """Compare methods, heads and seeds in one table with intervals.

    DATA and the settings are as for dbpt fit, and the same for every row. The table shows figures with their standard
    deviation over draws or seeds, and the difference to ERM with its intervals over them and over images.
    """
    from dbpt.errors import InputError
    from dbpt.experiments.comparison.comparing import compare as run_compare
    from dbpt.report.comparison import WIDEST
    from dbpt.settings.config import read_config

    own = {name: options.pop(name) for name in ("methods", "heads", "seeds", "resample", "jobs", "resume", "overwrite")}
    configured = read_config(config) if config else {}  # one that `fit` wrote serves too
    if left_out := [name for name in BY_THE_PLAN if configured.pop(name, None) is not None]:
        logger.info(f"{config}: {', '.join(left_out)} left out, each row of a comparison has its own")
    settings, data = settings_and_data(data, configured, options, resume=own["resume"])
    with resumable("compare", out):
        comparison = run_compare(data, out=out, **own, **settings)
    width = min(WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDEST
    written = f"report: {out / 'compare.html'}; tables: .csv, .json"
    click.echo(f"\n{comparison.table(width, warnings=False)}\n\n{written}")
    if failed := len(comparison.failed):
        retry = ["dbpt", "compare", "--resume", "--out", str(out)]
        raise InputError(
            f"trainings that failed: {failed}, see under the table; {shlex.join(retry)} tries them again, other "
            "settings need --overwrite"
        )
