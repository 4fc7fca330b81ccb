"""``dbpt predict``."""

import os
import sys
from functools import partial
from pathlib import Path

import click

from dbpt.errors import InputError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="CSV file to write instead of standard output")
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@click.option("--weights", type=click.Path(path_type=Path), help="the backbone's weights file, if it has moved")
@click.option("--device", default="auto", show_default=True, help="torch device")
def predict(
    run: Path, images: tuple[str, ...], out: Path | None, overwrite: bool, weights: Path | None, device: str
) -> None:
    """Classify IMAGES with the classifier in RUN; prints CSV.

    IMAGES are files and folders (searched for image files), or - to read a list of files from standard input. A file
    that is no image gets its reason in the column error; if all are so, the exit code is 2. Text that a spreadsheet
    would run as a formula has an apostrophe in front.
    """
    from dbpt.files.csv import csv_text
    from dbpt.files.disk import check_output, write_atomically
    from dbpt.runs.run_folder import load

    paths = list_images(images)
    if out is not None:
        check_output("--out", out, overwrite=overwrite, reads=[*paths, run, weights or run])
    classifier = load(run, device=device, weights=weights)
    lines: list[str] = []
    emit = partial(click.echo, nl=False) if out is None else lines.append
    emit(csv_text([["path", "prediction", *(f"p_{name}" for name in classifier.class_names), "error"]]))
    num_good = 0
    for result in classifier.predict(paths):
        num_good += result.error is None
        probabilities = result.probabilities
        cells = [""] * len(classifier.class_names) if probabilities is None else [f"{p:.6f}" for p in probabilities]
        emit(csv_text([[result.path, result.prediction or "", *cells, result.error or ""]]))
    if out is not None:
        write_atomically(out, "".join(lines), overwrite=overwrite)
    if paths and not num_good:
        raise InputError(f"none of the {len(paths)} images can be read; the column error says why")


def list_images(images: tuple[str, ...]) -> list[Path]:
    """Return files as named, the image files of folders in sorted order, and the list on standard input for ``-``."""
    from dbpt.data.image_folder import ENDINGS, files_below

    if not images:
        raise InputError("no image is named: give files, a folder, or - for a list on standard input")
    paths: list[Path] = []
    for image in images:
        if image == "-":
            paths += [Path(os.fsdecode(line.rstrip(b"\r\n"))) for line in sys.stdin.buffer if line.strip()]
        elif os.path.isdir(image):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
            found = [Path(path) for path in files_below(Path(), image) if path.lower().endswith(ENDINGS)]
            if not found:
                raise InputError(f"{image}: this folder holds no image file ({', '.join(ENDINGS)})")
            paths += found
        else:
            paths.append(Path(image))
    return paths
