"""Raking, against hand-solved tables and plain iterative proportional fitting, and in the rule and the objectives."""

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.groups import GroupWeights, raked_weights
from dbpt.groups.raking import MOST_STEPS
from dbpt.objectives import OBJECTIVES, TrainingGroups


def plain_ipf(counts, num_classes, sizes, least, steps=3000):
    """The loop of the textbook, a number at a time: each class has a table, whose margins are scaled in turn."""
    table = {}
    for g, n in enumerate(counts):
        y, a = divmod(g, int(np.prod(sizes)))
        table[(y, *np.unravel_index(a, sizes))] = float(n)
    size_of_class = [sum(n for cell, n in table.items() if cell[0] == y) for y in range(num_classes)]
    full_classes = [min(1.0, n / least) for n in size_of_class]
    margins = {}
    for factor, size in enumerate(sizes, start=1):
        for y in range(num_classes):
            rows = [sum(n for cell, n in table.items() if (cell[0], cell[factor]) == (y, v)) for v in range(size)]
            full = [min(1.0, n / least) for n in rows]
            for v in range(size):
                margins[factor, y, v] = full_classes[y] / sum(full_classes) * full[v] / sum(full)
    for _ in range(steps):
        for (factor, y, v), wanted in margins.items():
            cells = [cell for cell in table if (cell[0], cell[factor]) == (y, v)]
            found = sum(table[cell] for cell in cells)
            for cell in cells:
                table[cell] *= wanted / found if found else 0.0
    mass = np.array([table[cell] for cell in sorted(table)])
    weights = np.divide(mass, counts, out=np.zeros(len(counts)), where=np.asarray(counts) > 0)
    return weights * np.sum(counts) / (weights @ counts)


def margins(weights, counts, num_classes, sizes):
    mass = (weights * counts).reshape(num_classes, *sizes)
    axes = range(1, len(sizes) + 1)
    return [mass.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes]


def test_independent_attributes_are_solved_by_hand():
    """Values of shares 0.9 and 0.1, and 0.8 and 0.2: each weight is the product of 0.5 / share."""
    expected = [0.5 / 0.9 * 0.5 / 0.8, 0.5 / 0.9 * 0.5 / 0.2, 0.5 / 0.1 * 0.5 / 0.8, 0.5 / 0.1 * 0.5 / 0.2]
    assert raked_weights([72, 18, 8, 2], [2, 2], min_group_count=0) == pytest.approx(expected)


def test_dependent_attributes_are_solved_by_hand():
    """Equal margins of a 2 x 2 table keep the odds ratio: x / (0.5 - x) = sqrt(n00·n11 / (n01·n10)) = 3."""
    weights = raked_weights([60, 10, 20, 30], [2, 2], min_group_count=0)
    mass = weights * [60, 10, 20, 30] / 120
    assert mass == pytest.approx([3 / 8, 1 / 8, 1 / 8, 3 / 8])


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2, 2), (4, 5), (7,)])
@pytest.mark.parametrize("least", [1e-9, 5.0, 60.0])
def test_weights_are_those_of_the_textbook_loop(sizes, least):
    counts = np.random.default_rng(len(sizes)).integers(1, 80, 3 * int(np.prod(sizes))).astype(float)
    counts[:2] = 1
    weights = raked_weights(counts, sizes, min_group_count=least)
    assert weights == pytest.approx(plain_ipf(counts, 3, sizes, least, 300), rel=1e-5)
    assert weights @ counts == pytest.approx(counts.sum())


def test_margins_are_equal_but_for_the_floor_and_empty_cells():
    counts = np.array([40, 3, 0, 9, 12, 1, 0, 0, 100, 50, 0, 0, 20, 30, 0, 0, 2, 2], dtype=float)  # (3, 3, 2)
    weights = raked_weights(counts, [3, 2], min_group_count=4)
    assert (weights[counts == 0] == 0).all() and (weights[counts > 0] > 0).all()
    first, second = margins(weights, counts, 3, [3, 2])
    assert first.sum(axis=1) == pytest.approx(np.full(3, counts.sum() / 3))
    assert first[0] == pytest.approx(np.full(3, first[0, 0]), rel=1e-2)
    assert second[2] == pytest.approx(np.full(2, second[2, 0]))
    few = raked_weights([50, 50, 2, 0], [2, 2], min_group_count=8)  # the second value has a quarter of a share
    assert margins(few, [50, 50, 2, 0], 1, [2, 2])[0][0] == pytest.approx([102 * 0.8, 102 * 0.2], rel=1e-6)


def test_a_floor_gives_a_small_class_less():
    counts = np.array([50.0, 50, 50, 50, 1, 0, 0, 1])
    mass = (raked_weights(counts, [2, 2], min_group_count=4) * counts).reshape(2, -1).sum(axis=1)
    assert mass[1] / mass[0] == pytest.approx(0.5)


