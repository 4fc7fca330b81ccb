"""Estimates of accuracies from the labels of a sample, with intervals."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
_AT_ONCE = 100  # simulated splits in memory
_JEFFREYS = 0.5  # images of each attribute in Jeffreys' prior

Images = NDArray[np.float64]
"""(..., H, A), the number of images with each attribute in each stratum."""


@dataclass(frozen=True)
class LabelledStrata:
    """H strata, each of one class and pseudo attribute, and the counts of their labels."""

    sizes: NDArray[np.int64]  # (H,)
    labels: NDArray[np.int64]  # (H,) class index
    pseudo_attributes: NDArray[np.int64]  # (H,), -1 if unlabelled by the run
    right: NDArray[np.int64]  # (H,) 1 if all images are classified correctly, 0 if none is
    counts: NDArray[np.int64]  # (H, A) labelled images by attribute
    num_classes: int

    @property
    def num_attributes(self) -> int:
        """A."""
        return int(self.counts.shape[1])

    @property
    def labelled(self) -> NDArray[np.int64]:
        """(H,) m_h, the number of labelled images."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def pseudo_cells(self) -> NDArray[np.int64]:
        """(H,) an index of class and pseudo attribute, which may be none."""
        return self.labels * (self.num_attributes + 1) + self.pseudo_attributes + 1

    @property
    def cells(self) -> NDArray[np.int64]:
        """(H,) an index of class, pseudo attribute, and right or wrong."""
        return self.pseudo_cells * 2 + self.right

    @property
    def is_pseudo(self) -> NDArray[np.bool_]:
        """(H, A) whether an attribute is the pseudo attribute."""
        return np.asarray(self.pseudo_attributes[:, None] == np.arange(self.num_attributes))

    def by_group(self, images: NDArray[np.float64] | NDArray[np.int64]) -> Images:
        """Return the sum of ``images`` (..., H, A) in each group, (..., G)."""
        in_class = np.eye(self.num_classes)[self.labels]
        by_class: Images = np.einsum("...ha,hc->...ca", images, in_class)
        return by_class.reshape(*images.shape[:-2], -1)


Figure = Callable[[LabelledStrata, Images], Images]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; all None if no label determines it."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimates:
    """The result of `estimate`: figures of the split, and of each of the G groups by the person's labels."""

    pseudo_accuracy: Estimate
    precision: tuple[Estimate, ...]  # by pseudo-group
    accuracy: tuple[Estimate, ...]  # None without a labelled image
    images: tuple[float, ...]  # an estimated number
    worst_group_accuracy: Estimate
    worst_group: int  # the first of the worst


def estimate(strata: LabelledStrata, *, draws: int = DRAWS, seed: int = 0) -> Estimates:
    """Estimate the figures of a split from a stratified sample.

    The interval of worst-group accuracy goes from the smallest lower limit of a group to the smallest upper limit. The
    upper limits are the 1 − 0.025/k quantiles for k groups, since any group may be the worst, so the interval covers at
    least as often as those of the groups. The lower limit includes groups without labelled images if they have images
    by pseudo attribute. The estimate is a minimum over the other groups, biased downward.

    Args:
        strata: the sample; at least one image must be labelled.
        draws: the number of simulated splits from which the intervals are made.
        seed: seed of the simulation. The same seed and NumPy version give the same intervals.

    Returns:
        All figures, with 95 % intervals.
    """
    labelled = strata.labelled[:, None]
    similar = _shares_of_similar(strata, strata.cells, strata.pseudo_cells, strata.pseudo_attributes)
    shares: Images = np.where(labelled > 0, strata.counts / np.maximum(labelled, 1), similar)
    expected: Images = np.multiply(strata.sizes[:, None], shares)
    accuracy_G = np.where(strata.by_group(strata.counts) > 0, _group_accuracy(strata, expected), np.nan)
    accuracies = simulate(_group_accuracy, strata, _prior(strata, strata.cells, _JEFFREYS, _JEFFREYS), draws, seed)
    images_G = strata.by_group(expected)
    seen = np.flatnonzero(~np.isnan(accuracy_G))
    worst = int(seen[accuracy_G[seen].argmin()])
    value = min(float(accuracy_G[worst]), 1.0)  # rounding
    lows = [float(np.nanquantile(accuracies[:, group], 0.025)) for group in np.flatnonzero(images_G > 0)]
    highs = [float(np.nanquantile(accuracies[:, group], 1 - 0.025 / seen.size)) for group in seen]
    whole = np.zeros_like(strata.sizes)
    (pseudo_accuracy,) = _share_right(_pseudo_accuracy, strata, whole, expected, draws, seed)
    return Estimates(
        pseudo_accuracy=pseudo_accuracy,
        precision=_share_right(_precision, strata, strata.pseudo_cells, expected, draws, seed),
        accuracy=tuple(_interval(*columns) for columns in zip(accuracy_G, accuracies.T, accuracies.T, strict=True)),
        images=tuple(images_G.tolist()),
        worst_group_accuracy=Estimate(value, min(value, *lows), max(value, min(highs))),
        worst_group=worst,
    )


def _group_accuracy(strata: LabelledStrata, images: Images) -> Images:
    """Return the accuracy of each group, (..., G); NaN if it has no image."""
    total, right = strata.by_group(images), strata.by_group(images * strata.right[:, None])
    return np.divide(right, total, out=np.full_like(total, np.nan), where=total > 0)


