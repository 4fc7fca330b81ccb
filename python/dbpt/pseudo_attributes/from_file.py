"""Pseudo attributes that are known, in place of CLIP's guesses: from a file (``--pseudo-attributes``) or the data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dbpt.data import Dataset
from dbpt.data.dataset_checks import check_possible
from dbpt.data.factors import factor_codes
from dbpt.data.image_codes import PATH, Codes, Wanted, read_codes
from dbpt.data.table_formats import READERS
from dbpt.data.words import Vocabulary
from dbpt.pseudo_attributes.job import PseudoAttributes

METHOD, FROM_DATA = "file", "data"
DOUBTS, BETWEEN_DOUBTS = "doubts", " | "
DOUBTED = "yes"
"""The cell of all rows but the first, so that a part of the table is doubted too."""


def read_pseudo_attributes(path: Path, dataset: Dataset) -> PseudoAttributes:
    """Return the attributes in a file for all rows of ``dataset``; the method is "file".

    A table has a column ``attribute`` or ``pseudo_attribute``, as `dbpt guess`, `dbpt predict` and `dbpt label` write
    them. Labels by hand, which have a column ``sample``, need not have all images. Without a probability ``p_NAME`` for
    each attribute, the posterior of an attribute is its ``confidence``, or 1, and the rest is shared by the others.

    With factors, a table may have a column ``NAME`` or ``pseudo_NAME`` for each of them instead, and the confidence
    ``confidence_NAME``. ``doubts``, or ``doubts_NAME``, are those that `dbpt guess` had. Raises `InputError`.
    """
    words = dataset.words
    if _has_each_factor(path, dataset):
        found = PseudoAttributes.combined(
            [_read(path, dataset, factor.name, factor.values, f"_{factor.name}") for factor in words.factors]
        )
    else:
        found = _read(path, dataset, "attribute", words.attributes)
        if words.factors[1:]:
            values = zip(factor_codes(found.pseudo_attributes, words.sizes), words.sizes, strict=True)
            parts = tuple(_as_pseudo_attributes(Codes(codes, None), size) for codes, size in values)
            found = replace(found, parts=tuple(replace(part, doubts=found.doubts) for part in parts))
    check_possible(dataset, [factor.pseudo_attributes for factor in found.factors], str(path))
    return found


def _has_each_factor(path: Path, dataset: Dataset) -> bool:
    columns = [_columns(factor.name) for factor in dataset.words.factors]
    there = _cells(path, *(name for names in columns for name in names)).keys()
    return bool(columns) and all(there & set(names) for names in columns)


def _cells(path: Path, *columns: str) -> Mapping[str, Sequence[str]]:
    """Return the cells of those of the ``columns`` that the file has; it has none if it is no table."""
    reader = READERS.get(path.suffix.lower())
    return {} if reader is None or not columns else reader(path, (PATH,), columns, hint="").values


def _doubts(path: Path, column: str) -> tuple[str, ...] | None:
    """Return the different doubts in a column of the table; None without the column."""
    cells = _cells(path, column).get(column)
    return None if cells is None else doubts_of_cells(cells)


def doubts_column(doubts: Sequence[str], num_rows: int) -> list[str]:
    """Return the doubts as a column of a table of guesses: in words only once, since a table may have many rows."""
    first = BETWEEN_DOUBTS.join(doubts)
    return [first, *[DOUBTED if first else ""] * (num_rows - 1)][:num_rows]


def doubts_of_cells(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the different doubts in such a column, of which rows may be missing."""
    doubts = dict.fromkeys(doubt for cell in dict.fromkeys(cells) for doubt in cell.split(BETWEEN_DOUBTS) if doubt)
    if list(doubts) == [DOUBTED]:
        return ("the guesses were doubted when they were made; the first row of their whole table says why",)
    return tuple(doubt for doubt in doubts if doubt != DOUBTED)


def _columns(noun: str) -> tuple[str, str]:
    return noun, f"pseudo_{noun}"


def _read(path: Path, dataset: Dataset, noun: str, vocabulary: Vocabulary, suffix: str = "") -> PseudoAttributes:
    wanted = Wanted(
        noun=noun,
        kind=noun,
        columns=_columns(noun),
        vocabulary=vocabulary,
        unknown=True,
        in_part="sample",
        sure=f"confidence{suffix}",
    )
    found = _as_pseudo_attributes(read_codes(path, dataset, wanted), len(vocabulary))
    return replace(found, doubts=_doubts(path, f"{DOUBTS}{suffix}"))


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
    of_suspects = zip(dataset.factor_attributes, dataset.words.sizes, strict=True)
    found = [_as_pseudo_attributes(Codes(codes, None), size) for codes, size in of_suspects]
    return PseudoAttributes.combined([replace(each, method=FROM_DATA) for each in found])


def with_known(guessed: PseudoAttributes, known: PseudoAttributes) -> PseudoAttributes:
    """Return the ``known`` attributes of N rows, and the ``guessed`` ones, with posterior, where they are unknown."""
    if guessed.parts:
        pairs = zip(guessed.factors, known.factors, strict=True)
        return PseudoAttributes.combined([with_known(one, other) for one, other in pairs])
    is_known = known.pseudo_attributes >= 0
    assert guessed.posterior is not None and guessed.confidence is not None
    assert known.posterior is not None and known.confidence is not None
    return replace(
        guessed,
        pseudo_attributes=np.where(is_known, known.pseudo_attributes, guessed.pseudo_attributes),
        posterior=np.where(is_known[:, None], known.posterior, guessed.posterior),
        confidence=np.where(is_known, known.confidence, guessed.confidence),
        note=f"{guessed.note} (known ones from the {known.method})",
        is_given=is_known if known.method == FROM_DATA else None,
        warnings=(*known.warnings, *guessed.warnings),
    )
