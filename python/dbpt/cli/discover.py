"""``dbpt discover``."""

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
from dbpt.data import SPLITS
from dbpt.settings.sections import DISCOVER_SETTINGS

EXAMPLES = """\b
Examples:
  dbpt discover demo --out discoveries/demo
  dbpt discover photos.csv --predictions mine.csv --out discoveries/photos
"""


@click.command(
    cls=SettingsCommand, main=("out", "classes", "predictions", "catalogue", "split", "root"), epilog=EXAMPLES
)
@data_argument(required=False)
@click.option("--out", type=click.Path(path_type=Path), help="folder for the report and its tables")
@click.option(
    "--predictions",
    default="zero-shot",
    show_default=True,
    help="whose errors: zero-shot CLIP; probe, a linear probe of CLIP's features, out of fold; the folder of a run; or "
    "a file of your classifier's predictions, as for dbpt audit",
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    help="TOML file of families of attributes; with extend = true it adds to dbpt's own, else it replaces them",
)
@click.option(
    "--split", type=click.Choice([*SPLITS, "all"]), help="images to search [default: test, else val, else train]"
)
@click.option("--overwrite", is_flag=True, help="replace the discovery in --out")
@click.option("--weights", type=click.Path(path_type=Path), help="with a run: the backbone's weights file, if moved")
@config_option
@settings_options(DISCOVER_SETTINGS)
def discover(
    data: str | None,
    out: Path | None,
    predictions: str,
    catalogue: Path | None,
    split: str | None,
    overwrite: bool,
    weights: Path | None,
    config: Path | None,
    **options: Any,
) -> None:
    """Search for attributes that explain the errors of a classifier.

    DATA is as for dbpt fit; it needs no splits and no attributes. A --config for dbpt fit serves too. CLIP guesses
    about fifty families of attributes, from backgrounds to image quality. The report ranks those that explain errors
    within the classes, with pictures, and gives the commands to go on.
    """
    from dbpt.auditing.discover import discover as run_discover
    from dbpt.auditing.subject import OF_THE_RUN, kind_of

    by_run = kind_of(predictions) == "run"
    configured = read_settings_for(config, DISCOVER_SETTINGS.difference(OF_THE_RUN if by_run else ()))
    settings, data = settings_and_data(data, configured, options, resume=by_run)
    found = run_discover(
        data,
        predictions=predictions,
        catalogue=catalogue,
        out=out,
        split=split,
        overwrite=overwrite,
        weights=weights,
        **settings,
    )
    click.echo(f"\n{found.table()}" + (f"\n\nreport: {out / 'discover.html'}" if out else ""))
