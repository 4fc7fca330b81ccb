"""``dbpt data`` and ``dbpt demo``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import DATA_SETTINGS, SpreadCommand, given, settings_options


@click.group()
def data() -> None:
    """Look at a data set before it is used."""


@data.command(cls=SpreadCommand)
@click.argument("data")
@settings_options(DATA_SETTINGS)
def check(data: str, **options: Any) -> None:
    """Count the images of DATA by split and group, and look for what would stop dbpt fit.

    DATA is what dbpt fit takes. Reads the metadata and the header of every image. Exit code 2 if there are problems.
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
@click.option("--seed", default=0, show_default=True, help="of the drawings")
def demo(name: str, folder: Path, seed: int) -> None:
    """Write a demo data set into FOLDER, in the layout of the real one.

    NAME is demo-waterbirds, demo-celeba or demo-metashift.
    """
    from dbpt.data.demo import write_demo

    root = write_demo(name, folder, seed=seed)
    click.echo(f"{name}: written to {root}; use it with: dbpt fit {name.removeprefix('demo-')} --root {root}")
