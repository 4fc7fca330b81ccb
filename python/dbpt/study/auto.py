"""``--attributes auto``: the family of the catalogue that best explains the errors of a classifier, as settings."""

import logging
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone, zero_shot_weights
from dbpt.data import SPLITS, Dataset, StoredFeatures, Words, check_precomputed_file, entries_of
from dbpt.discovery.catalogue import Family, embed_families, read_catalogue
from dbpt.discovery.result import stronger_alike
from dbpt.discovery.scoring import Images, guess_families, halves, score_families
from dbpt.errors import InputError
from dbpt.report.findings import Search, SearchedImages, search_in_words, searched_errors
from dbpt.report.text import count_of
from dbpt.runs.metrics import PredictionsBy
from dbpt.settings.combinations import DROP
from dbpt.settings.config import FitConfig
from dbpt.study.data import configured_dataset, resolve_demo
from dbpt.study.embedded import configured_backbone, embed_dataset
from dbpt.study.stages import check_before_reading

logger = logging.getLogger(__name__)

FOUND = ("attributes", "attribute_template", "celeba_attributes", "columns")
"""The settings that the search may change."""
SEED = 0  # not the run's, so that all seeds find the same family


def with_found_attributes(config: FitConfig, *, training: bool = True) -> tuple[FitConfig, tuple[str, ...]]:
    """Return the settings with names, wordings and templates in place of ``--attributes auto``, and a note about them.

    Other settings are returned unchanged, without a note. Test rows are searched only if there are no others. The
    data's own attribute is ignored, unless it has the same names. Raises `InputError` if no family is proposed, and as
    the stages do.
    """
    if not config.asks_auto:
        return config, ()
    if config.shots is not None:
        way_out = f"the search would see the classes of all training images; dbpt discover does it beforehand; {DROP}"
        raise InputError(f"--shots {config.shots} with --attributes auto: {way_out}")
    resolved = resolve_demo(config)
    check_before_reading(resolved)
    dataset = configured_dataset(resolved, training=training)
    if resolved.embeddings is not None:
        check_precomputed_file(Path(resolved.embeddings), dataset)
    backbone = configured_backbone(resolved)
    backbone.token_ids(["a"])  # refuses a tokenizer that is gone before the long part
    readable, features, _ = embed_dataset(dataset, backbone, resolved)
    if not len(readable):
        raise InputError(f"{dataset.source}: none of its images can be read; nothing is left to search")
    rows = readable.rows_to_fit
    is_test = (readable.splits[rows] == SPLITS.index("test")).any()
    searched: SearchedImages = "test" if is_test else "training and validation"
    ways_out = "let --attributes clusters find groups, or train without (--objective erm); "
    ways_out += f"dbpt discover {config.data} --split all"
    images, words = images_to_search(backbone, readable, features, rows, SEED), readable.words
    family, search = best_family(images, words, zero_shot_right(images, words), "zero-shot", searched, ways_out)
    logger.info(note := f"--attributes auto: {search.sentence}")
    return found_settings(config, family, dataset), (note,)


def images_to_search(
    backbone: Backbone, dataset: Dataset, features: StoredFeatures, rows: NDArray[np.int64], seed: int
) -> Images:
    """Return the ``rows`` (n,) of a data set with their part of its ``features`` (N, D), halved by ``seed``."""
    labels = dataset.labels[rows]
    return Images(
        backbone=backbone,
        features=features.take(rows),
        labels=labels,
        halves=halves(labels, seed),
        num_classes=dataset.num_classes,
        seed=seed,
    )


def zero_shot_right(images: Images, words: Words) -> NDArray[np.bool_]:
    """Return (n,) bool: the images that CLIP predicts right by the ``words`` of the classes."""
    weights_CD = zero_shot_weights(images.backbone, *words.class_texts())
    right: NDArray[np.bool_] = images.logits(weights_CD).argmax(axis=1) == images.labels
    return right


def best_family(
    images: Images, words: Words, right: NDArray[np.bool_], by: PredictionsBy, searched: SearchedImages, ways_out: str
) -> tuple[Family, Search]:
    """Return the first proposed family, with the names that occur, and why it is the first.

    ``right`` (n,) says which images are predicted right, ``by`` by whom, and ``searched`` which images they are. Raises
    `InputError` if none is proposed; ``ways_out`` end with the command that shows what was tried.
    """
    families, whose = read_catalogue(), searched_errors(by, len(right), searched)
    logger.info(f"--attributes auto: searching for an attribute that explains the errors of {whose}")
    guessed = guess_families(embed_families(images.backbone, families), images, words)
    scores = score_families(guessed, images, right, is_foreign=by == "file")
    best = scores[0]
    if not best.is_proposed or best.of.guessed is None or best.explained is None:
        errors = count_of(int((~right).sum()), "error")
        look = ""
        if best.may_be_class:
            kept = best.of.family.family.only([] if best.of.guessed is None else best.of.guessed.kept.tolist())
            options = ["--attributes", *entries_of(kept.attributes, kept.name)]
            options += ["--attribute-template", *kept.templates]
            look = f"; errors go with {' / '.join(kept.names)}, but CLIP may confuse these names with the classes: "
            look += f"look at them with {shlex.join(options)}"
        problem = f"--attributes auto: none of {len(families)} families is proposed for the {errors} of {whose}{look}"
        raise InputError(f"{problem}; name attributes (--attributes NAME NAME), {ways_out} shows what was tried")
    family = best.of.family.family.only(best.of.guessed.kept.tolist())
    distinct = [s for s, like in zip(scores, stronger_alike(scores), strict=True) if s.is_proposed and like is None]
    search = Search(
        family=family.name,
        names=family.names,
        explained=best.explained.errors,
        others=len(distinct) - 1,
        may_be_class=best.rule is not None,
        on_audited=searched == "audited",
    )
    return family, replace(search, sentence=search_in_words(search, whose))


def found_settings(config: FitConfig, family: Family, dataset: Dataset) -> FitConfig:
    """Return the settings with the ``family`` as attribute; that of the ``dataset`` is ignored if it is another one."""
    names = entries_of(family.attributes, family.name)
    found = replace(config, attributes=names, attribute_template=family.templates, celeba_attributes=None)
    return found if list(dataset.attribute_names) in ([], family.names) else ignoring_attributes(found)


def ignoring_attributes(config: FitConfig) -> FitConfig:
    """Return the settings with ``--columns attribute=``: the attribute that the data have is another one."""
    columns = [entry for entry in config.columns or () if not entry.startswith("attribute=")]
    return replace(config, columns=(*columns, "attribute="))
