"""``dbpt embed``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import EMBED_SETTINGS, SettingsCommand, data_argument, given, settings_options

EXAMPLES = """\b
Examples:
  dbpt embed photos.csv
  dbpt embed waterbirds --root data/waterbirds --failures failures.csv
"""


@click.command(cls=SettingsCommand, main=("root", "columns", "model", "pretrained", "failures"), epilog=EXAMPLES)
@data_argument()
@click.option(
    "--failures", type=click.Path(path_type=Path), help="CSV file to write, with the path and reason of each failure"
)
@click.option("--overwrite", is_flag=True, help="replace the file that --failures names")
@settings_options(EMBED_SETTINGS)
def embed(data: str, failures: Path | None, overwrite: bool, **options: Any) -> None:
    """Compute the features of all images and store them in the cache.

    Other commands read them from there. DATA is as for dbpt fit. Only new and changed images are computed. Several
    processes that run this at the same time share the work.
    """
    from dbpt.experiments.embed import embed as run_embed
    from dbpt.features import TooManyFailures
    from dbpt.files.csv import csv_text
    from dbpt.files.disk import check_output, write_atomically
    from dbpt.files.launched import launched_rank

    is_first = launched_rank() == 0
    if is_first and failures is not None:
        if failures.suffix.lower() != ".csv":  # so that it can't be an image
            raise click.UsageError(f"--failures {failures}: is a CSV file; choose another name, one that ends in .csv")
        check_output("--failures", failures, overwrite=overwrite, reads=[data, *map(str, options.values())])

    def write(reasons: Iterable[tuple[str, str]]) -> None:
        if is_first and failures is not None:
            write_atomically(failures, csv_text([("path", "reason"), *reasons]), overwrite=overwrite)

    try:
        found = run_embed(data, **given(options))
    except TooManyFailures as error:
        write(error.reasons.items())
        raise
    write((failure.path, failure.reason) for failure in found.failures)
    if is_first:
        click.echo(found)
