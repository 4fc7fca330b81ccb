"""`Dataset`: paths, labels, attributes and splits of images, and the rows that are drawn or held out of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import Words, factor_codes
from dbpt.errors import InputError
from dbpt.groups import group_ids, group_name, random_part

SPLITS = ("train", "val", "test")
GroupCounts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Rows per group, in group order, of train, val and test."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """N images, with the label, attribute and split of each.

    Attributes:
        name: "waterbirds", "celeba", "metashift", or a table's file name without its suffix.
        root: the folder that ``paths`` are relative to.
        source: the file that lists the rows, or the folder if no file does.
        paths: (N,) relative to ``root``, with forward slashes.
        lines: (N,) int64, 1-based line of ``source``; 0 if no file lists the rows.
        labels: (N,) int64 class index.
        attributes: (N,) int64 true attribute index, -1 where unknown.
        splits: (N,) int64 index into ``SPLITS``.
        words: the classes and attributes with their wordings and sentences.
        notes: one line each for the user, about how the data were read.
        published: the group counts (train, val, test), as the literature reports them.
        unit: of ``lines``: "line", or "row" for a Parquet file.
        average: the average that the literature reports, "plain" or "adjusted", as in ``--average``.
        known_factors: (N,) int64 each, if the data have several factors in columns.
        places: (N,) int64 row numbers among the ``num_listed`` ones, if not all are there.
        num_listed: the number of rows that the source lists, if ``places`` are given.
    """

    name: str
    root: Path
    source: Path
    paths: tuple[str, ...]
    lines: NDArray[np.int64]
    labels: NDArray[np.int64]
    attributes: NDArray[np.int64]
    splits: NDArray[np.int64]
    words: Words
    notes: tuple[str, ...] = ()
    published: GroupCounts | None = None
    unit: str = "line"
    average: str = "plain"
    known_factors: tuple[NDArray[np.int64], ...] = ()
    places: NDArray[np.int64] | None = None
    num_listed: int = 0

    def __post_init__(self) -> None:
        columns = (self.lines, self.labels, self.attributes, self.splits, *self.known_factors)
        assert all(column.shape == (len(self.paths),) and column.dtype == np.int64 for column in columns)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        counts = [f"{split} {n}" for split, n in zip(SPLITS, self._per_split(self.splits >= 0), strict=True)]
        size = f"{len(self)} images, {self.num_classes} classes, {self.num_attributes} attributes"
        return f"Dataset({self.name!r}, {size}, {' / '.join(counts)})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """(C,) in index order."""
        return tuple(self.words.classes)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """(A,) in index order; empty if no attributes are named."""
        return tuple(self.words.attributes)

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.words.classes)

    @property
    def num_attributes(self) -> int:
        """A; 0 if no attributes are named."""
        return len(self.words.attributes)

    @property
    def num_groups(self) -> int:
        """G = C * A."""
        return self.num_classes * self.num_attributes

    @property
    def group_names(self) -> tuple[str, ...]:
        """(G,) "class · attribute", in the order g = y * A + a."""
        return tuple(group_name(y, a) for y in self.class_names for a in self.attribute_names)

    @property
    def factor_attributes(self) -> list[NDArray[np.int64]]:
        """(N,) for each of the `Words.suspects`, its true values, -1 where unknown.

        A row may have some without the others.
        """
        return list(self.known_factors) or factor_codes(self.attributes, self.words.sizes)

    @property
    def has_true_attributes(self) -> bool:
        """True if at least one row has a true attribute."""
        return bool((self.attributes >= 0).any())

    @property
    def rows_to_fit(self) -> NDArray[np.int64]:
        """(n,) the rows on which guesses are fitted: all but those of the test split, unless there are no others."""
        is_test = self.splits == SPLITS.index("test")
        return np.flatnonzero(is_test.all() | ~is_test)

    def groups(self, attributes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the groups y * A + a. WILDS and group_DRO number groups in the same way.

        Args:
            attributes: (N,) int64, true or pseudo attributes a, -1 where unknown.

        Returns:
            (N,) int64; -1 where a is -1.

        Raises:
            ValueError: for a wrong length, or values from A on.
        """
        attributes = np.asarray(attributes)
        if attributes.shape != self.labels.shape:
            raise ValueError(f"attributes: expected shape {self.labels.shape}, found {attributes.shape}")
        if attributes.size and not -1 <= attributes.min() <= attributes.max() < self.num_attributes:
            raise ValueError(
                f"attributes: expected values in -1..{self.num_attributes - 1}, "
                f"found {attributes.min()}..{attributes.max()}"
            )
        return group_ids(self.labels, attributes.astype(np.int64, copy=False), self.num_attributes)

    def take(self, rows: NDArray[np.int64]) -> "Dataset":
        """Return the data set with only some rows.

        Args:
            rows: (n,) int64 row numbers.

        Returns:
            n rows, in this order.
        """
        return replace(
            self,
            paths=tuple(self.paths[row] for row in rows.tolist()),
            lines=self.lines[rows],
            labels=self.labels[rows],
            attributes=self.attributes[rows],
            splits=self.splits[rows],
            known_factors=tuple(values[rows] for values in self.known_factors),
            places=None if self.places is None else self.places[rows],
        )

    def without_attributes(self) -> "Dataset":
        """Return the data set without its attribute."""
        words = replace(self.words, attributes={}, factors=())
        return replace(self.without_truth(), words=words, published=None)

    def without_truth(self) -> "Dataset":
        """Return the data set with unknown attributes."""
        return replace(self, attributes=np.full_like(self.attributes, -1), known_factors=())

    def where(self, row: int) -> str:
        """Return the origin of a row, for messages.

        Args:
            row: its number, from 0.

        Returns:
            Such as ``"metadata.csv line 17"``, or the path of the row if no file lists it.
        """
        line = int(self.lines[row])
        return f"{self.source.name} {self.unit} {line}" if line else self.paths[row]

    def describe(self) -> str:
        """Return a table of the rows per group and split (per class without true attributes), and the notes."""
        classes, rows = self.class_names, [("all", self._per_split(self.splits >= 0))]
        if self.has_true_attributes:
            groups, names = self.groups(self.attributes), self.attribute_names
            titles = [f"{label}, {attribute}" for label in classes for attribute in names]
            counts = [(title, self._per_split(groups == group)) for group, title in enumerate(titles)]
            rows += [row for row in counts if any(row[1]) or not self.words.factors]
            if (groups < 0).any():
                rows.append(("attribute unknown", self._per_split(groups < 0)))
        else:
            rows += [(title, self._per_split(self.labels == label)) for label, title in enumerate(classes)]
        left = max(len(title) for title, _ in rows)
        right = max(6, len(str(len(self))))
        lines = [f"{self.name}: {len(self)} images, from {self.source}"]
        lines.append(" " * (left + 2) + "".join(f"  {split:>{right}}" for split in SPLITS))
        lines += [f"  {title:<{left}}" + "".join(f"  {n:>{right}}" for n in counts) for title, counts in rows]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def _per_split(self, chosen: NDArray[np.bool_]) -> list[int]:
        counts: list[int] = np.bincount(self.splits[chosen], minlength=len(SPLITS)).tolist()
        return counts


