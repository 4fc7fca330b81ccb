"""``dbpt evaluate``, ``predict`` and ``export``, which take a finished run."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from dbpt.cli import options as shared
from dbpt.data.tables import READERS
from dbpt.data.writing import csv_text
from dbpt.errors import InputError
from dbpt.storage.files import check_output, write_atomically

logger = logging.getLogger(__name__)

EVALUATE_EXAMPLES = """
  dbpt evaluate runs/photos
  dbpt evaluate runs/demo demo --json
"""

SETTINGS = ("root", "columns", "embeddings", "device", "cache", "max_failures", "average")

OF_RUN = ("columns", "embeddings", "cache", "average")


@shared.settings_command(examples=EVALUATE_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@shared.data_argument(required=False)
@shared.weights_option
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
@shared.settings_options(SETTINGS, of_run=OF_RUN)
def evaluate(run: Path, data: str | None, weights: Path | None, as_json: bool, **options: Any) -> None:
    """Show a run's accuracy by group, on its own or on other data.

    DATA is as for dbpt fit, by default the run's own.
    """
    shared.check_run_is_first("evaluate", run, [data])
    from dbpt.commands.evaluate import evaluate as run_evaluate

    result = run_evaluate(run, data, weights=weights, **shared.given(options))
    click.echo(json.dumps(result.to_dict(), indent=1, ensure_ascii=False) if as_json else result.table(warnings=False))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1)
@shared.path_option("--out", help="CSV file to write instead of standard output")
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@click.option(
    "--with-attribute",
    is_flag=True,
    help="add the columns pseudo_attribute and confidence: the most likely attribute according to zero-shot CLIP with "
    "the run's words, and its probability",
)
@shared.weights_option
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
    shared.check_run_is_first("predict", run, images)
    from tqdm import tqdm

    from dbpt.features import list_images
    from dbpt.runs.run_folder import load

    paths = list_images(_named(images))
    if out is not None:
        check_output("--out", out, overwrite=overwrite, reads=[*map(str, paths), run, weights or run], ending=".csv")
    classifier = load(run, device=device, weights=weights)
    columns = ["path", "prediction", *(f"p_{name}" for name in classifier.class_names)]
    columns += ["pseudo_attribute", "confidence"] if with_attribute else []
    lines, first_error, num_good = [csv_text([[*columns, "error"]])], "", 0
    for prediction in classifier.predict(paths, attributes=with_attribute):
        cells = [prediction.path, prediction.prediction or ""]
        if prediction.probabilities is None:
            cells += [""] * (len(columns) - len(cells))
            first_error = first_error or f"{prediction.path}: {prediction.error}"
        else:
            num_good += 1
            cells += [f"{p:.6f}" for p in prediction.probabilities]
        if with_attribute and prediction.attribute_probabilities is not None:
            cells += [prediction.pseudo_attribute, f"{prediction.attribute_probabilities.max():.6f}"]
        lines.append(csv_text([[*cells, prediction.error or ""]]))
        if num_good and out is None:
            with tqdm.external_write_mode(sys.stdout):
                click.echo("".join(lines), nl=False)
            lines.clear()
    if not num_good:
        way_out = "name images, or folders of them"
        if any(path.lower().endswith(tuple(READERS)) for path in images):
            way_out = f"of a list of paths, one a line, write dbpt predict {run} - < LIST"
            way_out += f"; of a table with labels, dbpt audit TABLE --predictions {run} --out FOLDER"
        raise InputError(f"no image of {len(paths)} can be read; the first: {first_error}; {way_out}")
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


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@shared.path_option("--onnx", required=True, help="ONNX file to write")
@click.option("--overwrite", is_flag=True, help="replace the file that --onnx names")
@shared.weights_option
def export(run: Path, onnx: Path, overwrite: bool, weights: Path | None) -> None:
    """Write the classifier in RUN as one ONNX file.

    It has image tower and head, with the input images (B, 3, H, W) and the outputs logits and probabilities. The
    metadata has classes, attributes and preprocessing. Needs onnx, onnxruntime and onnxscript.
    """
    from dbpt.runs.run_folder import load

    check_output("--onnx", onnx, overwrite=overwrite, reads=[run, weights or run], ending=".onnx")
    load(run, device="cpu", weights=weights).to_onnx(onnx, overwrite=overwrite)
    logger.info(f"{onnx}: image tower and head; onnxruntime gives the same results as torch")
