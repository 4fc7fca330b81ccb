"""What the readers of CelebA's lists and merged tables agree on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CelebaRows:
    """The rows of one attribute file, with what the task needs of each.

    lines: 1-based, of ``path``; names: of the image files; labels, splits: (N,) int64; attributes: k arrays (N,) int64,
    0 absent, 1 present.
    """

    path: Path
    lines: Sequence[int]
    names: list[str]
    labels: NDArray[np.int64]
    attributes: list[NDArray[np.int64]]
    splits: NDArray[np.int64]
    notes: tuple[str, ...] = ()
