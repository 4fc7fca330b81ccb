"""Which drawings a demo data set consists of: split, class and attribute of every row, before anything is drawn.

Training has the group shares of the original data sets; in validation and test the attribute is balanced within
each class, as in Waterbirds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Training rows of the originals, in the group order (y, a) = 00, 01, 10, 11.
TRAIN_COUNTS: dict[str, tuple[int, int, int, int]] = {
    "demo-waterbirds": (3498, 184, 56, 1057),
    "demo-celeba": (71629, 66874, 22880, 1387),
    "demo-metashift": (784, 507, 196, 789),
}
SPLIT_SIZES: tuple[int, int, int] = (2400, 600, 1200)


@dataclass(frozen=True)
class Row:
    """One drawing: its number (which seeds its generator), split (0 train, 1 val, 2 test), class, attribute."""

    index: int
    split: int
    label: int
    attribute: int


def group_counts(name: str, split: int, size: int) -> tuple[int, ...]:
    """Return how many of `size` rows each group gets, by the largest remainder."""
    train = np.array(TRAIN_COUNTS[name], dtype=np.float64)
    balanced = np.repeat((train[0::2] + train[1::2]) / 2.0, 2)
    exact = (train if split == 0 else balanced) / train.sum() * size
    counts = np.floor(exact).astype(np.int64)
    if split > 0:  # both groups of a class alike; the larger class takes what is over
        counts[0:2] += (size - int(counts.sum())) // 2
        return tuple(counts.tolist())
    for group in np.argsort(counts - exact, kind="stable")[: size - int(counts.sum())]:
        counts[group] += 1
    return tuple(counts.tolist())


def plan_rows(name: str, seed: int, sizes: tuple[int, int, int] = SPLIT_SIZES) -> list[Row]:
    """Return the rows of a data set, splits in order and groups shuffled within each."""
    rng = generator(name, seed, 0)
    rows: list[Row] = []
    for split, size in enumerate(sizes):
        groups = np.repeat(np.arange(4), group_counts(name, split, size))
        for group in rng.permutation(groups).tolist():
            rows.append(Row(len(rows) + 1, split, group // 2, group % 2))
    return rows


def generator(name: str, seed: int, index: int) -> np.random.Generator:
    """Return the generator of drawing `index`: PCG64 of (seed, world, index), so that the order of drawing is free."""
    return np.random.Generator(np.random.PCG64([seed, list(TRAIN_COUNTS).index(name), index]))
