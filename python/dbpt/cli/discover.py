"""``dbpt discover``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SettingsCommand
from dbpt.cli.subjects import subject_arguments, subject_options
from dbpt.settings.sections import DISCOVER_SETTINGS

EXAMPLES = """\b
Examples:
  dbpt discover demo --out discoveries/demo
  dbpt discover photos.csv --predictions mine.csv --out discoveries/photos
"""


@click.command(
    cls=SettingsCommand, main=("out", "classes", "predictions", "catalogue", "split", "root"), epilog=EXAMPLES
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    help="TOML file of families of attributes; with extend = true it adds to dbpt's own, else it replaces them",
)
@subject_options(DISCOVER_SETTINGS, verb="search", result="discovery")
def discover(out: Path | None, catalogue: Path | None, **options: Any) -> None:
    """Search for attributes that explain the errors of a classifier.

    DATA is as for dbpt fit; it needs no splits and no attributes. A --config for dbpt fit serves too. CLIP guesses
    about fifty families of attributes, from backgrounds to image quality. The report ranks those that explain errors
    within the classes, with pictures, and gives the commands to go on.
    """
    from dbpt.auditing.discover import discover as run_discover

    found = run_discover(catalogue=catalogue, **subject_arguments(DISCOVER_SETTINGS, out=out, **options))
    click.echo(f"\n{found.table()}" + (f"\n\nreport: {out / 'discover.html'}" if out else ""))
