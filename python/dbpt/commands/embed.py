"""`embed` and `check_data`: the features of a data set, and what is wrong with it."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.data import DataLike, Dataset
from dbpt.data.dataset import SLASHES, check_classes, missing_rows, repeated_paths, why_missing
from dbpt.data.loading import published_notes
from dbpt.data.stored_features import StoredFeatures, check_whole
from dbpt.environment import progress_bar, take_own_gpu
from dbpt.errors import InputError
from dbpt.evaluation.short_repr import Brief
from dbpt.features import EmbeddedFiles, Failure
from dbpt.features.images import UnreadableImage, decoding_threads, pillow_warnings, read_image
from dbpt.features.maintenance import nearest_cache
from dbpt.settings.config import shows_settings
from dbpt.settings.keywords import FitSettings
from dbpt.storage.files import open_regular
from dbpt.study.checks import check_before_reading
from dbpt.study.data import config_for, unchecked_dataset
from dbpt.study.study import configured_backbone

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

SHOWN = 5  # problems of a kind, or reasons, that are named; the others are counted


@dataclass(frozen=True, repr=False, eq=False)
class EmbeddedImages(Brief):
    """The features of the N images of a data set, which stay in the cache. ``str()`` of it is a summary.

    Attributes:
        paths: (N,) the images, as the data name them.
        stored: the features, read when they are asked for: ``stored[rows]`` is an array (n, D) for a slice or numbers.
        failures: the images that can't be read, each with its ``row``, ``path`` and ``reason``; their features are 0.
        recomputed: the number of images that this process decoded.
        folder: the folder of the cache.
    """

    paths: Sequence[str]
    stored: StoredFeatures
    failures: tuple[Failure, ...]
    recomputed: int
    folder: Path

    @property
    def num_images(self) -> int:
        """The number of images, N."""
        return len(self.paths)

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """(N, D) float32, rows of length 1 in the order of `paths`, 0 for failures; read from the cache on first use.

        Raises `InputError` for more than 4 GiB; read those in blocks, as ``stored[:10_000]``.
        """
        check_whole(*self.stored.shape, "features", "read blocks of them, such as stored[:10_000]")
        return self.stored[:]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(N,) False for the images that can't be read."""
        ok = np.ones(len(self.paths), np.bool_)
        ok[[failure.row for failure in self.failures]] = False
        return ok

    def _brief(self) -> str:
        n, width = self.stored.shape
        return f"features ({n}, {width}), {len(self.failures)} failures, recomputed={self.recomputed}"

    def __str__(self) -> str:
        usable = self.num_images - len(self.failures)
        of_all = f"{usable} of {self.num_images} images have features in {self.folder}"
        lines = [f"{of_all}; decoded by this process: {self.recomputed}"]
        first = {failure.reason: failure.path for failure in reversed(self.failures)}
        counted = Counter(failure.reason for failure in self.failures).most_common()
        lines += [f"  {n} failed: {reason} (first: {first[reason]})" for reason, n in counted[:SHOWN]]
        if len(counted) > SHOWN:
            lines.append(f"  and {sum(n for _, n in counted[SHOWN:])} failed for other reasons")
        return "\n".join(lines)


@shows_settings(FitSettings)
def embed(data: DataLike, **settings: "Unpack[FitSettings]") -> EmbeddedImages:
    """Compute the missing features of all images and store them in the cache.

    `fit`, `compare` and `evaluate` do this themselves. Processes that run this at the same time with a shared cache,
    with or without ``torchrun``, share the work.

    Args:
        data: as for `dbpt.fit`.
        settings: those listed below, of which this reads those of data, model and cache.

    Returns:
        The features of all images, and those that can't be read.

    Raises:
        InputError: if more images fail than ``max_failures``, and for wrong settings or data.
    """
    config = config_for(data, settings)
    if config.embeddings is not None:
        raise InputError("--embeddings are features already; leave it out to embed the images of the rows")
    check_before_reading(config)
    dataset = unchecked_dataset(data, config)
    logger.info(f"{dataset.name}: {len(dataset)} images, from {dataset.source}")
    take_own_gpu(config.device)
    backbone = configured_backbone(config)
    folder = config.cache_dir / "features"
    files = EmbeddedFiles(backbone, dataset.root, dataset.paths, folder, max_failures=config.max_failures)
    logger.info(_state(files))
    recomputed = files.complete(batch_size=config.embed_batch_size)
    return EmbeddedImages(dataset.paths, files.features(), files.failures(), recomputed, files.cache.folder)


def _state(embedded: EmbeddedFiles) -> str:
    missing, absent = len(embedded.missing), len(embedded.files.errors)
    there = len(embedded.files) - absent
    if not missing:
        state = f"all {there} images are in the cache as they are"
    elif len(embedded.cache):
        state = f"{missing} of {there} images to embed"
    else:
        nearest = nearest_cache(embedded.cache)
        other = f"; another cache has {nearest}" if nearest else ""
        state = f"none in the cache{other}; {missing} images to embed"
    return f"features in {embedded.backbone.image_precision}: {state}" + (f"; not there: {absent}" if absent else "")


