"""``dbpt data``."""

from typing import Any

import click

from dbpt.cli.options import SpreadCommand, data_options


@click.group()
def data() -> None:
    """Look at a data set before it is used."""


@data.command(cls=SpreadCommand)
@click.argument("data")
@data_options
def check(data: str, **options: Any) -> None:
    """Count the images of DATA by split and group, and look for what would stop dbpt fit.

    DATA is what dbpt fit takes. Reads the metadata and the header of every image. Exit code 2 if there are problems.
    """
    from dbpt.errors import InputError
    from dbpt.experiments.data_check import check_data

    settings = {name: value for name, value in options.items() if value is not None and value != ()}
    found = check_data(data, log=lambda line: click.echo(line, err=True), **settings)
    click.echo(found)
    if found.problems:
        raise InputError(f"{data}: dbpt fit cannot use it as it is; the problems are named above")
