"""Several attributes (``--factors``): each is guessed by itself, and the guesses are combined."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.factors import joint_codes
from dbpt.data.words import Factor, Words
from dbpt.pseudo_attributes.job import PseudoAttributes
from dbpt.pseudo_attributes.label import label_attributes


def by_suspect(logits: NDArray[np.float32], words: Words) -> list[NDArray[np.float32]]:
    """Return the logits (N, A) of each suspect, from those (N, K) of the sentences of `Words.attribute_texts`."""
    ends = np.cumsum([len(suspect.values) for suspect in words.suspects])
    return [np.ascontiguousarray(part) for part in np.split(logits, ends[:-1], axis=1)]


def label_suspects(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    words: Words,
    *,
    method: str,
    fit_on: NDArray[np.bool_] | None,
    **how: Any,
) -> PseudoAttributes:
    """Guess each factor from its columns of the ``logits`` (N, K), and combine them; or guess the one attribute.

    A row gets only values that its class (``labels``, (N,)) may have. Classes with the same possible values are
    guessed together. The other arguments are those of `label_attributes`.
    """
    how |= {"method": method}
    if not words.factors:
        return label_attributes(logits, fit_on=fit_on, **how)
    found = []
    for factor, logits_NA in zip(words.factors, by_suspect(logits, words), strict=True):
        found.append(_label_factor(logits_NA, labels, words, factor, fit_on, how))
    return combined_guesses(found)


def _label_factor(
    logits_NA: NDArray[np.float32],
    labels: NDArray[np.int64],
    words: Words,
    factor: Factor,
    fit_on: NDArray[np.bool_] | None,
    how: dict[str, Any],
) -> PseudoAttributes:
    codes, confidence = np.empty(len(labels), np.int64), np.ones(len(labels), np.float32)
    posterior_NA = np.zeros(logits_NA.shape, np.float32)
    warnings: list[str] = []
    for values, classes in words.vocabularies(factor).items():
        rows = np.flatnonzero(np.isin(labels, classes))
        if len(values) == 1:
            codes[rows], posterior_NA[rows, values[0]] = values[0], 1
        elif len(rows):
            of_part = None if fit_on is None or not fit_on[rows].any() else fit_on[rows]
            cells = np.ix_(rows, np.array(values))
            part = label_attributes(np.ascontiguousarray(logits_NA[cells]), fit_on=of_part, **how)
            assert part.posterior is not None and part.confidence is not None
            codes[rows] = np.where(part.pseudo_attributes >= 0, np.array(values)[part.pseudo_attributes], -1)
            posterior_NA[cells], confidence[rows] = part.posterior, part.confidence
            named = ", ".join(list(factor.values)[value] for value in values)
            warnings += [f"{factor.name} ({named}): {text}" for text in part.warnings]
    return PseudoAttributes(codes, posterior_NA, confidence, how["method"], warnings=tuple(warnings))


def combined_guesses(found: Sequence[PseudoAttributes]) -> PseudoAttributes:
    """Return the combinations of the guesses, -1 where one is; posterior and confidence are the products."""
    codes, sizes = [each.pseudo_attributes for each in found], []
    posterior, confidence = np.ones((len(codes[0]), 1), np.float32), np.ones(len(codes[0]), np.float32)
    for each in found:
        assert each.posterior is not None and each.confidence is not None
        sizes.append(each.posterior.shape[1])
        posterior = (posterior[:, :, None] * each.posterior[:, None, :]).reshape(len(posterior), -1)
        confidence = confidence * each.confidence
    given = [each.is_given for each in found if each.is_given is not None]
    return replace(
        found[0],
        pseudo_attributes=joint_codes(codes, sizes),
        is_given=np.any(given, axis=0) if given else None,
        posterior=posterior,
        confidence=confidence,
        warnings=tuple(dict.fromkeys(text for each in found for text in each.warnings)),
        factors=tuple(found),
    )


def without_unsure(found: PseudoAttributes, min_confidence: float) -> PseudoAttributes:
    """Return the attributes, or those of each factor, with -1 where the confidence is below the minimum."""
    if found.factors:
        return combined_guesses([without_unsure(each, min_confidence) for each in found.factors])
    assert found.confidence is not None
    is_unsure = found.confidence < min_confidence
    return replace(found, pseudo_attributes=np.where(is_unsure, -1, found.pseudo_attributes))
