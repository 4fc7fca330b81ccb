"""`embed`: put all images of a data set into the feature cache."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbpt.data.in_memory import DataLike
from dbpt.errors import InputError
from dbpt.features import EmbeddedFiles, Failure
from dbpt.features.maintenance import nearest_cache
from dbpt.files.launched import launched_rank, launched_size, take_own_gpu
from dbpt.settings.config import shows_settings
from dbpt.settings.data import config_for, unchecked_dataset
from dbpt.settings.keywords import FitSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

SHOWN_REASONS = 5


@dataclass(frozen=True)
class EmbeddedImages:
    """The result of `embed`; ``recomputed`` images were decoded by this process. ``str()`` of it is a summary."""

    num_images: int
    recomputed: int
    failures: tuple[Failure, ...] = field(repr=False)
    folder: Path

    def __str__(self) -> str:
        usable = self.num_images - len(self.failures)
        of_all = f"{usable} of {self.num_images} images have features in {self.folder}"
        lines = [f"{of_all}; decoded by this process: {self.recomputed}"]
        first = {failure.reason: failure.path for failure in reversed(self.failures)}
        counted = Counter(failure.reason for failure in self.failures).most_common()
        lines += [f"  {n} failed: {reason} (first: {first[reason]})" for reason, n in counted[:SHOWN_REASONS]]
        if len(counted) > SHOWN_REASONS:
            lines.append(f"  and {sum(n for _, n in counted[SHOWN_REASONS:])} failed for other reasons")
        return "\n".join(lines)


@shows_settings(FitSettings)
def embed(data: DataLike, **settings: Unpack[FitSettings]) -> EmbeddedImages:
    """Compute the missing features of all images of ``data`` and store them in the cache.

    `fit`, `compare` and `evaluate` do this themselves. Processes that run this at the same time with a shared cache,
    with or without ``torchrun``, share the work. ``data`` and the ``settings`` of data, model and cache are as for
    `dbpt.fit`. Raises `InputError` if more images fail than ``max_failures``.
    """
    from dbpt.experiments.checks import check_before_reading
    from dbpt.experiments.readable import configured_backbone

    config = config_for(data, settings)
    if config.embeddings is not None:
        raise InputError("--embeddings are features already; leave it out to embed the images of the rows")
    take_own_gpu(config.device)
    check_before_reading(config)
    dataset = unchecked_dataset(data, config)
    logger.info(f"{dataset.name}: {len(dataset)} images, from {dataset.source}")
    backbone = configured_backbone(config)
    folder = config.cache_dir / "features"
    found = EmbeddedFiles(backbone, dataset.root, dataset.paths, folder, max_failures=config.max_failures)
    logger.info(_state(found))
    recomputed = found.complete(batch_size=config.embed_batch_size, first_part=(launched_rank(), launched_size()))
    return EmbeddedImages(len(dataset), recomputed, found.failures(), found.cache.folder)


def _state(found: EmbeddedFiles) -> str:
    missing, absent = len(found.missing), len(found.files.errors)
    there = len(found.files) - absent
    if not missing:
        state = f"all {there} images are in the cache as they are"
    elif len(found.cache):
        state = f"{missing} of {there} images to embed"
    else:
        nearest = nearest_cache(found.cache)
        other = f"; another cache has {nearest}" if nearest else ""
        state = f"none in the cache{other}; {missing} images to embed"
    return f"features in {found.backbone.image_precision}: {state}" + (f"; not there: {absent}" if absent else "")
