"""What the images say: intervals of paired differences between trained classifiers, by a stratified bootstrap.

Array suffixes: M rows of the table, S seeds, n judged images, G groups, H strata, P patterns, B draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIGURES = ("worst_group_accuracy", "average", "gap")
_AT_ONCE = 100


@dataclass(frozen=True)
class Outcomes:
    """Which of the same n images each of M·S classifiers got right.

    correct_MSn: (M, S, n) bool. groups_Sn: (S, n) int64, the groups in which a seed is judged, -1 unknown: the same for
    all seeds where groups are true ones, not always where they are pseudo-groups.
    finished_MS: (M, S) bool; what is not finished is left out, and its ``correct_MSn`` means nothing.
    """

    correct_MSn: NDArray[np.bool_]
    groups_Sn: NDArray[np.int64]
    finished_MS: NDArray[np.bool_]


def paired_bootstrap(
    outcomes: Outcomes, pairs: list[tuple[int, int]], *, draws: int = 1000, seed: int = 0
) -> list[dict[str, tuple[float, float] | None]]:
    """Return the 95 % percentile intervals of the differences of each pair (row, baseline), by the names of `FIGURES`.

    Images are resampled within their group; a resample is the same for all rows and seeds. In each, the figures are
    computed anew for each classifier, averaged over the seeds that both rows of a pair have, and subtracted. So the
    interval asks whether other images would agree, with these very classifiers. A minimum is biased downward, the more
    the more alike its groups are, and in a difference this does not quite cancel. None where no group has a row, or
    the pair no common seed. Equal seeds give equal intervals under one version of NumPy.
    """
    figures_BMSF = _resampled_figures(outcomes, draws, seed)
    return [
        _intervals(figures_BMSF, outcomes.finished_MS[row] & outcomes.finished_MS[base], row, base)
        for row, base in pairs
    ]


def _intervals(
    figures_BMSF: NDArray[np.float64], both_S: NDArray[np.bool_], row: int, base: int
) -> dict[str, tuple[float, float] | None]:
    found: dict[str, tuple[float, float] | None] = dict.fromkeys(FIGURES)
    if not both_S.any():
        return found
    differences_BF = (figures_BMSF[:, row, both_S] - figures_BMSF[:, base, both_S]).mean(axis=1)
    for number, name in enumerate(FIGURES):
        if np.isfinite(differences_BF[:, number]).all():
            low, high = np.quantile(differences_BF[:, number], [0.025, 0.975])
            found[name] = (float(low), float(high))
    return found


def _resampled_figures(outcomes: Outcomes, draws: int, seed: int) -> NDArray[np.float64]:
    """(B, M, S, 3) the `FIGURES` of each classifier in each resample; without any group, NaN for what needs one."""
    random = np.random.default_rng(seed)
    num_groups = int(outcomes.groups_Sn.max(initial=-1)) + 1
    strata = _strata(outcomes)
    figures = []
    for begin in range(0, draws, _AT_ONCE):
        size = min(_AT_ONCE, draws - begin)
        right_BMSG = np.zeros((size, *outcomes.finished_MS.shape, num_groups + 1))  # the last: of unknown group
        for stratum in strata:
            counts_BP = random.multinomial(stratum.size, stratum.counts_P / stratum.size, size)
            right_BMS = np.tensordot(counts_BP.astype(np.float64), stratum.correct_PMS, axes=1)
            for number, group in enumerate(stratum.groups_S):
                right_BMSG[:, :, number, group] += right_BMS[:, :, number]
        figures.append(_figures(right_BMSG, _group_sizes(outcomes.groups_Sn, num_groups)))
    return np.concatenate(figures)


@dataclass(frozen=True)
class _Stratum:
    """Images that are in the same group for each seed, counted by which classifiers get them right.

    A resample of n images has Multinomial(n, shares) of each pattern, so drawing that multinomial *is* the bootstrap.
    """

    size: int
    groups_S: NDArray[np.int64]
    counts_P: NDArray[np.int64]
    correct_PMS: NDArray[np.float64]


def _strata(outcomes: Outcomes) -> list[_Stratum]:
    groups_HS, stratum_n = np.unique(outcomes.groups_Sn.T, axis=0, return_inverse=True)
    shape = outcomes.finished_MS.shape
    strata = []
    for number, groups_S in enumerate(groups_HS):
        members = outcomes.correct_MSn[..., stratum_n.ravel() == number]
        patterns_PK, counts_P = np.unique(members.reshape(-1, members.shape[-1]).T, axis=0, return_counts=True)
        correct_PMS = patterns_PK.reshape(-1, *shape).astype(np.float64)
        strata.append(_Stratum(members.shape[-1], groups_S, counts_P, correct_PMS))
    return strata


def _group_sizes(groups_Sn: NDArray[np.int64], num_groups: int) -> NDArray[np.int64]:
    """(S, G + 1) images of each group; the last entry has those of unknown group."""
    return np.array([np.bincount(groups % (num_groups + 1), minlength=num_groups + 1) for groups in groups_Sn])


def _figures(right_BMSG: NDArray[np.float64], sizes_SG: NDArray[np.int64]) -> NDArray[np.float64]:
    """(B, M, S, 3) worst-group accuracy, average and gap from how many are right of how many."""
    average = right_BMSG.sum(axis=-1) / sizes_SG.sum(axis=-1)
    known = sizes_SG > 0
    known[:, -1] = False
    accuracy = np.where(known, right_BMSG / np.maximum(sizes_SG, 1), np.inf)
    worst = accuracy.min(axis=-1)
    worst[~np.isfinite(worst)] = np.nan
    return np.stack([worst, average, average - worst], axis=-1)
