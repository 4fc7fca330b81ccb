"""Trust in guesses of an attribute, judged without a single true attribute."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from dbpt.files.typed_json import Count, Share
from dbpt.pseudo_attributes.class_clusters import METHOD as CLUSTERS
from dbpt.pseudo_attributes.cross_validation import LOWEST_AGREEMENT, CrossValidated, kappa
from dbpt.pseudo_attributes.from_file import METHOD
from dbpt.pseudo_attributes.label import label_attributes
from dbpt.pseudo_attributes.mixture import fit_mixture

TEMPLATES = ("{}", "a photo of a {}.", "an image of {}.", "a picture with {}.", "this is {}.")
"""Sentences that say the same. Names that CLIP knows give the same guesses with each."""
LOWEST_SPREAD, LOWEST_SEPARATION, LARGEST_OUTRANKED = 0.6, 0.1, 0.05
MOST_ROWS = 20_000
FEWEST_OF_CLASS = 50
SHRINKAGE = 5  # rows
_Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The evidence for and against the guesses; docs/audit.md has the measurements behind the limits.

    - ``agreement``: mean Cohen's kappa of any two of the `TEMPLATES`, at equal shares, on which images are guessed a
      name. The lowest of all names; below 0.8, what the name means to CLIP depends on the sentence around it.
    - ``spread``: standard deviation, within classes, of the logits around the mean of the names; below 0.6, CLIP's odds
      hardly change from image to image.
    - ``separation``: by how much two modes describe the logits of a name and the one most like it better than a single
      Gaussian: half the difference of their BIC, per image. The lowest of all names; below 0.1, the two names split
      what the images don't.
    - ``outranked``: share of other words that CLIP finds nearer to an image than its name; the median over the images
      that are guessed a name, and the lowest of all names. Above 0.05, none of the names says what the images show.
    - ``unused``: names that no image got.
    """

    agreement: float
    spread: float
    separation: float
    outranked: float
    unused: tuple[str, ...] = ()

    @property
    def doubts(self) -> list[str]:
        """Reasons not to trust the guesses, as sentences; none if there is no reason."""
        found = []
        if self.agreement < LOWEST_AGREEMENT:
            found.append(
                "other sentences around the same names give other guesses "
                f"(agreement {self.agreement:.2f}; trusted from {LOWEST_AGREEMENT})"
            )
        if self.spread < LOWEST_SPREAD:
            found.append(
                f"CLIP's odds hardly change from image to image (spread {self.spread:.2f}; trusted from "
                f"{LOWEST_SPREAD})"
            )
        if self.separation < LOWEST_SEPARATION:
            found.append(
                f"the images form no groups that the names tell apart (separation {max(self.separation, 0):.2f}; "
                f"trusted from {LOWEST_SEPARATION})"
            )
        if self.outranked > LARGEST_OUTRANKED:
            found.append(
                f"other words fit the images better than any of the names ({100 * self.outranked:.0f} % of a "
                f"catalogue's words; trusted up to {100 * LARGEST_OUTRANKED:.0f} %)"
            )
        return found + [f"no image was guessed {name!r}" for name in self.unused]


@dataclass(frozen=True, kw_only=True)
class GuessesOfFactor:
    """The guesses of one attribute: the share of each of its values, and whether to trust them.

    ``n_unknown`` images got no value. ``doubts`` are those of `Trust`, or of ``cross_validated`` if a probe guessed.
    ``accuracy`` is measured on the ``n_known`` images with a true attribute that was not given.
    """

    name: str
    values: list[str]
    shares: list[Share]
    mean_confidence: Share
    doubts: list[str]
    n_unknown: Count
    n_known: Count
    accuracy: float | None
    cross_validated: CrossValidated | None = None


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """The guesses of the attribute of some images: the method, the share of each attribute, whether to trust it.

    ``n_unknown`` images got no attribute. ``doubts`` are those of `Trust`, or of ``cross_validated`` if a probe
    guessed. ``accuracy`` is measured on the ``n_known`` images with a true attribute that was not given. With several
    factors, the figures are about their combinations, ``factors`` about each, and the doubts begin with the name of the
    factor. ``is_judged`` is False for a file that says nothing about doubts.
    """

    method: str
    shares: list[Share]
    mean_confidence: Share
    doubts: list[str]
    n_unknown: Count
    n_known: Count
    accuracy: float | None
    factors: list[GuessesOfFactor] = field(default_factory=list)
    is_judged: bool = True
    cross_validated: CrossValidated | None = None

    @property
    def called(self) -> str:
        """The name of the guesses in a sentence."""
        by_guess = f"{self.guesser}'s guesses"
        return "the file's attributes" if self.from_file else "the clusters" if self.by_clusters else by_guess

    @property
    def guesser(self) -> str:
        """The one who guessed, if it is neither a file nor clusters."""
        return "the probe" if self.by_probe else "CLIP"

    @property
    def by_probe(self) -> bool:
        """True if a probe guessed, which learnt from images whose attribute is known."""
        return bool(self.cross_validations)

    @property
    def cross_validations(self) -> list[CrossValidated]:
        """The figures of a probe, for the attribute or for each factor."""
        found = [self.cross_validated, *(each.cross_validated for each in self.factors)]
        return [each for each in found if each is not None]

    @property
    def by_clusters(self) -> bool:
        """True if the attributes are clusters within each class."""
        return self.method == CLUSTERS

    @property
    def from_file(self) -> bool:
        """True if the attributes are those of ``--pseudo-attributes``, so that CLIP guessed nothing."""
        return self.method == METHOD

    def of_factor(self, place: int) -> "Guesses":
        """Return the guesses of one factor, as those of a single attribute."""
        factor = self.factors[place]
        return Guesses(
            method=self.method,
            shares=factor.shares,
            mean_confidence=factor.mean_confidence,
            doubts=factor.doubts,
            n_unknown=factor.n_unknown,
            n_known=factor.n_known,
            accuracy=factor.accuracy,
            is_judged=self.is_judged,
            cross_validated=factor.cross_validated,
        )