MOST_VALIDATION_SHOTS = 4


def hold_out(
    dataset: Dataset, strata: NDArray[np.int64], fraction: float, seed: int, *, by: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the splits (N,) and a note: without validation rows, ``fraction`` of each training stratum becomes them.

    ``strata`` are (N,), the ``by`` of the note. One with a single row keeps it.
    """
    train, val = SPLITS.index("train"), SPLITS.index("val")
    if (dataset.splits == val).any():
        return dataset.splits, ()
    splits, training = dataset.splits.copy(), np.flatnonzero(dataset.splits == train)
    held = random_part(strata[training], lambda n: min(max(1, round(fraction * n)), n - 1), seed)
    splits[training[held]] = val
    if not held.any():
        raise InputError(f"{dataset.source}: too few training rows for a validation split; add a val split")
    return splits, (f"no validation split: {held.sum()} of the training rows, stratified by {by}, serve as one",)


def few_shots(dataset: Dataset, shots: int, *, val_fraction: float, seed: int) -> Dataset:
    """Return the data set with ``shots`` training and at most 4 validation rows of each class, and all test rows.

    The few-shot protocol of CoOp (Zhou et al., 2022), as in its authors' code, but with our random numbers. Data
    without validation rows get some first, by class. A class with fewer rows keeps them all.
    """
    splits, notes = hold_out(dataset, dataset.labels, val_fraction, seed, by="class")
    for_validation = min(shots, MOST_VALIDATION_SHOTS)
    kept = splits == SPLITS.index("test")
    for split, most in (("train", shots), ("val", for_validation)):
        rows = np.flatnonzero(splits == SPLITS.index(split))
        kept[rows[random_part(dataset.labels[rows], lambda n, most=most: min(n, most), seed)]] = True  # type: ignore[misc]
    drew = f"few shots: {shots} training and {for_validation} validation images of each class, drawn by the seed"
    drawn = replace(dataset, splits=splits, notes=(*dataset.notes, *notes, drew), average="plain")
    return replace(drawn.take(rows := np.flatnonzero(kept)), places=rows, num_listed=len(dataset))
