"""``dbpt predict``."""

import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click

from dbpt.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


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
    from dbpt.files.disk import check_output, write_output
    from dbpt.runs.run_folder import load

    paths = list_images(images)
    if out is not None:
        check_output("--out", out, overwrite=overwrite, reads=[*paths, weights or run, run / "run.json"])
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
        write_output("--out", out, "".join(lines), overwrite=overwrite)
    if paths and not num_good:
        raise InputError(f"none of the {len(paths)} images can be read; the column error says why")


def list_images(images: tuple[str, ...]) -> list[Path]:
    """Return files as named, the image files of folders in sorted order, and the list on standard input for ``-``."""
    if not images:
        raise InputError("no image is named: give files, a folder, or - for a list on standard input")
    paths: list[Path] = []
    for image in images:
        if image == "-":
            paths += [Path(os.fsdecode(line.rstrip(b"\r\n"))) for line in sys.stdin.buffer if line.strip()]
        elif os.path.isdir(image):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
            found = sorted(_below(image))
            if not found:
                raise InputError(f"{image}: this folder holds no image file ({', '.join(SUFFIXES)})")
            paths += found
        else:
            paths.append(Path(image))
    return paths


def _below(folder: str) -> Iterable[Path]:
    """Yield the image files in a folder and those below it, however deep; links to folders are not followed."""
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif (path := Path(entry.path)).suffix.lower() in SUFFIXES:
                        yield path
        except OSError as error:
            raise InputError(f"{here}: cannot be read: {error.strerror}") from None
