"""Scores of a catalogue's families: what share of a classifier's errors each explains, and why not to believe it.

The guesses of a family and the doubts about them don't depend on predictions, nor on true attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data import StoredFeatures, Words
from dbpt.evaluation.association import BOOTSTRAPS, ExplainedErrors, explained_errors
from dbpt.evaluation.audit import Rule, RuleKind
from dbpt.evaluation.intervals import GroupDifference, largest_difference
from dbpt.groups.ids import evenly_spaced
from dbpt.guesses.catalogue import Array, EmbeddedFamily, Family, catalogue_words, without_classes
from dbpt.guesses.doubts import LOWEST_AGREEMENT, kappa
from dbpt.guesses.label import label_quietly
from dbpt.guesses.trust import Trust, guess_trust

LARGEST_Q = 0.05
SMALLEST_DIFFERENCE = 0.1
"""The accuracies of two groups of a class must differ by this much."""
FEWEST = 0.01
"""The share of the images that a name needs; rarer names are left out of their family."""
ROWS_OF_SAMPLE = 5000
"""Rows by which the shares of a half are estimated, and rows of which the doubts are judged."""
BLOCK = 1 << 14
"""Rows of which the features are read at a time."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """The n images whose errors are to be explained: their ``features`` (n, D) and ``labels`` (n,)."""

    backbone: Backbone
    features: NDArray[np.float32] | StoredFeatures
    labels: NDArray[np.int64]
    num_classes: int
    seed: int

    def logits(self, weights_KD: Array) -> Array:
        """Return zero-shot logits (n, K); blocks of rows keep the memory flat."""
        starts = range(0, len(self.labels), BLOCK)
        cosines_NK: Array = np.concatenate([self.features[start : start + BLOCK] @ weights_KD.T for start in starts])
        scale, bias = np.float32(self.backbone.logit_scale), np.float32(self.backbone.logit_bias or 0.0)
        return np.asarray(scale * cosines_NK + bias)

    def take(self, rows: NDArray[np.int64]) -> "Images":
        """Return some of the images, with their features in memory."""
        return replace(self, features=self.features[rows], labels=self.labels[rows])


@dataclass(frozen=True, kw_only=True)
class Guessed:
    """The guesses (n,) of a family's names ``kept``, and how far to trust them; confidence is not kept."""

    kept: NDArray[np.int64]
    guesses: NDArray[np.integer[Any]]
    trust: Trust


@dataclass(frozen=True, kw_only=True)
class GuessedFamily:
    """A family as CLIP guesses it, and ``beyond`` the class names; None if under two names have images.

    ``agreement`` is Cohen's kappa of both guesses, and ``class_words`` are the wordings that the family shares with the
    classes.
    """

    family: Family
    guessed: Guessed | None
    beyond: Guessed | None
    agreement: float
    class_words: list[str]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The errors that guesses explain, and the largest difference that they make within a class.

    The q-value corrects the p-value for the number of families.
    """

    errors: ExplainedErrors
    q_value: float | None
    difference: GroupDifference | None

    def failing(self, *, beyond: bool = False) -> Rule | None:
        """Return why the guesses, which may be those ``beyond`` the class names, don't explain errors; None if they do.

        Errors must depend on them, and accuracies differ by a tenth or more in a class.
        """
        if self.q_value is None or self.difference is None:
            return Rule(kind="doubted beyond" if beyond else "no test")
        if self.q_value > LARGEST_Q:
            return Rule(kind="chance beyond" if beyond else "chance", value=self.q_value, limit=LARGEST_Q)
        if self.difference.value < SMALLEST_DIFFERENCE:
            kind: RuleKind = "small difference beyond" if beyond else "small difference"
            return Rule(kind=kind, value=self.difference.value, limit=SMALLEST_DIFFERENCE)
        return None


@dataclass(frozen=True, kw_only=True)
class Score:
    """The errors that guesses of a family explain, also those ``beyond`` the class names; None without guesses.

    ``is_foreign`` says that the predictions don't come from the features by which CLIP guesses. Errors can then go with
    guesses that repeat the class names only if they depend on something that the images show.
    """

    of: GuessedFamily
    explained: Explained | None
    beyond: Explained | None
    is_foreign: bool = False

    @property
    def rule(self) -> Rule | None:
        """The first condition that the family doesn't meet; None if it meets all."""
        return self.own_rule or (self._not_beyond if self.may_be_class else self.like_classes)

    @property
    def own_rule(self) -> Rule | None:
        """Why the guesses can't be trusted or don't explain errors, whether or not they repeat the class names."""
        if self.of.guessed is None or self.explained is None:
            return Rule(kind="names without images")
        return Rule(kind="doubted") if self.of.guessed.trust.doubts else self.explained.failing()

    @property
    def like_classes(self) -> Rule | None:
        """Why the guesses may repeat the class names; None if they stay the same without what the class names say."""
        if self.of.class_words:
            return Rule(kind="words of the classes")
        if self.of.beyond is None or self.beyond is None or self.of.beyond.trust.doubts:
            return Rule(kind="doubted beyond")
        if self.of.agreement < LOWEST_AGREEMENT:
            return Rule(kind="other guesses", value=self.of.agreement, limit=LOWEST_AGREEMENT)
        return self._not_beyond

    @property
    def _not_beyond(self) -> Rule | None:
        """Why the guesses without what the class names say don't explain errors; None if they do."""
        return Rule(kind="doubted beyond") if self.beyond is None else self.beyond.failing(beyond=True)

    @property
    def is_proposed(self) -> bool:
        """True if the family explains errors, the guesses can be trusted, and they say more than the class names.

        Errors of a foreign classifier decide that: guesses without what the class names say explain them too. Words
        of the classes and changed guesses, which say how CLIP works, then don't count.
        """
        beyond_too = self.is_foreign and self._not_beyond is None
        return self.own_rule is None and (beyond_too or self.like_classes is None)

    @property
    def may_be_class(self) -> bool:
        """True if errors of a foreign classifier go with the family, but CLIP may take the class for it."""
        return self.own_rule is None and self.is_foreign and not self.is_proposed

    @property
    def strength(self) -> float:
        """The order of families that explain the same errors: the share, times how far CLIP's odds move."""
        if self.of.guessed is None or self.explained is None:
            return 0.0
        return (self.explained.errors.share or 0.0) * self.of.guessed.trust.spread


