"""``--attributes auto``: the search for an attribute before `fit`, `compare`, `guess` and `audit`."""

import logging
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS, Dataset, Words, check_precomputed_file, entries_of
from dbpt.errors import InputError
from dbpt.evaluation.audit_fields import PredictionsBy, Search, SearchedImages
from dbpt.evaluation.audit_subject import OF_THE_RUN, Subject
from dbpt.evaluation.family_guesses import Images, guess_families
from dbpt.evaluation.family_ranking import score_families
from dbpt.guesses.catalogue import Family, embed_families, read_catalogue
from dbpt.report.discovery_sentences import search_in_words, searched_errors
from dbpt.report.text import count_of
from dbpt.settings.all_settings import DISCOVER_SETTINGS
from dbpt.settings.combinations import DROP
from dbpt.settings.config import FitConfig
from dbpt.settings.fields import Command, options_of
from dbpt.study.checks import check_before_reading
from dbpt.study.data import configured_dataset, resolve_demo
from dbpt.study.study import configured_backbone, embed_dataset

logger = logging.getLogger(__name__)

FOUND_SETTINGS = ("attributes", "attribute_template", "celeba_attributes", "columns")
"""The settings that the search may change."""
SEARCH_SEED = 0  # not the run's, so that all seeds find the same family


def with_found_attributes(config: FitConfig, *, training: bool = True) -> tuple[FitConfig, tuple[str, ...]]:
    """Return the settings with names, wordings and templates in place of ``--attributes auto``, and a note about them.

    Other settings are returned unchanged, without a note. Test rows are searched only if there are no others. The
    data's own attribute is ignored, unless it has the same names. Raises `InputError` if no family is proposed, and as
    the stages do.
    """
    if not config.asks_auto:
        return config, ()
    if config.shots is not None:
        hint = f"the search would see the classes of all training images; dbpt discover does it beforehand; {DROP}"
        raise InputError(f"--shots {config.shots} with --attributes auto: {hint}")
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
    ways_out += str(Command("discover", config.data, {"split": "all"}))
    images, words = Images.to_search(backbone, readable, features, rows, SEARCH_SEED), readable.words
    family, search = best_family(images, words, images.zero_shot_right(words), "zero-shot", searched, ways_out)
    logger.info(note := f"--attributes auto: {search.sentence}")
    return found_settings(config, family, dataset), (note,)


def found_settings(config: FitConfig, family: Family, dataset: Dataset) -> FitConfig:
    """Return the settings with the ``family`` as attribute; that of the ``dataset`` is ignored if it is another one."""
    names = entries_of(family.attributes, family.name)
    named = replace(config, attributes=names, attribute_template=family.templates, celeba_attributes=None)
    return named if list(dataset.attribute_names) in ([], family.names) else ignoring_attributes(named)


def ignoring_attributes(config: FitConfig) -> FitConfig:
    """Return the settings with ``--columns attribute=``: the attribute that the data have is another one."""
    columns = [entry for entry in config.columns or () if not entry.startswith("attribute=")]
    return replace(config, columns=(*columns, "attribute="))


def search_auto_attributes(subject: Subject) -> Subject:
    """Return the subject with the attribute that ``--attributes auto`` finds; unchanged without it.

    The audited images are searched, as `discover` does. Errors of zero-shot CLIP are known for all images, so training
    and validation images that aren't audited are searched, if there are any. The data's own attribute is ignored,
    unless it has the same names. Raises `InputError` if no family is proposed.
    """
    if not subject.config.asks_auto:
        return subject
    dataset, rows, by_clip = subject.dataset, subject.audited, subject.by == "zero-shot"
    if by_clip:
        others = np.setdiff1d(dataset.rows_to_fit, rows)
        rows = others if len(others) else dataset.rows_to_fit
    # Other images than the audited ones are searched as `dbpt.fit` does, which finds the same family for all seeds.
    seed = SEARCH_SEED if by_clip else subject.config.seed
    images = Images.to_search(subject.embedded.backbone, dataset, subject.embedded.features, rows, seed)
    right = images.zero_shot_right(dataset.words) if by_clip else subject.predictions.predictions == images.labels
    searched: SearchedImages = "audited" if np.isin(rows, subject.audited).any() else "not audited"
    family, search = best_family(images, dataset.words, right, subject.by, searched, _hint(subject))
    logger.info(f"--attributes auto: {search.sentence}")
    config, asked = (found_settings(settings, family, dataset) for settings in (subject.config, subject.asked))
    embedded = replace(subject.embedded, dataset=_named(dataset, family))
    return replace(subject, embedded=embedded, config=config, asked=asked, search=search)


def _hint(subject: Subject) -> str:
    """Return what to do if nothing is proposed, up to the command that shows what was tried."""
    hint = "or let --attributes clusters find groups; "
    read = DISCOVER_SETTINGS.difference(OF_THE_RUN if subject.by == "run" else ())
    whose: dict[str, Any] = {"split": "all"} if subject.by == "zero-shot" else subject.whose()
    if subject.predictions_named is None:
        whose["predictions"] = ...
    command = Command("discover", subject.source, subject.asked.given(read) | whose)
    return hint + (str(command) if subject.predictions_named else command.call)


def _named(dataset: Dataset, family: Family) -> Dataset:
    """Return the data set with the names of the ``family``, and its true attributes only if they have these names."""
    known = dataset if list(dataset.attribute_names) == family.names else dataset.without_attributes()
    words = replace(known.words, attributes=family.attributes, attribute_templates=family.templates)
    return replace(known, words=words)


def best_family(
    images: Images, words: Words, right: NDArray[np.bool_], by: PredictionsBy, searched: SearchedImages, hint: str
) -> tuple[Family, Search]:
    """Search the package's catalogue for ``--attributes auto``.

    Args:
        images: the n images to search.
        words: the words of the classes.
        right: (n,) bool, the images that are predicted right.
        by: who predicts.
        searched: which images they are, for sentences.
        hint: what to do if nothing is proposed; ends with the command that shows what was tried.

    Returns:
        The first proposed family, with the names that occur, and why it is the first.

    Raises:
        InputError: if none is proposed.
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
            kept = best.of.family.only([] if best.of.guessed is None else best.of.guessed.kept)
            named = {"attributes": entries_of(kept.attributes, kept.name), "attribute_template": kept.templates}
            look = f"; errors go with {' / '.join(kept.names)}, but CLIP may confuse these names with the classes: "
            look += f"look at them with {shlex.join(options_of(named))}"
        problem = f"--attributes auto: none of {len(families)} families is proposed for the {errors} of {whose}{look}"
        raise InputError(f"{problem}; name attributes (--attributes NAME NAME), {hint} shows what was tried")
    family = best.of.family.only(best.of.guessed.kept)
    search = Search(
        family=family.name,
        names=family.names,
        explained=best.explained.errors,
        others=sum(score.is_distinct for score in scores) - 1,
        may_be_class=best.rule is not None,
        by=by,
        n=len(right),
        images=searched,
    )
    return family, replace(search, sentence=search_in_words(search))
