"""One or more attributes: each is guessed by itself, within the values that a class may have, and they are combined."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import Factor, Words
from dbpt.pseudo_attributes.job import PseudoAttributes
from dbpt.pseudo_attributes.label import label_quietly


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
) -> PseudoAttributes:
    """Guess each suspect from its columns of the ``logits`` (N, K), and combine them.

    A row gets only values that its class (``labels``, (N,)) may have. Classes with the same possible values are
    guessed together. The other arguments are those of `label_attributes`, whose warnings are in the result.
    """
    of_suspects = zip(words.suspects, by_suspect(logits, words), strict=True)
    found = [_label_suspect(logits_NA, labels, words, suspect, fit_on, how) for suspect, logits_NA in of_suspects]
    return PseudoAttributes.combined(found)


def _label_suspect(
    logits_NA: NDArray[np.float32],
    labels: NDArray[np.int64],
    words: Words,
    suspect: Factor,
    fit_on: NDArray[np.bool_] | None,
    how: dict[str, Any],
) -> PseudoAttributes:
    if not suspect.prefix:  # of one attribute, all classes may have all values
        return label_quietly(logits_NA, fit_on=fit_on, **how)
    codes, confidence = np.empty(len(labels), np.int64), np.ones(len(labels), np.float32)
    posterior_NA = np.zeros(logits_NA.shape, np.float32)
    warnings: list[str] = []
    for values, classes in words.vocabularies(suspect).items():
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
            warnings += [f"{suspect.name} ({named}): {text}" for text in part.warnings]
    return PseudoAttributes(codes, posterior_NA, confidence, how["method"], warnings=tuple(warnings))


def without_unsure(found: PseudoAttributes, min_confidence: float) -> PseudoAttributes:
    """Return the attributes with -1 where the confidence is below the minimum."""

    def sure(each: PseudoAttributes) -> PseudoAttributes:
        assert each.confidence is not None
        return each.without(each.confidence < min_confidence)

    return found.map(sure)
