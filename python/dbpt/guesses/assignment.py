"""Clusters matched one to one with attributes.

SciPy's `linear_sum_assignment` does the same, but guessing needs NumPy alone; SciPy comes with an extra.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def best_assignment(scores: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return a different column for each row, with the largest sum of scores; needs rows <= columns.

    The Hungarian algorithm by shortest augmenting paths (Jonker and Volgenant, 1987), O(rows² · columns).
    """
    rows, columns = scores.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    row_of = np.full(columns + 1, -1)  # the last column is the root of each search
    for row in range(rows):
        distance, previous = np.full(columns, np.inf), np.full(columns, columns)
        done = np.zeros(columns + 1, dtype=bool)
        column, row_of[columns] = columns, row
        while row_of[column] >= 0:
            done[column] = True
            at = row_of[column]
            reduced = -scores[at] - row_price[at] - column_price[:columns]
            shorter = ~done[:columns] & (reduced < distance)
            distance[shorter], previous[shorter] = reduced[shorter], column
            step = np.where(done[:columns], np.inf, distance)
            column = int(step.argmin())
            row_price[row_of[done]] += step[column]
            column_price[done] -= step[column]
            distance[~done[:columns]] -= step[column]
        while column != columns:
            row_of[column] = row_of[previous[column]]
            column = int(previous[column])
    assigned = np.empty(rows, dtype=np.int64)
    used = np.flatnonzero(row_of[:columns] >= 0)
    assigned[row_of[used]] = used
    return assigned