CHUNK = 4096  # images to decode at a time, which limits the number of tasks


@dataclass(frozen=True)
class DataCheck:
    """The result of `check_data`.

    Attributes:
        dataset: the rows as they are.
        problems: a line for each problem that `fit` refuses.
        warnings: a line for each oddity that it accepts.
    """

    dataset: Dataset = field(repr=False)
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.dataset.describe()]
        if self.dataset.published and not published_notes(self.dataset):
            lines.append("  the counts are the published ones")
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"problem: {problem}" for problem in self.problems]
        end = "no problem stops dbpt fit; see the warnings" if self.warnings else "no problems found"
        return "\n".join(lines if self.problems else [*lines, end])


@shows_settings(FitSettings)
def check_data(data: DataLike, **settings: "Unpack[FitSettings]") -> DataCheck:
    """Read a data set and list what would stop `fit`: repeated paths, missing and unreadable images.

    All images are decoded, as `fit` will do.

    Args:
        data: as for `dbpt.fit`.
        settings: those listed below, of which this reads those that concern data.

    Returns:
        The data set, and a line for each problem.

    Raises:
        InputError: if the metadata can't be read at all, or for a bad setting.
    """
    config = config_for(data, settings)
    dataset = unchecked_dataset(data, config)
    if config.embeddings is not None:
        raise InputError("--embeddings: there are no images to check; leave it out to check the images of the rows")
    missing = missing_rows(dataset)
    logger.info(f"decoding {len(dataset) - len(missing)} images")
    hints = [f"; {SLASHES}" if "\\" in dataset.paths[row] else "" for row in missing]
    absent = [
        f"{dataset.where(row)}: image {dataset.paths[row]!r} {why_missing(dataset, row)}{hint}"
        for row, hint in zip(missing, hints, strict=True)
    ]
    problems = _first_few(list(repeated_paths(dataset)), "paths are repeated")
    try:
        check_classes(dataset)
    except InputError as error:
        problems.append(str(error))
    problems += _first_few(absent, "images cannot be found")
    warnings = _first_few(list(_outside(dataset)), "images are outside the root, through links")
    warnings += _first_few(list(_test_copies(dataset)), "test images equal others")
    if not dataset.attribute_names:
        warnings.append("no spurious attribute is named; fit needs --attributes, but for objectives such as erm")
    unreadable = _unreadable(dataset, set(missing))
    if len(unreadable) > config.max_failures * len(dataset):
        problems += _first_few(unreadable, "images can't be read")
    elif unreadable:
        way_out = f"dbpt fit will leave {len(unreadable)} unreadable images out; mend the files, or remove their rows"
        warnings += [*_first_few(unreadable, "images can't be read"), way_out]
    return DataCheck(dataset, tuple(problems), tuple(warnings))


def _first_few(lines: Sequence[str], what: str) -> list[str]:
    rest = [f"and {len(lines) - SHOWN} more; in all, {len(lines)} {what}"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *rest]


def _unreadable(dataset: Dataset, missing: set[int]) -> list[str]:
    def reason(row: int) -> str | None:
        try:
            read_image(dataset.root / dataset.paths[row], pixels=1)  # JPEGs at an eighth of their size: faster
        except UnreadableImage as error:
            return f"{dataset.where(row)}: image {dataset.paths[row]!r}: {error}"
        return None

    lines: list[str] = []
    rows = (row for row in progress_bar("decoding", "img", range(len(dataset))) if row not in missing)
    with pillow_warnings(), decoding_threads() as threads:
        while chunk := list(islice(rows, CHUNK)):
            lines += filter(None, threads.map(reason, chunk))
    return lines


def _test_copies(dataset: Dataset) -> Iterator[str]:
    """Yield the test images whose file has the bytes of one of another split."""
    paths, is_test, other_of = dataset.paths, dataset.in_split("test"), dict[bytes, int]()
    for row in np.argsort(is_test, kind="stable").tolist() if is_test.any() else []:
        with suppress(OSError), open_regular(dataset.root / paths[row]) as file:
            digest = blake2b(file.read(), digest_size=16).digest()
            if not is_test[row]:
                other_of.setdefault(digest, row)
            elif (other := other_of.get(digest)) is not None:
                yield f"{dataset.where(row)}: {paths[row]!r} is a copy of {paths[other]!r} in another split; drop one"


def _outside(dataset: Dataset) -> Iterator[str]:
    """Yield the images that links place outside the root, which may be a trap in an archive."""
    root, real_folder = os.path.realpath(dataset.root), cache(os.path.realpath)
    for row, path in enumerate(dataset.paths):
        file = dataset.root / path
        linked = os.path.islink(file)  # noqa: PTH114 (Path.is_symlink is several times as slow)
        real = os.path.realpath(file) if linked else real_folder(file.parent)
        if not Path(real).is_relative_to(root):
            yield f"{dataset.where(row)}: image {path!r} is outside the root, through a link to {real}"
