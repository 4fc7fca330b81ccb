"""What a comparison computes from results, against plain NumPy: Student's t, and the paired bootstrap of the images."""

import math

import numpy as np
import pytest

from dbpt.comparison.bootstrap import FIGURES, Outcomes, paired_bootstrap
from dbpt.comparison.statistics import mean_and_deviation, paired_t_interval, student_t_quantile
from dbpt.errors import InputError

# Two-sided 95 % and 99 % points from the printed tables.
PRINTED = {1: (12.706, 63.657), 2: (4.303, 9.925), 3: (3.182, 5.841), 4: (2.776, 4.604), 9: (2.262, 3.250)}
PRINTED |= {10: (2.228, 3.169), 29: (2.045, 2.756)}


@pytest.mark.parametrize("degrees", PRINTED)
def test_the_quantiles_of_student_are_those_of_the_tables(degrees):
    found = student_t_quantile(0.95, degrees), student_t_quantile(0.99, degrees)
    assert tuple(round(value, 3) for value in found) == PRINTED[degrees]


def test_the_quantiles_of_student_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for degrees in (1, 2, 3, 5, 8, 51, 200):
        assert student_t_quantile(0.9, degrees) == pytest.approx(stats.t.ppf(0.95, degrees), rel=1e-9)
    with pytest.raises(InputError, match="degrees 0"):
        student_t_quantile(0.95, 0)


def test_the_interval_of_paired_differences():
    differences = [0.40, 0.35, 0.50, 0.41, 0.46]
    mean, deviation = mean_and_deviation(differences)
    assert (mean, deviation) == pytest.approx((np.mean(differences), np.std(differences, ddof=1)))
    half = 2.7764451 * deviation / math.sqrt(5)
    assert paired_t_interval(differences) == pytest.approx((mean - half, mean + half))
    assert mean_and_deviation([0.4]) == (0.4, None)
    assert paired_t_interval([0.4]) is None
    assert paired_t_interval([0.4, 0.4]) is None  # not an interval without width


def drawn_outcomes(*, seeds: int = 2, n: int = 240, others: int = 0) -> Outcomes:
    """Three rows of the table; ``others`` images are in other groups for the second seed."""
    random = np.random.default_rng(4)
    groups = random.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    groups[:7] = -1
    groups_Sn = np.stack([groups] * seeds)
    groups_Sn[1:, 20 : 20 + others] = 3
    chances = np.array([[0.9, 0.8, 0.7, 0.3], [0.85, 0.85, 0.8, 0.75], [0.5, 0.5, 0.5, 0.5]])
    hard = random.random(n)  # what is hard for one classifier is so for all: pairs are correlated
    luck = 0.3 * random.random((3, seeds, n))
    correct = 0.7 * hard + luck < chances[:, groups][:, None]
    return Outcomes(correct, groups_Sn, np.ones((3, seeds), dtype=bool))


def plain_figures(correct: np.ndarray, groups: np.ndarray) -> np.ndarray:
    worst = min(correct[groups == group].mean() for group in np.unique(groups[groups >= 0]))
    return np.array([worst, correct.mean(), correct.mean() - worst])


def plain_bootstrap(outcomes: Outcomes, row: int, base: int, draws: int) -> np.ndarray:
    """(2, 3) bounds, image by image."""
    random = np.random.default_rng(1)
    strata = [np.flatnonzero(outcomes.groups_Sn[0] == group) for group in np.unique(outcomes.groups_Sn[0])]
    differences = []
    for _ in range(draws):
        taken = np.concatenate([random.choice(stratum, len(stratum)) for stratum in strata])
        by_seed = [
            plain_figures(outcomes.correct_MSn[row, s, taken], outcomes.groups_Sn[s, taken])
            - plain_figures(outcomes.correct_MSn[base, s, taken], outcomes.groups_Sn[s, taken])
            for s in range(len(outcomes.groups_Sn))
        ]
        differences.append(np.mean(by_seed, axis=0))
    return np.quantile(differences, [0.025, 0.975], axis=0)


def test_the_bootstrap_is_that_of_resampled_images():
    outcomes = drawn_outcomes()
    first, second = paired_bootstrap(outcomes, [(1, 0), (2, 0)], draws=4000)
    for row, found in ((1, first), (2, second)):
        expected = plain_bootstrap(outcomes, row, 0, 4000)
        bounds = np.array([found[name] for name in FIGURES]).T
        np.testing.assert_allclose(bounds, expected, atol=0.012)  # two draws of 4,000 differ by so much


def test_the_bootstrap_is_paired_and_repeats():
    outcomes = drawn_outcomes()
    same, flipped, there = paired_bootstrap(outcomes, [(1, 1), (0, 1), (1, 0)])
    assert set(same.values()) == {(0.0, 0.0)}  # unpaired resamples would differ
    for name in FIGURES:
        assert flipped[name] == pytest.approx((-there[name][1], -there[name][0]))
    assert paired_bootstrap(outcomes, [(1, 0)]) == [there]
    assert paired_bootstrap(outcomes, [(1, 0)], seed=1) != [there]


def test_groups_that_differ_between_seeds_keep_their_sizes_in_each():
    outcomes = drawn_outcomes(others=30)
    perfect = Outcomes(np.ones_like(outcomes.correct_MSn), outcomes.groups_Sn, outcomes.finished_MS)
    assert set(paired_bootstrap(perfect, [(0, 1)])[0].values()) == {(0.0, 0.0)}
    # all of a group right for one row, none for the other: no resample can change that
    only_worst = outcomes.groups_Sn[None] != 3
    apart = np.concatenate([only_worst, np.ones_like(only_worst), np.ones_like(only_worst)])
    (found,) = paired_bootstrap(Outcomes(apart, outcomes.groups_Sn, outcomes.finished_MS), [(1, 0)])
    assert found["worst_group_accuracy"] == (1.0, 1.0)
    share = (outcomes.groups_Sn == 3).mean()
    assert found["average"] == pytest.approx((share, share))


def test_only_the_seeds_that_both_have_count():
    outcomes = drawn_outcomes()
    one = Outcomes(outcomes.correct_MSn[:, :1], outcomes.groups_Sn[:1], outcomes.finished_MS[:, :1])
    finished = np.array([[True, True], [True, False], [False, False]])
    failed = Outcomes(outcomes.correct_MSn, outcomes.groups_Sn, finished)
    (alone,) = paired_bootstrap(one, [(1, 0)], draws=3000)
    partly, not_at_all = paired_bootstrap(failed, [(1, 0), (2, 0)], draws=3000)
    assert partly["average"] == pytest.approx(alone["average"], abs=0.01)
    assert set(not_at_all.values()) == {None}


def test_without_a_known_group_only_the_average_has_an_interval():
    outcomes = drawn_outcomes()
    nobody = Outcomes(outcomes.correct_MSn, np.full_like(outcomes.groups_Sn, -1), outcomes.finished_MS)
    (found,) = paired_bootstrap(nobody, [(1, 0)])
    assert found["worst_group_accuracy"] is found["gap"] is None
    assert found["average"] is not None
