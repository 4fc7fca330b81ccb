"""Made-up figures of guesses."""

from dataclasses import replace

from dbpt.guesses.figures import FactorGuesses, Guesses

FIGURES = {"mean_confidence": 0.9, "n_unknown": 0, "n_known": 0, "accuracy": None}


def doubted(guesses: Guesses, *doubts) -> Guesses:
    """The guesses with these doubts about the first attribute."""
    first, *others = guesses.factors
    return replace(guesses, factors=[replace(first, doubts=list(doubts)), *others])


def factor_guesses(**changes) -> FactorGuesses:
    """Guesses of one attribute, by words, with ``changes``; each of its ``values`` has the same share."""
    values = changes.get("values", ())
    return FactorGuesses(**{"provenance": "words", "shares": [1 / len(values) for _ in values]} | FIGURES | changes)


def guesses_of(*factors: FactorGuesses, method="proportional", **changes) -> Guesses:
    """Guesses of these ``factors``, or of one attribute with ``changes``, which are also those of the combinations."""
    factors = factors or (factor_guesses(**changes),)
    figures = {name: getattr(factors[0], name) for name in ("shares", *FIGURES)}
    return Guesses(method=method, factors=list(factors), **figures)
