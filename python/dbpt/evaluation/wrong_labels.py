"""Label quality: whether an image looks like its label, judged among images with the same attribute.

A classifier that relies on an attribute errs on the rare groups, so its probability of the label alone calls correct
labels of rare groups wrong. A score within the group alone hides wrong labels: a wrong label moves an image of a common
group into a rare one. This one compares the classes among the images of an attribute.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups import ids

SIZE_REMOVED = 0.65
"""The power of a group's size that is divided out, chosen by benches/wrong_labels_table.py.

With 0, most correct labels of rare groups look wrong; with 1, many of common groups do, and wrong labels are missed."""
LEAST_EXPLAINED, LEAST_GAIN = 0.05, 5.0
"""The part of the labels' entropy, and the nats for each source, that sources must explain to judge labels."""
MOST_FITTED, MOST_NUMBERS = 2000, 8_000_000
"""Images of each group that the fit uses, and their probabilities in all, though at least one image of each group; the
weights of the images stand for the others."""
TOLERANCE = 0.01
"""So much may the sum of the probabilities of an image differ from 1."""
SMALLEST = 1e-6
BLOCK_NUMBERS = 1 << 18


@dataclass(frozen=True, eq=False)
class LabelQuality:
    """The fit of the labels of n images.

    Attributes:
        quality: (n,) float64, the probability of the label among the classes, for an image with this attribute.
        likeliest: (n,) int64, the class that the image looks like. It is the label, unless another class is more
            probable both by ``quality`` and by the sources without the intercepts.
        is_judged: False if the sources hardly predict the labels, so that no label is called wrong.
    """

    quality: NDArray[np.float64]
    likeliest: NDArray[np.int64]
    is_judged: bool


