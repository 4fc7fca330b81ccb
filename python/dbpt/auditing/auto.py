"""``--attributes auto`` in an audit: the family that best explains the errors of the audited classifier."""

import logging
import shlex
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.subject import OF_THE_RUN, Subject
from dbpt.auditing.verdict import SUBJECTS
from dbpt.data import Dataset
from dbpt.discovery.catalogue import Family
from dbpt.experiments.auto import SEED, best_family, found_settings, images_to_search, zero_shot_right
from dbpt.report.text import count_of
from dbpt.runs.audited import Search
from dbpt.settings.sections import AUDIT_SETTINGS, DISCOVER_SETTINGS

logger = logging.getLogger(__name__)


def with_found_attributes(subject: Subject) -> Subject:
    """Return the subject with the attribute that ``--attributes auto`` finds; unchanged without it.

    The audited images are searched, as `discover` does. Errors of zero-shot CLIP are known for all images, so training
    and validation images that aren't audited are searched, if there are any. The data's own attribute is ignored,
    unless it has the same names. Raises `InputError` if no family is proposed.
    """
    if not subject.config.asks_auto:
        return subject
    dataset, by_clip = subject.dataset, subject.by == "zero-shot"
    rows = _rows_to_search(subject)
    is_audited = bool(np.isin(rows, subject.audited).any())
    seed = SEED if by_clip else subject.config.seed
    images = images_to_search(subject.embedded.backbone, dataset, subject.embedded.stored, rows, seed)
    right = zero_shot_right(images, dataset.words) if by_clip else subject.predictions.predictions == images.labels
    of_images = f"{count_of(len(rows), 'image')} that {'are' if is_audited else 'are not'} audited"
    whose = f"{SUBJECTS[subject.by]} in {of_images}"
    family, why = best_family(images, dataset.words, right, whose, _ways_out(subject), is_foreign=subject.by == "file")
    why += "; since it was chosen on these images, its p-value is too small: test it on others" if is_audited else ""
    logger.info(f"--attributes auto: {why}")
    config, asked = (found_settings(each, family, dataset) for each in (subject.config, subject.asked))
    embedded = replace(subject.embedded, dataset=_named(dataset, family))
    search = Search(family=family.name, on_audited=is_audited, sentence=why)
    found = replace(subject, embedded=embedded, config=config, asked=asked, search=search)
    return replace(found, options=asked.options(AUDIT_SETTINGS))


def _rows_to_search(subject: Subject) -> NDArray[np.int64]:
    if subject.by != "zero-shot":
        return subject.audited
    fitted = subject.dataset.rows_to_fit
    others = np.setdiff1d(fitted, subject.audited)
    return others if len(others) else fitted


def _ways_out(subject: Subject) -> str:
    """Return what to do if nothing is proposed, up to the command that shows what was tried."""
    way_out = "or let --attributes clusters find groups; "
    if "--predictions" not in subject.which:  # an array
        return f"{way_out}dbpt.discover with the same data and predictions"
    which = ["--split", "all"] if subject.by == "zero-shot" else subject.which
    read = DISCOVER_SETTINGS.difference(OF_THE_RUN if subject.by == "run" else ())
    return way_out + shlex.join(["dbpt", "discover", subject.source, *subject.asked.options(read), *which])


def _named(dataset: Dataset, family: Family) -> Dataset:
    """Return the data set with the names of the ``family``, and its true attributes only if they have these names."""
    known = dataset if list(dataset.attribute_names) == family.names else dataset.without_attributes()
    words = replace(known.words, attributes=family.attributes, attribute_templates=family.templates)
    return replace(known, words=words)
