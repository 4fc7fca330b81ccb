"""Measure the bias of the share of explained errors, and how often its 95 % interval holds, at known error rates.

Each data set has the errors of one class, or of several alike, with as many rows in each group; or of classes that go
with the attribute. Run by hand:

    python benches/explained_share_table.py [DATA_SETS]
"""

import sys

import numpy as np

from dbpt.evaluation import explained_errors

EFFECTS = {f"{size} groups, one worse": [[0.4] + [0.1] * (size - 1)] for size in (2, 5, 10)}
NULL = {f"{size} groups, no effect": [[0.2] * size] for size in (2, 5, 10)}
GRADUAL = {"10 groups, from 10 to 40 %": [np.linspace(0.1, 0.4, 10)]}
CLASSES = {"7 classes of 4 groups, one worse": [[0.4, 0.1, 0.1, 0.1]] * 7}
MANY = {"50 classes of 2 groups, one worse": [[0.4, 0.1]] * 50}
RARE = {"2 groups, 2 and 0.1 %": [[0.02, 0.001]]}
UNEVEN = {
    "2 classes, 90 % of each in one of 2 groups, the other worse": ([[0.1, 0.6], [0.6, 0.1]], 0.9, (150, 600)),
    "7 classes, 70 % of each in one of 4 groups, the others worse": (
        0.4 - 0.3 * np.eye(4)[[0, 1, 2, 3, 0, 1, 2]],
        0.7,
        (600, 2400),
    ),
}
"""Error rates, the share of a class's rows in the group of its own number, and all rows."""
ROWS = dict.fromkeys(MANY, (10, 30)) | dict.fromkeys(RARE, (300, 1000))
"""Rows of a group, where they are not 30 and 300."""
HEADER = (
    "| error rates | rows of a group | true share | mean share | standard deviation | interval holds | mean width |\n"
)


def main(data_sets: int) -> None:
    """Print the table."""
    print(HEADER + "|---" * 7 + "|", flush=True)
    for name, rates in (EFFECTS | NULL | GRADUAL | CLASSES | MANY | RARE).items():
        for rows in ROWS.get(name, (30, 300)):
            rates_CA = np.asarray(rates)
            print(f"| {name} | {rows} | {measured(rates_CA, np.full(rates_CA.shape, rows), data_sets)} |", flush=True)
    for name, (rates, own, sizes) in UNEVEN.items():
        rates_CA = np.asarray(rates)
        classes, attributes = np.indices(rates_CA.shape)
        share_CA = np.where(attributes == classes % len(rates_CA[0]), own, (1 - own) / (len(rates_CA[0]) - 1))
        for rows in sizes:
            counts_CA = np.rint(share_CA * rows / len(rates_CA)).astype(int)
            print(f"| {name} | {rows} in all | {measured(rates_CA, counts_CA, data_sets)} |", flush=True)


def measured(rates_CA: np.ndarray, counts_CA: np.ndarray, data_sets: int) -> str:
    """The cells of a row."""
    random, size = np.random.default_rng(0), dict(zip(("num_classes", "num_attributes"), rates_CA.shape, strict=True))
    labels, attributes = np.indices(rates_CA.shape).reshape(2, -1).repeat(counts_CA.ravel(), axis=1)
    found = []
    for seed in range(data_sets):
        right = random.uniform(size=len(labels)) >= rates_CA.ravel().repeat(counts_CA.ravel())
        each = explained_errors(right, labels, attributes, permutations=1, seed=seed, **size)
        found.append((each.share or 0.0, each.share_low or 0.0, 1.0 if each.share_high is None else each.share_high))
    best = (rates_CA.min(axis=1) * counts_CA.sum(axis=1)).sum()
    (share, low, high), true = np.array(found).T, 1 - best / (rates_CA * counts_CA).sum()
    holds = ((low <= true + 1e-9) & (true <= high + 1e-9)).mean()
    return " | ".join(f"{100 * each:.1f}" for each in (true, share.mean(), share.std(), holds, (high - low).mean()))


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["400"])[0]))
