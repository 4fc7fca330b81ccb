"""``dbpt cache``."""

from pathlib import Path

import click


@click.group()
def cache() -> None:
    """Look after the feature cache."""


@cache.command()
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="as in dbpt fit [default: ~/.cache/dbpt]")
def verify(folder: Path | None) -> None:
    """Check every byte of the cached features."""
    from dbpt.config import default_cache_dir
    from dbpt.errors import InputError
    from dbpt.features import verify_cache

    features = (folder or default_cache_dir()) / "features"
    problems = verify_cache(features)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise InputError(f"{features}: problems found: {len(problems)}; delete what is named, it is embedded anew")
    click.echo(f"{features}: every byte is as it was written")
