"""How exact the samplers of groups are where they only promise averages: the figures in docs/how_to/sampling.md.

Prints how far a group's draws of an epoch are from its share on average over seeds; how far one seed can be if the
shares alternate from epoch to epoch; and in how many batches of P groups × K members a row occurs twice. Run by hand,
in a minute: ``python benches/sampling_shares_table.py``.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.sampling import GroupBatchSampler, GroupSampler

SEEDS, EPOCHS = 4_000, 60
SHARES = [[1, 1, 1], [0.5, 0.1, 0.4], [0.7, 0.2, 0.1], [1, 2, 3, 4, 5]]
SIZES = (3, 7, 10, 50)
PAIRS, SEEDS_OF_A_PAIR = 300, 5


def quotas(shares: Sequence[float], size: int, seed: int, epochs: Iterable[int]) -> NDArray[np.int64]:
    """Return the draws (E, G) of each group in the epochs."""
    sampler = GroupSampler(np.arange(60) % len(shares), num_samples=size, shares=shares, seed=seed)
    drawn = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        drawn.append(sampler.quotas)
    return np.array(drawn)


def over_seeds() -> None:
    """Print the largest difference between a group's share of an epoch and its mean over seeds, in draws."""
    print(f"mean over {SEEDS} seeds: largest difference from the share in any of {EPOCHS} epochs, in draws")
    for shares in SHARES:
        share_G, cells = np.array(shares) / sum(shares), []
        for size in SIZES:
            total = sum(quotas(shares, size, seed, range(EPOCHS)) for seed in range(SEEDS))
            cells.append(f"{size} draws: {abs(total / SEEDS - share_G * size).max():.3f}")
        print(f"  {shares}  {'  '.join(cells)}")
    print(f"  standard error of a mean: at most {0.5 / SEEDS**0.5:.3f}")


def alternating() -> None:
    """Print by how much one seed misses a group's shares if two shares alternate, over `EPOCHS` * 2 epochs."""
    print(f"one seed, two shares in turn: the worst group of {PAIRS} pairs of shares, {SEEDS_OF_A_PAIR} seeds each")
    random, steps = np.random.default_rng(0), np.arange(1, 20)
    for size in SIZES:
        draws, relative = 0.0, 0.0
        for _ in range(PAIRS):
            # shares of three groups in steps of 0.05
            cuts = np.sort([random.choice(steps, 2, replace=False) for _ in range(2)], axis=1)
            pair = np.diff(cuts, prepend=0, append=20) / 20
            expected = pair.mean(axis=0) * size
            for seed in range(SEEDS_OF_A_PAIR):
                even, odd = (quotas(pair[i], size, seed, range(i, 2 * EPOCHS, 2)) for i in (0, 1))
                off = abs((even.sum(axis=0) + odd.sum(axis=0)) / (2 * EPOCHS) - expected)
                draws, relative = max(draws, off.max()), max(relative, (off / expected).max())
        print(f"  {size} draws an epoch: {draws:.2f} draws an epoch, {100 * relative:.1f} % of a group's draws")


def repeats() -> None:
    """Print how often a batch of P groups × K members has a row twice."""
    print("batches with a row twice")
    for members, groups, places, per_group in (
        (100, 20, 3, 4), (100, 10, 4, 8), (100, 10, 4, 16), (30, 20, 8, 4), (30, 20, 8, 8), (10, 50, 8, 4),
        (1000, 20, 4, 8),
    ):  # fmt: skip
        of_rows = np.arange(members * groups) % groups
        sampler = GroupBatchSampler(of_rows, places * per_group, groups_per_batch=places, seed=0)
        twice, number = 0, 0
        for epoch in range(200):
            sampler.set_epoch(epoch)
            batches = [np.asarray(batch) for batch in sampler]
            twice += sum(len(set(batch.tolist())) < len(batch) for batch in batches)
            number += len(batches)
        said = f"{members} members, {places} groups × {per_group}"
        print(f"  {said}: {100 * twice / number:.1f} % of {number} batches")


if __name__ == "__main__":
    over_seeds()
    alternating()
    repeats()
