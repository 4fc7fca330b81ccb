"""Pseudo attributes that are known, in place of CLIP's guesses: from a file (``--pseudo-attributes``) or the data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data import Dataset
from dbpt.data.dataset_checks import check_possible
from dbpt.data.factors import factor_codes
from dbpt.data.image_codes import PATH, Codes, Wanted, read_codes
from dbpt.data.table_formats import READERS
from dbpt.data.words import Vocabulary, Words
from dbpt.pseudo_attributes.factors import combined_guesses
from dbpt.pseudo_attributes.job import PseudoAttributes

METHOD, FROM_DATA = "file", "data"


def read_pseudo_attributes(path: Path, dataset: Dataset) -> PseudoAttributes:
    """Return the attributes in a file for all rows of ``dataset``; the method is "file".

    A table has a column ``attribute`` or ``pseudo_attribute``, as `dbpt guess`, `dbpt predict` and `dbpt label` write
    them. Labels by hand, which have a column ``sample``, need not have all images. Without a probability ``p_NAME`` for
    each attribute, the posterior of an attribute is its ``confidence``, or 1, and the rest is shared by the others.

    With factors, a table may have a column ``NAME`` or ``pseudo_NAME`` for each of them instead, and the confidence
    ``confidence_NAME``. Raises `InputError`.
    """
    words = dataset.words
    if not _has_each_factor(path, dataset):
        codes = _read(path, dataset, "attribute", words.attributes, "confidence")
        found = replace(
            _as_pseudo_attributes(codes, dataset.num_attributes), factors=_known(codes.codes, words, METHOD)
        )
    else:
        each = [
            _read(path, dataset, factor.name, factor.values, f"confidence_{factor.name}") for factor in words.factors
        ]
        found = combined_guesses([_as_pseudo_attributes(*one) for one in zip(each, words.sizes, strict=True)])
    check_possible(dataset, [part.pseudo_attributes for part in found.factors], str(path))
    return found


def _known(codes: NDArray[np.int64], words: Words, method: str) -> tuple[PseudoAttributes, ...]:
    """Return the factors' values that belong to the numbers (N,) of their combinations; none without factors."""
    each = factor_codes(codes, words.sizes) if words.factors else []
    return tuple(
        replace(_as_pseudo_attributes(Codes(of_factor, None), size), method=method)
        for of_factor, size in zip(each, words.sizes, strict=True)
    )


def _has_each_factor(path: Path, dataset: Dataset) -> bool:
    factors, reader = dataset.words.factors, READERS.get(path.suffix.lower())
    if not factors or reader is None:
        return False
    names = {name for factor in factors for name in _columns(factor.name)}
    there = reader(path, (PATH,), tuple(names), hint="").values
    return all(there.keys() & _columns(factor.name) for factor in factors)


def _columns(noun: str) -> tuple[str, str]:
    return noun, f"pseudo_{noun}"


def _read(path: Path, dataset: Dataset, noun: str, vocabulary: Vocabulary, sure: str) -> Codes:
    wanted = Wanted(
        noun=noun,
        kind=noun,
        columns=_columns(noun),
        vocabulary=vocabulary,
        unknown=True,
        in_part="sample",
        sure=sure,
    )
    return read_codes(path, dataset, wanted)


def _as_pseudo_attributes(found: Codes, num_attributes: int) -> PseudoAttributes:
    num_rows = len(found.codes)
    posterior = np.full((num_rows, num_attributes), 1 / num_attributes)
    known = np.flatnonzero(found.codes >= 0)
    at = known, found.codes[known]
    if found.probabilities is not None:
        posterior[known] = found.probabilities[known]
    else:
        sure = np.ones(len(known)) if found.sure is None else found.sure[known]
        posterior[known] = ((1 - sure) / (num_attributes - 1))[:, None]
        posterior[at] = sure
    confidence = np.full(num_rows, 1 / num_attributes)
    confidence[known] = posterior[at]
    floats = posterior.astype(np.float32), confidence.astype(np.float32)
    return PseudoAttributes(found.codes, *floats, METHOD, warnings=found.warnings)


def attributes_of_data(dataset: Dataset) -> PseudoAttributes:
    """Return the attributes that ``dataset`` has itself; the method is "data"."""
    num_attributes = dataset.num_attributes
    known = dataset.attributes >= 0
    posterior = np.where(known[:, None], np.eye(num_attributes)[dataset.attributes], 1 / num_attributes)
    floats = posterior.astype(np.float32), posterior.max(axis=1).astype(np.float32)
    factors = _known(dataset.attributes, dataset.words, FROM_DATA)
    return PseudoAttributes(dataset.attributes.copy(), *floats, FROM_DATA, factors=factors)


def with_known(guessed: PseudoAttributes, known: PseudoAttributes) -> PseudoAttributes:
    """Return the ``known`` attributes of N rows, and the ``guessed`` ones, with posterior, where they are unknown."""
    if guessed.factors:
        pairs = zip(guessed.factors, known.factors, strict=True)
        return combined_guesses([with_known(one, other) for one, other in pairs])
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
