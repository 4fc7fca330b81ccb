"""``dbpt audit``, ``discover``, ``guess`` and ``label``, which train nothing."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from dbpt.cli import options as shared
from dbpt.data.paths import use_of_folder
from dbpt.errors import InputError
from dbpt.settings.all_settings import AUDIT_SETTINGS, DISCOVER_SETTINGS, GUESS_SETTINGS
from dbpt.settings.fields import Command
from dbpt.storage import files

GATE_MISSED = 3
"""The exit code; 1 is a bug, 2 wrong input."""

AUDIT_EXAMPLES = """
  dbpt audit demo --out audits/demo
  dbpt audit photos.csv --attributes photo "drawing=sketch|cartoon" \\
      --predictions mine.csv --out audits/photos
"""


@shared.settings_command(examples=AUDIT_EXAMPLES)
@shared.subject_options(AUDIT_SETTINGS, verb="audit", result="audit")
@click.option("--min-worst-group", type=float, help="gate: the least worst-group accuracy, such as 0.7")
@click.option("--max-gap", type=float, help="gate: the largest gap, average minus worst group, such as 0.2")
@shared.path_option("--baseline", help="gate: the folder of an earlier audit of the same images")
@click.option("--max-drop", type=float, help="with --baseline: how much lower the worst group may be [default: 0]")
@click.option(
    "--by",
    type=click.Choice(["lower-bound", "estimate", "upper-bound"]),
    help="gate: figure that must meet a bar; with upper-bound only classifiers that surely miss it fail, with "
    "lower-bound only those that surely meet it pass; a --baseline always uses upper-bound [default: upper-bound]",
)
@shared.path_option("--junit", help="gate: JUnit XML file to write; an existing .xml file is replaced")
def audit(out: Path | None, **options: Any) -> None:
    """Show in which groups a classifier errs; no prompt is trained.

    DATA is as for dbpt fit; it needs no splits. A --config for dbpt fit serves too. CLIP guesses the attribute if the
    data don't have it. The report says whether the attribute explains the errors, and whether CLIP's guesses can be
    trusted. With the bars of a gate, it exits with code 3 if one is missed.
    """
    from dbpt.commands.audit.audit import audit as run_audit
    from dbpt.commands.audit.gate import Bars, judged

    asked = {name: options.pop(name) for name in ("min_worst_group", "max_gap", "baseline", "max_drop", "by")}
    xml, bars = options.pop("junit"), None
    if xml is not None or any(value is not None for value in asked.values()):
        bars = Bars(**{name: value for name, value in asked.items() if value is not None})
    if xml is not None:
        if xml.suffix != ".xml" and os.path.lexists(xml):
            raise InputError(f"--junit {xml}: exists, and only .xml files are replaced; choose another name")
        reads = [options["data"], options["predictions"], options["config"], asked["baseline"], out]
        files.check_output("--junit", xml, overwrite=xml.suffix == ".xml", reads=[str(path) for path in reads if path])
        for folder in xml.resolve().parents:
            if (out is not None and folder == out.resolve()) or use_of_folder(folder):
                raise InputError(f"--junit {xml}: is in {folder}, a folder that dbpt writes; choose another one")
    if out is not None and asked["baseline"] is not None and out.resolve() == asked["baseline"].resolve():
        lost = "is the --baseline too, which would be lost even if a bar is missed"
        raise InputError(f"--out {out}: {lost}; choose another folder")
    result = run_audit(**shared.subject_arguments(AUDIT_SETTINGS, out=out, **options))
    click.echo(f"\n{result.table()}" + (f"\n\nreport: {out / 'audit.html'}" if out else ""))
    if bars is not None:
        gate = judged(bars, result.figures, result.images)
        click.echo(f"\n{gate}")
        if xml is not None:
            files.write_atomically(xml, gate.junit())
        if not gate.passed:
            sys.exit(GATE_MISSED)


DISCOVER_EXAMPLES = """
  dbpt discover demo --out discoveries/demo
  dbpt discover photos.csv --predictions mine.csv --out discoveries/photos
  dbpt discover photos.csv --search columns pixels --out discoveries/files
