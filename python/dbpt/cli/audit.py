"""``dbpt audit``."""

from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import SettingsCommand
from dbpt.cli.subjects import subject_arguments, subject_options
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
@subject_options(AUDIT_SETTINGS, verb="audit", result="audit")
def audit(out: Path | None, **options: Any) -> None:
    """Show in which groups a classifier errs; no prompt is trained.

    DATA is as for dbpt fit; it needs no splits. A --config for dbpt fit serves too. CLIP guesses the attribute if the
    data don't have it. The report says whether the attribute explains the errors, and whether CLIP's guesses can be
    trusted.
    """
    from dbpt.auditing.audit import audit as run_audit

    found = run_audit(**subject_arguments(AUDIT_SETTINGS, out=out, **options))
    click.echo(f"\n{found.table()}" + (f"\n\nreport: {out / 'audit.html'}" if out else ""))
