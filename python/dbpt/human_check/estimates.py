"""From labelled images of a stratified sample to figures of the whole split, with 95 % intervals.

Of N_h images of stratum h in the split, m_h are labelled, x_ha of them with attribute a. All images of a stratum have
one class and one pseudo attribute, and are all classified right or all wrong.

- *Estimate*: N_h·x_ha/m_h images of stratum h have attribute a (each labelled image stands for N_h/m_h, the inverse of
  its inclusion probability). A share or an accuracy is a ratio of sums of these (Horvitz-Thompson within a ratio).
- *Interval*: the unlabelled N_h − m_h images of a stratum are drawn from their posterior, Dirichlet(c_h·x_h + α_h) and
  then multinomial (the Pólya posterior of a finite population, Ericson 1969); the figure is computed from labelled and
  drawn together; the 2.5 % and 97.5 % quantiles of many such figures, widened to hold the estimate, are the interval.
  It has no width when all images are labelled. c_h = 1 − 1/m_h, at least ½, because the spread of few images is less
  than that of their stratum (as in the bootstrap of Rao and Wu, 1988). α is Jeffreys': half an image for each answer to
  what the figure asks (a group's accuracy: which attribute; the others: is the pseudo attribute right), for its whole
  domain (a pseudo-group; for the accuracy of the pseudo attributes all of the split), spread over the domain's strata
  as the labelled images are. So a sample without an error does not pass for a proof that there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
_AT_ONCE = 100
_JEFFREYS = 0.5

Images = NDArray[np.float64]
"""(..., H, A) how many images of each stratum have each attribute."""


@dataclass(frozen=True)
class LabelledStrata:
    """H strata, and what the labels say of them.

    sizes, labels, pseudo_attributes, right: (H,) int64. The pseudo attribute is -1 where the run left the images
    unlabelled; right is 0 or 1.
    counts: (H, A) int64, labelled images by attribute.
    """

    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    pseudo_attributes: NDArray[np.int64]
    right: NDArray[np.int64]
    counts: NDArray[np.int64]
    num_classes: int

    @property
    def num_attributes(self) -> int:
        """A."""
        return int(self.counts.shape[1])

    @property
    def pseudo_groups(self) -> NDArray[np.int64]:
        """(H,) y·A + a, -1 where the pseudo attribute is -1."""
        groups = self.labels * self.num_attributes + self.pseudo_attributes
        return np.where(self.pseudo_attributes < 0, -1, groups)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None throughout where nothing speaks of it."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimates:
    """What `estimate` returns: figures of the split, and of each of the G groups.

    ``precision`` is by pseudo-group; ``accuracy`` and ``images`` (an estimated number) by group as the person sees it.
    ``worst_group`` is the first of the worst, None if no group has an image.
    """

    pseudo_accuracy: Estimate
    precision: tuple[Estimate, ...]
    accuracy: tuple[Estimate, ...]
    images: tuple[float, ...]
    worst_group_accuracy: Estimate
    worst_group: int | None


def estimate(strata: LabelledStrata, *, draws: int = DRAWS, seed: int = 0) -> Estimates:
    """All figures; at least one image must be labelled. Equal seeds give equal intervals under one version of NumPy.

    The interval of the worst group's accuracy reaches from the least lower limit of any group to the least upper one,
    the latter at 1 − 0.025/k for k groups, as each of them may be the worst: it covers at least as often as the groups'
    own. The estimate is a minimum and leans low.
    """
    expected = strata.sizes[:, None] * _shares(strata)
    whole = np.zeros_like(strata.sizes)
    pseudo_cells = strata.labels * (strata.num_attributes + 1) + strata.pseudo_attributes + 1
    wrong = _JEFFREYS / (strata.num_attributes - 1)
    accuracy_G = _group_accuracy(strata, expected)
    accuracies = _simulate(_group_accuracy, strata, _prior(strata, pseudo_cells, _JEFFREYS), draws, seed)
    precisions = _simulate(_precision, strata, _prior(strata, pseudo_cells, wrong), draws, seed)
    pseudo_accuracies = _simulate(_pseudo_accuracy, strata, _prior(strata, whole, wrong), draws, seed)
    worst, worst_accuracy = _worst(accuracy_G, accuracies)
    return Estimates(
        pseudo_accuracy=_interval(_pseudo_accuracy(strata, expected), pseudo_accuracies),
        precision=_intervals(_precision(strata, expected), precisions),
        accuracy=_intervals(accuracy_G, accuracies),
        images=tuple(_of_groups(strata, expected).tolist()),
        worst_group_accuracy=worst_accuracy,
        worst_group=worst,
    )


def _shares(strata: LabelledStrata) -> NDArray[np.float64]:
    """(H, A) x_ha/m_h; a stratum without a labelled image takes it from the most similar that have one."""
    counts = strata.counts.astype(np.float64)
    keys = np.stack([strata.labels, strata.pseudo_attributes, strata.right])
    for stratum in np.flatnonzero(strata.counts.sum(axis=1) == 0):
        for similar in (3, 2, 1, 0):
            alike = (keys[:similar] == keys[:similar, stratum, None]).all(axis=0)
            if strata.counts[alike].any():
                counts[stratum] = strata.counts[alike].sum(axis=0)
                break
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _prior(strata: LabelledStrata, domains: NDArray[np.int64], others: float) -> NDArray[np.float64]:
    """(H, A) the α of the module's docstring; ``others`` is that of an attribute which is not the pseudo attribute.

    A stratum without a labelled image has its borrowed shares besides, as one image.
    """
    labelled = strata.counts.sum(axis=1)
    weight = np.maximum(labelled, 1)
    _, domain = np.unique(domains, return_inverse=True)
    part = weight / np.bincount(domain, weight)[domain]
    is_pseudo = strata.pseudo_attributes[:, None] == np.arange(strata.num_attributes)
    borrowed = np.where(labelled[:, None] == 0, _shares(strata), 0.0)
    return np.asarray(borrowed + part[:, None] * np.where(is_pseudo, _JEFFREYS, others))


def _simulate(
    figure: Callable[[LabelledStrata, Images], NDArray[np.float64]],
    strata: LabelledStrata,
    prior: NDArray[np.float64],
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """(draws, ...) the figure in splits as they might be: the labelled images as they are, the others drawn."""
    random = np.random.default_rng(seed)
    labelled = strata.counts.sum(axis=1)
    seen = strata.counts * np.maximum(1 - 1 / np.maximum(labelled, 1), 0.5)[:, None]
    figures = []
    for begin in range(0, draws, _AT_ONCE):
        shape = (min(_AT_ONCE, draws - begin), *prior.shape)
        weights = random.standard_gamma(np.broadcast_to(seen + prior, shape))
        others = random.multinomial(strata.sizes - labelled, weights / weights.sum(axis=-1, keepdims=True))
        figures.append(figure(strata, (strata.counts + others).astype(np.float64)))
    return np.concatenate(figures)


def _of_groups(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., G) images of each group."""
    in_class = np.eye(strata.num_classes)[strata.labels]
    by_class: NDArray[np.float64] = np.einsum("...ha,hc->...ca", images, in_class)
    return by_class.reshape(*images.shape[:-2], -1)


