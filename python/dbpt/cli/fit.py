"""``dbpt fit``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import (
    SettingsCommand,
    config_option,
    data_argument,
    resumable,
    settings_and_data,
    training_options,
)

EXAMPLES = """\b
Examples:
  dbpt fit demo --out runs/demo
  dbpt fit photos.csv --out runs/photos --classes "animal=dog|elephant" \\
      "thing=house|guitar" --attributes photo "drawing=sketch|cartoon"
"""


@click.command(cls=SettingsCommand, main=("out", "classes", "attributes", "root", "resume"), epilog=EXAMPLES)
@data_argument(required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="run folder, created by this command")
@config_option
@click.option("--resume", is_flag=True, help="continue the run in --out; without DATA, with its own data and settings")
@click.option("--overwrite", is_flag=True, help="replace the run in --out")
@training_options()
def fit(data: str | None, out: Path, config: Path | None, resume: bool, overwrite: bool, **options: Any) -> None:
    """Train a debiased prompt; report it beside zero-shot and ERM.

    \b
    DATA is one of
      demo, demo-celeba, demo-metashift   drawn pictures and a small CLIP
      waterbirds, celeba, metashift       the benchmark in the folder --root
      photos.csv (.tsv, .jsonl, .parquet) a table with the columns path, label,
                                          split and optionally attribute; for
                                          other names see --columns
      photos/                             a folder split/class/*.jpg, or one that
                                          Hugging Face's datasets has saved
      "train-{000..146}.tar"              WebDataset's shards
    """
    from dbpt.experiments.fit import fit as run_fit
    from dbpt.files.launched import launched_rank
    from dbpt.settings.config import read_config

    settings, data = settings_and_data(data, read_config(config) if config else {}, options, resume=resume)
    with resumable("fit", out):
        run = run_fit(data, out=out, resume=resume, overwrite=overwrite, **settings)
    if launched_rank() == 0:
        click.echo(f"\n{run.table(warnings=False)}\n\nreport: {run.folder / 'report.html'}")
