"""How often the interval over draws has the truth, for linear classifiers of Gaussian groups with small minorities.

Run as a script, it prints the table of docs/how_to/compare.md.
"""

from dataclasses import dataclass

import numpy as np

from dbpt.commands.compare.resampling import half_of_each
from dbpt.evaluation.row_differences import interval_over_draws

FEATURES, MAJORITY, TEST = 16, 150, 200
CENTRES = np.zeros((4, FEATURES), np.float32)  # of class · attribute; the attribute is easier to see
CENTRES[:, :2] = [[-1, -1.5], [-1, 1.5], [1, -1.5], [1, 1.5]]


@dataclass(frozen=True)
class Coverage:
    """Biases in standard deviations of the difference over pools, and shares of intervals that have the truth.

    ``bias_of_draws`` is that of means over bootstraps, ``covered`` are the shares by the number of draws.
    """

    truth: float
    bias: float
    bias_of_draws: float
    spread: float
    covered: dict[int, float]


def coverage(minority: int, pools: int, draws: int, seed: int = 0) -> Coverage:
    """Simulate training sets ("pools") whose minority groups have ``minority`` rows, and ``draws`` of each.

    The truth is the mean difference between the worst-group accuracy of balanced training and of ERM over other pools.
    """
    random = np.random.default_rng([seed, minority])
    groups = np.repeat(np.arange(4), [MAJORITY, minority, minority, MAJORITY])
    others = np.concatenate([differences(random, groups, np.ones((100, len(groups), 1))) for _ in range(20)])
    truth, deviation = others.mean(), others.std()
    weights = np.ones((pools, len(groups), 1 + draws + 5))
    for pool in range(pools):
        halves = [half_of_each(groups, pool * draws + draw) for draw in range(draws)]
        weights[pool, :, 1 : 1 + draws] = np.transpose(halves)
        for g in range(4):  # bootstraps, for comparison
            n = np.count_nonzero(groups == g)
            weights[pool, groups == g, 1 + draws :] = random.multinomial(n, np.full(n, 1 / n), 5).T
    found = np.concatenate([differences(random, groups, part) for part in np.array_split(weights, max(1, pools // 50))])
    whole, halved = found[:, 0], found[:, 1 : 1 + draws]

    def share(number: int) -> float:
        bounds = [
            interval_over_draws(one, some[:number].tolist(), minority) for one, some in zip(whole, halved, strict=True)
        ]
        return float(np.mean([low <= truth <= high for low, high in bounds]))

    return Coverage(
        truth=float(truth),
        bias=float((whole.mean() - truth) / deviation),
        bias_of_draws=float((found[:, 1 + draws :].mean() - truth) / deviation),
        spread=float(np.sqrt(halved.var(axis=1, ddof=1).mean()) / deviation),
        covered={number: share(number) for number in (5, 10, 20, 50) if number <= draws},
    )


def differences(random: np.random.Generator, groups: np.ndarray, weights_PNK: np.ndarray) -> np.ndarray:
    """Draw P pools of N rows; return the differences in worst-group accuracy, (P, K), of trainings by K weights."""
    x_PND = np.ones((*weights_PNK.shape[:2], FEATURES + 1), np.float32)
    x_PND[..., :-1] = random.standard_normal((*x_PND.shape[:2], FEATURES)) + CENTRES[groups]
    test = np.repeat(np.arange(4), TEST)
    x_TD = np.ones((len(test), FEATURES + 1), np.float32)
    x_TD[:, :-1] = np.random.default_rng(7).standard_normal((len(test), FEATURES)) + CENTRES[test]
    worst = []
    for balance in (False, True):
        weights = weights_PNK.astype(np.float32)
        for g in range(4) if balance else ():
            weights[:, groups == g] /= weights[:, groups == g].sum(axis=1, keepdims=True)
        theta_PDK = trained(x_PND, groups >= 2, weights / weights.sum(axis=1, keepdims=True))
        right_PTK = (x_TD @ theta_PDK > 0) == (test >= 2)[:, None]
        worst.append(right_PTK.reshape(len(x_PND), 4, TEST, -1).mean(axis=2).min(axis=1))
    return worst[1] - worst[0]


def trained(x_PND: np.ndarray, y_N: np.ndarray, weights_PNK: np.ndarray) -> np.ndarray:
    """Return (P, D, K): logistic regressions after 60 steps from a start that looks at the attribute too."""
    theta = np.zeros((x_PND.shape[0], x_PND.shape[2], weights_PNK.shape[2]), np.float32)
    theta[:, 0], theta[:, 1] = 1, 0.6
    step = np.zeros_like(theta)
    for _ in range(60):
        p = 1 / (1 + np.exp(-(x_PND @ theta)))
        gradient = x_PND.transpose(0, 2, 1) @ (weights_PNK * (p - y_N[:, None]))
        step = 0.9 * step + gradient + 0.01 * theta
        theta -= 0.15 * step
    return theta


if __name__ == "__main__":
    print("| rows | difference | bias | bias of means over bootstraps | s | 5 | 10 | 20 | 50 draws |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in (1, 2, 3, 5, 10, 15, 30, 100):
        found = coverage(size, pools=300, draws=50)
        figures = f"{100 * found.truth:.1f} | {found.bias:+.2f} | {found.bias_of_draws:+.2f} | {found.spread:.2f}"
        shares = " | ".join(f"{100 * each:.0f} %" for each in found.covered.values())
        print(f"| {size} | {figures} | {shares} |", flush=True)
