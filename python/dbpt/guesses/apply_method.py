"""Guesses from logits by any method, of one attribute or several, and known attributes kept beside them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter, warn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.cautions import Caution, caution
from dbpt.data import PATH, READERS, Codes, Dataset, Wanted, check_possible, read_codes
from dbpt.data.text_array import Texts
from dbpt.data.words import Factor, Vocabulary, Words, factor_codes
from dbpt.errors import InputError, nearest
from dbpt.guesses.base import PSEUDO_METHODS, GuessedFactors, Job, PseudoAttributes


def label_attributes(
    logits: ArrayLike,
    *,
    method: str = "proportional",
    proportions: ArrayLike | str = "estimated",
    fit_on: ArrayLike | None = None,
    min_confidence: float = 0.0,
    out: NDArray[np.integer[Any]] | None = None,
    posterior: bool | NDArray[np.float32] = True,
    confidence: bool | NDArray[np.float32] = True,
    seed: int = 0,
    num_threads: int | None = None,
) -> PseudoAttributes:
    """Label each row with one of A attributes.

    - "proportional": the largest logit after adding an offset for each attribute, so that every attribute gets its
      share of the rows. Shares that are not given are estimated as the weights of a mixture of Gaussians with a common
      covariance. Shares and offsets are fitted on a sample of at most 65,536 rows. The posterior is the softmax of
      logits plus offsets.
    - "argmax": the largest logit, CLIP's plain zero-shot label. The posterior is the softmax of the logits.
    - "kmeans": the nearest of A centres in row-centred logits, found by k-means++ and Lloyd's algorithm. Centres are
      matched with attributes by the one-to-one assignment with the largest sum of centre logits. The posterior is that
      of equally weighted spherical Gaussians with the pooled variance of the clusters.

    C-contiguous float16 or float32 logits, in memory or a `numpy.memmap`, are read in blocks and not copied. Besides
    new results, the only memory that grows with N is then 8 bytes for each row in ``fit_on``.

    Args:
        logits: (N, A) floats, exp(logit_scale) times cosine (plus the bias, if the model has one); never bare cosines.
        method: "proportional", "argmax", "kmeans", or the name of a registered `PseudoMethod`.
        proportions: "estimated", or shares (A,) on any scale; 0 for an attribute that no row may get.
        fit_on: (N,) booleans, the rows on which shares, offsets and centres are fitted; by default all. All rows are
            labelled. Leave out the rows on which a classifier will be evaluated.
        min_confidence: rows whose confidence is below this get -1.
        out: (N,) integers of any type to fill with the labels; by default a new int64 array.
        posterior: True or False, or (N, A) float32 to fill.
        confidence: True or False, or (N,) float32 to fill.
        seed: seed of k-means++.
        num_threads: by default the number of processors. The result doesn't depend on it.

    Returns:
        The labels, and posterior and confidence unless they are False.

    Raises:
        InputError: for a wrong argument; the contents of given arrays are then undefined.

    Warns (`UserWarning`) if shares could not be estimated or met, or if centres were not found; the text says how rows
    were labelled instead.

    Example:
        >>> label_attributes(np.array([[20.0, 22.0], [25.0, 21.0]]), method="argmax").pseudo_attributes
        array([1, 0])
    """
    logits_NA = _checked_logits(logits)
    if np.abs(logits_NA[:4096]).max() <= 1 and logits_NA[:4096].any():
        way_out = "multiply cosines by exp(logit_scale), and take no softmax"
        warnings.warn(f"logits are within ±1, as cosines and probabilities are; {way_out}", stacklevel=2)
    if 1 < len(logits_NA) <= logits_NA.shape[1] / 100:
        warnings.warn(f"logits has shape {logits_NA.shape}; transpose it if its columns are images", stacklevel=2)
    if not isinstance(method, str) or method not in PSEUDO_METHODS or PSEUDO_METHODS[method].learns:
        methods = [name for name, of in PSEUDO_METHODS.loaded.items() if not of.learns]
        expected = ", ".join(repr(choice) for choice in methods)
        raise InputError(f"method is {method!r}; expected one of {expected}{nearest(str(method), methods)}")
    is_estimated = isinstance(proportions, str) and proportions == "estimated"
    if "proportions" not in PSEUDO_METHODS[method].settings and not is_estimated:
        raise InputError(
            f"proportions is given with method {method!r}; expected method 'proportional', or leave it out"
        )
    num_rows, num_attributes = logits_NA.shape
    min_confidence = arguments.probability("min_confidence", min_confidence)
    compared = True if min_confidence > 0 and confidence is False else confidence
    job = Job(
        logits_NA,
        _checked_fit_rows(fit_on, num_rows),
        arguments.seed(seed),
        arguments.num_threads(num_threads),
        labels=_checked_labels(out, num_rows, num_attributes, min_confidence),
        posterior=_checked_floats("posterior", posterior, logits_NA.shape),
        confidence=_checked_floats("confidence", compared, (num_rows,)),
        proportions=proportions,
    )
    pseudo = PSEUDO_METHODS[method].label(job)
    unused = [] if pseudo.shares is None or not is_estimated else np.flatnonzero(pseudo.shares == 0).tolist()
    without = [caution("no share", attribute=a) for a in unused]  # `Trust` says so by name
    for warning in (*pseudo.warnings, *without):
        warn(str(warning), stacklevel=2)
    if min_confidence > 0 and job.confidence is not None:
        job.labels[job.confidence < min_confidence] = -1
    return replace(pseudo, confidence=None) if confidence is False else pseudo


def _checked_logits(logits: ArrayLike) -> NDArray[np.float16] | NDArray[np.float32]:
    """Return the logits unchanged if the core can read them, otherwise a float32 copy."""
    array = arguments.array("logits", logits)
    if array.ndim != 2 or array.shape[0] == 0:
        raise InputError(f"logits has shape {array.shape}; expected (N, A) with at least one row")
    if array.shape[1] < 2:
        raise InputError(f"logits has {array.shape[1]} column; expected at least 2 attributes to tell apart")
    if array.dtype.kind != "f":
        raise InputError(f"logits has dtype {array.dtype}; expected floats")
    dtype = np.float16 if array.dtype == np.float16 else np.float32
    with np.errstate(over="ignore"):  # the core refuses infinities and names their row
        return np.require(array, dtype, ["C", "A"])


def _checked_fit_rows(fit_on: ArrayLike | None, num_rows: int) -> NDArray[np.int64] | None:
    """Return the rows where ``fit_on`` is true; None for all."""
    if fit_on is None:
        return None
    mask = arguments.vector("fit_on", fit_on, "b", num_rows, per="row")
    if not mask.any():
        raise InputError("fit_on is False everywhere; expected at least one row to fit on")
    return None if mask.all() else np.flatnonzero(mask)


def _checked_labels(out: Any, num_rows: int, num_attributes: int, min_confidence: float) -> NDArray[np.integer[Any]]:
    """Return the array for the labels: ``out``, or a new one."""
    if out is None:
        return np.empty(num_rows, np.int64)
    labels: NDArray[np.integer[Any]] = _checked_buffer("out", out, (num_rows,), "iu")
    if min_confidence > 0 and labels.dtype.kind == "u":
        raise InputError(
            f"min_confidence is {min_confidence} with out of {labels.dtype}, which has no -1 for rows below it; "
            "expected a signed type"
        )
    if num_attributes - 1 > np.iinfo(labels.dtype).max:
        raise InputError(f"out has dtype {labels.dtype}; expected one that holds labels up to {num_attributes - 1}")
    return labels


def _checked_floats(name: str, wanted: Any, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return the zeroed array for the argument ``name``: the caller's, a new one if it is True, None if False."""
    if isinstance(wanted, bool):
        return np.zeros(shape, np.float32) if wanted else None
    buffer: NDArray[np.float32] = _checked_buffer(name, wanted, shape, "f")
    buffer.fill(0)
    return buffer


