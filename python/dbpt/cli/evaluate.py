"""``dbpt evaluate``."""

import json
from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SettingsCommand, data_argument, given, settings_options

EXAMPLES = """\b
Examples:
  dbpt evaluate runs/photos
  dbpt evaluate runs/demo demo --json
"""

SETTINGS = ("root", "columns", "embeddings", "device", "cache", "max_failures", "average")

OF_RUN = ("columns", "embeddings", "cache", "average")


@click.command(cls=SettingsCommand, main=("as_json", "root", "columns", "weights", "device"), epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@data_argument(required=False)
@click.option("--weights", type=click.Path(path_type=Path), help="the backbone's weights file, if it has moved")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
@settings_options(SETTINGS, of_run=OF_RUN)
def evaluate(run: Path, data: str | None, weights: Path | None, as_json: bool, **options: Any) -> None:
    """Show a run's accuracy by group, on its own or on other data.

    DATA is as for dbpt fit, by default the run's own.
    """
    from dbpt.experiments.evaluate import evaluate as run_evaluate

    result = run_evaluate(run, data, weights=weights, **given(options))
    click.echo(json.dumps(result.to_dict(), indent=1, ensure_ascii=False) if as_json else result.table(warnings=False))