def _pseudo_accuracy(strata: LabelledStrata, images: Images) -> Images:
    """Return the share of correct pseudo attributes, (..., 1); NaN if there are none."""
    total = float(strata.sizes[strata.pseudo_attributes >= 0].sum())
    return np.asarray((images * strata.is_pseudo).sum(axis=(-1, -2))[..., None] / (total or np.nan))


def _precision(strata: LabelledStrata, images: Images) -> Images:
    """Return the share of each pseudo-group that belongs to it, (..., G); NaN if it is empty."""
    sizes_G = strata.by_group(strata.sizes[:, None] * strata.is_pseudo)
    return np.asarray(strata.by_group(images * strata.is_pseudo) / np.where(sizes_G > 0, sizes_G, np.nan))


def _share_right(
    figure: Figure, strata: LabelledStrata, domains: NDArray[np.int64], expected: Images, draws: int, seed: int
) -> tuple[Estimate, ...]:
    """Estimate shares of correct pseudo attributes. Strata of one share have the same number in ``domains`` (H,)."""
    one_more_wrong = _prior(strata, domains, own=0, others=1 / (strata.num_attributes - 1))
    one_more_right = _prior(strata, domains, own=1, others=0)
    low, high = (simulate(figure, strata, alpha, draws, seed) for alpha in (one_more_wrong, one_more_right))
    of_labelled = figure(replace(strata, sizes=strata.labelled), strata.counts.astype(np.float64))
    values = np.where(np.isnan(of_labelled), np.nan, figure(strata, expected))
    return tuple(_interval(*columns) for columns in zip(values, low.T, high.T, strict=True))


def _interval(value: float, low_draws: Images, high_draws: Images) -> Estimate:
    """Return an estimate from simulated values, (draws,) for each limit; the interval includes the ``value``."""
    if np.isnan(value):
        return Estimate(None, None, None)
    share = min(float(value), 1.0)  # rounding
    low = np.quantile(np.append(low_draws[~np.isnan(low_draws)], share), 0.025)
    high = np.quantile(np.append(high_draws[~np.isnan(high_draws)], share), 0.975)
    return Estimate(share, float(min(low, share)), float(min(max(high, share), 1.0)))


def _prior(strata: LabelledStrata, domains: NDArray[np.int64], own: float, others: float) -> Images:
    """Return α (H, A): for each domain, ``own`` images of the pseudo attribute and ``others`` of each other attribute.

    An image is spread over the strata of its domain in proportion to their labelled images. Then 1/m_h of an image like
    the pseudo-group is added. The unlabelled strata of a domain share one such image.
    """
    labelled = strata.labelled
    _, domain = np.unique(domains, return_inverse=True)
    weight = np.maximum(labelled, 1)
    part = weight / np.bincount(domain, weight)[domain]
    blank = labelled == 0
    like_its_group = np.where(blank, 1 / np.maximum(np.bincount(domain, blank)[domain], 1), 1 / weight)
    shares = _shares_of_similar(strata, strata.pseudo_cells, strata.pseudo_attributes)
    return np.asarray(like_its_group[:, None] * shares + part[:, None] * np.where(strata.is_pseudo, own, others))


def simulate(figure: Figure, strata: LabelledStrata, alpha: Images, draws: int, seed: int) -> NDArray[np.float64]:
    """Simulate splits in which labelled images stay, and the attributes of the others are drawn.

    Args:
        figure: the figure of a split, from the images (draws, H, A).
        strata: the sample.
        alpha: (H, A) images that are added to the labelled ones before drawing, as a prior.
        draws: the number of splits.
        seed: seed of the draws.

    Returns:
        The figure of each split, (draws, ...).
    """
    random = np.random.default_rng(seed)
    labelled = strata.labelled
    # With m - 2 images instead of m, the variance of the Dirichlet distribution is on average that of a share that is
    # estimated from m images, p * (1 - p) / m.
    seen = strata.counts * np.maximum(1 - 2 / np.maximum(labelled, 1), 0.5)[:, None]
    figures = []
    for begin in range(0, draws, _AT_ONCE):
        shape = (min(_AT_ONCE, draws - begin), *alpha.shape)
        # Gamma variables divided by their sum are a draw from a Dirichlet distribution.
        weights = random.standard_gamma(np.broadcast_to(seen + alpha, shape))
        others = random.multinomial(strata.sizes - labelled, weights / weights.sum(axis=-1, keepdims=True))
        figures.append(figure(strata, (strata.counts + others).astype(np.float64)))
    return np.concatenate(figures)


def _shares_of_similar(strata: LabelledStrata, *kinds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return shares of the attributes (H, A) in strata with the same index, of the first of ``kinds`` with labels.

    If no kind has labels, a pseudo attribute is assumed to be right as often as the others are. Without a pseudo
    attribute, the shares are those of all images.
    """
    estimated = (strata.sizes / np.maximum(strata.labelled, 1))[:, None] * strata.counts
    total = estimated[strata.pseudo_attributes >= 0].sum()
    right = estimated[strata.is_pseudo].sum() / total if total else 1 / strata.num_attributes
    shares = np.where(strata.is_pseudo, right, (1 - right) / (strata.num_attributes - 1))
    of_all = estimated.sum(axis=0) / estimated.sum()
    shares = np.where(strata.pseudo_attributes[:, None] < 0, of_all, shares)
    for numbers in reversed(kinds):
        _, kind = np.unique(numbers, return_inverse=True)
        pooled = np.zeros((int(kind.max()) + 1, strata.num_attributes))
        np.add.at(pooled, kind, estimated)
        total = pooled.sum(axis=1, keepdims=True)
        shares = np.where(total[kind] > 0, (pooled / np.where(total > 0, total, 1))[kind], shares)
    return shares
