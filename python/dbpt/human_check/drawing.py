"""`draw_label_sample`: from a finished run to a folder with a stratified sample and the page to label it on."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.files.disk import check_can_create, write_atomically
from dbpt.human_check.design import Design, Stratum, write_design
from dbpt.human_check.page import label_page
from dbpt.human_check.run_split import RunSplit, read_run_split
from dbpt.human_check.strata import allocate, draw, stratify

if TYPE_CHECKING:
    from dbpt.experiments.stages import Log


def draw_label_sample(
    run: str | Path,
    *,
    out: str | Path,
    n: int = 200,
    split: str | None = None,
    seed: int = 0,
    data: str | Path | None = None,
    root: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    cache: str | None = None,
    log: "Log" = lambda line: None,
) -> Design:
    """Draw images of a run for a person to label, and write a page to do it on.

    The images are stratified by pseudo-group, by whether the run's classifier gets them right, and by confidence. What
    the run thinks of them does not stand on the page. True attributes are not looked at.

    Args:
        run: the run folder.
        out: the folder to create: ``index.html``, and ``sample.csv`` and ``design.json`` for `judge_labels`.
        n: how many images; all of the split if it has no more.
        split: ``train``, ``val`` or ``test``; by default test, or validation where there are no test images.
        seed: of the draw.
        data: the run's table, if it has moved.
        root: the folder of the images, if it has moved.
        weights, device, cache: as in `dbpt.evaluate`.
        log: gets one line of progress at a time.

    Raises:
        InputError: as `dbpt.load`; ``out`` exists; an unknown or empty split; ``n`` too small for one image of each
            stratum; images that have gone or become unreadable, named.
    """
    folder = Path(out)
    _check_out(folder)
    n, seed = arguments.integer("n", n, 1), arguments.seed(seed)
    found = read_run_split(run, split, data=data, root=root, weights=weights, device=device, cache=cache, log=log)
    design = _design(found, n, seed, str(run))
    _write(folder, design, found.dataset.root)
    return design


def _design(found: RunSplit, n: int, seed: int, run: str) -> Design:
    dataset = found.dataset
    cells = (dataset.labels * (dataset.num_attributes + 1) + found.pseudo_attributes + 1) * 2 + found.right
    strata, score = stratify(cells, found.confidence, n)
    drawn = allocate(np.bincount(strata), score, n)
    rows = draw(strata, drawn, seed)
    described = []
    for stratum, number in enumerate(drawn.tolist()):
        members = np.flatnonzero(strata == stratum)
        first, confidence = members[0], found.confidence[members]
        described.append(
            Stratum(
                label=int(dataset.labels[first]),
                pseudo_attribute=int(found.pseudo_attributes[first]),
                right=bool(found.right[first]),
                low=float(confidence.min()),
                high=float(confidence.max()),
                size=len(members),
                drawn=number,
            )
        )
    return Design(
        run=run,
        dataset=dataset.name,
        split=found.split,
        seed=seed,
        class_names=dataset.class_names,
        attribute_names=dataset.attribute_names,
        wordings=tuple(dataset.words.attributes.values()),
        strata=tuple(described),
        paths=tuple(dataset.paths[row] for row in rows),
        stratum=strata[rows],
    )


def _check_out(folder: Path) -> None:
    if os.path.lexists(folder):
        raise InputError(f"--out {folder}: exists; choose another name, labels already given belong to that sample")
    check_can_create(folder)


def _write(folder: Path, design: Design, root: Path) -> None:
    """Write into a sibling folder and rename it, so that the final name only ever holds a whole sample."""
    page = label_page(design, root)
    partial = None
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}.", suffix=".tmp"))
        write_design(partial, design)
        write_atomically(partial / "index.html", page)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot create: {error.strerror}") from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
