"""``dbpt fit``, ``compare``, ``evaluate``, ``predict``, ``export`` and ``guess``."""

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from dbpt.cli import options as shared
from dbpt.commands.compare.plan import BY_THE_PLAN, DEFAULT_HEADS, DEFAULT_SEEDS, METHODS
from dbpt.data.tables import READERS
from dbpt.data.writing import csv_text
from dbpt.environment import launched_rank
from dbpt.errors import InputError
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES, TRAINING_FREE
from dbpt.settings.config import read_config
from dbpt.settings.fields import Command
from dbpt.settings.sections import GUESS_SETTINGS
from dbpt.storage.files import check_output, write_atomically

logger = logging.getLogger(__name__)

FIT_EXAMPLES = """
  dbpt fit demo --out runs/demo
  dbpt fit photos.csv --out runs/photos --classes "animal=dog|elephant" \\
      "thing=house|guitar" --attributes photo "drawing=sketch|cartoon"
"""


@shared.settings_command(examples=FIT_EXAMPLES)
@shared.data_argument(required=False)
@shared.path_option("--out", required=True, help="run folder, created by this command")
@shared.config_option
@click.option("--resume", is_flag=True, help="continue the run in --out; without DATA, with its own data and settings")
@click.option("--overwrite", is_flag=True, help="replace the run in --out")
@shared.training_options()
def fit(data: str | None, out: Path, config: Path | None, resume: bool, overwrite: bool, **options: Any) -> None:
    """Train a debiased prompt; report it beside zero-shot and ERM.

    \b
    DATA is one of
      demo, demo-celeba, demo-metashift   drawn pictures and a small CLIP
      waterbirds, celeba, metashift       the benchmark in the folder --root
      photos.csv (.tsv, .jsonl, .parquet) a table with the columns path, label,
                                          split and optionally attribute; for
                                          other names see --columns
      photos/                             a folder split/class/*.jpg, or one that
                                          Hugging Face's datasets has saved
      "train-{000..146}.tar"              WebDataset's shards
    """
    from dbpt.commands.fit import fit as run_fit

    settings, data = shared.settings_and_data(data, read_config(config) if config else {}, options, resume=resume)
    with shared.resumable("fit", out):
        run = run_fit(data, out=out, resume=resume, overwrite=overwrite, **settings)
    if launched_rank() == 0:
        click.echo(f"\n{run.table(warnings=False)}\n\nreport: {run.folder / 'report.html'}")


COMPARE_EXAMPLES = """
  dbpt compare demo --out runs/compare --resample 20
  dbpt compare photos.csv --out runs/heads --methods erm dbpt groupdro \\
      --heads prompt linear --attributes photo "drawing=sketch|cartoon"
"""


def _names(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> str | None:
    return ",".join(values) if values else None


def _seeds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> int | tuple[int, ...] | None:
    """``5`` for 0 to 4, or the seeds themselves: ``3 7``; a single one is written with a comma, ``3,``."""
    text = _names(ctx, param, values)
    try:
        if text is None or "," not in text:
            return None if text is None else int(text)
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor a list such as 3 7") from None


def _varied(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]] | None:
    """``eta=0,1,5 lr=0.003,0.01``."""
    varied = dict[str, list[str]]()
    for text in values:
        name, equals, given = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or name in varied:
            problem = f"{name!r} is given twice" if name in varied else f"found {text!r}"
            raise click.BadParameter(f"{problem}; expected SETTING=VALUE,VALUE once for each setting")
        varied[name] = [value.strip() for value in given.split(",")]
    return varied or None


