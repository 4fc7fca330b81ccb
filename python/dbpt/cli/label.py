"""``dbpt label``."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import INTEGER, given


@click.command()
@click.argument("folder", metavar="RUN|FOLDER", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="folder of the sample, created by this command")
@click.option("--n", type=INTEGER, help="number of images to draw [default: 200]")
@click.option("--split", help="train, val or test [default: test; val where there is no test split]")
@click.option("--seed", type=INTEGER, help="seed of the draw [default: 0]")
@click.option("--data", help="the run's table, if it has moved")
@click.option("--root", help="folder of the images, if it has moved")
@click.option("--weights", type=click.Path(path_type=Path), help="the backbone's weights file, if it has moved")
@click.option("--device", help="torch device; auto uses a GPU if there is one [default: auto]")
@click.option("--cache", help="cache folder [default: the run's]")
@click.option("--labels", type=click.Path(path_type=Path), help="CSV that the page saved, to compute the figures from")
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="with --labels: CSV to write, a table of the labels as attributes, to fit again with",
)
@click.option("--json", "as_json", is_flag=True, help="with --labels: print JSON instead of a table")
def label(folder: Path, labels: Path | None, table: Path | None, as_json: bool, **options: Any) -> None:
    """Check pseudo attributes by hand and correct a run's figures.

    \b
    dbpt label RUN --out FOLDER       draws images; label them on FOLDER/index.html
    dbpt label FOLDER --labels CSV    computes the figures from the page's CSV
    """
    chosen = given(options)
    if labels is None:
        if table is not None:
            raise click.UsageError("--table is for judging; give --labels CSV with it")
        _draw(folder, as_json, chosen)
        return
    if drawing := [name for name in chosen if table is None or name not in ("data", "root")]:
        raise click.UsageError(f"--{drawing[0]} is for drawing; with --labels give the folder of the sample alone")
    from dbpt.human_check import judge_labels
    from dbpt.human_check.table import judged_table

    result = judge_labels(folder, labels, table=table, **chosen)
    click.echo(json.dumps(result, indent=1, ensure_ascii=False) if as_json else judged_table(result))
    if table is not None and not as_json:
        click.echo(f"\ntable with your labels: {table}\nfit again with: {result['refit']}")


def _draw(run: Path, as_json: bool, options: dict[str, Any]) -> None:
    from dbpt.human_check import draw_label_sample

    if "out" not in options:
        raise click.UsageError("give --out FOLDER to draw a sample of a run, or --labels CSV to judge one")
    if as_json:
        raise click.UsageError("--json is for judging; give --labels CSV with it")
    out = options["out"]
    design = draw_label_sample(run, **options)
    judge = shlex.join(["dbpt", "label", str(out), "--labels", "labels.csv"])
    click.echo(
        f"{design}\n\nlabel them on: {out / 'index.html'}\nthen judge by: {judge}\n"
        "(labels.csv: where your browser saves it, for example in its downloads folder)"
    )
