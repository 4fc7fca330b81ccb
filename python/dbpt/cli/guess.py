"""``dbpt guess``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SettingsCommand, data_argument, given, settings_options
from dbpt.settings.sections import GUESS_SETTINGS

EXAMPLES = """\b
Examples:
  dbpt guess demo --out guesses.csv
  dbpt guess photos.csv --attributes photo "drawing=sketch|cartoon" --out guesses.csv
"""


@click.command(cls=SettingsCommand, main=("out", "attributes", "classes", "root", "overwrite"), epilog=EXAMPLES)
@data_argument()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="CSV file with path, label, split, pseudo_attribute, confidence and group of each image",
)
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@settings_options(GUESS_SETTINGS)
def guess(data: str, out: Path | None, overwrite: bool, **options: Any) -> None:
    """Let CLIP guess the attribute of each image; nothing is trained.

    DATA is as for dbpt fit; it needs no splits. Prints the share of each attribute, and warns if the guesses can't be
    trusted.
    """
    from dbpt.experiments.guess import guess_attributes

    click.echo(f"\n{guess_attributes(data, out=out, overwrite=overwrite, **given(options)).table()}")
