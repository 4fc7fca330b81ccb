"""`dbpt.sklearn.DebiasedClassifier` and plain scikit-learn on small skewed tasks: the table of benches/README.md.

Peers: `LogisticRegression` without groups and with `dbpt.sample_weights`, and logistic regression on the groups whose
logits are divided by the groups' shares. Each draw is a new task: some classes and as many attributes, each common in
one class and rare in the others. All other images are test images. Run by hand, on demos, on simulated features and on
.npz files with ``features`` (N, D), ``labels`` (N,) and ``attributes`` (N,):

    python benches/sklearn_table.py DRAWS simulated demo-waterbirds [my-features.npz ...]
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dbpt
from dbpt.settings.config import make_config
from dbpt.sklearn import DebiasedClassifier, worst_group_score
from dbpt.study.data import resolve_demo
from dbpt.study.stages import load_and_embed


class Rows(NamedTuple):
    """Features (N, D), classes and attributes (N,)."""

    X: NDArray[Any]
    y: NDArray[Any]
    a: NDArray[Any]

    def take(self, rows: Any) -> Rows:
        """Return some of the rows."""
        return Rows(self.X[rows], self.y[rows], self.a[rows])


SIZES = {
    "2 × 2, few": (2, (20, 30), (3, 5)),
    "3 × 3, few": (3, (20, 30), (3, 5)),
    "2 × 2, more": (2, (60, 400), (5, 10)),
}
"""Numbers of classes and of attributes, range of the rows in a common and in a rare group."""
LEFT_FOR_TEST = 0.3  # of the images of a group
Method = Callable[[Rows, NDArray[Any]], NDArray[Any]]


def with_weights(train: Rows, X: NDArray[Any]) -> NDArray[Any]:
    """Predict by `LogisticRegression` with `dbpt.sample_weights`."""
    weights = dbpt.sample_weights(list(zip(train.y, train.a, strict=True)))
    return LogisticRegression(max_iter=5000).fit(train.X, train.y, sample_weight=weights).predict(X)


def on_groups(train: Rows, X: NDArray[Any]) -> NDArray[Any]:
    """Predict by logistic regression on the groups, C = 10, divided by their shares."""
    classes, attributes = np.unique(train.y), np.unique(train.a)
    groups = np.searchsorted(classes, train.y) * len(attributes) + np.searchsorted(attributes, train.a)
    logits = LogisticRegression(C=10, max_iter=5000).fit(train.X, groups).decision_function(X)
    logits = logits - np.log(np.bincount(groups))
    return classes[logsumexp(logits.reshape(len(X), len(classes), -1), axis=2).argmax(axis=1)]


def estimator(model: Any, *, pairs: bool = False) -> Method:
    """Return the method of a `DebiasedClassifier`, or of a pipeline that ends in one."""

    def predict(train: Rows, X: NDArray[Any]) -> NDArray[Any]:
        groups = list(zip(train.y, train.a, strict=True)) if pairs else train.a
        return make_pipeline(*model).fit(train.X, train.y, **{f"{last}__groups": groups}).predict(X)

    last = type(model[-1]).__name__.lower()
    return predict


METHODS: dict[str, Method] = {
    "`LogisticRegression`": lambda train, X: LogisticRegression(max_iter=5000).fit(train.X, train.y).predict(X),
    "`LogisticRegression`, `sample_weights`": with_weights,
    "`LogisticRegression` on groups, C = 10, divided by shares": on_groups,
    **{f"`gla`, C = {C:g}": estimator([DebiasedClassifier(C=C)]) for C in (1, 3, 10, 30)},
    "`gla` on standardised columns": estimator([StandardScaler(), DebiasedClassifier()]),
    "`gla` from groups of class and attribute": estimator([DebiasedClassifier()], pairs=True),
    "`balanced`": estimator([DebiasedClassifier("balanced")]),
}


def skewed(rows: Rows, size: str, random: np.random.Generator) -> tuple[Rows, Rows]:
    """Draw a task: training and test rows."""
    number, common, rare = SIZES[size]
    classes, attributes = (random.permutation(np.unique(each))[:number] for each in (rows.y, rows.a))
    train, test = [], []
    for i, y in enumerate(classes):
        for j, a in enumerate(attributes):
            members = random.permutation(np.flatnonzero((rows.y == y) & (rows.a == a)))
            wanted = random.integers(*(common if i == j else rare), endpoint=True)
            wanted = min(wanted, int(len(members) * (1 - LEFT_FOR_TEST)))
            train.append(members[:wanted])
            test.append(members[wanted:])
    return rows.take(np.concatenate(train)), rows.take(np.concatenate(test))


def simulated(random: np.random.Generator, columns: int = 512) -> Rows:
    """Return rows of length 1: a common mean, parts of class, attribute and both, and noise of decreasing variance."""
    variance = np.arange(1.0, columns + 1) ** -random.uniform(0.5, 1.2)
    variance *= random.uniform(0.3, 0.5) / variance.sum()
    directions = random.normal(size=(15, columns)) * variance**0.25
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = random.uniform([0.1] * 3 + [0.15] * 3 + [0.05] * 9, [0.25] * 3 + [0.35] * 3 + [0.2] * 9)
    of_class, of_attribute, of_both = np.split(directions * lengths[:, None], [3, 6])
    y, a = np.divmod(np.arange(9 * 700) % 9, 3)
    mean = random.normal(size=columns) * np.sqrt((1 - variance.sum()) / columns)
    X = (
        mean
        + of_class[y]
        + of_attribute[a]
        + of_both[3 * y + a]
        + random.normal(size=(len(y), columns)) * variance**0.5
    )
    rotation = np.linalg.qr(random.normal(size=(columns, columns)))[0]  # else standardised columns were whitened
    return Rows(X / np.linalg.norm(X, axis=1, keepdims=True) @ rotation, y, a)


def source_of(name: str) -> Callable[[np.random.Generator], Rows]:
    """Return what gives the rows of a draw."""
    if name == "simulated":
        return simulated
    if name.endswith(".npz"):
        arrays = np.load(name)
        rows = Rows(arrays["features"], arrays["labels"], arrays["attributes"])
    else:
        embedded = load_and_embed([resolve_demo(make_config({"data": name}))])
        rows = Rows(np.asarray(embedded.features), embedded.dataset.labels, embedded.dataset.attributes)
    return lambda random: rows


def columns(draws: int, sources: list[str]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the worst group of each method in each draw of a task (draws, methods), in per cent."""
    for source in sources:
        rows_of = source_of(source)
        for size, (number, _, _) in SIZES.items():
            if min(len(np.unique(each)) for each in rows_of(np.random.default_rng(0))[1:]) < number:
                continue
            worst = np.empty((draws, len(METHODS)))
            for draw in range(draws):
                random = np.random.default_rng([draw, number])
                train, test = skewed(rows_of(random), size, random)
                worst[draw] = [100 * worst_group_score(test.y, of(train, test.X), test.a) for of in METHODS.values()]
            yield f"{Path(source).stem}, {size}", worst


def main(draws: int, sources: list[str]) -> None:
    """Print the table: a row for each method, a column for each source and size; differences are from the best peer."""
    warnings.simplefilter("ignore")  # about the last digits of convergence
    table = [(name, worst) for name, worst in columns(draws, sources)]
    print(f"| worst group, {draws} draws | {' | '.join(name for name, _ in table)} |\n|---|{'---|' * len(table)}")
    for row, method in enumerate(METHODS):
        cells = []
        for _, worst in table:
            gain = worst[:, row] - worst[:, 1 + worst[:, 1:3].mean(axis=0).argmax()]
            error = gain.std(ddof=1) / np.sqrt(draws)
            cells.append(f"{worst[:, row].mean():.1f}" + (f" ({gain.mean():+.1f} ± {error:.1f})" if error else ""))
        print(f"| {method} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
