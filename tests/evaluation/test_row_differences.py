"""The statistics of a comparison: Student's t over seeds, and how often the interval over images covers."""

import math

import numpy as np
import pytest

from dbpt.evaluation import worst_group_difference_interval
from dbpt.evaluation.row_differences import mean_and_deviation, paired_t_interval, within_reach
from dbpt.groups import worst_group_accuracy


def test_the_interval_of_paired_differences():
    differences = [0.40, 0.35, 0.50, 0.41, 0.46]
    mean, deviation = mean_and_deviation(differences)
    assert (mean, deviation) == pytest.approx((np.mean(differences), np.std(differences, ddof=1)))
    half = 2.7764451 * deviation / math.sqrt(5)
    assert paired_t_interval(differences) == pytest.approx((mean - half, mean + half))
    assert mean_and_deviation([0.4]) == (0.4, None)
    assert paired_t_interval([0.4]) is None
    assert within_reach(paired_t_interval([-0.5, 0.9])) == (-1.0, 1.0)  # no difference of accuracies is larger
    assert paired_t_interval([0.4, 0.4]) is None  # not an interval without width


DEMO, WATERBIRDS = (461, 461, 139, 139), (2255, 2255, 642, 642)
COUNTS = {"two": (200, 50), "demo": DEMO, "waterbirds": WATERBIRDS, "eight of 30": (30,) * 8, "twenty": (100,) * 20}


KINDS = {  # accuracies of a method and of the baseline; the falling ones differ by group
    "equal": (0.85, 0.85),
    "equal, nearly all right": (0.98, 0.98),
    "more equal than the baseline": (0.85, (0.97, 0.6)),
    "less equal than the baseline": ((0.97, 0.6), 0.85),
    "better by 10 points": (0.9, 0.8),
    "worst elsewhere": ((0.6, 0.97), (0.97, 0.6)),
}


def accuracies(kind: str, groups: int) -> list[np.ndarray]:
    """(G,) of a method and of the baseline."""
    return [np.linspace(*np.broadcast_to(ends, 2), groups) for ends in KINDS[kind]]


def drawn_pairs(counts, one, other, correlation, draws, seed=0):
    """Right (N,) of both classifiers and groups (N,), many times; what is right is correlated within each image."""
    both = one * other + correlation * np.sqrt(one * (1 - one) * other * (1 - other))
    both = np.clip(both, np.maximum(0, one + other - 1), np.minimum(one, other))
    shares_G4 = np.stack([both, one - both, other - both, 1 - one - other + both], axis=-1).clip(0)
    groups, random = np.repeat(np.arange(len(counts)), counts), np.random.default_rng(seed)
    for _ in range(draws):
        cells_G4 = random.multinomial(counts, shares_G4 / shares_G4.sum(axis=-1, keepdims=True))
        pattern = np.repeat(np.tile(np.arange(4), len(counts)), cells_G4.ravel())
        yield pattern <= 1, pattern % 2 == 0, groups


PAIRS = [
    pytest.param(counts, kind, (0.0, 0.6, 0.9)[(i + j) % 3], marks=[pytest.mark.full] if (i + j) % 3 else ())
    for i, counts in enumerate(COUNTS)
    for j, kind in enumerate(KINDS)
]


@pytest.mark.parametrize(("name", "kind", "correlation"), PAIRS)
def test_the_interval_over_images_covers(name, kind, correlation):
    counts, draws = COUNTS[name], 300
    one, other = accuracies(kind, len(counts))
    truth = one.min() - other.min()
    bounds = np.array([
        worst_group_difference_interval(*pair) for pair in drawn_pairs(counts, one, other, correlation, draws)
    ])  # fmt: skip
    assert ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean() >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / draws)
    # not wider than the difference of two independent accuracies in the smallest group, allowing for many groups
    z = {2: 2.24, 4: 2.50, 8: 2.74, 20: 3.02}[len(counts)]
    spread = max(math.hypot(*(math.sqrt(p * (1 - p) / n + 1 / n**2) for p in pair))
                 for n in counts for pair in zip((one.min(), 0.5), (other.min(), 0.5), strict=True))  # fmt: skip
    assert (bounds[:, 1] - bounds[:, 0]).mean() < 2 * z * spread


def test_pairing_narrows_the_interval():
    counts, (one, other) = DEMO, accuracies("equal", 4)
    pairs = [drawn_pairs(counts, one, other, correlation, 50) for correlation in (0.0, 0.9)]
    widths = [np.mean([np.diff(worst_group_difference_interval(*pair)) for pair in some]) for some in pairs]
    assert widths[1] < 0.65 * widths[0]


def test_one_group_is_newcombe_s_paired_interval():
    # Newcombe (1998), Statistics in Medicine 17, 2635, table II, method 10; right for both, for one, other, neither
    for cells, expected in (((36, 12, 2, 0), (0.0569, 0.3404)), ((20, 12, 2, 16), (0.0562, 0.3292)),
                            ((18, 12, 0, 20), (0.1116, 0.3526)), ((36, 14, 0, 0), (0.1528, 0.4167))):  # fmt: skip
        pattern = np.repeat(np.arange(4), cells)
        found = worst_group_difference_interval(pattern <= 1, pattern % 2 == 0, np.zeros(50, dtype=np.int64))
        assert found == pytest.approx(expected, abs=5e-5)


def test_the_interval_allows_for_the_number_of_groups():
    pattern, right = np.repeat(np.arange(4), (36, 12, 2, 0)), np.ones(5000, dtype=bool)
    one, other = (np.concatenate([rows, right]) for rows in (pattern <= 1, pattern % 2 == 0))
    bounds = [worst_group_difference_interval(one, other, np.repeat([0, g], (50, 5000))) for g in (-1, 1)]
    assert bounds[1][0] < bounds[0][0] - 0.01 and bounds[1][1] > bounds[0][1] + 0.01


def test_the_interval_turns_round_and_ignores_unknown_groups():
    (one, other, groups), *_ = drawn_pairs(DEMO, *accuracies("worst elsewhere", 4), 0.6, 1)
    low, high = worst_group_difference_interval(one, other, groups)
    assert worst_group_difference_interval(other, one, groups) == (-high, -low)
    assert low < worst_group_accuracy(one, groups) - worst_group_accuracy(other, groups) < high
    unknown = np.concatenate([groups + 3, np.full(100, -1)])  # numbers without rows, rows without a group
    more = (np.concatenate([rows, np.arange(100) < n]) for rows, n in ((one, 0), (other, 100)))
    assert worst_group_difference_interval(*more, unknown) == (low, high)
    assert worst_group_difference_interval(one, other, np.full(len(groups), -1)) is None
