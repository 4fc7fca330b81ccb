"""``dbpt guess``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import (
    SettingsCommand,
    config_option,
    data_argument,
    read_settings_for,
    settings_and_data,
    settings_options,
)
from dbpt.settings.sections import GUESS_SETTINGS

EXAMPLES = """\b
Examples:
  dbpt guess demo --out guesses.csv
  dbpt guess photos.csv --attributes photo "drawing=sketch|cartoon" --out guesses.csv
"""


@click.command(cls=SettingsCommand, main=("out", "attributes", "classes", "root", "overwrite"), epilog=EXAMPLES)
@data_argument(required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="CSV file with path, label, split, pseudo_attribute, confidence, doubts and group of each image",
)
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@config_option
@settings_options(GUESS_SETTINGS)
def guess(data: str | None, out: Path | None, overwrite: bool, config: Path | None, **options: Any) -> None:
    """Let CLIP guess the attribute of each image; nothing is trained.

    DATA is as for dbpt fit; it needs no splits. Prints the share of each attribute, and warns if the guesses can't be
    trusted. A --config for dbpt fit serves too.
    """
    from dbpt.experiments.guess import guess_attributes

    configured = read_settings_for(config, GUESS_SETTINGS | {"pseudo_attributes", "label_model"})  # which are refused
    settings, data = settings_and_data(data, configured, options)
    assert data is not None
    click.echo(f"\n{guess_attributes(data, out=out, overwrite=overwrite, **settings).table()}")
