"""Pseudo attributes that are known, in place of CLIP's guesses: from a file (``--pseudo-attributes``) or the data."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dbpt.data import Dataset
from dbpt.data.image_codes import Wanted, read_codes
from dbpt.pseudo_attributes.job import PseudoAttributes

METHOD, FROM_DATA = "file", "data"


def read_pseudo_attributes(path: Path, dataset: Dataset) -> PseudoAttributes:
    """Return the attributes in a file for all rows of ``dataset``; the method is "file".

    A table has a column ``attribute`` or ``pseudo_attribute``, as `dbpt guess`, `dbpt predict` and `dbpt label` write
    them. Labels by hand, which have a column ``sample``, need not have all images. Without a probability ``p_NAME`` for
    each attribute, the posterior of an attribute is its ``confidence``, or 1, and the rest is shared by the others.
    Raises `InputError`.
    """
    wanted = Wanted(
        noun="attribute",
        kind="attribute",
        columns=("attribute", "pseudo_attribute"),
        vocabulary=dataset.words.attributes,
        unknown=True,
        in_part="sample",
        sure="confidence",
    )
    found, num_attributes = read_codes(path, dataset, wanted), dataset.num_attributes
    posterior = np.full((len(dataset), num_attributes), 1 / num_attributes)
    known = np.flatnonzero(found.codes >= 0)
    at = known, found.codes[known]
    if found.probabilities is not None:
        posterior[known] = found.probabilities[known]
    else:
        sure = np.ones(len(known)) if found.sure is None else found.sure[known]
        posterior[known] = ((1 - sure) / (num_attributes - 1))[:, None]
        posterior[at] = sure
    confidence = np.full(len(dataset), 1 / num_attributes)
    confidence[known] = posterior[at]
    floats = posterior.astype(np.float32), confidence.astype(np.float32)
    return PseudoAttributes(found.codes, *floats, METHOD, warnings=found.warnings)


def attributes_of_data(dataset: Dataset) -> PseudoAttributes:
    """Return the attributes that ``dataset`` has itself; the method is "data"."""
    num_attributes = dataset.num_attributes
    known = dataset.attributes >= 0
    posterior = np.where(known[:, None], np.eye(num_attributes)[dataset.attributes], 1 / num_attributes)
    floats = posterior.astype(np.float32), posterior.max(axis=1).astype(np.float32)
    return PseudoAttributes(dataset.attributes.copy(), *floats, FROM_DATA)


def with_known(guessed: PseudoAttributes, known: PseudoAttributes) -> PseudoAttributes:
    """Return the ``known`` attributes of N rows, and the ``guessed`` ones, with posterior, where they are unknown."""
    is_known = known.pseudo_attributes >= 0
    assert guessed.posterior is not None and guessed.confidence is not None
    assert known.posterior is not None and known.confidence is not None
    return replace(
        guessed,
        pseudo_attributes=np.where(is_known, known.pseudo_attributes, guessed.pseudo_attributes),
        posterior=np.where(is_known[:, None], known.posterior, guessed.posterior),
        confidence=np.where(is_known, known.confidence, guessed.confidence),
        method=f"{guessed.method} (known ones from the {known.method})",
        holds_truth=known.method == FROM_DATA,
        warnings=(*known.warnings, *guessed.warnings),
    )