"""


@shared.settings_command(examples=DISCOVER_EXAMPLES)
@shared.subject_options(DISCOVER_SETTINGS, verb="search", result="discovery")
@click.option(
    "--search",
    multiple=True,
    metavar="[words|columns|pixels|captions] ...",
    help="where to look: words that CLIP guesses, columns of the data without a role, properties of pixels and files, "
    "words of captions [default: all]",
)
@click.option(
    "--captions",
    help="column of the data, or table with the columns path and caption [default: the column caption, captions, tags, "
    "alt or alt_text, if there is one]",
)
@shared.path_option(
    "--catalogue",
    help="TOML file of families of attributes; with extend = true it adds to dbpt's own, else it replaces them",
)
def discover(
    out: Path | None, search: tuple[str, ...], catalogue: Path | None, captions: str | None, **options: Any
) -> None:
    """Search for attributes that explain the errors of a classifier.

    DATA is as for dbpt fit; it needs no splits and no attributes. A --config for dbpt fit serves too. Families of
    attributes are words that CLIP guesses, from backgrounds to image quality; columns of DATA that have no role;
    properties of the pixels and files; words of captions; and pairs of these. The report ranks those that explain
    errors within the classes, with pictures, and gives the commands to go on.
    """
    from dbpt.commands.discover.discover import discover as run_discover

    of: dict[str, Any] = {"search": search or None, "catalogue": catalogue, "captions": captions}
    result = run_discover(**of, **shared.subject_arguments(DISCOVER_SETTINGS, out=out, **options))
    click.echo(f"\n{result.table()}" + (f"\n\nreport: {out / 'discover.html'}" if out else ""))


GUESS_EXAMPLES = """
  dbpt guess demo --out guesses.csv
  dbpt guess photos.csv --attributes photo "drawing=sketch|cartoon" --out guesses.csv
"""


@shared.settings_command(examples=GUESS_EXAMPLES)
@shared.path_option(
    "--out",
    help="CSV file, or .parquet, with path, label, split, pseudo_attribute, confidence, doubts and group of each image",
)
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@shared.data_and_settings(GUESS_SETTINGS)
def guess(out: Path | None, overwrite: bool, **options: Any) -> None:
    """Let CLIP guess the attribute of each image; nothing is trained.

    DATA is as for dbpt fit; it needs no splits. Prints the share of each attribute, and warns if the guesses can't be
    trusted. A --config for dbpt fit serves too.
    """
    from dbpt.commands.guess import guess_attributes

    refused = {"pseudo_attributes", "label_model"}
    settings, data = shared.settings_for(GUESS_SETTINGS | refused, **options)
    assert data is not None
    guesses = guess_attributes(data, out=out, overwrite=overwrite, **settings)
    click.echo(f"\n{guesses.table()}")
    if guesses.audit_command is not None:
        click.echo(f"\nto see the images of each guess:\n  {guesses.audit_command}")


@click.command()
@click.argument("folder", metavar="RUN|FOLDER", type=click.Path(path_type=Path))
@shared.path_option("--out", help="folder of the sample, created by this command")
@click.option("--n", type=int, help="number of images to draw [default: 200]")
@click.option("--split", help="train, val or test [default: test; val where there is no test split]")
@click.option("--seed", type=int, help="seed of the draw [default: 0]")
@click.option("--data", help="the run's table, if it has moved")
@click.option("--root", help="folder of the images, if it has moved")
@shared.weights_option
@click.option("--device", help="torch device; auto uses a GPU if there is one [default: auto]")
@click.option("--cache", help="cache folder [default: the run's]")
@shared.path_option("--labels", help="CSV that the page saved, to compute the figures from")
@shared.path_option(
    "--table", help="with --labels: CSV to write, a table of the labels as attributes, to fit again with"
)
@click.option("--json", "as_json", is_flag=True, help="with --labels: print JSON instead of a table")
def label(folder: Path, labels: Path | None, table: Path | None, as_json: bool, **options: Any) -> None:
    """Check pseudo attributes by hand and correct a run's figures.

    \b
    dbpt label RUN --out FOLDER       draws images; label them on FOLDER/index.html
    dbpt label FOLDER --labels CSV    computes the figures from the page's CSV
    """
    given = shared.given(options)
    if labels is None:
        if table is not None:
            raise click.UsageError("--table is for judging; give --labels CSV with it")
        _draw(folder, as_json, given)
        return
    if drawing := [name for name in given if table is None or name not in ("data", "root")]:
        raise click.UsageError(f"--{drawing[0]} is for drawing; with --labels give the folder of the sample alone")
    from dbpt.commands.label.judge import judge_labels

    result = judge_labels(folder, labels, table=table, **given)
    click.echo(json.dumps(result.to_dict(), indent=1, ensure_ascii=False) if as_json else result.table())
    if table is not None and not as_json:
        click.echo(f"\ntable with your labels: {table}\nfit again with: {result.refit}")


def _draw(run: Path, as_json: bool, options: dict[str, Any]) -> None:
    from dbpt.commands.label.sample import draw_label_sample

    if "out" not in options:
        raise click.UsageError("give --out FOLDER to draw a sample of a run, or --labels CSV to judge one")
    if as_json:
        raise click.UsageError("--json is for judging; give --labels CSV with it")
    out = options["out"]
    design = draw_label_sample(run, **options)
    judge = Command("label", str(out), {"labels": "labels.csv"})
    click.echo(
        f"{design}\n\nlabel them on: {out / 'index.html'}\nthen judge by: {judge}\n"
        "(labels.csv: where your browser saves it, for example in its downloads folder)"
    )
