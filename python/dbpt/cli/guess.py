"""``dbpt guess``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SettingsCommand, data_and_settings, settings_for
from dbpt.settings.sections import GUESS_SETTINGS

EXAMPLES = """\b
Examples:
  dbpt guess demo --out guesses.csv
  dbpt guess photos.csv --attributes photo "drawing=sketch|cartoon" --out guesses.csv
"""


@click.command(cls=SettingsCommand, main=("out", "attributes", "classes", "root", "overwrite"), epilog=EXAMPLES)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="CSV file with path, label, split, pseudo_attribute, confidence, doubts and group of each image",
)
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@data_and_settings(GUESS_SETTINGS)
def guess(out: Path | None, overwrite: bool, **options: Any) -> None:
    """Let CLIP guess the attribute of each image; nothing is trained.

    DATA is as for dbpt fit; it needs no splits. Prints the share of each attribute, and warns if the guesses can't be
    trusted. A --config for dbpt fit serves too.
    """
    from dbpt.experiments.guess import guess_attributes

    refused = {"pseudo_attributes", "label_model"}
    settings, data = settings_for(GUESS_SETTINGS | refused, **options)
    assert data is not None
    found = guess_attributes(data, out=out, overwrite=overwrite, **settings)
    click.echo(f"\n{found.table()}")
    if found.audit_command is not None:
        click.echo(f"\nto see the images of each guess:\n  {found.audit_command}")
