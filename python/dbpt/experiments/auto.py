"""``--attributes auto``: the family of the catalogue that best explains the errors of zero-shot CLIP, as settings."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.clip.zero_shot import zero_shot_weights
from dbpt.data import SPLITS, Dataset
from dbpt.data.precomputed import check_precomputed_file
from dbpt.data.words import entries_of
from dbpt.discovery.catalogue import Family, read_catalogue
from dbpt.discovery.embedded import embed_families
from dbpt.discovery.scoring import Images, guess_families, halves, score_families
from dbpt.errors import InputError
from dbpt.experiments.checks import check_before_reading
from dbpt.experiments.guesses import fitted_rows
from dbpt.experiments.readable import configured_backbone, embed_dataset
from dbpt.report.text import count, percent
from dbpt.settings.config import FitConfig
from dbpt.settings.data import configured_dataset, resolve_demo
from dbpt.settings.unnamed import AUTO_NOTE

logger = logging.getLogger(__name__)

FOUND = ("attributes", "attribute_template", "celeba_attributes", "columns")
"""The settings that the search may change."""
SEED = 0  # not the run's, so that all seeds find the same family


def with_found_attributes(
    config: FitConfig, *, training: bool = True, audited: Callable[[Dataset], NDArray[np.int64]] | None = None
) -> tuple[FitConfig, tuple[str, ...]]:
    """Return the settings with names, wordings and templates in place of ``--attributes auto``, and a note about them.

    Other settings are returned unchanged, without a note. Test rows are searched only if there are no others, and those
    that ``audited`` returns only if all others are test rows. The data's own attribute is ignored, unless it has the
    same names. Raises `InputError` if no family is proposed, and as the stages do.
    """
    if not config.asks_auto:
        return config, ()
    resolved = resolve_demo(config)
    check_before_reading(resolved)
    dataset = configured_dataset(resolved, training=training)
    if resolved.embeddings is not None:
        check_precomputed_file(Path(resolved.embeddings), dataset)
    logger.info("--attributes auto: searching for an attribute that explains the errors of zero-shot CLIP")
    backbone = configured_backbone(resolved)
    backbone.token_ids(["a"])  # refuses a tokenizer that is gone before the long part
    readable, features, _ = embed_dataset(dataset, backbone, resolved)
    if not len(readable):
        raise InputError(f"{dataset.source}: none of its images can be read; nothing is left to search")
    rows, searched = _searched(readable, None if audited is None else audited(readable))
    images = Images(
        backbone=backbone,
        features=features.take(rows),
        labels=readable.labels[rows],
        halves=halves(readable.labels[rows], SEED),
        num_classes=readable.num_classes,
        seed=SEED,
    )
    family, share = _best_family(images, readable, searched, config)
    note = f"{AUTO_NOTE}{family.name} ({' / '.join(family.names)}) explains {percent(share)} % of the errors of "
    note += f"zero-shot CLIP in {searched}"
    logger.info(note)
    found = replace(
        config,
        attributes=entries_of(family.attributes, family.name),
        attribute_template=family.templates,
        celeba_attributes=None,
    )
    own = dataset.attribute_names
    return found if not own or list(own) == family.names else ignoring_attributes(found), (note,)


def ignoring_attributes(config: FitConfig) -> FitConfig:
    """Return the settings with ``--columns attribute=``: the attribute that the data have is another one."""
    columns = [entry for entry in config.columns or () if not entry.startswith("attribute=")]
    return replace(config, columns=(*columns, "attribute="))


def _searched(dataset: Dataset, audited: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], str]:
    """Return the rows to search, and their number and kind in words."""
    rows = fitted_rows(dataset)
    if audited is None:
        is_test = (dataset.splits[rows] == SPLITS.index("test")).any()
        return rows, f"{count(len(rows))} {'test' if is_test else 'training and validation'} images"
    others = np.setdiff1d(rows, audited)
    if len(others):
        return others, f"{count(len(others))} images that are not audited"
    return rows, f"{count(len(rows))} images that are audited too, as there are no others"


def _best_family(images: Images, dataset: Dataset, searched: str, config: FitConfig) -> tuple[Family, float]:
    """Return the first proposed family, with the names that occur, and the share of the errors that it explains."""
    families = read_catalogue()
    weights_CD = zero_shot_weights(images.backbone, *dataset.words.class_texts())
    right = images.logits(weights_CD).argmax(axis=1) == images.labels
    guessed = guess_families(embed_families(images.backbone, families), images, dataset.words)
    best = score_families(guessed, images, right)[0]
    if not best.is_proposed or best.of.guessed is None or best.explained is None:
        raise InputError(
            f"--attributes auto: none of {len(families)} families explains the errors of zero-shot CLIP in {searched}; "
            "name attributes (--attributes NAME NAME), let --attributes clusters find groups, or train without "
            f"(--objective erm); dbpt discover {config.data} --split all shows what was tried"
        )
    return best.of.family.family.only(best.of.guessed.kept.tolist()), best.explained.errors.share or 0.0