def guess_trust(
    guesses: NDArray[np.int64],
    logits: NDArray[np.float32],
    by_template: Sequence[NDArray[np.float32]],
    other_words: NDArray[np.float32],
    labels: NDArray[np.int64],
    names: Sequence[str],
    counts: NDArray[np.int64] | None = None,
) -> Trust:
    """Judge the ``guesses`` (N,), -1 for none, that were made from zero-shot ``logits`` (N, A) of the ``names`` (A,).

    ``by_template`` has the logits (N, A) by each of the `TEMPLATES`, ``other_words`` (N, W) those of words to compare
    with by the first of these, and ``labels`` (N,) the classes. If these are `judged_rows` of more, ``counts`` (A,) are
    the images of all of them that were guessed each name.
    """
    num_rows, num_attributes = logits.shape
    if counts is None:
        counts = np.bincount(guesses[guesses >= 0], minlength=num_attributes)
    with catch_warnings():
        simplefilter("ignore", UserWarning)  # shares that cannot be met
        labelled = [
            label_attributes(each, proportions=counts + 1e-9, posterior=False, confidence=False).pseudo_attributes
            for each in by_template
        ]
    named = [[(each == name).astype(np.int64) for each in labelled] for name in np.flatnonzero(counts)]
    agreements = [np.mean([kappa(one, other, 2) for one, other in combinations(each, 2)]) for each in named]
    mean_NA = _within_class(np.mean([_centred(each) for each in by_template], axis=0), labels)
    known = guesses >= 0
    return Trust(
        agreement=float(min(agreements, default=1.0)),
        spread=float(np.sqrt((mean_NA**2).sum() / (num_rows * (num_attributes - 1)))),
        separation=_separation(logits[known], guesses[known], labels[known]),
        outranked=_outranked(by_template[0], other_words, guesses),
        unused=tuple(name for name, n in zip(names, counts.tolist(), strict=True) if n == 0),
    )


def judged_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most `MOST_ROWS` of the rows, at equal distances."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(np.int64)]


def _separation(logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    used = np.unique(guesses)
    if len(used) < 2:
        return 0.0
    logits_NU, guesses = logits_NA[:, used].astype(np.float64), np.searchsorted(used, guesses)
    found = {}
    for name in range(len(used)):
        others_NU = np.where(np.arange(len(used)) == name, -np.inf, logits_NU)[guesses == name]
        rival = int(np.bincount(others_NU.argmax(axis=1)).argmax())
        if (rival, name) not in found:
            rows = (guesses == name) | (guesses == rival)
            points = logits_NU[rows, name] - logits_NU[rows, rival]
            found[name, rival] = _two_modes(points, guesses[rows] == name, labels[rows])
    return min(found.values())


def _outranked(
    logits_NA: NDArray[np.float32], other_words_NW: NDArray[np.float32], guesses: NDArray[np.int64]
) -> float:
    shares = [
        np.median((other_words_NW[guesses == name] > logits_NA[guesses == name, name, None]).mean(axis=1))
        for name in np.unique(guesses[guesses >= 0])
    ]
    return float(min(shares, default=0.0))


def _two_modes(points_N: _Array, is_first_N: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Return half the difference in BIC, per row, of two Gaussians and of one."""
    classes = np.flatnonzero(np.bincount(labels) >= FEWEST_OF_CLASS)
    if not classes.size:  # then all classes together, without what the class adds to the points of a guess
        means = np.where(is_first_N, points_N[is_first_N].mean(), points_N[~is_first_N].mean())
        points_N = means + _within_class((points_N - means)[:, None], labels)[:, 0]
        labels, classes = np.zeros_like(labels), np.array([0])
    gain, num_rows = 0.0, 0
    for label in classes:
        rows = labels == label
        points = (points_N[rows] - points_N[rows].mean())[:, None]
        num_rows += len(points)
        if points.any():
            start = np.eye(2)[1 - is_first_N[rows]] * 0.98 + 0.01
            one = fit_mixture(points, np.ones((len(points), 1)), 1, 0.0)
            gain += (one.bic - fit_mixture(points, start, 300, 1e-4).bic) / 2
    return float(gain / num_rows)


def _centred(logits_NA: _Array) -> _Array:
    found: _Array = logits_NA - logits_NA.mean(axis=1, keepdims=True)
    return found


def _within_class(values_NA: _Array, labels: NDArray[np.int64]) -> _Array:
    """Return the values minus the mean of their class, which is shrunk to that of all rows if the class has few."""
    values_NA = values_NA - values_NA.mean(axis=0)
    sums = np.stack([np.bincount(labels, column) for column in values_NA.T], axis=1)
    found: _Array = values_NA - (sums / (np.bincount(labels)[:, None] + SHRINKAGE))[labels]
    return found
