"""``dbpt audit``, ``discover``, ``label``, ``embed``, ``data``, ``demo``, ``cache`` and ``env``."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from dbpt.cli import options as shared
from dbpt.data.paths import use_of_folder
from dbpt.data.writing import csv_text
from dbpt.environment import cache_folder, launched_rank
from dbpt.errors import InputError
from dbpt.settings.fields import Command
from dbpt.settings.sections import AUDIT_SETTINGS, DISCOVER_SETTINGS
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
    from dbpt.commands.audit import audit as run_audit
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
    from dbpt.commands.discover import discover as run_discover

    of: dict[str, Any] = {"search": search or None, "catalogue": catalogue, "captions": captions}
    result = run_discover(**of, **shared.subject_arguments(DISCOVER_SETTINGS, out=out, **options))
    click.echo(f"\n{result.table()}" + (f"\n\nreport: {out / 'discover.html'}" if out else ""))


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
    from dbpt.commands.label import judge_labels

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


EMBED_EXAMPLES = """
  dbpt embed photos.csv
  dbpt embed waterbirds --root data/waterbirds --failures failures.csv
"""


def _refuse_out(_ctx: click.Context, _option: click.Parameter, value: Path | None) -> None:
    if value is not None:
        way = "name another with --cache; in Python dbpt.embed(...).features gives them"
        raise click.UsageError(f"--out {value}: features stay in the cache; {way}")


@shared.settings_command(examples=EMBED_EXAMPLES)
@shared.data_argument()
@shared.path_option("--out", hidden=True, expose_value=False, callback=_refuse_out)
@shared.path_option("--failures", help="CSV file to write, with the path and reason of each failure")
@click.option("--overwrite", is_flag=True, help="replace the file that --failures names")
@shared.settings_options(shared.EMBED_SETTINGS)
def embed(data: str, failures: Path | None, overwrite: bool, **options: Any) -> None:
    """Compute the features of all images and store them in the cache.

    Other commands read them from there. DATA is as for dbpt fit. Only new and changed images are computed. Several
    processes that run this at the same time share the work.
    """
    from dbpt.commands.embed import embed as run_embed
    from dbpt.features import TooManyFailures

    is_first = launched_rank() == 0
    if is_first and failures is not None:
        reads = [data, *map(str, options.values())]
        files.check_output("--failures", failures, overwrite=overwrite, reads=reads, ending=".csv")

    def write(reasons: Iterable[tuple[str, str]]) -> None:
        if is_first and failures is not None:
            files.write_atomically(failures, csv_text([("path", "reason"), *reasons]), overwrite=overwrite)

    try:
        embedded = run_embed(data, **shared.given(options))
    except TooManyFailures as error:
        write(error.reasons.items())
        raise
    write((failure.path, failure.reason) for failure in embedded.failures)
    if is_first:
        click.echo(embedded)


DATA_EXAMPLES = """
  dbpt data check photos.csv
  dbpt data check table.parquet --columns path=file label=y
