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

FIRST_SHARE, LARGEST_SHARE, SMALLEST_SHARE = 0.03, 0.5, 1e-12
"""Of wrong labels: where the fit starts, and the bounds."""
MOST_FITTED, MOST_NUMBERS = 2000, 4_000_000
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
        quality: (n,) float64, the probability of the label among the classes, for an image with this attribute, if its
            groups were equally large.
        likeliest: (n,) int64, the class that the image looks like. It is the label, unless it is more probable that
            the image is of another class and its label wrong.
        share_wrong: the expected share of wrong labels among all.
    """

    quality: NDArray[np.float64]
    likeliest: NDArray[np.int64]
    share_wrong: float


def label_quality(labels: ArrayLike, attributes: ArrayLike, *probabilities: ArrayLike) -> LabelQuality:
    """Return how well each label fits its image, from probabilities of the classes by one or more sources.

    A multinomial logistic regression predicts the true classes. Its inputs are the logarithms of the probabilities,
    each source with one slope; each class has an intercept for each attribute (vector scaling of Guo et al., 2017,
    within attributes). In each group, of a true class and an attribute, a share of the images has another class as
    their label. The shares are fitted too (label-noise robust logistic regression of Bootkrajang and Kabán, 2012). So
    labels are called wrong only where more of them contradict the probabilities, and more surely, than those of hard
    images do. Then the sizes of the groups of an attribute are divided out.

    Use probabilities for images that the classifier was not trained on: one that has learnt wrong labels by heart
    repeats them. At least one source should tell the classes apart among images with the same attribute: if none does,
    no label is called wrong, though some may be.

    Args:
        labels: (n,) the given classes, 0 to C - 1.
        attributes: (n,) integers, -1 where unknown.
        probabilities: (n, C) each, such as those of a classifier and of zero-shot CLIP.

    Returns:
        The quality of each label, the class that each image looks like, and the expected share of wrong labels.

    Raises:
        InputError: for arrays of other shapes, labels out of range, and what are no probabilities.

    >>> probabilities = np.repeat([[0.95, 0.05], [0.4, 0.6], [0.05, 0.95]], [90, 20, 90], axis=0)
    >>> labels = [0] * 80 + [1] * 10 + [0, 1] * 10 + [1] * 90  # those of rows 80 to 89 are wrong
    >>> found = label_quality(labels, [0] * 200, probabilities)
    >>> np.flatnonzero(found.likeliest != labels).tolist(), round(found.share_wrong, 2)
    ([80, 81, 82, 83, 84, 85, 86, 87, 88, 89], 0.05)
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
    slopes, intercepts, shares, share_wrong = _fitted(sources, y, a, counts)
    intercepts -= np.log(np.maximum(counts, 1))
    as_other = shares / max(num_classes - 1, 1)
    quality, likeliest = np.empty(n), np.empty(n, np.int64)
    block_rows = max(BLOCK_NUMBERS // num_classes, 1)
    for start in range(0, n, block_rows):
        rows = slice(start, start + block_rows)
        logits = _logarithms(sources, rows) @ slopes + intercepts[a[rows]]
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        own = np.arange(len(likely)), y[rows]
        quality[rows] = likely[own] / likely.sum(axis=1)
        likely_own = likely[own] * (1 - shares[a[rows], y[rows]])
        likely *= as_other[a[rows]]
        likely[own] = likely_own
        likeliest[rows] = likely.argmax(axis=1)
    return LabelQuality(quality, likeliest, share_wrong)


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
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Return the slopes (S,), the intercepts (A, C), the shares of wrong labels (A, C), and that in all.

    ``counts`` (A, C) are the images of each group. Slopes, intercepts, and the deviations of the shares' log-odds from
    their common one have a standard normal prior, so that a group of few images moves its own little.
    """
    import torch

    num_classes = counts.shape[1]
    of_image = num_classes * len(sources) * max(np.count_nonzero(counts), 1)
    most = min(MOST_FITTED, max(MOST_NUMBERS // of_image, 1))
    fitted = np.flatnonzero(ids.random_part(a * num_classes + y, lambda n: min(n, most), seed=0))
    sizes = counts[a[fitted], y[fitted]]
    weights = torch.from_numpy(sizes / np.minimum(sizes, most))
    x = torch.from_numpy(_logarithms(sources, fitted))
    labels, attributes = torch.from_numpy(y[fitted])[:, None], torch.from_numpy(a[fitted])
    expected = torch.full((len(sources),), 1 / len(sources), dtype=torch.float64)  # of probabilities
    slopes = expected.clone().requires_grad_()
    intercepts, deviations = (torch.zeros(counts.shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    common = torch.tensor(FIRST_SHARE / LARGEST_SHARE, dtype=torch.float64).logit().requires_grad_()
    parameters = [slopes, intercepts, deviations, common]

    def of_images() -> tuple[torch.Tensor, torch.Tensor]:
        """Return the probability of each class with its true label, and with a wrong one, (n, C) each."""
        likely = torch.softmax(x @ slopes + intercepts[attributes], 1)
        wrong = likely * LARGEST_SHARE * (common + deviations).sigmoid()[attributes]
        return likely - wrong, wrong

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        right, wrong = of_images()
        others = (wrong.sum(1, keepdim=True) - wrong.gather(1, labels)) / max(num_classes - 1, 1)
        loss = -weights @ (right.gather(1, labels) + others)[:, 0].log()
        prior = sum(each.square().sum() for each in (slopes - expected, intercepts, deviations)) / 2
        objective: torch.Tensor = (loss + prior) / len(y)
        objective.backward()  # type: ignore[no-untyped-call]
        return objective

    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")
    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        shares = LARGEST_SHARE * (common + deviations).sigmoid()
        share_wrong = float(weights @ of_images()[1].sum(1)) / max(len(y), 1)
        return slopes.numpy(), intercepts.numpy(), shares.clamp(min=SMALLEST_SHARE).numpy(), share_wrong