def _group_accuracy(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., G) accuracy of each group, NaN where it has no image."""
    total = _of_groups(strata, images)
    right = _of_groups(strata, images * strata.right[:, None])
    return np.divide(right, total, out=np.full_like(total, np.nan), where=total > 0)


def _as_labelled(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., H) images whose attribute is their pseudo attribute, 0 where there is none."""
    own = (strata.pseudo_attributes[:, None] == np.arange(strata.num_attributes)).astype(np.float64)
    return np.asarray((images * own).sum(axis=-1))


def _pseudo_accuracy(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(...) share of the pseudo attributes that are right, NaN without any."""
    total = float(strata.sizes[strata.pseudo_attributes >= 0].sum())
    return np.asarray(_as_labelled(strata, images).sum(axis=-1) / (total or np.nan))


def _precision(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., G) share of each pseudo-group that belongs there, NaN where it is empty."""
    groups = np.arange(strata.num_classes * strata.num_attributes)
    in_group = (strata.pseudo_groups[:, None] == groups).astype(np.float64)
    sizes = strata.sizes @ in_group
    return np.asarray(_as_labelled(strata, images) @ in_group / np.where(sizes > 0, sizes, np.nan))


def _intervals(values: NDArray[np.float64], draws: NDArray[np.float64]) -> tuple[Estimate, ...]:
    return tuple(_interval(value, column) for value, column in zip(values, draws.T, strict=True))


def _interval(value: NDArray[np.float64], draws: NDArray[np.float64], above: float = 0.025) -> Estimate:
    if np.isnan(value):
        return Estimate(None, None, None)
    share = min(float(value), 1.0)  # sums round
    low, high = np.quantile(np.append(draws[~np.isnan(draws)], share), [0.025, 1 - above])
    return Estimate(share, float(min(low, share)), float(min(max(high, share), 1.0)))


def _worst(values: NDArray[np.float64], draws: NDArray[np.float64]) -> tuple[int | None, Estimate]:
    present = np.flatnonzero(~np.isnan(values))
    if not present.size:
        return None, Estimate(None, None, None)
    intervals = [_interval(values[group], draws[:, group], 0.025 / present.size) for group in present]
    worst = int(present[values[present].argmin()])
    low, high = (min(limits) for limits in zip(*((i.low, i.high) for i in intervals), strict=True))
    return worst, Estimate(min(float(values[worst]), 1.0), low, high)