def halves(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return (n,) bool that is True for a random half of each class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    in_half = np.zeros(len(labels), dtype=bool)
    in_half[order[::2]] = True
    return in_half


def guess_families(families: Sequence[EmbeddedFamily], images: Images, words: Words) -> list[GuessedFamily]:
    """Guess each family twice by CLIP: as it is, and without the directions of the classes.

    Args:
        families: with their zero-shot weights.
        images: the n images.
        words: the words of the classes.

    Returns:
        A `GuessedFamily` for each of the ``families``, in their order.
    """
    projection_DD = without_classes(images.backbone, words)
    of_classes = {word.casefold() for name, wordings in words.classes.items() for word in (name, *wordings)}
    rows = evenly_spaced(np.arange(len(images.labels)), ROWS_OF_SAMPLE)
    sample = images.take(rows)
    halves_N = halves(images.labels, images.seed)
    guessed = list[GuessedFamily]()
    words_WD: Array = images.backbone.encode_text(catalogue_words()).numpy()
    other_words, other_words_beyond = sample.logits(words_WD), sample.logits(words_WD @ projection_DD)
    for family in families:
        projected = replace(
            family,
            weights=family.weights @ projection_DD,
            by_template=tuple(weights_KD @ projection_DD for weights_KD in family.by_template),
        )
        guesses = _guessed(family, images, halves_N, sample, rows, other_words)
        beyond = _guessed(projected, images, halves_N, sample, rows, other_words_beyond)
        agreement = 0.0
        if guesses and beyond:
            one, other = (guess.kept[guess.guesses] for guess in (guesses, beyond))
            agreement = kappa(one, other, len(family.weights))
        shared = [word for word in family.family.wordings if word.casefold() in of_classes]
        guessed.append(
            GuessedFamily(family=family.family, guessed=guesses, beyond=beyond, agreement=agreement, class_words=shared)
        )
    return guessed


def score_families(
    guessed: Sequence[GuessedFamily], images: Images, right: NDArray[np.bool_], *, is_foreign: bool = False
) -> list[Score]:
    """Return how much each family explains of a classifier's errors.

    Args:
        guessed: the families, as `guess_families` returns them.
        images: the n images.
        right: (n,) bool, the images that are predicted right.
        is_foreign: whether a classifier of other features predicts them.

    Returns:
        The scores: proposed families, then those that may be the class, then others. Proposed ones that say more than
        the class names in all respects come first, in each part the strongest.
    """
    explained = _explained([guess.guessed for guess in guessed], images, right)
    beyond = _explained([guess.beyond for guess in guessed], images, right)
    scores = [
        _with_interval(Score(of=of, explained=a, beyond=b, is_foreign=is_foreign), images, right)
        for of, a, b in zip(guessed, explained, beyond, strict=True)
    ]
    return sorted(
        scores,
        key=lambda score: (not score.is_proposed, not score.may_be_class, score.rule is not None, -score.strength),
    )


def false_discovery(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the q-values of Benjamini and Hochberg (1995); None where nothing was tested.

    >>> false_discovery([0.01, 0.5, None, 0.02])
    [0.03, 0.5, None, 0.03]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    q_values: list[float | None] = [None] * len(p_values)
    smallest = 1.0
    for rank in range(len(known), 0, -1):
        p, i = known[rank - 1]
        q_values[i] = smallest = min(smallest, p * len(known) / rank)
    return q_values


def _explained(guessed: Sequence[Guessed | None], images: Images, right: NDArray[np.bool_]) -> list[Explained | None]:
    """Return the errors that each family's guesses explain, with q-values over all families; None without guesses."""
    errors = [None if guess is None else _errors(guess, images, right) for guess in guessed]
    q_values = false_discovery([None if tested is None else tested.p_value for tested in errors])
    return [
        None
        if one is None or of is None
        else Explained(errors=one, q_value=q, difference=largest_difference(*group_tables(of, images, right)))
        for of, one, q in zip(guessed, errors, q_values, strict=True)
    ]


def _errors(of: Guessed, images: Images, right: NDArray[np.bool_], *, bootstraps: int = 0) -> ExplainedErrors:
    size = {"num_classes": images.num_classes, "num_attributes": len(of.kept)}
    return explained_errors(right, images.labels, of.guesses, **size, seed=images.seed, bootstraps=bootstraps)


def _with_interval(score: Score, images: Images, right: NDArray[np.bool_]) -> Score:
    """Return a score that is shown with the interval of its share, which takes too long for all families."""
    if score.of.guessed is None or score.explained is None or score.own_rule is not None:
        return score
    errors = _errors(score.of.guessed, images, right, bootstraps=BOOTSTRAPS)
    return replace(score, explained=replace(score.explained, errors=errors))


def group_tables(
    guessed: Guessed, images: Images, right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of correct predictions and of images, each (C, A) by class and guess."""
    shape = images.num_classes, len(guessed.kept)
    groups = images.labels * shape[1] + guessed.guesses
    correct, counts = (np.bincount(rows, minlength=shape[0] * shape[1]) for rows in (groups[right], groups))
    return correct.reshape(shape), counts.reshape(shape)


def _guessed(
    family: EmbeddedFamily,
    images: Images,
    halves_N: NDArray[np.bool_],
    sample: Images,
    rows: NDArray[np.int64],
    other_words: Array,
) -> Guessed | None:
    """Return the guesses of the family; None if under two of its names have images.

    The doubts are those about the ``sample`` images, which are the ``rows`` of all, and have logits ``other_words``.
    """
    logits_NK, kept = images.logits(family.weights), np.arange(len(family.weights))
    # Without a rare name, its images go to the others, one of which may still be rare.
    while True:
        guesses = _labels(logits_NK[:, kept], halves_N)
        used = np.bincount(guesses, minlength=len(kept)) >= FEWEST * len(guesses)
        if used.sum() < 2:
            return None
        if used.all():
            break
        kept = kept[used]
    trust = guess_trust(
        guesses[rows],
        logits_NK[rows][:, kept],
        [sample.logits(weights_KD[kept]) for weights_KD in family.by_template],
        other_words,
        sample.labels,
        [family.family.names[k] for k in kept],
    )
    return Guessed(kept=kept, guesses=guesses.astype(np.min_scalar_type(len(kept))), trust=trust)


def _labels(logits_NK: Array, halves_N: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return guesses (n,), by the shares of the other half: no image influences the shares by which it is guessed."""
    guesses = np.empty(len(logits_NK), np.int64)
    for half in (halves_N, ~halves_N):
        fit_on = np.zeros(len(half), dtype=bool)
        fit_on[evenly_spaced(np.flatnonzero(~half), ROWS_OF_SAMPLE)] = True
        pseudo = label_quietly(logits_NK, fit_on=fit_on, posterior=False, confidence=False)
        guesses[half] = pseudo.pseudo_attributes[half]
    return guesses
