"""Reasons not to trust guesses: cross-validation of a probe, separation of the names, and words of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.data.words import Factor
from dbpt.groups import group_name
from dbpt.guesses.mixture import gain_of_clusters, lowest_density
from dbpt.storage.typed_json import Count, Share

LOWEST_AGREEMENT = 0.8
FEWEST_OF_GROUP = 5


@dataclass(frozen=True, kw_only=True)
class KnownOfGroup:
    """The number of known images of a class and an attribute."""

    group: str
    n: Count


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """The guesses of one attribute by a probe, for the ``n_known`` images that it learns from, each out of fold.

    Copies of an image count once. ``counts`` (A,) of the images have each attribute, and ``groups`` are those of each
    class that has images and of each attribute that it may have. ``accuracy`` is the share of right guesses. ``kappa``
    is Cohen's within a class, the mean over the classes of which more than one attribute is known; None without any. Of
    the ``n_guessed`` (A,) images that were guessed to have an attribute, the share ``precision`` (A,) has it; None if
    there are none.
    """

    n_known: Count
    counts: list[Count]
    groups: list[KnownOfGroup]
    accuracy: Share
    kappa: float | None
    n_guessed: list[Count]
    precision: list[Share | None]

    @classmethod
    def of(
        cls,
        guessed: NDArray[np.int64],
        known: NDArray[np.int64],
        labels: NDArray[np.int64],
        suspect: Factor,
        classes: Mapping[int, str],
    ) -> "CrossValidated":
        """Compare guessed attributes with known ones.

        The groups are those of each class with each value of the suspect that the class may have. A class that may have
        only one value has none to guess, and is left out.

        Args:
            guessed: (n,) attribute index.
            known: (n,) the same.
            labels: (n,) class index.
            suspect: the attribute.
            classes: the names of the classes that have images, by index.
        """
        names = list(suspect.values)
        possible = {label: suspect.possible(name) for label, name in classes.items()}
        groups = [
            KnownOfGroup(group=group_name(name, names[value]), n=int(((labels == label) & (known == value)).sum()))
            for label, name in classes.items()
            for value in possible[label]
            if len(possible[label]) > 1
        ]
        num_attributes = len(names)
        n_guessed = np.bincount(guessed, minlength=num_attributes).tolist()
        right = np.bincount(guessed[guessed == known], minlength=num_attributes).tolist()
        by_class = [labels == label for label in np.unique(labels)]
        kappas = [kappa(guessed[of], known[of], num_attributes) for of in by_class if len(np.unique(known[of])) > 1]
        return cls(
            n_known=len(known),
            counts=np.bincount(known, minlength=num_attributes).tolist(),
            groups=groups,
            accuracy=float((guessed == known).mean()),
            kappa=float(np.mean(kappas)) if kappas else None,
            n_guessed=n_guessed,
            precision=[of / n if n else None for of, n in zip(right, n_guessed, strict=True)],
        )

    @property
    def doubts(self) -> list[Caution]:
        """Reasons not to trust the guesses, as those of `Trust`."""
        doubts, fewest = [], min(self.groups, key=lambda group: group.n, default=None)
        if fewest is not None and fewest.n < FEWEST_OF_GROUP:
            doubts.append(caution("few known", group=fewest.group, n=fewest.n, limit=FEWEST_OF_GROUP))
        if self.kappa is not None and self.kappa < LOWEST_AGREEMENT:
            doubts.append(caution("out of fold", value=self.kappa, limit=LOWEST_AGREEMENT, n=self.n_known))
        return doubts


def kappa(one: NDArray[np.int64], other: NDArray[np.int64], num_attributes: int) -> float:
    """Return Cohen's kappa of two labellings (N,); 1 if both give all rows the same label, as then they agree."""
    shares = [np.bincount(labels, minlength=num_attributes) / len(labels) for labels in (one, other)]
    by_chance = float(shares[0] @ shares[1])
    return 1.0 if by_chance == 1 else (float((one == other).mean()) - by_chance) / (1 - by_chance)


FEWEST_OF_CLASS = 50
SHRINKAGE = 5  # rows
RARE = 0.1  # of the images that are guessed a name or its rival
BANDWIDTH = 0.5  # in standard deviations of the rival's images
_Array = NDArray[np.floating[Any]]


