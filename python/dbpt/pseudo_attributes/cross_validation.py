"""Cross-validation of a probe on the attributes that it learns from, and the doubts that follow."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import Factor
from dbpt.files.typed_json import Count, Share
from dbpt.groups import group_name
from dbpt.pseudo_attributes.doubt import Doubt, doubt

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
        """Compare the ``guessed`` attributes (n,) with the ``known`` ones (n,) of images with ``labels`` (n,).

        The groups are those of the ``classes`` that have images, by index, with each value of the suspect that the
        class may have. A class that may have only one value has none to guess, and is left out.
        """
        names, possible = list(suspect.values), {label: suspect.possible(name) for label, name in classes.items()}
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
    def doubts(self) -> list[Doubt]:
        """Reasons not to trust the guesses, as those of `Trust`."""
        found = []
        if few := [each for each in self.groups if each.n < FEWEST_OF_GROUP]:
            fewest = min(few, key=lambda each: each.n)
            images = f"{fewest.n or 'no'} known image{'s' if fewest.n > 1 else ''} of {fewest.group}"
            others = f" (the fewest of {len(few)} such groups)" if few[1:] else ""
            found.append(doubt("few known", images + others, fewest.n, FEWEST_OF_GROUP))
        if self.kappa is not None and self.kappa < LOWEST_AGREEMENT:
            found.append(doubt("out of fold", value=self.kappa, limit=LOWEST_AGREEMENT, n=self.n_known))
        return found


def kappa(one: NDArray[np.int64], other: NDArray[np.int64], num_attributes: int) -> float:
    """Return Cohen's kappa of two labellings (N,); 1 if both give all rows the same label, as then they agree."""
    shares = [np.bincount(each, minlength=num_attributes) / len(each) for each in (one, other)]
    by_chance = float(shares[0] @ shares[1])
    return 1.0 if by_chance == 1 else (float((one == other).mean()) - by_chance) / (1 - by_chance)
