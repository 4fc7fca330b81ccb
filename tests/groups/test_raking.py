"""Raking, against hand-solved tables and plain iterative proportional fitting, and in the rule and the objectives."""

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.groups import GroupWeights, raked_weights
from dbpt.objectives import OBJECTIVES, TrainingGroups


def plain_ipf(counts, num_classes, sizes, least, steps=3000):
    """The loop of the textbook, a number at a time: each class has a table, whose margins are scaled in turn."""
    start, wanted = {}, {}
    cells = {
        (g // int(np.prod(sizes)), *np.unravel_index(g % int(np.prod(sizes)), sizes)): n for g, n in enumerate(counts)
    }
    lines = [(f, y, v) for f, size in enumerate(sizes, start=1) for y in range(num_classes) for v in range(size)]
    of_line = {line: [cell for cell in cells if (cell[0], cell[line[0]]) == line[1:]] for line in lines}
    rows = {line: sum(cells[cell] for cell in of_line[line]) for line in lines}
    for cell, n in cells.items():
        start[cell] = min(1.0, n / least)
        wanted[cell] = min(1.0, n, *(rows[f, cell[0], v] / least for f, v in enumerate(cell[1:], start=1)))
    for _ in range(steps):
        for line in lines:
            found, full = (sum(table[cell] for cell in of_line[line]) for table in (start, wanted))
            for cell in of_line[line]:
                start[cell] *= full / found if found else 1.0
    mass = np.array([start[cell] for cell in sorted(start)])
    weights = np.divide(mass, counts, out=np.zeros(len(counts)), where=np.asarray(counts) > 0)
    return weights * np.sum(counts) / (weights @ counts)


def by_count(counts, least=5.0):
    """The weights without raking."""
    return GroupWeights(counts, 0, 0, min_group_count=least, max_weight=np.inf).group_weights


def test_a_small_combination_is_solved_by_hand():
    """Shares 1, 1, 1 and 2/8 as equal margins with the same odds ratio: x / (0.5 - x) = sqrt(1/4), so x = 1/6."""
    weights = raked_weights([72, 18, 8, 2], [2, 2], min_group_count=8)
    assert weights * [72, 18, 8, 2] / 100 == pytest.approx([1 / 6, 1 / 3, 1 / 3, 1 / 6])


def test_a_class_without_a_small_combination_keeps_its_weights():
    counts = np.array([40, 30, 0, 9, 12, 10, 40, 3, 6, 9, 12, 1, 0, 0, 100, 50, 0, 0], dtype=float)
    weights, plain = raked_weights(counts, [3, 2]), by_count(counts)
    for rows in (slice(0, 6), slice(12, 18)):
        kept = counts[rows] > 0
        assert weights[rows][kept] / weights[0] == pytest.approx(plain[rows][kept] / plain[0])
    assert weights[6:12] / weights[0] != pytest.approx(plain[6:12] / plain[0], rel=0.05)
    for same, sizes, least in (([9, 0, 7, 5], [2, 2], 5.0), ([50, 3, 2, 0], [2, 2], 0.0), ([50, 3, 2, 0], [4], 5.0)):
        assert raked_weights(same, sizes, min_group_count=least) == pytest.approx(by_count(same, least))


@pytest.mark.parametrize(
    ("sizes", "least", "part_empty"),
    [((2, 3), 5.0, 0.3), ((3, 2, 2), 60.0, 0.5), ((4, 5), 5.0, 0.5), ((4, 5), 60.0, 0.0), ((7,), 1e-9, 0.0)],
)
def test_weights_are_those_of_the_textbook_loop(sizes, least, part_empty):
    random = np.random.default_rng(len(sizes))
    counts = random.integers(1, 80, 3 * int(np.prod(sizes))).astype(float)
    counts *= random.random(len(counts)) >= part_empty
    counts[:3] = [1, 1, 0.5]
    weights = raked_weights(counts, sizes, min_group_count=least)
    assert weights == pytest.approx(plain_ipf(counts, 3, sizes, least, 300), rel=1e-5)
    assert weights @ counts == pytest.approx(counts.sum())


def test_a_vanishing_combination_is_like_an_empty_one():
    few, none = raked_weights([50, 20, 9, 1e-6], [2, 2]), raked_weights([50, 20, 9, 0], [2, 2])
    assert few[:3] == pytest.approx(none[:3], rel=1e-5)


@pytest.mark.parametrize(
    ("counts", "sizes", "part"),
    [
        ([1, 2], [2.0], "^sizes has .* dtype float64"),
        ([1, 2], {2: 1}, "^sizes is .* of type dict"),
        ([1, 2], [2**32, 2**32], "whose product divides 2"),
        ([], [2], "sizes are"),
        ([0, 0], [2], "the sum of counts is 0"),
        ([1, -2], [2], r"counts\[1\]"),
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
    for bad, part in (([1, 2], "base has shape"), ([1, 1, 1, 0], r"base\[3\]"), ([1, np.nan, 1, 1], r"base\[1\]")):
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
        assert (
            made.note == "groups with under 5 rows: 1; weights balance each factor within the classes instead (raking)"
        )
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
