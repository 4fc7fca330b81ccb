"""From labelled images of a stratified sample to figures of the whole split, with 95 % intervals.

- *Estimate*: each labelled image stands for N_h/m_h images of its stratum, the inverse of its inclusion probability; a
  share or an accuracy is a ratio of sums of these (Hájek's estimator). A stratum without a label has the shares of the
  most similar ones that have some.
- *Simulated splits*: m_h of the N_h images of stratum h are labelled, x_ha of them with attribute a. The N_h − m_h
  others are drawn from their posterior, Dirichlet(c_h·x_h + α_h) and then multinomial: the Pólya posterior of a finite
  population (Ericson, 1969). c_h = 1 − 1/m_h, at least ½, because the spread of few images is less than that of their
  stratum (as in the bootstrap of Rao and Wu, 1988). α_h holds 1/m_h of an image that is like the stratum's
  pseudo-group, so that one image doesn't speak for hundreds, and a prior that the figure chooses.
- *Interval*: the figure in the simulated splits, from the 2.5 % to the 97.5 % quantile, widened to hold the estimate.
  It has no width when all images are labelled. A sample without an error does not pass for a proof that there is none.
  A group's accuracy has Jeffreys' prior, half an image of each attribute among those of a pseudo-group that are
  classified right, and among those classified wrong. How many pseudo attributes are right, of a pseudo-group or of all,
  is bounded below as if one more were wrong, above as if one more were right (as the interval of Clopper and Pearson,
  1934, is for a plain sample): one prior for both limits covers too seldom where a person stops early.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
_AT_ONCE = 100
_JEFFREYS = 0.5

Images = NDArray[np.float64]
"""(..., H, A) how many images of each stratum have each attribute."""


@dataclass(frozen=True)
class LabelledStrata:
    """H strata, of one class and pseudo attribute each, and what the labels say of them."""

    sizes: NDArray[np.int64]  # (H,)
    labels: NDArray[np.int64]  # (H,) class index
    pseudo_attributes: NDArray[np.int64]  # (H,), -1 where the run left them unlabelled
    right: NDArray[np.int64]  # (H,) 1 where all images are classified right, 0 where all wrong
    counts: NDArray[np.int64]  # (H, A) labelled images by attribute
    num_classes: int

    @property
    def num_attributes(self) -> int:
        """A."""
        return int(self.counts.shape[1])

    @property
    def labelled(self) -> NDArray[np.int64]:
        """(H,) m_h."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def pseudo_cells(self) -> NDArray[np.int64]:
        """(H,) number of class and pseudo attribute; also of images without one, by class."""
        return self.labels * (self.num_attributes + 1) + self.pseudo_attributes + 1

    @property
    def cells(self) -> NDArray[np.int64]:
        """(H,) number of class, pseudo attribute, and right or wrong."""
        return self.pseudo_cells * 2 + self.right

    @property
    def is_pseudo(self) -> NDArray[np.bool_]:
        """(H, A) whether an attribute is the pseudo attribute."""
        return np.asarray(self.pseudo_attributes[:, None] == np.arange(self.num_attributes))

    def by_group(self, images: NDArray[np.float64] | NDArray[np.int64]) -> Images:
        """Sum images (..., H, A) to those of each group, (..., G)."""
        in_class = np.eye(self.num_classes)[self.labels]
        by_class: Images = np.einsum("...ha,hc->...ca", images, in_class)
        return by_class.reshape(*images.shape[:-2], -1)


Figure = Callable[[LabelledStrata, Images], Images]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None throughout where nothing speaks of it."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimates:
    """What `estimate` returns: figures of the split, and of each of the G groups as the person sees them."""

    pseudo_accuracy: Estimate
    precision: tuple[Estimate, ...]  # by pseudo-group
    accuracy: tuple[Estimate, ...]  # None without a labelled image
    images: tuple[float, ...]  # an estimated number
    worst_group_accuracy: Estimate
    worst_group: int  # the first of the worst