def _checked_buffer(name: str, buffer: Any, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
    what = "integers" if kinds == "iu" else "float32"
    if not isinstance(buffer, np.ndarray):
        alternatives = "an array" if kinds == "iu" else "True, False or an array"
        raise InputError(f"{name} is {arguments.in_one_line(buffer)}; expected {alternatives} of {what} to fill")
    right_type = buffer.dtype.kind in kinds and (kinds == "iu" or buffer.dtype == np.float32)
    if not right_type or not buffer.dtype.isnative or buffer.shape != shape:
        actual = f"shape {buffer.shape} and dtype {buffer.dtype}"
        raise InputError(f"{name} has {actual}; expected {shape} {what} in native byte order")
    flags = buffer.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise InputError(f"{name} is read-only or not contiguous; expected a contiguous array that can be written to")
    return buffer


def label_quietly(logits: ArrayLike, **how: Any) -> PseudoAttributes:
    """Return the labels by `label_attributes`, whose warnings are only in the result."""
    with catch_warnings():
        simplefilter("ignore", UserWarning)
        return label_attributes(logits, **how)


def by_suspect(logits: NDArray[np.float32], words: Words) -> list[NDArray[np.float32]]:
    """Return the logits (N, A) of each suspect, from those (N, K) of the sentences of `Words.attribute_texts`."""
    return [np.ascontiguousarray(part) for part in np.split(logits, np.cumsum(words.sizes)[:-1], axis=1)]


def label_suspects(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    words: Words,
    *,
    fit_on: NDArray[np.bool_] | None,
    **how: Any,
) -> GuessedFactors:
    """Guess each suspect from its columns of the ``logits`` (N, K).

    A row gets only values that its class (``labels``, (N,)) may have. Classes with the same possible values are
    guessed together. The other arguments are those of `label_attributes`, whose warnings are in the result.
    """
    of_suspects = zip(by_suspect(logits, words), words.suspects, words.vocabularies, strict=True)
    return GuessedFactors(tuple(_label_suspect(labels, *suspect, fit_on, how) for suspect in of_suspects))


def _label_suspect(
    labels: NDArray[np.int64],
    logits_NA: NDArray[np.float32],
    suspect: Factor,
    vocabularies: Mapping[tuple[int, ...], list[int]],
    fit_on: NDArray[np.bool_] | None,
    how: dict[str, Any],
) -> PseudoAttributes:
    if not suspect.prefix:  # of one attribute, all classes may have all values
        return label_quietly(logits_NA, fit_on=fit_on, **how)
    codes, confidence = np.empty(len(labels), np.int64), np.ones(len(labels), np.float32)
    posterior_NA = np.zeros(logits_NA.shape, np.float32)
    warnings: list[Caution] = []
    for values, classes in vocabularies.items():
        rows = np.flatnonzero(np.isin(labels, classes))
        if len(values) == 1:
            codes[rows], posterior_NA[rows, values[0]] = values[0], 1
        elif len(rows):
            of_part = None if fit_on is None or not fit_on[rows].any() else fit_on[rows]
            cells = np.ix_(rows, np.array(values))
            part = label_quietly(np.ascontiguousarray(logits_NA[cells]), fit_on=of_part, **how)
            assert part.posterior is not None and part.confidence is not None
            codes[rows] = np.where(part.pseudo_attributes >= 0, np.array(values)[part.pseudo_attributes], -1)
            posterior_NA[cells], confidence[rows] = part.posterior, part.confidence
            named = ", ".join(list(suspect.values)[value] for value in values)
            warnings += [replace(warning, of=f"{suspect.name} ({named})") for warning in part.warnings]
    return PseudoAttributes(codes, posterior_NA, confidence, how["method"], warnings=tuple(warnings))


METHOD, FROM_DATA = "file", "data"
DOUBTS, BETWEEN_DOUBTS = "doubts", " | "
DOUBTED = "yes"
"""The cell of all rows but the first, so that a part of the table is doubted too."""


def read_pseudo_attributes(path: Path, dataset: Dataset) -> GuessedFactors:
    """Return the attributes in a file for all rows of ``dataset``; the method is "file".

    A table has a column ``attribute`` or ``pseudo_attribute``, as `dbpt guess`, `dbpt predict` and `dbpt label` write
    them. Labels by hand, which have a column ``sample``, need not have all images. Without a probability ``p_NAME`` for
    each attribute, the posterior of an attribute is its ``confidence``, or 1, and the rest is shared by the others.

    With factors, a table may have a column ``NAME`` or ``pseudo_NAME`` for each of them instead, and the confidence
    ``confidence_NAME``. ``doubts``, or ``doubts_NAME``, are those that `dbpt guess` had. Raises `InputError`.
    """
    words = dataset.words
    columns = [_columns(factor.name) for factor in words.factors]
    there = _cells(path, *(name for names in columns for name in names)).keys()
    if columns and all(there & set(names) for names in columns):
        factors = [_read(path, dataset, factor.name, factor.values, f"_{factor.name}") for factor in words.factors]
    else:
        factors = _apart(_read(path, dataset, "attribute", words.attributes), words.sizes)
    check_possible(dataset, [factor.pseudo_attributes for factor in factors], str(path))
    return GuessedFactors(tuple(factors))


def _apart(joint: PseudoAttributes, sizes: Sequence[int]) -> list[PseudoAttributes]:
    """Return the pseudo attributes of each factor, from those of the combinations of factors of these ``sizes``."""
    assert joint.posterior is not None
    posterior, factors = joint.posterior.reshape(-1, *sizes), list[PseudoAttributes]()
    for factor, codes in enumerate(factor_codes(joint.pseudo_attributes, sizes)):
        others = tuple(axis + 1 for axis in range(len(sizes)) if axis != factor)
        marginal = posterior.sum(axis=others)
        confidence = np.where(codes >= 0, marginal[np.arange(len(codes)), codes], np.float32(1 / sizes[factor]))
        factors.append(replace(joint, pseudo_attributes=codes, posterior=marginal, confidence=confidence))
    return factors


def _cells(path: Path, *columns: str) -> Mapping[str, Sequence[str]]:
    """Return the cells of those of the ``columns`` that the file has; it has none if it is no table."""
    reader = READERS.get(path.suffix.lower())
    return {} if reader is None or not columns else reader(path, (PATH,), columns, hint="").values


def doubts_column(doubts: Sequence[str], num_rows: int) -> Texts:
    """Return the doubts as a column of a table of guesses: in words only once, since a table may have many rows."""
    first = BETWEEN_DOUBTS.join(doubts)
    return Texts.coded([first, DOUBTED if first else ""], np.minimum(np.arange(num_rows), 1))


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
    pseudo = attributes_of_codes(read_codes(path, dataset, wanted), len(vocabulary))
    cells = _cells(path, f"{DOUBTS}{suffix}").get(f"{DOUBTS}{suffix}")
    doubts = None if cells is None else tuple(caution("text", text=text) for text in doubts_of_cells(cells))
    return replace(pseudo, doubts=doubts)


def attributes_of_codes(read: Codes, num_attributes: int) -> PseudoAttributes:
    """Return the pseudo attributes of a file, or of known codes; the method is "file"."""
    num_rows = len(read.codes)
    posterior = np.full((num_rows, num_attributes), 1 / num_attributes)
    known = np.flatnonzero(read.codes >= 0)
    at = known, read.codes[known]
    if read.probabilities is not None:
        posterior[known] = read.probabilities[known]
    else:
        sure = np.ones(len(known)) if read.sure is None else read.sure[known]
        posterior[known] = ((1 - sure) / (num_attributes - 1))[:, None]
        posterior[at] = sure
    confidence = np.full(num_rows, 1 / num_attributes)
    confidence[known] = posterior[at]
    floats = posterior.astype(np.float32), confidence.astype(np.float32)
    return PseudoAttributes(read.codes, *floats, METHOD, warnings=read.warnings)


def attributes_of_data(dataset: Dataset) -> GuessedFactors:
    """Return the attributes that ``dataset`` has itself; the method is "data"."""
    of_suspects = zip(dataset.factor_attributes, dataset.words.sizes, strict=True)
    factors = [attributes_of_codes(Codes(codes, None), size) for codes, size in of_suspects]
    return GuessedFactors(tuple(replace(factor, method=FROM_DATA) for factor in factors))


def with_known(guessed: GuessedFactors, known: GuessedFactors) -> GuessedFactors:
    """Return the ``known`` attributes of N rows, and the ``guessed`` ones, with posterior, where they are unknown."""
    factors = map(_factor_with_known, guessed.factors, known.factors)
    return replace(guessed, factors=tuple(factors))


def _factor_with_known(guessed: PseudoAttributes, known: PseudoAttributes) -> PseudoAttributes:
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
