"""``dbpt cache``."""

import contextlib
import os
from pathlib import Path

import click

from dbpt.cli.options import FLOAT
from dbpt.errors import InputError


@click.group()
def cache() -> None:
    """List, verify and delete the cached features."""


CACHE_HELP = "cache folder, as in dbpt fit [default: $DBPT_CACHE, else ~/.cache/dbpt]"
cache_option = click.option("--cache", "folder", type=click.Path(path_type=Path), help=CACHE_HELP)


def _features(folder: Path | None) -> Path:
    from dbpt.files.disk import default_cache_dir, expanded
    from dbpt.files.stored_arrays import TEXTS

    cache = Path(expanded(folder)) if folder else default_cache_dir()
    problem = ""
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
    from dbpt.files.disk import is_missing

    features = _features(folder)
    problems = verify_cache(features)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise InputError(f"{features}: problems found: {len(problems)}; each line says what to do")
    click.echo(f"{features}: {'there is no cache' if is_missing(features) else 'every byte is as it was written'}")


@cache.command(name="list")
@cache_option
def list_command(folder: Path | None) -> None:
    """List the caches with their encoders, images and sizes."""
    from dbpt.features.maintenance import list_caches, stored_texts

    features = _features(folder)
    caches, texts = list_caches(features), stored_texts(features)
    for found in caches:
        click.echo(found)
    if files := texts.files():
        size = _megabytes(sum(file.lstat().st_size for file in files))
        click.echo(f"{texts.folder}: features of {len(files)} lists of sentences, {size}")
    click.echo(f"caches: {len(caches)}, {_megabytes(sum(found.bytes for found in caches))}")


@cache.command()
@cache_option
@click.option("--unwritten-for-days", type=FLOAT, help="also delete what was stored so many days ago")
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