@shared.settings_command(examples=COMPARE_EXAMPLES)
@shared.data_argument(required=False)
@shared.path_option("--out", required=True, help="folder, created by this command")
@click.option(
    "--methods",
    callback=_names,
    multiple=True,
    type=shared.RegisteredName(OBJECTIVES),
    metavar="METHOD ...",
    help="objectives, as for dbpt fit; an objective with its groups, such as groupdro:true; or without training: "
    f"{', '.join(TRAINING_FREE)} [default: {' '.join(METHODS)}]",
)
@click.option(
    "--heads",
    callback=_names,
    multiple=True,
    type=shared.RegisteredName(HEADS),
    help=f"heads to train with each method [default: {' '.join(DEFAULT_HEADS)}]",
)
@click.option(
    "--seeds",
    callback=_seeds,
    multiple=True,
    metavar="N ...",
    help=f"number of seeds, counted from 0; or the seeds themselves: 3 7 [default: {DEFAULT_SEEDS}]",
)
@click.option(
    "--resample",
    type=int,
    metavar="K",
    help="train each row K more times, each time on half of the training and validation rows of each class and pseudo "
    "attribute: gives intervals for other training images; 20 are recommended",
)
@click.option(
    "--vary",
    callback=_varied,
    multiple=True,
    metavar="SETTING=VALUE,VALUE ...",
    help="train each row with each combination of values of the settings that it reads: eta=0,1,5 lr=0.003,0.01",
)
@click.option(
    "--against",
    metavar="METHOD",
    help="row that the others are compared with, as in --methods; of several the one with the same head and settings, "
    "or METHOD,HEAD,SETTING=VALUE [default: erm]",
)
@click.option("--jobs", type=int, default=1, show_default=True, help="processes that train at the same time")
@shared.config_option
@click.option(
    "--resume",
    is_flag=True,
    help="continue the comparison in --out; without DATA, with its own data and settings; more methods, heads, "
    "seeds and draws may be given",
)
@click.option("--overwrite", is_flag=True, help="replace the comparison in --out")
@shared.training_options(hidden=BY_THE_PLAN)
def compare(data: str | None, out: Path, config: Path | None, **options: Any) -> None:
    """Compare methods, heads and seeds in one table with intervals.

    DATA and the settings are as for dbpt fit, and the same for every row. The table shows figures with their standard
    deviation over draws or seeds, and the difference to ERM or --against with its intervals over them and over images.
    """
    from dbpt.commands.compare.compare import compare as run_compare
    from dbpt.report.tables import WIDEST

    own = {
        name: options.pop(name)
        for name in ("methods", "heads", "seeds", "resample", "vary", "against", "jobs", "resume", "overwrite")
    }
    configured = read_config(config) if config else {}  # one that `fit` wrote serves too
    if left_out := [name for name in BY_THE_PLAN if configured.pop(name, None) is not None]:
        logger.info(f"{config}: {', '.join(left_out)} left out, because each row of a comparison has its own")
    settings, data = shared.settings_and_data(data, configured, options, resume=own["resume"])
    with shared.resumable("compare", out):
        comparison = run_compare(data, out=out, **own, **settings)
    width = min(WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDEST
    written = f"report: {out / 'compare.html'}; tables: .csv, .json"
    click.echo(f"\n{comparison.table(width, warnings=False)}\n\n{written}")
    if failed := len(comparison.failed):
        retry = Command("compare", arguments={"resume": True, "out": out})
        hint = f"{retry} tries them again; other settings need --overwrite"
        raise InputError(f"trainings that failed: {failed}, see under the table; {hint}")


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
            way_out = f"to predict the images of a table, write dbpt audit TABLE --predictions {run} --out FOLDER"
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


GUESS_EXAMPLES = """
  dbpt guess demo --out guesses.csv
  dbpt guess photos.csv --attributes photo "drawing=sketch|cartoon" --out guesses.csv
"""


@shared.settings_command(examples=GUESS_EXAMPLES)
@shared.path_option(
    "--out", help="CSV file with path, label, split, pseudo_attribute, confidence, doubts and group of each image"
)
@click.option("--overwrite", is_flag=True, help="replace the file that --out names")
@shared.data_and_settings(GUESS_SETTINGS)
def guess(out: Path | None, overwrite: bool, **options: Any) -> None:
    """Let CLIP guess the attribute of each image; nothing is trained.

    DATA is as for dbpt fit; it needs no splits. Prints the share of each attribute, and warns if the guesses can't be
    trusted. A --config for dbpt fit serves too.
    """
    from dbpt.commands.guess import guess_attributes

    refused = {"pseudo_attributes", "label_model"}
    settings, data = shared.settings_for(GUESS_SETTINGS | refused, **options)
    assert data is not None
    guesses = guess_attributes(data, out=out, overwrite=overwrite, **settings)
    click.echo(f"\n{guesses.table()}")
    if guesses.audit_command is not None:
        click.echo(f"\nto see the images of each guess:\n  {guesses.audit_command}")