def separations(
    logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Return the separation of each name in use and the one most like it, by their names."""
    by_pair = dict[tuple[str, str], float]()
    for name, rival in _rivals(logits_NA, guesses).items():
        pair = names[min(name, rival)], names[max(name, rival)]
        if pair not in by_pair:
            rows = (guesses == name) | (guesses == rival)
            points = logits_NA[rows, name].astype(np.float64) - logits_NA[rows, rival]
            by_pair[pair] = _two_modes(points, guesses[rows] == name, labels[rows])
    return by_pair


def gap_densities(logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Return the density of images in the gap between each rare name and its rival, relative to that at the rare name.

    Both are of the difference of their logits. The centres are the medians of the images that are guessed either. If
    there is no gap, the images of the rare name are no more than the tail of its rival's, and the figure is near 1.
    """
    densities = dict[str, float]()
    for name, rival in _rivals(logits_NA, guesses).items():
        margins_N = logits_NA[:, name].astype(np.float64) - logits_NA[:, rival]
        own, others = margins_N[guesses == name], margins_N[guesses == rival]
        if len(own) < RARE * (len(own) + len(others)) and others.std() > 0:
            points_N = (np.concatenate([own, others]) - np.median(others)) / others.std()
            end = float(np.median(own) - np.median(others)) / others.std()
            densities[names[name]] = lowest_density(points_N, np.ones(len(points_N)), end, BANDWIDTH)[1]
    return densities


def _rivals(logits_NA: NDArray[np.float32], guesses: NDArray[np.int64]) -> dict[int, int]:
    """Return each name in use and the one that most of its images are nearest to otherwise; none if one is in use."""
    used = np.unique(guesses)
    if len(used) < 2:
        return {}
    rivals = dict[int, int]()
    for name in used.tolist():
        others = used[used != name]
        rivals[name] = int(others[np.bincount(logits_NA[guesses == name][:, others].argmax(axis=1)).argmax()])
    return rivals


def _two_modes(points_N: _Array, is_first_N: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Return half the difference in BIC, per row, of two Gaussians and of one."""
    classes = np.flatnonzero(np.bincount(labels) >= FEWEST_OF_CLASS)
    if not classes.size:  # then all classes together, without what the class adds to the points of a guess
        means = np.where(is_first_N, points_N[is_first_N].mean(), points_N[~is_first_N].mean())
        points_N = means + within_class((points_N - means)[:, None], labels)[:, 0]
        labels, classes = np.zeros_like(labels), np.array([0])
    gain, num_rows = 0.0, 0
    for label in classes:
        rows = labels == label
        points = (points_N[rows] - points_N[rows].mean())[:, None]
        num_rows += len(points)
        if points.any():
            gain += gain_of_clusters(points, 1 - is_first_N[rows], 2)
    return float(gain / num_rows)


def within_class(values_NA: _Array, labels: NDArray[np.int64]) -> _Array:
    """Return the values minus the mean of their class, which is shrunk to that of all rows if the class has few."""
    values_NA = values_NA - values_NA.mean(axis=0)
    sums = np.stack([np.bincount(labels, column) for column in values_NA.T], axis=1)
    within: _Array = values_NA - (sums / (np.bincount(labels)[:, None] + SHRINKAGE))[labels]
    return within


def nearer_words(
    logits_NA: NDArray[np.float32], other_words_NW: NDArray[np.float32], guesses: NDArray[np.int64]
) -> float:
    """Return the share of the other words whose logits (N, W) are above those (N, A) of the guesses, as in `Trust`."""
    shares = [
        np.median((other_words_NW[guesses == name] > logits_NA[guesses == name, name, None]).mean(axis=1))
        for name in np.unique(guesses[guesses >= 0])
    ]
    return float(min(shares, default=0.0))


SEPARATION_LIMIT = 0.7
"""Of 108 random tasks with right words 14 % are below it, of 24 with unrelated ones 79 %."""
MUCH_BETTER, SURE = 0.2, 3.0  # a difference of separations, and a distance from chance in standard errors
MOST_ROWS = 4000  # for callers: more hardly change the figures


def class_word_doubts(
    logits: NDArray[np.float32], labels: NDArray[np.int64], attributes: NDArray[np.int64], names: Sequence[str]
) -> tuple[Caution, ...]:
    """Return the doubts about the words of the classes.

    A class is told apart if its images get larger logits than those of other classes with the same attribute, as a
    classifier that follows the attribute alone is biased, not ignorant. A second doubt is an accuracy below that of
    always answering the largest class, if the mean over the classes is nearer to chance than to 1, too.

    Args:
        logits: (N, C) zero-shot logits.
        labels: (N,) classes.
        attributes: (N,) guessed attributes, -1 where unknown, which count as an attribute of their own.
        names: (C,) of the classes.

    Returns:
        None, one or two doubts; only that of `order_doubts` if it has one.
    """
    if swapped := order_doubts(logits, labels, attributes, names):
        return swapped
    separations = [_separation(logits, labels, attributes, label)[0] for label in range(len(names))]
    blurred = [name for name, value in zip(names, separations, strict=True) if value < SEPARATION_LIMIT]
    doubts = []
    if blurred:
        doubts.append(caution("class words", names=blurred, value=min(separations), limit=SEPARATION_LIMIT))
    counts_C = np.bincount(labels, minlength=len(names))
    right_C = np.bincount(labels, weights=logits.argmax(axis=1) == labels, minlength=len(names))
    share, accuracy = counts_C.max() / counts_C.sum(), right_C.sum() / counts_C.sum()
    mean = (right_C[counts_C > 0] / counts_C[counts_C > 0]).mean()
    if accuracy < share and mean < (1 + 1 / len(names)) / 2:
        largest = names[int(counts_C.argmax())]
        doubts.append(caution("class accuracy", largest=largest, right=100 * float(accuracy), share=100 * float(share)))
    return tuple(doubts)


def order_doubts(
    answers: NDArray[Any],
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
    names: Sequence[str],
    kind: str = "order",
    flag: str = "--classes",
) -> tuple[Caution, ...]:
    """Return a doubt if some names fit the images of each other, as if they were given in another order.

    The images of each such name have the largest logits of another one, and are told apart better by these, also among
    images with the same attribute. So data or a classifier in which name and attribute go together raise none.

    Args:
        answers: (N, C) logits, or (N,) predictions.
        labels: (N,) indices of the names, -1 where unknown.
        attributes: (N,) as for `class_word_doubts`.
        names: (C,).
        kind, flag: of the doubt, and the option that gave the names.
    """
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        return ()
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    answers, labels, attributes = answers[rows], labels[rows], attributes[rows]
    logits = answers if answers.ndim == 2 else np.eye(len(names))[answers]
    above_mean = (logits - logits.mean(axis=0)).T
    seen_as = np.stack([np.bincount(labels, column, len(names)) for column in above_mean], axis=1).argmax(axis=1)
    cyclic, order = np.arange(len(names)), np.arange(len(names))
    for _ in names:  # afterwards the names from which one gets back to the same
        cyclic = seen_as[cyclic]
    order[cyclic] = seen_as[cyclic]
    swapped = []
    for name in np.flatnonzero(order != np.arange(len(names))).tolist():
        given, _ = _separation(logits, labels, attributes, name)
        separation, distance = _separation(logits, order[labels], attributes, int(order[name]))
        if separation >= max(SEPARATION_LIMIT, given + MUCH_BETTER) and distance > SURE:
            swapped.append(names[name])
    return (caution(kind, names=swapped, flag=flag),) if len(swapped) > 1 else ()


def _separation(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.int64], attributes: NDArray[np.int64], label: int
) -> tuple[float, float]:
    """Return the probability that an image of the class has a larger margin than one of another class.

    Both have the same attribute (the area under the ROC curve within each attribute, weighted by n1 n2 / (n1 + n2)).
    The other number is its distance from chance in standard errors, as of logits that say nothing.
    """
    margins = logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)
    total = weight = 0.0
    for attribute in np.unique(attributes):
        rows = attributes == attribute
        is_class = labels[rows] == label
        inside, outside = int(is_class.sum()), int((~is_class).sum())
        if inside and outside:
            _, positions, counts = np.unique(margins[rows], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[positions]  # ties have their mean rank
            area = (ranks[is_class].sum() - inside * (inside + 1) / 2) / (inside * outside)
            share = inside * outside / (inside + outside)
            total, weight = total + share * area, weight + share
    area = total / weight if weight else 1.0
    return area, (area - 0.5) * (12 * weight) ** 0.5