def label_quality(labels: ArrayLike, attributes: ArrayLike, *probabilities: ArrayLike) -> LabelQuality:
    """Return how well each label fits its image, from probabilities of the classes by one or more sources.

    A multinomial logistic regression predicts the labels. Its inputs are the logarithms of the probabilities, each
    source with one slope; each class has an intercept for each attribute (vector scaling of Guo et al., 2017, within
    attributes). Then the sizes N of the groups are partly divided out, by N ** SIZE_REMOVED.

    Use probabilities for images that the classifier was not trained on: one that has learnt wrong labels by heart
    repeats them. At least one source should tell the classes apart among images with the same attribute: if none does,
    wrong labels and correct ones of rare groups look the same, and both are called wrong.

    Args:
        labels: (n,) the given classes, 0 to C - 1.
        attributes: (n,) integers, -1 where unknown.
        probabilities: (n, C) each, such as those of a classifier and of zero-shot CLIP.

    Returns:
        The quality of each label, and the class that each image looks like.

    Raises:
        InputError: for arrays of other shapes, labels out of range, and what are no probabilities.

    >>> probabilities = np.repeat([[0.9, 0.1], [0.2, 0.8]], 10, axis=0)
    >>> labels = [0] * 9 + [1] * 11  # that of row 9 is wrong
    >>> label_quality(labels, [0] * 20, probabilities).likeliest[8:11].tolist()
    [0, 0, 1]
    """
    if not probabilities:
        raise InputError("probabilities: none are given; expected one array (n, C) or more")
    sources = [_checked(f"probabilities {i}", source) for i, source in enumerate(probabilities, 1)]
    n, num_classes = sources[0].shape
    for i, source in enumerate(sources, 1):
        if source.shape != (n, num_classes):
            raise InputError(f"probabilities {i} have shape {source.shape}; expected {(n, num_classes)}")
    y = ids.checked_indices(labels, "labels", 0, num_classes, rows=n)
    a = ids.checked_indices(attributes, "attributes", -1, ids.MAX_GROUPS, rows=n) + 1
    num_attributes = int(a.max(initial=0)) + 1
    counts = np.bincount(a * num_classes + y, minlength=num_attributes * num_classes).reshape(-1, num_classes)
    slopes, intercepts, gain, explained = _fitted(sources, y, a, counts)
    least_gain = LEAST_GAIN * len(sources)
    is_judged = gain >= least_gain and explained >= LEAST_EXPLAINED
    if (
        not is_judged
    ):  # where most rows of rare groups are wrong labels, these are most of the entropy within attributes
        slopes, _, gain, explained = _fitted(sources, y, np.zeros_like(a), counts.sum(axis=0, keepdims=True))
        is_judged = gain >= least_gain and explained >= LEAST_EXPLAINED
    intercepts -= SIZE_REMOVED * np.log(np.maximum(counts, 1))
    quality, likeliest = np.empty(n), y.copy()
    block_rows = max(BLOCK_NUMBERS // num_classes, 1)
    for start in range(0, n, block_rows):
        rows = slice(start, start + block_rows)
        evidence = _logarithms(sources, rows) @ slopes
        logits = evidence + intercepts[a[rows]]
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        own = np.arange(len(logits)), y[rows]
        quality[rows] = logits[own] / logits.sum(axis=1)
        if is_judged:
            other = logits.argmax(axis=1)
            is_other = (logits.max(axis=1) > logits[own]) & (evidence[own[0], other] > evidence[own])
            likeliest[rows] = np.where(is_other, other, y[rows])
    return LabelQuality(quality, likeliest, is_judged)


def _checked(name: str, source: ArrayLike) -> NDArray[Any]:
    array = arguments.array(name, source)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise InputError(f"{name} have shape {array.shape} and dtype {array.dtype}; expected numbers (n, C)")
    sums = array.sum(axis=1, dtype=np.float64)
    is_wrong = ~(np.abs(sums - 1) <= TOLERANCE) | ~(array >= 0).all(axis=1)
    for row in np.flatnonzero(is_wrong)[:1]:
        expected = (
            "expected numbers from 0 on that sum to 1; scipy.special.softmax(logits, axis=1) makes them of logits"
        )
        raise InputError(f"{name}[{row}] sum to {sums[row]:g}, the lowest is {array[row].min():g}; {expected}")
    return array


def _logarithms(sources: list[NDArray[Any]], rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the logarithms of some rows of S sources, (rows, C, S), centred over the classes."""
    logarithms = np.log(np.clip(np.stack([source[rows] for source in sources], axis=2), SMALLEST, 1))
    return np.asarray(logarithms - logarithms.mean(axis=1, keepdims=True), np.float64)


def _fitted(
    sources: list[NDArray[Any]], y: NDArray[np.int64], a: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Return the slopes (S,), the intercepts (A, C), and the entropy within attributes that they explain: nats, share.

    ``counts`` (A, C) are the images of each group. Slopes and intercepts have a standard normal prior, so that a group
    of few images moves its intercept little.
    """
    import torch

    of_image = counts.shape[1] * len(sources) * max(np.count_nonzero(counts), 1)
    most = min(MOST_FITTED, max(MOST_NUMBERS // of_image, 1))
    fitted = np.flatnonzero(ids.random_part(a * counts.shape[1] + y, lambda n: min(n, most), seed=0))
    sizes = counts[a[fitted], y[fitted]]
    weights = torch.from_numpy(sizes / np.minimum(sizes, most))
    x = torch.from_numpy(_logarithms(sources, fitted))
    labels, attributes = torch.from_numpy(y[fitted]), torch.from_numpy(a[fitted])
    slopes = torch.full((len(sources),), 0.5 / len(sources), dtype=torch.float64, requires_grad=True)
    intercepts = torch.zeros(counts.shape, dtype=torch.float64, requires_grad=True)

    def loss() -> torch.Tensor:
        logits = x @ slopes + intercepts[attributes]
        return weights @ torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    optimizer = torch.optim.LBFGS([slopes, intercepts], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        objective: torch.Tensor = (loss() + (slopes.square().sum() + intercepts.square().sum()) / 2) / len(y)
        objective.backward()  # type: ignore[no-untyped-call]
        return objective

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    entropy = -float((counts * np.log(np.where(counts, shares, 1))).sum())
    gain = entropy - float(loss().detach())
    return slopes.detach().numpy(), intercepts.detach().numpy(), gain, gain / entropy if entropy else 0.0
