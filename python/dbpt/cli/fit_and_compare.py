"""``dbpt fit`` and ``dbpt compare``."""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from dbpt.cli import options as shared
from dbpt.commands.compare.plan import BY_THE_PLAN, DEFAULT_HEADS, DEFAULT_SEEDS, METHODS
from dbpt.environment import launched_rank
from dbpt.errors import InputError
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES, TRAINING_FREE
from dbpt.settings.config import read_config
from dbpt.settings.fields import Command

logger = logging.getLogger(__name__)

FIT_EXAMPLES = """
  dbpt fit demo --out runs/demo
  dbpt fit photos.csv --out runs/photos --classes "animal=dog|elephant" \\
      "thing=house|guitar" --attributes photo "drawing=sketch|cartoon"
"""


@shared.settings_command(examples=FIT_EXAMPLES)
@shared.data_argument(required=False)
@shared.path_option("--out", required=True, help="run folder, created by this command")
@shared.config_option
@click.option("--resume", is_flag=True, help="continue the run in --out; without DATA, with its own data and settings")
@click.option("--overwrite", is_flag=True, help="replace the run in --out")
@shared.training_options()
def fit(data: str | None, out: Path, config: Path | None, resume: bool, overwrite: bool, **options: Any) -> None:
    """Train a debiased prompt; report it beside zero-shot and ERM.

    \b
    DATA is one of
      demo, demo-celeba, demo-metashift   drawn pictures and a small CLIP
      waterbirds, celeba, metashift       the benchmark in the folder --root
      photos.csv (.tsv, .jsonl, .parquet) a table with the columns path, label,
                                          split and optionally attribute; for
                                          other names see --columns
      photos/                             a folder split/class/*.jpg, or one that
                                          Hugging Face's datasets has saved
      "train-{000..146}.tar"              WebDataset's shards
    """
    from dbpt.commands.fit.fit import fit as run_fit

    settings, data = shared.settings_and_data(data, read_config(config) if config else {}, options, resume=resume)
    with shared.resumable("fit", out):
        run = run_fit(data, out=out, resume=resume, overwrite=overwrite, **settings)
    if launched_rank() == 0:
        click.echo(f"\n{run.table(warnings=False)}\n\nreport: {run.folder / 'report.html'}")


COMPARE_EXAMPLES = """
  dbpt compare demo --out runs/compare --resample 20
  dbpt compare photos.csv --out runs/heads --methods erm dbpt groupdro \\
      --heads prompt linear --attributes photo "drawing=sketch|cartoon"
"""


def _names(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> str | None:
    return ",".join(values) if values else None


def _seeds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> int | tuple[int, ...] | None:
    """``5`` for 0 to 4, or the seeds themselves: ``3 7``; a single one is written with a comma, ``3,``."""
    text = _names(ctx, param, values)
    try:
        if text is None or "," not in text:
            return None if text is None else int(text)
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor a list such as 3 7") from None


def _varied(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]] | None:
    """``eta=0,1,5 lr=0.003,0.01``."""
    varied = dict[str, list[str]]()
    for text in values:
        name, equals, given = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or name in varied:
            problem = f"{name!r} is given twice" if name in varied else f"found {text!r}"
            raise click.BadParameter(f"{problem}; expected SETTING=VALUE,VALUE once for each setting")
        varied[name] = [value.strip() for value in given.split(",")]
    return varied or None


@shared.settings_command(examples=COMPARE_EXAMPLES)
@shared.data_argument(required=False)
@shared.path_option("--out", required=True, help="folder, created by this command")
@click.option(
    "--methods",
    callback=_names,
    multiple=True,
    type=shared.RegisteredName(OBJECTIVES),
    metavar="METHOD ...",
    help="objectives, as for dbpt fit; an objective with its groups, such as groupdro:true; or without training: "
    f"{', '.join(TRAINING_FREE)} [default: {' '.join(METHODS)}]",
)
@click.option(
    "--heads",
    callback=_names,
    multiple=True,
    type=shared.RegisteredName(HEADS),
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
    type=int,
    metavar="K",
    help="train each row K more times, each time on half of the training and validation rows of each class and pseudo "
    "attribute: gives intervals for other training images; 20 are recommended",
)
@click.option(
    "--vary",
    callback=_varied,
    multiple=True,
    metavar="SETTING=VALUE,VALUE ...",
    help="train each row with each combination of values of the settings that it reads: eta=0,1,5 lr=0.003,0.01",
)
@click.option(
    "--against",
    metavar="METHOD",
    help="row that the others are compared with, as in --methods; of several the one with the same head and settings, "
    "or METHOD,HEAD,SETTING=VALUE [default: erm]",
)
@click.option("--jobs", type=int, default=1, show_default=True, help="processes that train at the same time")
@shared.config_option
@click.option(
    "--resume",
    is_flag=True,
    help="continue the comparison in --out; without DATA, with its own data and settings; more methods, heads, "
    "seeds and draws may be given",
)
@click.option("--overwrite", is_flag=True, help="replace the comparison in --out")
@shared.training_options(hidden=BY_THE_PLAN)
def compare(data: str | None, out: Path, config: Path | None, **options: Any) -> None:
    """Compare methods, heads and seeds in one table with intervals.

    DATA and the settings are as for dbpt fit, and the same for every row. The table shows figures with their standard
    deviation over draws or seeds, and the difference to ERM or --against with its intervals over them and over images.
    """
    from dbpt.commands.compare.compare import compare as run_compare
    from dbpt.report.tables import WIDEST

    own = {
        name: options.pop(name)
        for name in ("methods", "heads", "seeds", "resample", "vary", "against", "jobs", "resume", "overwrite")
    }
    configured = read_config(config) if config else {}  # one that `fit` wrote serves too
    if left_out := [name for name in BY_THE_PLAN if configured.pop(name, None) is not None]:
        logger.info(f"{config}: {', '.join(left_out)} left out, because each row of a comparison has its own")
    settings, data = shared.settings_and_data(data, configured, options, resume=own["resume"])
    with shared.resumable("compare", out):
        comparison = run_compare(data, out=out, **own, **settings)
    width = min(WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDEST
    written = f"report: {out / 'compare.html'}; tables: .csv, .json"
    click.echo(f"\n{comparison.table(width, warnings=False)}\n\n{written}")
    if failed := len(comparison.failed):
        retry = Command("compare", arguments={"resume": True, "out": out})
        hint = f"{retry} tries them again; other settings need --overwrite"
        raise InputError(f"trainings that failed: {failed}, see under the table; {hint}")