def test_margins_that_can_not_be_met_end_with_a_warning():
    disjoint = [10, 0, 10, 0, 0, 10]  # three values against two: each third would have to be a half
    with pytest.warns(
        UserWarning, match=r"^raking: combinations without samples make equal totals .* met to [0-9.]+ %$"
    ):
        weights = raked_weights(disjoint, [3, 2])
    assert (weights[[0, 2, 5]] > 0).all() and weights @ disjoint == pytest.approx(30)
    with pytest.warns(UserWarning, match="equal totals"):
        weights = raked_weights([70, 10, 0, 20], [2, 2])  # which equal margins leave nothing for the 10
    assert weights[1] == pytest.approx(0.1 * (0.5 / 0.8) * (0.5 / 0.3), rel=0.1)
    assert MOST_STEPS <= 1000


@pytest.mark.parametrize(
    ("counts", "sizes", "part"),
    [
        ([1, 2, 3], [2, 2], r"sizes are \[2, 2\]; expected numbers of values whose product divides 3"),
        ([1, 2], [], r"sizes are \[\]"),
        ([1, 2], [0, 2], r"sizes are \[0, 2\]"),
        ([], [2], "sizes are"),
        ([0, 0], [2], "the sum of counts is 0"),
        ([1, -2], [2], r"counts\[1\]"),
        ([1, float("nan")], [2], r"counts\[1\]"),
    ],
)
def test_bad_arguments_are_refused(counts, sizes, part):
    with pytest.raises(InputError, match=part):
        raked_weights(counts, sizes)
    with pytest.raises(InputError, match="min_group_count"):
        raked_weights([1, 2], [2], min_group_count=-1)


# --- in the rule


def test_the_rule_begins_with_the_base_and_keeps_the_cap_and_the_extra_factor():
    counts, base = [72, 18, 8, 2], [0.3, 1.4, 3.0, 12.0]
    weights = GroupWeights(counts, 1.0, 0.0, base=base)
    scaled = np.array(base) * 100 / np.dot(base, counts)
    assert weights.group_weights == pytest.approx(scaled)
    p = np.array([0.9, 0.5, 0.8, 0.1])
    weights.observe([0, 1, 2, 3], p)
    weights.step()
    target = np.array(base) * np.exp(1 - p)
    assert weights.group_weights == pytest.approx(target * 100 / (target @ counts))
    assert GroupWeights(counts, 1.0, 0.0, base=base, max_weight=3).group_weights.max() == 3
    assert (GroupWeights(counts, 0, 0).group_weights == GroupWeights(counts, 0, 0, base=None).group_weights).all()
    again = GroupWeights(counts, 1.0, 0.0, base=base)
    again.load_state(weights.state())
    assert (again.group_weights == weights.group_weights).all()
    for bad, part in (([1, 2], "base has length 2"), ([1, 1, 1, 0], r"base\[3\]"), ([1, np.nan, 1, 1], r"base\[1\]")):
        with pytest.raises(InputError, match=part):
            GroupWeights(counts, 1.0, 0.0, base=bad)
    assert GroupWeights([5, 0], 0, 0, base=[2, 0]).group_weights.tolist() == [1, 0]


# --- in the objectives


def training(counts, sizes=(2, 2)):
    groups = np.repeat(np.arange(len(counts)), counts)
    return TrainingGroups(groups, groups // 4, len(counts) // 4, len(counts), factor_sizes=sizes)


def test_objectives_rake_where_a_combination_is_too_small():
    few, enough, options = [72, 18, 8, 2, 25, 25, 25, 25], [70, 18, 7, 5, 25, 25, 25, 25], {"max_weight": 100.0}
    raked = raked_weights(few, (2, 2))
    for name, settings in (("balanced", {}), ("dbpt", {"eta": 1.0, "ema_momentum": 0.9})):
        made = OBJECTIVES[name](training(few), min_group_count=5.0, **settings, **options)
        assert made.group_weights == pytest.approx(raked)
        assert made.note == "groups with under 5 rows: 1; so the values of each factor are balanced (raking)"
        for plain, least in (
            (training(enough), 5.0),
            (training(few, ()), 5.0),
            (training(few, (4,)), 5.0),
            (training(few), 0.0),
        ):
            other = OBJECTIVES[name](plain, min_group_count=least, **settings, **options)
            assert other.note is None
            assert other.group_weights == pytest.approx(
                GroupWeights(plain.counts, 0, 0, min_group_count=least).group_weights
            )
    dro = OBJECTIVES["groupdro"](training(few), dro_step_size=0.1, min_group_count=5.0, **options)
    assert dro.group_weights != pytest.approx(raked) and dro.note is None
    unmet = OBJECTIVES["balanced"](training([70, 4, 0, 26]), min_group_count=5.0, **options)
    assert "balanced (raking); raking: combinations without samples" in unmet.note


def test_a_sampler_draws_each_value_equally_often():
    few = [720, 180, 80, 3, 250, 250, 250, 250]
    made = OBJECTIVES["balanced"](training(few), apply="sampling", min_group_count=5.0, max_weight=100.0)
    drawn = np.bincount(made.training.groups[list(made.sampler(0))], minlength=8).reshape(2, 2, 2)
    assert drawn.sum(axis=2) == pytest.approx(np.full((2, 2), drawn.sum() / 4), rel=0.02)
    assert drawn.sum(axis=1) == pytest.approx(np.full((2, 2), drawn.sum() / 4), rel=0.02)
