"""Families of values from a column, a measured property, or captions: a code for each image.

Nothing is guessed here: `dbpt.guesses.catalogue` has the families that CLIP guesses.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.other_columns import CodedSource, LeftOut, Source, Unusable
from dbpt.errors import CONTROL
from dbpt.groups.ids import contingency_table
from dbpt.guesses.column_values import LEAST_SHARE, Cells, Coded, Rule, are_numbers, code_numbers, code_text, measured

LEAST_IMAGES = 20  # with and without a word
MOST_WORDS = 500
MOST_LETTERS = 64  # of a name


@dataclass(frozen=True, eq=False)
class CodedFamily:
    """One value for each of N images.

    Attributes:
        source: where the values come from.
        name: the name of the column, the property or the words.
        values: the names of the values.
        codes: (N,) int64, index into ``values``, -1 where unknown.
    """

    source: Source
    name: str
    values: tuple[str, ...]
    codes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "CodedFamily":
        """Return the values of some ``rows`` (n,)."""
        return replace(self, codes=self.codes[rows])


def code_columns(
    columns: Mapping[str, Cells],
    fitted: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    source: Source = "column",
) -> tuple[list[CodedFamily], list[LeftOut]]:
    """Return a family for each column that has few values, numbers or dates, and why the others have none.

    Numbers and dates with many values are divided at quantiles, of which equal ones are one. A date counts by its
    year, or by its day or second if nearly all have the same year or day.

    Args:
        columns: by name, (N,) numbers, or text with "" where unknown.
        fitted: (n,) int64, the rows that decide about values and bins: those of training and validation.
        labels: (N,) int64, the classes. A column that is the same within each class is left out.
        source: of the families.
    """
    families: list[CodedFamily] = []
    left_out: list[LeftOut] = []
    for name, cells in columns.items():
        coded = _code_column(cells, fitted, labels)
        if isinstance(coded, str):
            left_out.append(LeftOut(name, coded, source))
        else:
            names, codes, _ = coded
            families.append(CodedFamily(source, name, readable(names), codes))
    return families, left_out


def _code_column(cells: Cells, fitted: NDArray[np.int64], labels: NDArray[np.int64]) -> Coded:
    if are_numbers(cells):
        coded = code_numbers(np.asarray(cells, np.float64), fitted, measured)
    else:
        coded = code_text(cells, fitted)
    if isinstance(coded, str):
        return coded
    names, codes, _ = coded
    counts_CA = contingency_table(labels, codes, (int(labels.max()) + 1, len(names)))
    return coded if ((counts_CA > 0).sum(axis=1) > 1).any() else "same within classes"


@dataclass(frozen=True, kw_only=True)
class Coding:
    """The values of a column or a measured property that some images have, and the rule that codes those of others."""

    source: CodedSource
    name: str
    values: tuple[str, ...]
    rule: Rule


def learn_coding(
    source: CodedSource, name: str, cells: Cells, fitted: NDArray[np.int64], labels: NDArray[np.int64]
) -> Coding | Unusable:
    """Return the coding of a column by the ``fitted`` rows (n,) alone, or why there is none; see `code_columns`."""
    coded = _code_column(np.asarray(cells)[fitted], np.arange(len(fitted)), labels[fitted])
    if isinstance(coded, str):
        return coded
    names, _, rule = coded
    return Coding(source=source, name=name, values=readable(names), rule=rule)


def readable(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of at most 64 characters without control characters, which stay different.

    >>> readable(["a" * 99, "a" * 98, "two\\nlines"]) == ("a" * 63 + "…", "a" * 59 + "… (2)", "two\\\\nlines")
    True
    """
    cut: dict[str, None] = {}
    for name in names:
        text = name = CONTROL.sub(lambda match: repr(match[0])[1:-1], name)
        number, ending = 1, ""
        while len(text) > MOST_LETTERS or text in cut:
            most = MOST_LETTERS - len(ending)
            text = (name if len(name) <= most else f"{name[: most - 1]}…") + ending
            number += 1
            ending = f" ({number})"
        cut[text] = None
    return tuple(cut)


WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def code_captions(captions: Sequence[str] | NDArray[Any], labels: NDArray[np.int64]) -> list[CodedFamily]:
    """Return families "with and without a word" for words and pairs of adjacent words, the commonest first.

    A word must be in at least 20 images and 1 % of those with a caption, be absent in as many, and differ in as many
    from other images of the class. Of what is in the same images, a single word is kept, the longest one.

    Args:
        captions: (N,) "" for an image without a caption, whose code is -1.
        labels: (N,) int64, the classes.
    """
    known_N = np.array([bool(caption.strip()) for caption in captions])
    least = max(LEAST_IMAGES, math.ceil(LEAST_SHARE * known_N.sum()))
    words_of = [WORD.findall(unicodedata.normalize("NFC", caption.casefold())) for caption in captions]
    counts = Counter(word for words in words_of for word in set(words))
    common = {word for word, number in counts.items() if number >= least}
    rows_of = defaultdict[str, list[int]](list)
    for row, words in enumerate(words_of):
        pairs = {f"{one} {other}" for one, other in pairwise(words) if one in common and other in common}
        for name in pairs | common.intersection(words):
            rows_of[name].append(row)
    of_class_C = np.bincount(labels[known_N])
    families: dict[bytes, CodedFamily] = {}
    for name in sorted(rows_of, key=lambda name: (-len(rows_of[name]), name.count(" "), -len(name), name)):
        rows = np.array(rows_of[name])
        with_C = np.bincount(labels[rows], minlength=len(of_class_C))
        says_more = np.minimum(with_C, of_class_C - with_C).sum() >= least
        if says_more and rows.tobytes() not in families and len(families) < MOST_WORDS:
            codes_N = np.where(known_N, 0, -1)
            codes_N[rows] = 1
            (shown,) = readable([name])
            families[rows.tobytes()] = CodedFamily("caption", shown, readable([f"without {name}", name]), codes_N)
    return list(families.values())
