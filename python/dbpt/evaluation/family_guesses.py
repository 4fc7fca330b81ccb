"""Families of attributes, as CLIP guesses them or as the data have them, for the images whose errors are searched.

The codes of a family and the doubts about them don't depend on predictions, nor on true attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt.cautions import Caution
from dbpt.data import Dataset, StoredFeatures, Words
from dbpt.data.other_columns import Source
from dbpt.data.stored_features import map_blocks
from dbpt.environment import progress_bar
from dbpt.groups.ids import contingency_table, evenly_spaced
from dbpt.guesses.apply_method import label_quietly
from dbpt.guesses.catalogue import Array, EmbeddedFamily, Family, catalogue_words, without_classes
from dbpt.guesses.column_values import LEAST_SHARE
from dbpt.guesses.doubts import Trust, guess_trust
from dbpt.guesses.linear_probe import kappa
from dbpt.guesses.value_families import CodedFamily, readable

FEWEST = 0.01
"""The share of the images that a name needs; rarer names are left out of their family."""
ROWS_OF_SAMPLE = 5000
"""Rows by which the shares of a half are estimated, and rows of which the doubts are judged."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """The n images whose errors are to be explained: their ``features`` (n, D) and ``labels`` (n,)."""

    backbone: "clip.Backbone"
    features: NDArray[np.float32] | StoredFeatures
    labels: NDArray[np.int64]
    num_classes: int
    seed: int

    @classmethod
    def to_search(
        cls, backbone: "clip.Backbone", dataset: Dataset, features: StoredFeatures, rows: NDArray[np.int64], seed: int
    ) -> "Images":
        """Return the ``rows`` (n,) of a data set with their part of its ``features`` (N, D); ``seed`` halves them."""
        features, labels = features.take(rows), dataset.labels[rows]
        return cls(backbone=backbone, features=features, labels=labels, num_classes=dataset.num_classes, seed=seed)

    def zero_shot_right(self, words: Words) -> NDArray[np.bool_]:
        """Return (n,) bool: the images that CLIP predicts right by the ``words`` of the classes."""
        weights_CD = clip.zero_shot_weights(self.backbone, *words.class_texts())
        right: NDArray[np.bool_] = self.logits(weights_CD).argmax(axis=1) == self.labels
        return right

    def logits(self, weights_KD: Array) -> Array:
        """Return zero-shot logits (n, K); blocks of rows keep the memory flat."""
        cosines_NK = map_blocks(self.features, lambda block: block @ weights_KD.T)
        scale, bias = np.float32(self.backbone.logit_scale), np.float32(self.backbone.logit_bias or 0.0)
        return np.asarray(scale * cosines_NK + bias)

    def take(self, rows: NDArray[np.int64]) -> "Images":
        """Return some of the images, with their features in memory."""
        return replace(self, features=self.features[rows], labels=self.labels[rows])


@dataclass(frozen=True, kw_only=True)
class Guessed:
    """The name (n,) of each image among those of a family that are ``kept``, -1 where unknown.

    ``trust`` says how far to trust CLIP's guesses; None if the data say it.
    """

    kept: NDArray[np.int64]
    guesses: NDArray[np.integer[Any]]
    trust: Trust | None = None

    @property
    def doubts(self) -> list[Caution]:
        """Reasons not to trust the guesses."""
        return [] if self.trust is None else self.trust.doubts

    def tables(self, images: Images, right: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of correct predictions and of images, each (C, A) by class and guess."""
        shape = images.num_classes, len(self.kept)
        correct = contingency_table(images.labels[right], self.guesses[right], shape)
        return correct, contingency_table(images.labels, self.guesses, shape)


@dataclass(frozen=True, kw_only=True)
class GuessedFamily:
    """A family as its ``source`` says or CLIP guesses it, and ``beyond`` the class names; None without two names.

    ``agreement`` is Cohen's kappa of both guesses, and ``class_words`` are the wordings that the family shares with the
    classes. ``of_pair`` are the two families whose combinations it has.
    """

    family: Family
    guessed: Guessed | None
    beyond: Guessed | None = None
    agreement: float = 1.0
    class_words: list[str] = field(default_factory=list)
    source: Source = "words"
    of_pair: tuple["GuessedFamily", ...] = ()

    @classmethod
    def coded(cls, family: CodedFamily, of_pair: tuple["GuessedFamily", ...] = ()) -> "GuessedFamily":
        """Return a family that the data say, or the combinations of two."""
        named = Family(family.name, {value: (value,) for value in family.values}, ())
        guessed = Guessed(kept=np.arange(len(family.values)), guesses=family.codes)
        return cls(family=named, guessed=guessed, source=family.source, of_pair=of_pair)

    @classmethod
    def pair(cls, one: "GuessedFamily", other: "GuessedFamily") -> "GuessedFamily | None":
        """Return the combinations of two families that at least 1 % of the images have; None if under two.

        None too if few of these images have a name of one of the two.
        """
        if one.guessed is None or other.guessed is None:
            return None
        first_N, second_N = (of.guesses.astype(np.int64) for of in (one.guessed, other.guessed))
        joint_N = np.where((first_N >= 0) & (second_N >= 0), first_N * other.size + second_N, -1)
        joint, counts = np.unique(joint_N, return_counts=True)
        kept = joint[(joint >= 0) & (counts >= LEAST_SHARE * len(joint_N))]
        if len(kept) < 2:
            return None
        codes_N = np.where(np.isin(joint_N, kept), np.searchsorted(kept, joint_N), -1)
        firsts, seconds = one.family.only(one.guessed.kept).names, other.family.only(other.guessed.kept).names
        names = [f"{firsts[k // other.size]}, {seconds[k % other.size]}" for k in kept.tolist()]
        name = f"{one.family.name} × {other.family.name}"
        return cls.coded(CodedFamily("pair", name, readable(names), codes_N), (one, other))

    @property
    def doubts(self) -> list[Caution]:
        """Reasons not to trust the guesses."""
        return [] if self.guessed is None else self.guessed.doubts

    @property
    def key(self) -> str:
        """The name, after its source if that isn't words: "measured:brightness" is another family than "brightness"."""
        return self.family.name if self.source == "words" else f"{self.source}:{self.family.name}"

    @property
    def size(self) -> int:
        """The number of names."""
        return 0 if self.guessed is None else len(self.guessed.kept)


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
    for family in progress_bar("guessing", "family", families):
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
