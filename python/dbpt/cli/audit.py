"""``dbpt audit``."""

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
from dbpt.settings.sections import AUDIT_SETTINGS

EXAMPLES = """\b
Examples:
  dbpt audit demo --out audits/demo
  dbpt audit photos.csv --attributes photo "drawing=sketch|cartoon" \\
      --predictions mine.csv --out audits/photos
"""


@click.command(
    cls=SettingsCommand, main=("out", "attributes", "classes", "predictions", "split", "root"), epilog=EXAMPLES
)
@data_argument(required=False)
@click.option("--out", type=click.Path(path_type=Path), help="folder for the report and its tables")
@click.option(
    "--predictions",
    default="zero-shot",
    show_default=True,
    help="whose errors: zero-shot CLIP; probe, a linear probe of CLIP's features, out of fold; the folder of a run; or "
    "a file of your classifier's predictions: a table with the columns path and prediction, and optionally p_CLASS for "
    "each class, or .npy in the order of DATA",
)
@click.option(
    "--split", type=click.Choice([*SPLITS, "all"]), help="images to audit [default: test, else val, else train]"
)
@click.option("--overwrite", is_flag=True, help="replace the audit in --out")
@click.option("--weights", type=click.Path(path_type=Path), help="with a run: the backbone's weights file, if moved")
@config_option
@settings_options(AUDIT_SETTINGS)
def audit(
    data: str | None,
    out: Path | None,
    predictions: str,
    split: str | None,
    overwrite: bool,
    weights: Path | None,
    config: Path | None,
    **options: Any,
) -> None:
    """Show in which groups a classifier errs; no prompt is trained.

    DATA is as for dbpt fit; it needs no splits. A --config for dbpt fit serves too. CLIP guesses the attribute if the
    data don't have it. The report says whether the attribute explains the errors, and whether CLIP's guesses can be
    trusted.
    """
    from dbpt.auditing.audit import audit as run_audit
    from dbpt.auditing.subject import OF_THE_RUN, kind_of

    by_run = kind_of(predictions) == "run"
    configured = read_settings_for(config, AUDIT_SETTINGS.difference(OF_THE_RUN if by_run else ()))
    settings, data = settings_and_data(data, configured, options, resume=by_run)
    found = run_audit(
        data, predictions=predictions, out=out, split=split, overwrite=overwrite, weights=weights, **settings
    )
    click.echo(f"\n{found.table()}" + (f"\n\nreport: {out / 'audit.html'}" if out else ""))
