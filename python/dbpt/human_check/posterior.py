"""What the labelled images of a stratified sample leave open: the split as it might be, drawn at random.

Of N_h images of stratum h in the split, m_h are labelled, x_ha of them with attribute a. The N_h − m_h others are drawn
from their posterior, Dirichlet(c_h·x_h + α_h) and then multinomial: the Pólya posterior of a finite population
(Ericson, 1969). c_h = 1 − 1/m_h, at least ½, because the spread of few images is less than that of their stratum (as in
the bootstrap of Rao and Wu, 1988). In α_h is 1/m_h of an image that is like the stratum's pseudo-group, so that one
image doesn't speak for hundreds, and a prior that the figure chooses, see `prior`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import group_ids

_AT_ONCE = 100

Images = NDArray[np.float64]
"""(..., H, A) how many images of each stratum have each attribute."""


@dataclass(frozen=True)
class LabelledStrata:
    """H strata, and what the labels say of them.

    sizes, labels, pseudo_attributes, right: (H,) int64. All images of a stratum have one class and one pseudo
    attribute, -1 where the run left them unlabelled, and are all classified right or all wrong; right is 0 or 1.
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
    def labelled(self) -> NDArray[np.int64]:
        """(H,) m_h."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def pseudo_groups(self) -> NDArray[np.int64]:
        """(H,) y·A + a, -1 where the pseudo attribute is -1."""
        return group_ids(self.labels, self.pseudo_attributes, self.num_attributes)

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


def expected_images(strata: LabelledStrata) -> Images:
    """(H, A) N_h·x_ha/m_h: each labelled image stands for N_h/m_h, the inverse of its inclusion probability.

    A stratum without a labelled image has the shares of the most similar ones that have some.
    """
    labelled = strata.labelled[:, None]
    own = strata.counts / np.maximum(labelled, 1)
    borrowed = _shares_of_similar(strata, strata.cells, strata.pseudo_cells, strata.pseudo_attributes)
    return np.asarray(strata.sizes[:, None] * np.where(labelled > 0, own, borrowed))


def prior(strata: LabelledStrata, domains: NDArray[np.int64], own: float, others: float) -> NDArray[np.float64]:
    """(H, A) α: for each domain ``own`` images of the pseudo attribute and ``others`` of each other one.

    ``domains`` (H,) are numbers; an image is spread over the strata of its domain as the labelled images are. Plus the
    1/m_h of an image that the module's docstring speaks of. The strata of a domain without a label share one such
    image: they all know the same.
    """
    labelled = strata.labelled
    _, domain = np.unique(domains, return_inverse=True)
    weight = np.maximum(labelled, 1)
    part = weight / np.bincount(domain, weight)[domain]
    blank = labelled == 0
    like_its_group = np.where(blank, 1 / np.maximum(np.bincount(domain, blank)[domain], 1), 1 / weight)
    shares = _shares_of_similar(strata, strata.pseudo_cells, strata.pseudo_attributes)
    return np.asarray(like_its_group[:, None] * shares + part[:, None] * np.where(strata.is_pseudo, own, others))


def simulate(
    figure: Callable[[LabelledStrata, Images], NDArray[np.float64]],
    strata: LabelledStrata,
    alpha: NDArray[np.float64],
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """(draws, ...) the figure in splits as they might be: the labelled images as they are, the others drawn."""
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
    """(H, A) shares of the attributes in the strata of the same number, by the first kind of number that has labels.

    Where none has, a pseudo attribute is right as often as the others are: they tell how good CLIP is at this, not
    which attribute is here.
    """
    estimated = (strata.sizes / np.maximum(strata.labelled, 1))[:, None] * strata.counts
    shares = _as_right_as_others(strata, estimated)
    for numbers in reversed(kinds):
        _, kind = np.unique(numbers, return_inverse=True)
        pooled = np.zeros((int(kind.max()) + 1, strata.num_attributes))
        np.add.at(pooled, kind, estimated)
        total = pooled.sum(axis=1, keepdims=True)
        shares = np.where(total[kind] > 0, (pooled / np.where(total > 0, total, 1))[kind], shares)
    return shares


def _as_right_as_others(strata: LabelledStrata, estimated: Images) -> NDArray[np.float64]:
    """(H, A); where there is no pseudo attribute, the shares of all images."""
    total = estimated[strata.pseudo_attributes >= 0].sum()
    right = estimated[strata.is_pseudo].sum() / total if total else 1 / strata.num_attributes
    shares = np.where(strata.is_pseudo, right, (1 - right) / (strata.num_attributes - 1))
    of_all = estimated.sum(axis=0) / estimated.sum()
    return np.where(strata.pseudo_attributes[:, None] < 0, of_all, shares)
