"""The data set of results: its names, groups and counts, also of only some of several factors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.data.other_columns import CodedSource
from dbpt.data.words import factor_codes, joint_codes
from dbpt.groups import group_name
from dbpt.storage.typed_json import Count


@dataclass(frozen=True, kw_only=True)
class FactorSummary:
    """One of several attributes, and its values."""

    name: str
    values: list[str]


@dataclass(frozen=True, kw_only=True)
class ClustersSummary:
    """The ``names`` (C, K) of clusters, and their ``separation`` (C,), None for a class with too few images for it."""

    names: list[list[str]]
    separation: list[float | None]

    def groups(self, classes: Sequence[str]) -> list[tuple[str, str]]:
        """Return (class name, cluster) of each group, in the order g = y*A + a."""
        return [(y, a) for y, names in zip(classes, self.names, strict=True) for a in names]


@dataclass(frozen=True, kw_only=True)
class CodedSummary:
    """The column of the data, or the measured property of the images, whose ``values`` (A,) divide the classes."""

    source: CodedSource
    name: str
    values: list[str]

    def groups(self, classes: Sequence[str]) -> list[tuple[str, str]]:
        """Return (class name, value) of each group, in the order g = y*A + a."""
        return [(y, a) for y in classes for a in self.values]


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """The data set; ``counts`` (G,) of each split are over the groups of ``group_kind``, or without any the classes.

    Groups over clusters or ``coded`` values have no ``attributes``. With ``factors`` the attributes are combinations of
    values, with the first factor most significant. ``shots`` are the training images of each class, if drawn.
    """

    name: str
    root: str
    classes: list[str]
    attributes: list[str]
    factors: list[FactorSummary]
    counts: dict[str, list[Count]]
    train_counts_pseudo: list[Count]
    notes: list[str]
    clusters: ClustersSummary | None = None
    coded: CodedSummary | None = None
    shots: Count | None = None

    @property
    def own_values(self) -> ClustersSummary | CodedSummary | None:
        """What the pseudo-groups are over, if not over ``attributes``."""
        return self.clusters or self.coded

    @property
    def has_attributes(self) -> bool:
        """False if the groups are the classes."""
        return bool(self.attributes or self.own_values)

    @property
    def smallest_group(self) -> int:
        """The training rows of the smallest pseudo-group that has any."""
        return min((n for n in self.train_counts_pseudo if n), default=0)

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each group, in the order g = y*A + a; "" without attributes."""
        return [(y, a) for y in self.classes for a in self.attributes] or self.pseudo_groups

    @property
    def pseudo_groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each pseudo-group, in the order g = y*A + a; "" without attributes."""
        if self.own_values is None:
            return [(y, a) for y in self.classes for a in self.attributes or [""]]
        return self.own_values.groups(self.classes)

    @property
    def group_names(self) -> list[str]:
        """(G,) class · attribute, or the class without attributes."""
        return [group_name(y, a) for y, a in self.groups]

    @property
    def shown_groups(self) -> list[int]:
        """The groups of tables and charts: with factors those with images in any split, else all."""
        if not self.factors:
            return list(range(len(self.groups)))
        counts = zip(*self.counts.values(), strict=True)
        return [g for g, of_group in enumerate(counts) if any(of_group)]


def groups_of_factors(groups: NDArray[np.int64], data: DataSummary, positions: Sequence[int]) -> NDArray[np.int64]:
    """Return the groups (N,) over only the factors at ``positions`` that contain the ``groups`` (N,); -1 stays -1."""
    sizes = [len(data.classes), *(len(factor.values) for factor in data.factors)]
    codes = factor_codes(groups, sizes)
    kept = [0, *(1 + position for position in positions)]
    return joint_codes([codes[position] for position in kept], [sizes[position] for position in kept])


def data_of_factors(data: DataSummary, positions: Sequence[int]) -> DataSummary:
    """Return the data set with only the factors at ``positions``."""
    factors = [data.factors[position] for position in positions]
    merged = groups_of_factors(np.arange(len(data.groups)), data, positions)
    attributes = [", ".join(values) for values in product(*(factor.values for factor in factors))]

    def summed(counts: Sequence[int]) -> list[int]:
        return np.bincount(merged, counts, len(data.classes) * len(attributes)).astype(int).tolist() if counts else []

    counts = {split: summed(each) for split, each in data.counts.items()}
    pseudo = summed(data.train_counts_pseudo)
    return replace(data, attributes=attributes, factors=factors, counts=counts, train_counts_pseudo=pseudo)
