"""`Dataset`: paths, labels, attributes and splits of images; checks that it can be used.

No image is opened.
"""

import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dbpt.data.other_columns import NO_OTHER_COLUMNS, OtherColumns
from dbpt.data.paths import find_member, regular_files
from dbpt.data.text_array import Texts
from dbpt.data.words import Words, factor_codes
from dbpt.errors import InputError
from dbpt.groups import group_ids, group_name

SPLITS = ("train", "val", "test")
SLASHES = "write paths with '/'"
Split = Literal["train", "val", "test"]
Average = Literal["plain", "adjusted"]
GroupCounts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Rows per group, in group order, of train, val and test."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """N images, with the label, attribute and split of each.

    Attributes:
        name: "waterbirds", "celeba", "metashift", or a table's file name without its suffix.
        root: the folder that ``paths`` are relative to.
        source: the file that lists the rows, or the folder if no file does.
        paths: (N,) relative to ``root``, with forward slashes. They are kept as `Texts`, which share memory.
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
        places: (N,) int64 row numbers in the source, if only some of its ``num_listed`` rows were taken.
        num_listed: the number of rows that the source lists; 0 without ``places``.
        other_columns: the columns of a table that have no role, if they were asked for.
    """

    name: str
    root: Path
    source: Path
    paths: Sequence[str]
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
    other_columns: OtherColumns = NO_OTHER_COLUMNS

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", Texts.of(self.paths))
        columns = (self.lines, self.labels, self.attributes, self.splits, *self.known_factors)
        assert all(column.shape == (len(self.paths),) and column.dtype == np.int64 for column in columns)
        assert all(len(cells) == len(self.paths) for cells in self.other_columns.cells.values())

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
        """Return the (n,) rows to fit guesses on, without the test split, unless there is nothing else."""
        is_test = self.in_split("test")
        return np.flatnonzero(is_test.all() | ~is_test)

    def in_split(self, split: str) -> NDArray[np.bool_]:
        """Return which rows are in a split, (N,) bool.

        Args:
            split: "train", "val" or "test".
        """
        return np.asarray(self.splits == SPLITS.index(split))

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
            present = f"found {attributes.min()}..{attributes.max()}"
            raise ValueError(f"attributes: expected values in -1..{self.num_attributes - 1}, {present}")
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
            paths=self.paths_of(rows),
            lines=self.lines[rows],
            labels=self.labels[rows],
            attributes=self.attributes[rows],
            splits=self.splits[rows],
            known_factors=tuple(values[rows] for values in self.known_factors),
            places=None if self.places is None else self.places[rows],
            other_columns=self.other_columns.take(rows),
        )

    def paths_of(self, rows: NDArray[np.int64] | slice) -> Texts:
        """Return the paths of some rows.

        Args:
            rows: (n,) int64 row numbers, or a slice.

        Returns:
            n paths, in this order.
        """
        return Texts.of(self.paths).take(rows)

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

    def _per_split(self, rows: NDArray[np.bool_]) -> list[int]:
        counts: list[int] = np.bincount(self.splits[rows], minlength=len(SPLITS)).tolist()
        return counts


def check_dataset(dataset: Dataset, *, training: bool = True, images: bool = True) -> None:
    """Refuse repeated paths; for ``training`` missing classes and training rows; with ``images`` missing files."""
    for problem in repeated_paths(dataset):
        raise InputError(problem)
    if training:
        check_classes(dataset)
    if images:
        _check_images(dataset)


def check_names(dataset: Dataset) -> None:
    """Refuse a name that is not UTF-8, which tables, reports and run folders can't store."""
    for row, path in enumerate(dataset.paths):
        if not path.isascii() and any("\ud800" <= letter <= "\udfff" for letter in path):
            raise InputError(f"{dataset.source}: the name of image {path!a} (row {row + 1}) is not UTF-8; rename it")


def check_possible(dataset: Dataset, codes: Sequence[NDArray[np.int64]] | None = None, file: str | None = None) -> None:
    """Refuse a value that the vocabulary of a row's class excludes: a true one, or the ``codes`` of each suspect.

    These are (N,) each, from the ``file``.
    """
    for factor, codes_N in zip(dataset.words.suspects, codes or dataset.factor_attributes, strict=True):
        for name, values in factor.of_class.items():
            of_class = (dataset.labels == dataset.class_names.index(name)) & (codes_N >= 0)
            for row in np.flatnonzero(of_class & ~np.isin(codes_N, factor.possible(name)))[:1].tolist():
                where = dataset.where(row) if file is None else f"{file}: image {dataset.paths[row]!r}"
                problem = f"{factor.name} is {list(factor.values)[codes_N[row]]!r}, but class {name!r} can only have"
                raise InputError(f"{where}: {problem} {', '.join(values)}; correct the value or --factors")


