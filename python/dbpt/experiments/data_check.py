"""`check_data`: whether a data set can be used, with all its problems instead of the first; reads images' headers."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.data.checks import check_classes, missing_rows, published_notes, repeated_rows
from dbpt.data.dataset import Dataset
from dbpt.data.loading import load_dataset
from dbpt.errors import InputError
from dbpt.features import Failure, UnreadableImage, decoding_threads, pillow_warnings, read_size
from dbpt.settings.data import config_with_data, data_arguments, resolve_demo

if TYPE_CHECKING:
    from dbpt.data.huggingface_objects import HuggingFaceData

SHOWN = 5  # problems of a kind that are named; the others are counted
CHUNK = 4096  # images whose headers are asked for at a time, so that a list of millions makes no millions of tasks


@dataclass(frozen=True)
class DataCheck:
    """What was found.

    dataset: the rows as they are written.
    problems: one line each, for what keeps `fit` from using the data; empty if nothing does.
    warnings: one line each, for what it gets along with.
    """

    dataset: Dataset
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.dataset.describe()]
        if self.dataset.published and not published_notes(self.dataset):
            lines.append("  the counts are the published ones")
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines if self.problems else [*lines, "no problems found"])


def check_data(
    data: "str | Path | HuggingFaceData", *, log: Callable[[str], None] = lambda line: None, **settings: Any
) -> DataCheck:
    """Read a data set and look for what would stop `fit`: repeated paths, missing images, headers that can't be read.

    What is behind an image's header is not decoded: a truncated image is only found when it is embedded.

    Args:
        data: as for `dbpt.fit`.
        log: gets one line of progress at a time.
        settings: those of `FitConfig` that concern the data (``root``, ``classes``, ``celeba_target``, ...).

    Raises:
        InputError: the metadata can't be read at all, or a setting is none.
    """
    config = resolve_demo(config_with_data(data, settings, log), log)
    if config.embeddings is not None:
        raise InputError("--embeddings: there is no image to look at; leave it out to check the images of the rows")
    dataset = load_dataset(config.data, config.root, **data_arguments(config), check=False)
    missing = missing_rows(dataset)
    log(f"reading the headers of {len(dataset) - len(missing)} images")
    unreadable = [
        f"{dataset.where(failure.row)}: image {failure.path!r}: {failure.reason}"
        for failure in _unreadable(dataset, missing)
    ]
    problems = [*_repeated(dataset), *_of_classes(dataset), *_missing(dataset, missing)]
    warnings = [*_outside(dataset), *_without_attribute(dataset)]
    (problems if len(unreadable) > config.max_failures * len(dataset) else warnings).extend(
        _first_few(unreadable, "images can't be read")
    )
    return DataCheck(dataset, tuple(problems), tuple(warnings))


def _repeated(dataset: Dataset) -> Iterator[str]:
    lines = [
        f"{dataset.where(row)}: {dataset.paths[row]!r} stands already at {dataset.where(first)}; keep one"
        for row, first in repeated_rows(dataset)
    ]
    return _first_few(lines, "paths are repeated")


def _of_classes(dataset: Dataset) -> Iterator[str]:
    try:
        check_classes(dataset)
    except InputError as error:
        yield str(error)


def _missing(dataset: Dataset, rows: Sequence[int]) -> Iterator[str]:
    lines = [f"{dataset.where(row)}: image {dataset.paths[row]!r} is not in {dataset.root}" for row in rows]
    return _first_few(lines, "images are missing")


def _unreadable(dataset: Dataset, missing: Sequence[int]) -> list[Failure]:
    skipped = set(missing)
    rows = (row for row in range(len(dataset)) if row not in skipped)

    def reason(row: int) -> Failure | None:
        try:
            read_size(dataset.root / dataset.paths[row])
        except UnreadableImage as error:
            return Failure(row, dataset.paths[row], str(error))
        return None

    failures: list[Failure] = []
    with pillow_warnings(), decoding_threads() as threads:
        while chunk := list(islice(rows, CHUNK)):
            failures += filter(None, threads.map(reason, chunk))
    return failures


def _outside(dataset: Dataset) -> Iterator[str]:
    """Links are followed, and may be meant. But whoever unpacked them from an archive should know."""
    root = os.path.realpath(dataset.root)
    folders = {folder: os.path.realpath(dataset.root / folder) for folder in {_folder(path) for path in dataset.paths}}
    lines = []
    for row, path in enumerate(dataset.paths):
        linked = os.path.islink(dataset.root / path)  # noqa: PTH114 (Path.is_link is several times as slow)
        real = os.path.realpath(dataset.root / path) if linked else folders[_folder(path)]
        if not Path(real).is_relative_to(root):
            lines.append(f"{dataset.where(row)}: image {path!r} is outside the root, through a link to {real}")
    return _first_few(lines, "images are outside the root, through links")


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _without_attribute(dataset: Dataset) -> Iterator[str]:
    if dataset.num_attributes < 2:
        yield "no spurious attribute is named; fit needs --attributes"


def _first_few(lines: Sequence[str], what: str) -> Iterator[str]:
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"and {len(lines) - SHOWN} more; in all, {len(lines)} {what}"
