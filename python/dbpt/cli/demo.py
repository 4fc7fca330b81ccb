"""``dbpt demo``."""

from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="of the drawings")
def demo(name: str, folder: Path, seed: int) -> None:
    """Write a demo data set into FOLDER, in the layout of the real one.

    NAME is demo-waterbirds, demo-celeba or demo-metashift.
    """
    from dbpt.data.demo import write_demo

    root = write_demo(name, folder, seed=seed)
    click.echo(f"{name}: written to {root}; use it with: dbpt fit {name.removeprefix('demo-')} --root {root}")
