"""How often a gate passes or fails: the tables in docs/how_to/gate.md.

``--min-worst-group``: the exact binomial probability that a bar of 70 % is met or missed, if one of four groups of
equal size is truly right for 80 or 60 %, and the others for all images.

``--baseline``: how often a true loss of the worst group is seen. Two classifiers answer the same images. The earlier
one is right for 80 % of the images of one group, and for 90 % of those of the others. The later one has lost some
points in that group or in all of them. It also changes its mind at random, as another seed does: 5 % of all
images become wrong and as many right. The gate fails if the interval of the paired difference lies below 0.

Run by hand: ``python benches/gate_power_table.py``, half a minute.
"""

from collections.abc import Iterator
from math import comb

import numpy as np
from numpy.typing import NDArray

from dbpt.evaluation import worst_group_difference_interval, worst_group_interval

BAR, IMAGES = 0.7, (30, 70, 200, 300, 1000)

SIMULATIONS = 2_000
SIZES = {"4 × 30": [30] * 4, "4 × 70": [70] * 4, "2 × 200": [200] * 2, "4 × 300": [300] * 4, "4 × 1000": [1000] * 4}
LOSSES = (0.0, 0.05, 0.1, 0.2)
CHANGES = 0.05


def rows_of_fixed_bars() -> Iterator[str]:
    """Yield the rows of the table of ``--min-worst-group``, one for each number of images of a group."""
    for n in IMAGES:
        bounds = [worst_group_interval([right, n, n, n], [n] * 4) or (0.0, 1.0) for right in range(n + 1)]
        meets = [(low >= BAR, right / n >= BAR, high >= BAR) for right, (low, high) in enumerate(bounds)]
        good, bad = (
            [sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if meets[k][by]) for by in range(3)]
            for p in (0.8, 0.6)
        )
        cells = (good[0], good[1], 1 - bad[1], 1 - bad[2])
        yield f"| {n} | {' | '.join(f'{100 * share:.0f} %' for share in cells)} |"


def fails(counts: list[int], losses: NDArray[np.float64], random: np.random.Generator) -> bool:
    """Return whether the gate fails in one simulation; ``losses`` (G,) are those of each group."""
    groups = np.repeat(np.arange(len(counts)), counts)
    accuracy = np.where(groups == 0, 0.8, 0.9)
    before = random.random(len(groups)) < accuracy
    to_wrong = (CHANGES + losses[groups]) / accuracy
    to_right = CHANGES / (1 - accuracy)
    draw = random.random(len(groups))
    after = np.where(before, draw >= to_wrong, draw < to_right)
    interval = worst_group_difference_interval(after, before, groups)
    assert interval is not None
    return interval[1] < 0


def main() -> None:
    """Print the tables."""
    print("| images | lower-bound passes 80 % | estimate passes 80 % | estimate fails 60 % | upper-bound fails 60 % |")
    print("\n".join(["|---|---|---|---|---|", *rows_of_fixed_bars()]) + "\n")
    print("| images | no loss | " + " | ".join(f"{100 * loss:.0f} points, {where}" for loss in LOSSES[1:]
          for where in ("one group", "all groups")) + " |")  # fmt: skip
    print("|" + "---|" * (2 + 2 * len(LOSSES[1:])))
    for name, counts in SIZES.items():
        random, cells = np.random.default_rng(0), []
        for loss in LOSSES:
            only_one = np.array([loss, *[0.0] * (len(counts) - 1)])
            for losses in [only_one] if not loss else [only_one, np.full(len(counts), loss)]:
                share = np.mean([fails(counts, losses, random) for _ in range(SIMULATIONS)])
                cells.append(f"{100 * share:.1f} %" if share < 0.01 else f"{100 * share:.0f} %")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
