"""``dbpt data`` and ``dbpt demo``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import DATA_SETTINGS, SettingsCommand, data_argument, given, settings_options

EXAMPLES = """\b
Examples:
  dbpt data check photos.csv
  dbpt data check table.parquet --columns path=file label=y
"""


@click.group()
def data() -> None:
    """Check a data set before training."""


@data.command(cls=SettingsCommand, main=("root", "columns", "classes", "attributes"), epilog=EXAMPLES)
@data_argument()
@settings_options(DATA_SETTINGS)
def check(data: str, **options: Any) -> None:
    """Count images by split and group; list all that would stop dbpt fit.

    DATA is as for dbpt fit. Reads the metadata and the header of every image. Exit code 2 if there are problems.
    """
    from dbpt.errors import InputError
    from dbpt.experiments.data_check import check_data

    found = check_data(data, **given(options))
    click.echo(found)
    if found.problems:
        raise InputError(f"{data}: dbpt fit cannot use it as it is; the problems are named above")


@click.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="seed of the drawings")
def demo(name: str, folder: Path, seed: int) -> None:
    """Write a demo data set into a folder.

    It gets the layout of the real data set. NAME is demo-waterbirds, demo-celeba or demo-metashift. FOLDER must be new
    or empty.
    """
    from dbpt.data.demo import write_demo

    root = write_demo(name, folder, seed=seed)
    click.echo(f"{name}: written to {root}; use it with: dbpt fit {name.removeprefix('demo-')} --root {root}")
