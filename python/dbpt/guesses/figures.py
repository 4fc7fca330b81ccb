"""`Guesses`: figures about the guesses of each attribute, with the doubts about them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.data import Dataset
from dbpt.data.words import UNNAMED
from dbpt.guesses.base import PSEUDO_METHODS, GuessedFactors, Provenance, PseudoAttributes
from dbpt.guesses.doubts import word_doubts
from dbpt.guesses.grouping import Grouping
from dbpt.guesses.linear_probe import CrossValidated
from dbpt.storage.typed_json import Count, Share


@dataclass(frozen=True, kw_only=True)
class FactorGuesses:
    """The guesses of one attribute of some images: the share of each of its ``values``, and whether to trust them.

    ``name`` is "attribute" for the one of ``--attributes``. ``n_unknown`` images got no value. ``doubts`` are those of
    `Trust`, or of ``cross_validated`` if a probe guessed. They are about the ``doubted`` values: all, unless classes
    have different ones. Without the values to ``leave_out``, there is no doubt about the others. ``accuracy`` is
    measured on the ``n_known`` images with a true attribute that was not given. ``is_judged`` is False for a file that
    says nothing about doubts. Clusters have no values.
    """

    provenance: Provenance
    shares: list[Share]
    mean_confidence: Share
    n_unknown: Count
    n_known: Count
    accuracy: float | None
    name: str = UNNAMED
    values: list[str] = field(default_factory=list)
    doubts: list[Caution] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)
    is_judged: bool = True
    cross_validated: CrossValidated | None = None


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """The guesses of each attribute of some images, one or more, by the same ``method``.

    The other figures are those of `FactorGuesses`, about the combinations of the values of all ``factors``.
    """

    method: str
    factors: list[FactorGuesses]
    shares: list[Share]
    mean_confidence: Share
    n_unknown: Count
    n_known: Count
    accuracy: float | None

    @property
    def provenance(self) -> Provenance:
        """The source of the attributes."""
        return self.factors[0].provenance

    @property
    def named(self) -> list[FactorGuesses]:
        """The guesses of each attribute that has a name, none for the one of ``--attributes``."""
        return [factor for factor in self.factors if factor.name != UNNAMED]

    @property
    def values(self) -> list[str]:
        """The combinations of the values of all factors."""
        return [", ".join(values) for values in product(*(factor.values for factor in self.factors))]

    @property
    def doubts(self) -> list[Caution]:
        """The doubts about all factors."""
        return [doubt for factor in self.factors for doubt in factor.doubts]

    @property
    def is_judged(self) -> bool:
        """False if nobody judged some of the factors."""
        return all(factor.is_judged for factor in self.factors)

    @property
    def cross_validations(self) -> list[CrossValidated]:
        """The figures of a probe for each of the factors; none without a probe."""
        return [factor.cross_validated for factor in self.factors if factor.cross_validated is not None]

    @property
    def doubted_factors(self) -> tuple[FactorGuesses, ...]:
        """The guesses of each attribute that are in doubt."""
        return tuple(factor for factor in self.factors if factor.doubts)


def guesses_with_doubts(
    dataset: Dataset,
    pseudo: GuessedFactors,
    rows: NDArray[np.int64],
    logits_of: Callable[..., NDArray[np.float32]],
    other_words: Callable[[], list[str]],
) -> Guesses:
    """Return how the guesses for ``dataset`` were made, and the doubts about them.

    Doubts are about the names, so guesses below ``min_confidence`` count too. Guesses from a file have those that are
    beside them, those by a probe what cross-validation says. Attributes that nobody guessed get none.

    Args:
        dataset, pseudo: N images, and their pseudo attributes.
        rows: (N,) int64, the numbers of the images in ``logits_of``.
        logits_of: returns zero-shot logits (n, K) of sentences and ``rows=``, as `zero_shot_logits` does.
        other_words: returns words to compare the names with.
    """
    if pseudo.names is not None:
        return _judged_values(dataset, pseudo)
    trust_fields: list[dict[str, Any]] = [
        # The probe of a saved classifier has no figures.
        {
            "doubts": list(each.doubts or ()),
            "is_judged": pseudo.probe is None and (each.provenance != "file" or each.doubts is not None),
        }
        for each in pseudo.factors
    ]
    if pseudo.probe is not None:
        trust_fields = [
            {"doubts": figures.doubts, "cross_validated": figures} for figures in pseudo.probe.figures
        ] or trust_fields
    elif method := PSEUDO_METHODS.get(pseudo.factors[0].method):
        likeliest = [_likeliest(guessed_factor) for guessed_factor in pseudo.factors]
        trust_fields = word_doubts(dataset, likeliest, rows, logits_of, other_words(), method.name)
    factors = []
    for i, (suspect, of) in enumerate(zip(dataset.words.suspects, trust_fields, strict=True)):
        doubts = [replace(doubt, of=suspect.prefix and suspect.name) for doubt in of["doubts"]]
        about: dict[str, Any] = {"name": suspect.name, "values": list(suspect.values)}
        about |= _figures(pseudo.factors[i], dataset.factor_attributes[i])
        factors.append(FactorGuesses(provenance=pseudo.factors[i].provenance, **about, **of | {"doubts": doubts}))
    return Guesses(method=pseudo.method, factors=factors, **_figures(pseudo, dataset.attributes))


def _judged_values(dataset: Dataset, pseudo: GuessedFactors) -> Guesses:
    """Return the figures of clusters, which are right if their commonest true attribute is; so are other own values."""
    comparable = Grouping.guessed(dataset, pseudo).as_true_attributes(dataset, np.arange(len(dataset)))
    figures = _figures(replace(pseudo.factors[0], pseudo_attributes=comparable), dataset.attributes)
    values, own = list(pseudo.coding.values) if pseudo.coding else [], _figures(pseudo, dataset.attributes)
    figures |= {"shares": own["shares"] if values else [], "n_unknown": own["n_unknown"]}
    doubts = [] if pseudo.class_clusters is None else pseudo.class_clusters.doubts(dataset.class_names)
    of = {"provenance": pseudo.provenance, "values": values, "doubts": doubts}
    return Guesses(method=pseudo.method, factors=[FactorGuesses(**of | figures)], **figures)


def _figures(pseudo: PseudoAttributes | GuessedFactors, attributes: NDArray[np.int64]) -> dict[str, Any]:
    guessed, confidence = pseudo.pseudo_attributes, pseudo.confidence
    assert confidence is not None and pseudo.posterior is not None
    both = (attributes >= 0) & (guessed >= 0)
    if pseudo.is_given is not None:
        both &= ~pseudo.is_given
    counts = np.bincount(guessed[guessed >= 0], minlength=pseudo.posterior.shape[1])
    if (guessed >= 0).any():  # the others have none, or one that is too low
        confidence = confidence[guessed >= 0]
    return {
        "shares": (counts / max(1, counts.sum())).tolist(),
        "mean_confidence": min(1.0, float(confidence.mean())),
        "n_unknown": int((guessed < 0).sum()),
        "n_known": int(both.sum()),
        "accuracy": float((attributes == guessed)[both].mean()) if both.any() else None,
    }


def _likeliest(pseudo: PseudoAttributes) -> NDArray[np.int64]:
    """Return the guesses (N,), also those below the smallest confidence."""
    assert pseudo.posterior is not None
    return np.where(pseudo.pseudo_attributes >= 0, pseudo.pseudo_attributes, pseudo.posterior.argmax(axis=1))