def as_on_disk(dataset: Dataset) -> Dataset:
    """Return the data set with names in the Unicode normal form that the file system uses.

    An accented letter is one code point in most tables (NFC), and a letter and a mark in file names from a Mac (NFD).
    """
    if all(map(str.isascii, dataset.paths)):
        return dataset
    paths = (path if path.isascii() else _on_disk(dataset.root, path) for path in dataset.paths)
    return replace(dataset, paths=Texts.of(paths))


def _on_disk(root: Path, path: str) -> str:
    spellings = (path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")))
    return next((name for name in spellings if os.path.isfile(root / name)), path)  # noqa: PTH113 (Path.is_file raises on a name that is too long)


def repeated_paths(dataset: Dataset) -> Iterator[str]:
    """Yield a line for each row whose path occurs in an earlier row."""
    for row, earlier in Texts.of(dataset.paths).repeated():
        yield f"{dataset.where(row)}: {dataset.paths[row]!r} is already at {dataset.where(earlier)}; keep one"


def check_classes(dataset: Dataset) -> None:
    """Refuse a data set without training rows, or with a class without rows or training rows."""
    train = dataset.in_split("train")
    if not train.any():
        present = ", ".join(name for index, name in enumerate(SPLITS) if (dataset.splits == index).any())
        raise InputError(
            f"{dataset.source}: no rows of split 'train' (splits found: {present}); mark the training rows"
        )
    everywhere = np.bincount(dataset.labels, minlength=dataset.num_classes)
    in_training = np.bincount(dataset.labels[train], minlength=dataset.num_classes)
    for name, n, n_train in zip(dataset.class_names, everywhere, in_training, strict=True):
        where = f"{dataset.source}: class {name!r}"
        if n == 0:
            raise InputError(f"{where} occurs in no row; drop it from the classes or add images")
        if n_train == 0:
            raise InputError(f"{where} has {n} rows but none in training; move some to split 'train'")


def _check_images(dataset: Dataset) -> None:
    """Refuse a data set with missing image files. The error names the first and the number of them."""
    missing = missing_rows(dataset)
    if not missing:
        return
    path, hint = dataset.paths[missing[0]], "complete the images or take the rows out; dbpt data check lists them"
    if "\\" in path:
        hint = SLASHES
    elif len(missing) == len(dataset):
        hint = "name the folder that the paths are relative to with --root"
    problem = f"{why_missing(dataset, missing[0])} ({len(missing)} of {len(dataset)} images cannot be found)"
    raise InputError(f"{dataset.where(missing[0])}: image {path!r} {problem}; {hint}")


def why_missing(dataset: Dataset, row: int) -> str:
    """Return what is wrong with the image of one of the `missing_rows`: it isn't there, or is something else."""
    path = dataset.root / dataset.paths[row]
    if dataset.paths[row].startswith(("http:/", "https:/")):
        return "is a URL: download the images first"
    if os.path.islink(path):  # noqa: PTH114 (raises nothing)
        return f"is a link to {os.readlink(path)}, which is not a file"  # noqa: PTH115
    return "is not a regular file" if os.path.lexists(path) else f"is not in {dataset.root}"


def missing_rows(dataset: Dataset) -> list[int]:
    """Return the rows without an image file in the root."""
    root, paths, missing = dataset.root, Texts.of(dataset.paths), list[int]()
    folders, at_N = Texts.of(path.rpartition("/")[0] for path in paths).distinct()
    by_folder = np.split(np.argsort(at_N, kind="stable"), np.bincount(at_N).cumsum()[:-1])
    for folder, rows in zip(folders, by_folder, strict=True):
        listed = regular_files(root / folder)
        for row, path in zip(rows.tolist(), paths.take(rows), strict=True):
            # Listings leave out links, and a file system may accept other spellings (case, Unicode forms), so ask it.
            if path.rpartition("/")[2] not in listed and not _is_there(root / path):
                missing.append(row)
    return sorted(missing)


def _is_there(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (once an image)
    except PermissionError:  # it exists; reading it reports the error
        return True
    except (OSError, ValueError):
        return find_member(path) is not None
