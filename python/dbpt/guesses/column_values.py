"""The values of a column: numbers, dates or words, and the code of each image's value. Bins of numbers and of time."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.data.other_columns import Unusable
from dbpt.errors import NUMBER

MOST_VALUES = 20  # of a column of text; the commonest ones
MOST_NUMBERS = 10  # with more different numbers, they are divided into bins
LEAST_SHARE = 0.01  # of the fitted rows, for a value, a bin, a word or a combination
QUANTILES = (0.25, 0.5, 0.75)
PARSED = 0.95  # of the cells that are not missing, for a column of numbers or dates
DISTINCT = 0.9  # of the cells, for a column of identifiers
WORDS_OF_FREE_TEXT = 3  # of a cell, on average
OTHER = "other"
MISSING = frozenset(("", "nan", "na", "n/a", "<na>", "nat", "none", "null", "inf", "-inf", "0000:00:00 00:00:00"))
"""Cells, in lower case, that mean "unknown" among numbers and dates. Among words only an empty cell does."""

Cells: TypeAlias = "Sequence[str] | NDArray[Any]"
"""(N,) numbers, or text with "" where unknown."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The rule that codes cells: learnt from some images, it gives the same values of others the same codes.

    Attributes:
        unit: what a cell is read as.
        codes: the code of each text, or of each number as `repr` has it.
        edges: (B - 1,) the upper ends of all of B bins but the last, for numbers without ``codes``.
        spellings: cells of these images that show how a comma and a slash are meant.
    """

    unit: Literal["text", "number", "year", "day", "second"] = "number"
    codes: dict[str, int] = field(default_factory=dict)
    edges: tuple[float, ...] = ()
    spellings: tuple[str, ...] = ()

    def codes_of(self, cells: Cells) -> NDArray[np.int64]:
        """Return the (N,) codes of other cells; -1 for those that can't be read, and for texts that are new."""
        if are_numbers(cells):
            return self._codes_of_numbers(np.asarray(cells, np.float64))
        texts, codes_N = distinct_texts(cells)
        if self.unit == "text":
            return np.array([self.codes.get(text, -1) for text in texts], np.int64)[codes_N]
        parse, row = (_numbers, 0) if self.unit == "number" else (_dates, ("year", "day", "second").index(self.unit))
        return self._codes_of_numbers(parse([*self.spellings, *texts])[row][len(self.spellings) :])[codes_N]

    def _codes_of_numbers(self, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        if self.edges:
            return np.where(np.abs(numbers) < HUGE, np.searchsorted(self.edges, numbers), -1)
        return np.array([self.codes.get(_key(number), -1) for number in numbers.tolist()], np.int64)


def _key(number: float) -> str:
    return repr(number + 0.0)  # without the sign of zero


Coded: TypeAlias = "tuple[list[str], NDArray[np.int64], Rule] | Unusable"
"""Names of values, (N,) codes, and their rule; or why there are none."""


def are_numbers(cells: Cells) -> bool:
    """Return whether these are numbers, and not text."""
    return isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf"


def distinct_texts(cells: Cells) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different texts, and (N,) the index of each cell's."""
    index: dict[str, int] = {}
    codes_N = np.fromiter((index.setdefault(cell.strip(), len(index)) for cell in cells), np.int64, len(cells))
    return list(index), codes_N


def code_text(cells: Cells, fitted: NDArray[np.int64]) -> Coded:
    """Code a column of text by its numbers, dates, or values. Each distinct text is looked at once."""
    texts, codes_N = distinct_texts(cells)
    counts_K = np.bincount(codes_N[fitted], minlength=len(texts))
    if "" in texts:
        counts_K[texts.index("")] = 0
    if counts_K.sum() < max(1, LEAST_SHARE * len(fitted)):
        return "empty"
    for parse in (_numbers, _dates):
        if (units := _parsed(parse, texts, counts_K)) is not None:
            if parse is _numbers and _are_identifiers(units[0][codes_N[fitted]]):
                return "identifiers"
            units_N = [unit_K[codes_N] for unit_K in units]
            coded = _code_dates(units_N, fitted) if parse is _dates else code_numbers(units_N[0], fitted)
            if isinstance(coded, str):
                return coded
            names, codes, rule = coded
            return names, codes, replace(rule, spellings=_spellings(texts))
    return _code_words(texts, codes_N, counts_K, fitted)


def _parsed(
    parse: Callable[[Sequence[str]], NDArray[np.float64]], texts: Sequence[str], counts_K: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Return what ``parse`` finds in the texts of a column; None if that is too little."""
    sample = [text for text in texts[:: 1 + len(texts) // 1000] if text.lower() not in MISSING]
    if 2 * np.isfinite(parse(sample)[0]).sum() < len(sample):  # most columns end here
        return None
    parsed = parse(texts)
    is_missing = np.array([text.lower() in MISSING for text in texts], np.bool_)
    number = counts_K[np.isfinite(parsed[0])].sum()
    is_enough = number >= max(1, PARSED * counts_K[~is_missing].sum(), counts_K.sum() / 2)
    return parsed if is_enough else None


def _code_words(
    texts: Sequence[str], codes_N: NDArray[np.int64], counts_K: NDArray[np.int64], fitted: NDArray[np.int64]
) -> Coded:
    """Code the K texts of a column by their codes (N,), unless they are free text, identifiers or too many."""
    number, distinct = counts_K.sum(), np.count_nonzero(counts_K)
    common = np.sort(counts_K)[::-1][:MOST_VALUES]
    covered = common[common >= LEAST_SHARE * len(fitted)].sum()
    if distinct > 1 and (distinct >= DISTINCT * number or 2 * covered < number):
        sample = texts[:: 1 + len(texts) // 1000]
        if sum(len(text.split()) for text in sample) >= WORDS_OF_FREE_TEXT * len(sample):
            return "free text"
        return "identifiers" if distinct >= DISTINCT * number else "too many values"
    order = sorted((k for k, text in enumerate(texts) if text), key=texts.__getitem__)
    rank_K = np.full(len(texts), -1, np.int64)
    rank_K[order] = np.arange(len(order))
    ordered = [texts[k] for k in order]
    return _code_values(ordered, rank_K[codes_N], fitted, Rule(unit="text"), ordered)


def _spellings(texts: Sequence[str]) -> tuple[str, ...]:
    """Return at most four texts that say whether a comma groups thousands, and whether a slash follows a day."""
    slashed = [(match, text) for text in texts if "/" in text and (match := DATE.fullmatch(text)) and match["mark"]]
    shown = (
        (text for text in texts if "," in text and not THOUSANDS.fullmatch(text) and text.lower() not in MISSING),
        (text for text in texts if "," in text),
        (text for match, text in slashed if int(match["first"]) > 12),
        (text for match, text in slashed if int(match["second"]) > 12),
    )
    return tuple(dict.fromkeys(text for kind in shown for text in [next(kind, None)] if text is not None))


def _code_values(
    names: Sequence[str],
    codes_N: NDArray[np.int64],
    fitted: NDArray[np.int64],
    rule: Rule,
    keys: Sequence[str],
) -> Coded:
    """Keep the common ones of K values; the others are called `OTHER`, or unknown if there are few.

    The ``keys`` are what the ``rule`` knows the values by.
    """
    counts_K = np.bincount(codes_N[fitted] + 1, minlength=len(names) + 1)[1:]
    least = max(1, LEAST_SHARE * len(fitted))
    common = np.sort(np.argsort(-counts_K, kind="stable")[:MOST_VALUES])
    common = common[counts_K[common] >= least]
    has_other = counts_K.sum() - counts_K[common].sum() >= least
    code_K = np.full(len(names) + 1, len(common) if has_other else -1, np.int64)
    code_K[common], code_K[-1] = np.arange(len(common)), -1
    kept = [names[k] for k in common] + [OTHER] * bool(has_other)
    code_of = {key: code for key, code in zip(keys, code_K.tolist(), strict=False) if code >= 0}
    return (kept, code_K[codes_N], replace(rule, codes=code_of)) if len(kept) > 1 else "one value"


THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", re.ASCII)
LEADING_ZERO = re.compile(r"[+-]?0\d")  # of codes, such as postcodes


def _numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the numbers (1, K) in texts, NaN where there is none. A comma is a decimal point or groups thousands."""
    with_comma = [text for text in texts if "," in text and text.lower() not in MISSING]
    if with_comma and all(map(THOUSANDS.fullmatch, with_comma)):
        texts = [text.replace(",", "") for text in texts]
    elif with_comma and not any("." in text for text in texts):
        texts = [text.replace(",", ".") for text in texts]
    are_numbers = (NUMBER.fullmatch(text) and not LEADING_ZERO.match(text) for text in texts)
    numbers = [float(text) if is_number else np.nan for text, is_number in zip(texts, are_numbers, strict=True)]
    return np.array([numbers], np.float64)


def _are_identifiers(numbers: NDArray[np.float64]) -> bool:
    """Return whether these are the numbers of rows: integers that follow each other and hardly repeat."""
    known = numbers[np.isfinite(numbers)]
    distinct = np.unique(known)
    is_dense = len(distinct) > MOST_NUMBERS and distinct[-1] - distinct[0] < 2 * len(distinct)
    return bool(is_dense and len(distinct) >= DISTINCT * len(known) and (distinct == distinct.round()).all())


Spelling: TypeAlias = Callable[[float], str]
HUGE = 1e300  # whose digits can still be rounded
BINS = ("<= {}", "{} to {}", "> {}")
BINS_OF_TIME = ("until {}", "{} to {}", "after {}")


def spelled(number: float) -> str:
    """Return a number in the digits that it needs, without an exponent unless it is very large or small."""
    is_usual = number == 0 or 1e-4 <= abs(number) < 1e16
    return np.format_float_positional(number, trim="-") if is_usual else f"{number:g}"


def measured(number: float) -> str:
    """Return a number in the digits of a float32."""
    return spelled(number if number.is_integer() else float(f"{number:.7g}"))


def code_numbers(
    numbers_N: NDArray[np.float64],
    fitted: NDArray[np.int64],
    spell: Spelling = spelled,
    wordings: tuple[str, str, str] = BINS,
) -> Coded:
    """Code numbers as they are if they have few values, else in bins; NaN and infinity are unknown."""
    known_N = np.abs(numbers_N) < HUGE
    known = np.sort(numbers_N[fitted][known_N[fitted]])
    if len(known) < max(1, LEAST_SHARE * len(fitted)):
        return "empty"
    if known[0] == known[-1]:
        return "one value"
    if len(np.unique(known)) <= MOST_NUMBERS:
        distinct, codes = np.unique(numbers_N[known_N], return_inverse=True)
        codes_N = np.full(len(numbers_N), -1, np.int64)
        codes_N[known_N] = codes
        named = distinct.tolist()
        return _code_values([spell(number) for number in named], codes_N, fitted, Rule(), list(map(_key, named)))
    is_integer = bool((known == known.round()).all())
    edges = _edges(known, is_integer)
    if not len(edges):
        return "one value"
    below, between, above = wordings
    names = [below.format(spell(edges[0]))]
    for lower, upper in zip(edges.tolist(), edges.tolist()[1:], strict=False):
        start = lower + 1 if is_integer else lower
        names.append(spell(upper) if start == upper else between.format(spell(start), spell(upper)))
    rule = Rule(edges=tuple(edges.tolist()))
    return [*names, above.format(spell(edges[-1]))], rule.codes_of(numbers_N), rule


def _edges(known: NDArray[np.float64], is_integer: bool) -> NDArray[np.float64]:
    """Return the upper ends of all bins but the last, of sorted numbers; rounded if as many bins stay."""
    exact = np.quantile(known, QUANTILES, method="inverted_cdf")
    if exact[0] == known[-1]:
        exact = known[known < known[-1]][-1:]
    expected = _kept(exact, known)
    magnitude = math.floor(math.log10(known[-1] / 2 - known[0] / 2))
    for digits in () if is_integer else (2, 4, 6):
        rounded = _kept(np.array([round(edge, digits - magnitude) for edge in expected.tolist()]), known)
        if len(rounded) == len(expected):
            return rounded
    return expected


def _kept(edges: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges that leave enough numbers in each bin."""
    kept, last = [], 0.0
    for edge in np.unique(edges):
        share = np.searchsorted(known, edge, side="right") / len(known)
        if min(share - last, 1 - share) >= LEAST_SHARE:
            kept.append(edge)
            last = share
    return np.array(kept, np.float64)


DATE = re.compile(
    r"(?:(?P<year>\d{4})(?P<dash>[-:/.])(?P<month>\d{1,2})(?P=dash)(?P<day>\d{1,2})"
    r"|(?P<first>\d{1,2})(?P<mark>[./])(?P<second>\d{1,2})(?P=mark)(?P<last>\d{4}))"
    r"(?:(?:T|,?\ +)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second_>\d{2})(?:[.,]\d+)?)?"
    r"(?:\ ?(?P<half>[AP])\.?M\.?)?\ ?(?:Z|UTC|[+-]\d{2}:?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)
PARTS = (("year", "last"), ("month", "second"), ("day", "first"))
DAY = 86_400  # seconds


def _dates(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the years, days and seconds (3, K) of dates: ISO and EXIF, d.m.y, and m/d/y or d/m/y; NaN for others.

    Which one a slash means is decided by the numbers above 12 in the column. If they say both, a date that may be
    either has only a year. Zones are ignored, so that a day is the day on the spot.
    """
    matches = [DATE.fullmatch(text) for text in texts]
    slashes = [(int(m["first"]), int(m["second"])) for m in matches if m and m["mark"] == "/"]
    day_first, month_first = any(a > 12 for a, _ in slashes), any(b > 12 for _, b in slashes)
    years_K, seconds_K = np.full((2, len(texts)), np.nan)
    for k, match in enumerate(matches):
        if not match:
            continue
        year, month, day = (int(match[iso] or match[other]) for iso, other in PARTS)
        if match["mark"] == "/" and (month > 12 or not day_first):
            day, month = month, day
        hour, minute, second = (int(match[unit] or 0) for unit in ("hour", "minute", "second_"))
        if match["half"]:
            hour = hour % 12 + 12 * (match["half"] in "Pp")
        try:
            moment = datetime(year, month, day, hour, minute, second)
        except ValueError:
            continue
        years_K[k] = year
        if not (match["mark"] == "/" and day_first and month_first and max(day, month) <= 12 and day != month):
            seconds_K[k] = (moment - datetime.min).total_seconds()
    return np.stack([years_K, seconds_K // DAY, seconds_K])


def _code_dates(units_3N: Sequence[NDArray[np.float64]], fitted: NDArray[np.int64]) -> Coded:
    """Code dates by the largest unit that divides them."""
    coded: Coded = "one value"
    spellings: dict[Literal["year", "day", "second"], Spelling] = {
        "year": spelled,
        "day": lambda days: str(date.min + timedelta(days=days)),
        "second": lambda seconds: str(datetime.min + timedelta(seconds=seconds)),
    }
    for (unit, spell), unit_N in zip(spellings.items(), units_3N, strict=True):
        if not isinstance(coded := code_numbers(unit_N, fitted, spell, BINS_OF_TIME), str):
            names, codes_N, rule = coded
            return names, codes_N, replace(rule, unit=unit)
    return coded
