"""``dbpt evaluate``."""

import json
from pathlib import Path

import click

from dbpt.cli.options import SpreadCommand
from dbpt.settings.combinations import AVERAGES


@click.command(cls=SpreadCommand)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data")
@click.option("--root", help="folder of the images")
@click.option("--columns", multiple=True, help="which column of a table holds what: 'path=file' 'label=y'")
@click.option("--embeddings", help="features instead of images, as in dbpt fit")
@click.option("--weights", type=click.Path(path_type=Path), help="the backbone's weights file, if it has moved")
@click.option("--device", default="auto", show_default=True, help="torch device")
@click.option("--cache", help="folder of the feature cache")
@click.option(
    "--max-failures", default=0.01, show_default=True, help="part of the images that may be unreadable", type=float
)
@click.option(
    "--average",
    type=click.Choice(AVERAGES),
    help="average and gap: over all images, or with each group weighted by its share of the training images [default: "
    "the run's]",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def evaluate(
    run: Path,
    data: str,
    root: str | None,
    columns: tuple[str, ...],
    embeddings: str | None,
    weights: Path | None,
    device: str,
    cache: str | None,
    max_failures: float,
    average: str | None,
    as_json: bool,
) -> None:
    """Accuracy by group of the classifier in RUN on DATA (a known name or a table)."""
    from dbpt.experiments.evaluate import evaluate as run_evaluate
    from dbpt.report import comparison_table

    result = run_evaluate(
        run,
        data,
        root=root,
        columns=columns or None,
        embeddings=embeddings,
        weights=weights,
        device=device,
        cache=cache,
        max_failures=max_failures,
        average=average,
        log=lambda line: click.echo(line, err=True),
    )
    click.echo(json.dumps(result, indent=1, ensure_ascii=False) if as_json else comparison_table(result))
