"""``dbpt evaluate``."""

import json
from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SpreadCommand, given, settings_options

SETTINGS = ("root", "columns", "embeddings", "device", "cache", "max_failures", "average")


@click.command(cls=SpreadCommand)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data")
@click.option("--weights", type=click.Path(path_type=Path), help="the backbone's weights file, if it has moved")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
@settings_options(SETTINGS)
def evaluate(run: Path, data: str, weights: Path | None, as_json: bool, **options: Any) -> None:
    """Accuracy by group of the classifier in RUN on DATA (a known name or a table).

    Columns, embeddings and average that are not given are the run's.
    """
    from dbpt.experiments.evaluate import evaluate as run_evaluate

    result = run_evaluate(run, data, weights=weights, **given(options))
    click.echo(json.dumps(result.to_dict(), indent=1, ensure_ascii=False) if as_json else result.table(warnings=False))