def estimate(strata: LabelledStrata, *, draws: int = DRAWS, seed: int = 0) -> Estimates:
    """Return all figures; at least one image must be labelled. Equal seeds give equal intervals, up to NumPy's version.

    The interval of the worst group's accuracy reaches from the least lower limit of any group to the least upper one,
    the latter at 1 − 0.025/k for k groups, as each of them may be the worst: it covers at least as often as the groups'
    own. The lower limit includes groups without a labelled image that the pseudo attributes speak for. The estimate is
    a minimum over the other groups, biased downward.
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
    value = min(float(accuracy_G[worst]), 1.0)
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
    """Return the (..., G) accuracy of each group, NaN where it has no image."""
    total, right = strata.by_group(images), strata.by_group(images * strata.right[:, None])
    return np.divide(right, total, out=np.full_like(total, np.nan), where=total > 0)


def _pseudo_accuracy(strata: LabelledStrata, images: Images) -> Images:
    """Return the (..., 1) share of the pseudo attributes that are right, NaN without any."""
    total = float(strata.sizes[strata.pseudo_attributes >= 0].sum())
    return np.asarray((images * strata.is_pseudo).sum(axis=(-1, -2))[..., None] / (total or np.nan))


def _precision(strata: LabelledStrata, images: Images) -> Images:
    """Return the (..., G) share of each pseudo-group that belongs there, NaN where it is empty."""
    sizes_G = strata.by_group(strata.sizes[:, None] * strata.is_pseudo)
    return np.asarray(strata.by_group(images * strata.is_pseudo) / np.where(sizes_G > 0, sizes_G, np.nan))


def _share_right(
    figure: Figure, strata: LabelledStrata, domains: NDArray[np.int64], expected: Images, draws: int, seed: int
) -> tuple[Estimate, ...]:
    """Estimate shares of pseudo attributes that are right; ``domains`` (H,) tell which strata a share is of."""
    one_more_wrong = _prior(strata, domains, own=0, others=1 / (strata.num_attributes - 1))
    one_more_right = _prior(strata, domains, own=1, others=0)
    low, high = (simulate(figure, strata, alpha, draws, seed) for alpha in (one_more_wrong, one_more_right))
    of_labelled = figure(replace(strata, sizes=strata.labelled), strata.counts.astype(np.float64))
    values = np.where(np.isnan(of_labelled), np.nan, figure(strata, expected))
    return tuple(_interval(*columns) for columns in zip(values, low.T, high.T, strict=True))


def _interval(value: float, low_draws: Images, high_draws: Images) -> Estimate:
    if np.isnan(value):
        return Estimate(None, None, None)
    share = min(float(value), 1.0)  # sums round
    low = np.quantile(np.append(low_draws[~np.isnan(low_draws)], share), 0.025)
    high = np.quantile(np.append(high_draws[~np.isnan(high_draws)], share), 0.975)
    return Estimate(share, float(min(low, share)), float(min(max(high, share), 1.0)))


def _prior(strata: LabelledStrata, domains: NDArray[np.int64], own: float, others: float) -> Images:
    """Return (H, A) α: for each domain ``own`` images of the pseudo attribute and ``others`` of each other one.

    An image is spread over the strata of its domain as the labelled images are. Added is the 1/m_h of an image like the
    pseudo-group. The strata of a domain without a label share one such image: they all know the same.
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
    """Return (draws, ...) the figure in simulated splits: the labelled images as they are, the others drawn."""
    random = np.random.default_rng(seed)
    labelled = strata.labelled
    seen = strata.counts * np.maximum(1 - 1 / np.maximum(labelled, 1), 0.5)[:, None]
    figures = []
    for begin in range(0, draws, _AT_ONCE):
        shape = (min(_AT_ONCE, draws - begin), *alpha.shape)
        weights = random.standard_gamma(np.broadcast_to(seen + alpha, shape))
        others = random.multinomial(strata.sizes - labelled, weights / weights.sum(axis=-1, keepdims=True))
        figures.append(figure(strata, (strata.counts + others).astype(np.float64)))
    return np.concatenate(figures)


def _shares_of_similar(strata: LabelledStrata, *kinds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (H, A) shares of the attributes in strata of the same number, by the first kind of number with labels.

    Where none has, a pseudo attribute is right as often as the others are: they tell how good CLIP is at this, not
    which attribute is here. Without a pseudo attribute, the shares are those of all images.
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
