"""``dbpt embed``, ``data``, ``demo``, ``cache`` and ``env``."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from dbpt.cli import options as shared
from dbpt.data.writing import csv_text
from dbpt.environment import cache_folder, launched_rank
from dbpt.errors import InputError
from dbpt.storage import files

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
    from dbpt.storage.tensors import TEXTS

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
