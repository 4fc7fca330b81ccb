"""``dbpt fit``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SpreadCommand, settings_and_data, training_options


@click.command(cls=SpreadCommand)
@click.argument("data", required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="run folder, created by this command")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings; options here override it")
@click.option("--resume", is_flag=True, help="continue the run in --out from its last checkpoint")
@click.option("--overwrite", is_flag=True, help="replace the run in --out")
@training_options()
def fit(data: str | None, out: Path, config: Path | None, resume: bool, overwrite: bool, **options: Any) -> None:
    """Tune a debiased prompt (or another --head) on DATA and report it beside zero-shot and ERM.

    DATA is demo, demo-waterbirds, demo-celeba, demo-metashift, waterbirds, celeba, metashift, the path of a CSV, TSV,
    JSON lines or Parquet table with the columns path, label, split and optionally attribute (or --columns), of a
    folder split/class/*.jpg, or of one that save_to_disk of Hugging Face's datasets has written, or tar shards as
    WebDataset names them: "train-{000..146}.tar".
    """
    from dbpt.experiments.fit import fit as run_fit
    from dbpt.ranks import launched_rank
    from dbpt.settings.config import read_config

    settings, data = settings_and_data(data, read_config(config) if config else {}, options)
    run = run_fit(data, out=out, resume=resume, overwrite=overwrite, **settings)
    if launched_rank() == 0:
        click.echo(f"\n{run.table(warnings=False)}\n\nreport: {run.folder / 'report.html'}")