"""


class DataGroup(click.Group):
    """``dbpt data``, which has one command; who leaves it out is told to write it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command and its arguments."""
        if self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"{args[0]!r} is no command of dbpt data; write dbpt data check DATA")
        return super().resolve_command(ctx, args)


@click.group(cls=DataGroup)
def data() -> None:
    """Check a data set before training."""


@shared.settings_command(examples=DATA_EXAMPLES, group=data)
@shared.data_argument()
@shared.settings_options(shared.DATA_SETTINGS)
def check(data: str, **options: Any) -> None:
    """Count images by split and group; list all that would stop dbpt fit.

    DATA is as for dbpt fit. Reads the metadata and decodes all images. Exit code 2 if there are problems.
    """
    from dbpt.commands.embed import check_data

    result = check_data(data, **shared.given(options))
    click.echo(result)
    if result.problems:
        raise InputError(f"{data}: dbpt fit cannot use it as it is; the problems are named above")


@click.command()
@click.argument("name")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@shared.path_option("--out", help="the same as FOLDER")
@click.option("--seed", default=0, show_default=True, help="seed of the drawings")
def demo(name: str, folder: Path | None, out: Path | None, seed: int) -> None:
    """Write a demo data set into a folder.

    It gets the layout of the real data set. NAME is demo-waterbirds, demo-celeba or demo-metashift. FOLDER must be new
    or empty.
    """
    from dbpt.data.demo import write_demo

    if (target := folder or out) is None or (folder and out):
        raise click.UsageError(f"name one folder to write: dbpt demo {name} {folder or 'FOLDER'}")
    root = write_demo(name, target, seed=seed)
    click.echo(f"{name}: written to {root}; use it with: dbpt fit {name.removeprefix('demo-')} --root {root}")


@click.group()
def cache() -> None:
    """List, verify and delete the cached features."""


CACHE_HELP = "cache folder, as in dbpt fit [default: $DBPT_CACHE, else ~/.cache/dbpt]"
cache_option = click.option("--cache", "folder", type=click.Path(path_type=Path), help=CACHE_HELP)


def _features(folder: Path | None) -> Path:
    from dbpt.storage.files import TEXTS

    cache = cache_folder(folder)
    problem = "" if folder is None or os.path.lexists(cache) else "does not exist"
    if os.path.lexists(cache):
        problem = "" if cache.is_dir() else "is not a folder"
        with contextlib.suppress(OSError):  # a folder that can't be listed is named later
            entries = {entry.name for entry in cache.iterdir()} if not problem else set()
            if entries and entries.isdisjoint(("features", TEXTS, "datasets", "demo")):
                problem = "is not a cache of dbpt"
    if problem:
        raise InputError(f"--cache {cache}: {problem}; name the folder that --cache named in dbpt embed or dbpt fit")
    return cache / "features"


@cache.command()
@cache_option
def verify(folder: Path | None) -> None:
    """Check every byte of the cached features."""
    from dbpt.features.maintenance import verify_cache

    features = _features(folder)
    problems = verify_cache(features)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise InputError(f"{features}: problems found: {len(problems)}; each line says what to do")
    state = "there is no cache" if files.is_missing(features) else "every byte is as it was written"
    click.echo(f"{features}: {state}")


@cache.command(name="list")
@cache_option
def list_command(folder: Path | None) -> None:
    """List the caches with their encoders, images and sizes."""
    from dbpt.features.maintenance import list_caches, stored_texts

    features = _features(folder)
    caches, texts = list_caches(features), stored_texts(features)
    for entry in caches:
        click.echo(entry)
    if lists := texts.files():
        size = _megabytes(sum(file.lstat().st_size for file in lists))
        click.echo(f"{texts.folder}: features of {len(lists)} lists of sentences, {size}")
    click.echo(f"caches: {len(caches)}, {_megabytes(sum(entry.bytes for entry in caches))}")


@cache.command()
@cache_option
@click.option("--unwritten-for-days", type=float, help="also delete what was stored so many days ago")
@click.option("--dry-run", is_flag=True, help="list what would be deleted, and delete nothing")
def prune(folder: Path | None, unwritten_for_days: float | None, dry_run: bool) -> None:
    """Delete the features of images whose folder is gone.

    Keeps a cache that is being written.
    """
    from dbpt.features.maintenance import prune_caches

    if unwritten_for_days is not None and not unwritten_for_days >= 0:
        raise click.UsageError(f"--unwritten-for-days {unwritten_for_days:g}: must be 0 or above")
    pruned = prune_caches(_features(folder), unwritten_for_days=unwritten_for_days, dry_run=dry_run)
    for line in pruned:
        click.echo(line)
    click.echo(f"{'would be deleted' if dry_run else 'deleted'}: {len(pruned)}")


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"


@click.command()
def env() -> None:
    """Print what a bug report needs: versions, devices and folders."""
    from dbpt.environment import entries

    for name, value in entries():
        click.echo(f"{name}: {value}")
