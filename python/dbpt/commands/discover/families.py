"""The families of a search: words, the user's columns, measured properties and captions, for any rows of the data."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from dbpt.data.captions import captions_of
from dbpt.data.other_columns import LeftOut
from dbpt.errors import InputError, nearest
from dbpt.evaluation.audit_subject import Subject
from dbpt.evaluation.family_guesses import GuessedFamily, Images, guess_families
from dbpt.guesses.catalogue import EmbeddedFamily, Family, embed_families
from dbpt.guesses.column_values import are_numbers
from dbpt.guesses.value_families import CodedFamily, code_captions, code_columns
from dbpt.study.column_attributes import measured_columns
from dbpt.study.stages import log_warnings

logger = logging.getLogger(__name__)

Searched: TypeAlias = Literal["words", "columns", "pixels", "captions"]
SEARCHED: tuple[Searched, ...] = get_args(Searched)
CAPTION_COLUMNS = ("caption", "captions", "tags", "alt", "alt_text")


@dataclass(frozen=True, kw_only=True, eq=False)
class Families:
    """All families of a search: the words that CLIP guesses, and those that are ``coded`` for all rows of the data.

    ``left_out`` are columns that make no family, and ``numbers`` (N,) measured ones by name.
    """

    subject: Subject
    words: list[EmbeddedFamily]
    coded: list[CodedFamily]
    left_out: list[LeftOut] = field(default_factory=list)
    numbers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words) + len(self.coded)

    def images(self, rows: NDArray[np.int64]) -> Images:
        """Return the ``rows`` (n,) of the data as images to search."""
        embedded, seed = self.subject.embedded, self.subject.config.seed
        return Images.to_search(embedded.backbone, embedded.dataset, embedded.features, rows, seed)

    def of(self, images: Images, rows: NDArray[np.int64], keys: Collection[str] | None = None) -> list[GuessedFamily]:
        """Return the families, by default all, with their values for the ``images`` of ``rows`` (n,)."""
        words = [each for each in self.words if keys is None or each.family.name in keys]
        coded = [each for each in self.coded if keys is None or f"{each.source}:{each.name}" in keys]
        guessed = guess_families(words, images, self.subject.dataset.words) if words else []
        return [*guessed, *(GuessedFamily.coded(each.take(rows)) for each in coded)]


def parse_search(search: str | Iterable[str] | None) -> tuple[Searched, ...]:
    """Return what to search, in the order of `SEARCHED`; by default all. Raises `InputError` for another name."""
    if search is None:
        return SEARCHED
    given = [search] if isinstance(search, str) else list(search)
    for name in given:
        if name not in SEARCHED:
            raise InputError(f"--search: {name!r} is none of {', '.join(SEARCHED)}{nearest(name, list(SEARCHED))}")
    if not given:
        raise InputError(f"--search: nothing is named; choose among {', '.join(SEARCHED)}")
    return tuple(name for name in SEARCHED if name in given)


def families_of(
    subject: Subject, search: Sequence[Searched], catalogue: Sequence[Family], captions: str | Path | None
) -> Families:
    """Return the families of the data of ``subject``.

    Args:
        subject: whose errors are searched.
        search: what to search, of `SEARCHED`.
        catalogue: the families of words; none if they aren't searched.
        captions: a column or a file of captions; None for a column of `CAPTION_COLUMNS`, if there is one.
    """
    dataset, config = subject.dataset, subject.config
    words = embed_families(subject.embedded.backbone, catalogue) if catalogue else []
    columns, fitted, labels = dataset.other_columns, dataset.rows_to_fit, dataset.labels
    own = next((name for name in CAPTION_COLUMNS if name in columns.cells), None) if captions is None else captions
    coded, left_out, numbers = list[CodedFamily](), list[LeftOut](), dict[str, NDArray[np.float32]]()
    if "columns" in search:
        rest = columns.without([str(own)] if own is not None and "captions" in search else [])
        coded, left_out = code_columns(rest.cells, fitted, labels)
        left_out = [*columns.left_out, *left_out]
    if "pixels" in search and config.opens_images:
        measured = measured_columns(dataset, config)
        numbers = {name: np.asarray(cells) for name, cells in measured.items() if are_numbers(cells)}
        of_pixels, unused = code_columns(measured, fitted, labels, source="measured")
        coded += of_pixels
        left_out += [column for column in unused if column.reason == "same within classes"]
    if "captions" in search and own is not None:
        texts_N, warnings = captions_of(own, dataset)
        log_warnings(warnings)
        coded += code_captions(texts_N, labels)
    if not words and not coded:
        has = "no column without a role that divides the images, nothing measured, and no captions"
        raise InputError(f"--search {' '.join(search)}: {dataset.source} has {has}; search words too")
    return Families(subject=subject, words=words, coded=coded, left_out=left_out, numbers=numbers)
