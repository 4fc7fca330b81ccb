"""`Grouping`: what rows are grouped by besides their class, such as true attributes, guesses, clusters, or errors.

Everything that depends on the groups asks this value: ids, names, counts, figures, and what the groups may be used for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.data import Dataset
from dbpt.data.text_array import Texts
from dbpt.data.words import UNNAMED, Words, joint_codes
from dbpt.groups import group_counts, group_ids, group_name
from dbpt.guesses.base import OWN_VALUES, GroupKind, GuessedFactors, Provenance
from dbpt.guesses.linear_probe import PPA_NAMES

Use: TypeAlias = Literal["training", "selection"]
ANY_USE: frozenset[Use] = frozenset(("training", "selection"))


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedAttribute:
    """One attribute that divides the classes of N rows into groups.

    Attributes:
        name: the name of a factor; "attribute" for the only one.
        codes: (N,) int64, its value in each row, -1 where unknown.
        values: (C, A) the name of each value in each class.
        provenance: where the codes come from.
        possible: (C, A) False for a value that images of the class can't have.
    """

    name: str
    codes: NDArray[np.int64]
    values: tuple[tuple[str, ...], ...]
    provenance: Provenance
    possible: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """A, the number of values."""
        return len(self.values[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """The groups of N rows: each class divided by the combinations of one or more attributes.

    Attributes:
        labels: (N,) int64, the classes.
        class_names: (C,).
        factors: the attributes, one or more; a single value without a name if there is none.
        uses: what the groups may influence. Groups of true attributes are for figures alone, unless settings ask for
            them.
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    factors: tuple[GroupedAttribute, ...]
    uses: frozenset[Use] = ANY_USE

    @classmethod
    def true(cls, dataset: Dataset, uses: frozenset[Use] = frozenset()) -> "Grouping":
        """Return the groups by the true attributes of ``dataset``, with the ``uses`` that the settings ask for."""
        codes = dataset.factor_attributes
        return cls._of(dataset, _of_words(dataset.words, codes, ["true"] * len(codes)), uses)

    @classmethod
    def guessed(cls, dataset: Dataset, pseudo: GuessedFactors) -> "Grouping":
        """Return the groups by the pseudo attributes of the rows of ``dataset``."""
        if pseudo.names is not None:
            return cls._of(dataset, [_unworded(pseudo.pseudo_attributes, pseudo.names, pseudo.provenance)])
        codes, provenances = zip(*((each.pseudo_attributes, each.provenance) for each in pseudo.factors), strict=True)
        return cls._of(dataset, _of_words(dataset.words, codes, provenances))

    @classmethod
    def by_errors(cls, dataset: Dataset, errors: NDArray[np.int64]) -> "Grouping":
        """Return the groups by the (N,) `probe_errors`."""
        return cls._of(dataset, [_unworded(errors, (PPA_NAMES,) * dataset.num_classes, "ppa")])

    @classmethod
    def _of(cls, dataset: Dataset, factors: Sequence[GroupedAttribute], uses: frozenset[Use] = ANY_USE) -> "Grouping":
        return cls(labels=dataset.labels, class_names=dataset.class_names, factors=tuple(factors), uses=uses)

    def alone(self, factor: int) -> "Grouping":
        """Return the groups by one of the factors."""
        return replace(self, factors=(self.factors[factor],)) if self.factors[1:] else self

    @property
    def provenance(self) -> Provenance:
        """The source of the attributes; "true" only if all factors are true."""
        return next((factor.provenance for factor in self.factors if factor.provenance != "true"), "true")

    @property
    def kind(self) -> GroupKind:
        """Whether the attributes are the true ones."""
        return "true" if self.provenance == "true" else "pseudo"

    @property
    def has_words(self) -> bool:
        """True if sentences name the attributes; False for clusters, values of a column, errors, and classes alone."""
        return self.provenance not in (*OWN_VALUES, "ppa", "none")

    @property
    def num_attributes(self) -> int:
        """A, the number of combinations of the factors' values."""
        return int(np.prod([factor.size for factor in self.factors]))

    @property
    def num_groups(self) -> int:
        """G = C * A."""
        return len(self.class_names) * self.num_attributes

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of classes and attributes, as functions of `dbpt.groups` take them."""
        return {"num_classes": len(self.class_names), "num_attributes": self.num_attributes}

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """(N,) the attribute of each row, a combination of the factors' values; -1 where one is unknown."""
        return joint_codes([factor.codes for factor in self.factors], [factor.size for factor in self.factors])

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """(N,) the groups y * A + a; -1 where the attribute is unknown."""
        return group_ids(self.labels, self.codes, self.num_attributes)

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """(G,) class and attribute of each group."""
        return [
            (label, ", ".join(values))
            for number, label in enumerate(self.class_names)
            for values in product(*(factor.values[number] for factor in self.factors))
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """(G,) "class · attribute" of each group."""
        return tuple(group_name(*pair) for pair in self.pairs)

    @property
    def possible(self) -> NDArray[np.bool_]:
        """(G,) False for a group that no image can be in, because its class can't have the attribute."""
        possible_CA = np.ones((len(self.class_names), 1), np.bool_)
        for factor in self.factors:
            possible_CA = (possible_CA[:, :, None] & factor.possible[:, None, :]).reshape(len(possible_CA), -1)
        return possible_CA.ravel()

    @property
    def expected(self) -> NDArray[np.bool_]:
        """(G,) False for a group that may be empty without a warning: a combination of factors that no row has."""
        has_names = any(factor.name != UNNAMED for factor in self.factors)
        return (self.counts() > 0) | (not has_names)

    def counts(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return the (G,) number of ``rows``, by default all, in each group."""
        return group_counts(self.groups if rows is None else self.groups[rows], self.num_groups)

    def names_of_rows(self, rows: NDArray[np.int64] | slice) -> Texts:
        """Return the (n,) attributes of ``rows`` by name; "" where unknown."""
        return Texts.coded([attribute for _, attribute in self.pairs], self.groups[rows])

    def as_true_attributes(self, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the (N,) attributes as numbers of the true ones of ``dataset``.

        A group of clusters or of a column gets the commonest true attribute of its images among ``rows``, or -1 if
        none of them is known.
        """
        if self.provenance not in OWN_VALUES:
            return self.codes
        known = rows[(self.groups[rows] >= 0) & (dataset.attributes[rows] >= 0)]
        counts_GA = np.zeros((self.num_groups, max(dataset.num_attributes, 1)), np.int64)
        np.add.at(counts_GA, (self.groups[known], dataset.attributes[known]), 1)
        commonest_G = np.where(counts_GA.any(axis=1), counts_GA.argmax(axis=1), -1)
        return np.where(self.groups >= 0, commonest_G[self.groups], -1)


def _of_words(
    words: Words, codes: Sequence[NDArray[np.int64]], provenances: Sequence[Provenance]
) -> list[GroupedAttribute]:
    """Return the attributes that ``words`` name, with the ``codes`` (N,) and the provenance of each."""
    factors = []
    for suspect, of_suspect, provenance in zip(words.suspects, codes, provenances, strict=True):
        possible_CA = np.zeros((len(words.classes), len(suspect.values)), np.bool_)
        for label, name in enumerate(words.classes):
            possible_CA[label, suspect.possible(name)] = True
        values = (tuple(suspect.values),) * len(words.classes)
        factors.append(
            GroupedAttribute(
                name=suspect.name, codes=of_suspect, values=values, provenance=provenance, possible=possible_CA
            )
        )
    return factors


def _unworded(
    codes: NDArray[np.int64], values: tuple[tuple[str, ...], ...], provenance: Provenance
) -> GroupedAttribute:
    """Return an attribute whose values are no words of the data, or a single one without a name."""
    possible_CA = np.ones((len(values), len(values[0])), np.bool_)
    return GroupedAttribute(name=UNNAMED, codes=codes, values=values, provenance=provenance, possible=possible_CA)
