"""From labelled images of a stratified sample to figures of the whole split, with 95 % intervals.

- *Estimate*: each labelled image stands for N_h/m_h images of its stratum, the inverse of its inclusion probability; a
  share or an accuracy is a ratio of sums of these (Horvitz-Thompson within a ratio, that is Hájek's estimator).
- *Interval*: the figure in many splits as they might be (`dbpt.human_check.posterior`), from the 2.5 % to the 97.5 %
  quantile, widened to hold the estimate. It has no width when all images are labelled. A sample without an error does
  not pass for a proof that there is none: a group's accuracy has Jeffreys' prior, half an image of each attribute among
  those of a pseudo-group that are classified right, and among those classified wrong; how many pseudo attributes are
  right, of a pseudo-group or of all, is bounded below as if one more were wrong, above as if one more were right (as
  the interval of Clopper and Pearson, 1934, is for a plain sample).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbpt.human_check.posterior import Images, LabelledStrata, expected_images, prior, simulate

DRAWS = 2000
_JEFFREYS = 0.5


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
    ``worst_group`` is the first of the worst. Of a pseudo-group, and of a group, without a labelled image nothing is
    said but the estimated number.
    """

    pseudo_accuracy: Estimate
    precision: tuple[Estimate, ...]
    accuracy: tuple[Estimate, ...]
    images: tuple[float, ...]
    worst_group_accuracy: Estimate
    worst_group: int


def estimate(strata: LabelledStrata, *, draws: int = DRAWS, seed: int = 0) -> Estimates:
    """All figures; at least one image must be labelled. Equal seeds give equal intervals under one version of NumPy.

    The interval of the worst group's accuracy reaches from the least lower limit of any group to the least upper one,
    the latter at 1 − 0.025/k for k groups, as each of them may be the worst: it covers at least as often as the groups'
    own. To the lower limit belong groups of which no image is labelled, but which the pseudo attributes speak for: one
    of them may be the worst. The estimate is a minimum over the other groups and leans low.
    """
    expected = expected_images(strata)
    accuracy_G = np.where(_labelled_by_group(strata) > 0, _group_accuracy(strata, expected), np.nan)
    accuracies = simulate(_group_accuracy, strata, prior(strata, strata.cells, _JEFFREYS, _JEFFREYS), draws, seed)
    images_G = _by_group(strata, expected)
    worst, worst_accuracy = _worst(accuracy_G, images_G, accuracies)
    whole = np.zeros_like(strata.sizes)
    (pseudo_accuracy,) = _share_right(_pseudo_accuracy, strata, whole, expected, draws, seed)
    return Estimates(
        pseudo_accuracy=pseudo_accuracy,
        precision=_share_right(_precision, strata, strata.pseudo_cells, expected, draws, seed),
        accuracy=tuple(_interval(*columns) for columns in zip(accuracy_G, accuracies.T, accuracies.T, strict=True)),
        images=tuple(images_G.tolist()),
        worst_group_accuracy=worst_accuracy,
        worst_group=worst,
    )


def _share_right(
    figure: Callable[[LabelledStrata, Images], NDArray[np.float64]],
    strata: LabelledStrata,
    domains: NDArray[np.int64],
    expected: Images,
    draws: int,
    seed: int,
) -> tuple[Estimate, ...]:
    """Shares of pseudo attributes that are right; ``domains`` (H,) tell which strata a share is of."""
    one_more_wrong = prior(strata, domains, own=0, others=1 / (strata.num_attributes - 1))
    one_more_right = prior(strata, domains, own=1, others=0)
    low, high = (simulate(figure, strata, alpha, draws, seed) for alpha in (one_more_wrong, one_more_right))
    # Of the labelled images alone the share is NaN where there are none.
    spoken_of = ~np.isnan(figure(_only_labelled(strata), strata.counts.astype(np.float64)))
    values = np.where(spoken_of, figure(strata, expected), np.nan)
    return tuple(_interval(*columns) for columns in zip(values, low.T, high.T, strict=True))


def _only_labelled(strata: LabelledStrata) -> LabelledStrata:
    return replace(strata, sizes=strata.labelled)


def _by_group(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., G) images of each group."""
    in_class = np.eye(strata.num_classes)[strata.labels]
    by_class: NDArray[np.float64] = np.einsum("...ha,hc->...ca", images, in_class)
    return by_class.reshape(*images.shape[:-2], -1)


def _labelled_by_group(strata: LabelledStrata) -> NDArray[np.float64]:
    return _by_group(strata, strata.counts.astype(np.float64))


def _group_accuracy(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., G) accuracy of each group, NaN where it has no image."""
    total = _by_group(strata, images)
    right = _by_group(strata, images * strata.right[:, None])
    return np.divide(right, total, out=np.full_like(total, np.nan), where=total > 0)


def _pseudo_accuracy(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., 1) share of the pseudo attributes that are right, NaN without any."""
    total = float(strata.sizes[strata.pseudo_attributes >= 0].sum())
    return np.asarray((images * strata.is_pseudo).sum(axis=(-1, -2))[..., None] / (total or np.nan))


def _precision(strata: LabelledStrata, images: Images) -> NDArray[np.float64]:
    """(..., G) share of each pseudo-group that belongs there, NaN where it is empty."""
    groups = np.arange(strata.num_classes * strata.num_attributes)
    in_group = (strata.pseudo_groups[:, None] == groups).astype(np.float64)
    sizes = strata.sizes @ in_group
    right = (images * strata.is_pseudo).sum(axis=-1)
    return np.asarray(right @ in_group / np.where(sizes > 0, sizes, np.nan))


def _interval(
    value: float, low_draws: NDArray[np.float64], high_draws: NDArray[np.float64], above: float = 0.025
) -> Estimate:
    if np.isnan(value):
        return Estimate(None, None, None)
    share = min(float(value), 1.0)  # sums round
    low = np.quantile(np.append(low_draws[~np.isnan(low_draws)], share), 0.025)
    high = np.quantile(np.append(high_draws[~np.isnan(high_draws)], share), 0.975)
    return Estimate(share, float(min(low, share)), float(min(max(high, share), 1.0)))


def _worst(
    values: NDArray[np.float64], expected: NDArray[np.float64], draws: NDArray[np.float64]
) -> tuple[int, Estimate]:
    seen = np.flatnonzero(~np.isnan(values))
    worst = int(seen[values[seen].argmin()])
    value = min(float(values[worst]), 1.0)
    lows, highs = (
        [float(np.nanquantile(draws[:, group], limit)) for group in groups]
        for groups, limit in ((np.flatnonzero(expected > 0), 0.025), (seen, 1 - 0.025 / seen.size))
    )
    return worst, Estimate(value, min(value, *lows), max(value, min(highs)))
