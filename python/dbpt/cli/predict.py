"""``dbpt predict``."""

import logging
import os
import sys
from pathlib import Path

import click

from dbpt.errors import InputError

logger = logging.getLogger(__name__)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="CSV file to write instead of standard output")
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@click.option(
    "--with-attribute",
    is_flag=True,
    help="add the columns pseudo_attribute and confidence: the attribute that the run's CLIP finds likeliest, "
    "zero-shot by the run's words, and its probability",
)
@click.option("--weights", type=click.Path(path_type=Path), help="the backbone's weights file, if it has moved")
@click.option("--device", default="auto", show_default=True, help="torch device; auto uses a GPU if there is one")
def predict(
    run: Path,
    images: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    with_attribute: bool,
    weights: Path | None,
    device: str,
) -> None:
    """Classify IMAGES with the classifier in RUN; prints CSV.

    IMAGES are files and folders (searched for image files), or - to read a list of files from standard input. For a
    file that is not an image, the column error says why. If all fail, nothing is written and the exit code is 2. Text
    that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    from tqdm import tqdm

    from dbpt.features import list_images
    from dbpt.files.csv import csv_text
    from dbpt.files.disk import check_output, write_atomically
    from dbpt.runs.run_folder import load

    paths = list_images(_named(images))
    if out is not None:
        check_output("--out", out, overwrite=overwrite, reads=[*map(str, paths), run, weights or run])
    classifier = load(run, device=device, weights=weights)
    columns = ["path", "prediction", *(f"p_{name}" for name in classifier.class_names)]
    columns += ["pseudo_attribute", "confidence"] if with_attribute else []
    lines, first_error, num_good = [csv_text([[*columns, "error"]])], "", 0
    for found in classifier.predict(paths, attributes=with_attribute):
        cells = [found.path, found.prediction or ""]
        if found.probabilities is None:
            cells += [""] * (len(columns) - len(cells))
            first_error = first_error or f"{found.path}: {found.error}"
        else:
            num_good += 1
            cells += [f"{p:.6f}" for p in found.probabilities]
        if found.attribute_probabilities is not None:
            cells += [found.pseudo_attribute, f"{found.attribute_probabilities.max():.6f}"]
        lines.append(csv_text([[*cells, found.error or ""]]))
        if num_good and out is None:
            with tqdm.external_write_mode(sys.stdout):
                click.echo("".join(lines), nl=False)
            lines.clear()
    if not num_good:
        raise InputError(f"no image of {len(paths)} can be read; the first: {first_error}")
    if num_good < len(paths):
        logger.warning(f"{len(paths) - num_good} of {len(paths)} images can't be read; the column error says why")
    if out is not None:
        write_atomically(out, "".join(lines), overwrite=overwrite)
        logger.info(f"{num_good} predictions written to {out}")


def _named(images: tuple[str, ...]) -> list[str]:
    """Return the named files and folders, and the lines of standard input for ``-``."""
    if not images:
        raise InputError("no image is named: give files, a folder, or - for a list on standard input")
    names = []
    for image in images:
        names += [image] if image != "-" else [os.fsdecode(x.rstrip(b"\r\n")) for x in sys.stdin.buffer if x.strip()]
    if not names:
        raise InputError("-: standard input names no image; give a file on each line")
    return names
