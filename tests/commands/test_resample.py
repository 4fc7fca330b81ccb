"""`dbpt compare --resample K`: K draws of half of the training and validation rows, the same for every method."""

import json
from dataclasses import replace
from functools import partial

import comparisons
import numpy as np
import pytest
from comparisons import cell, contents
from small_groups import coverage
from tiny import Tiny

import dbpt
from dbpt import InputError
from dbpt.commands.compare.plan import make_plan
from dbpt.commands.compare.resampling import half_of, half_of_each
from dbpt.evaluation.row_differences import interval_over_draws
from dbpt.settings.config import FitConfig
from dbpt.study.stages import prepare
from dbpt.study.study import Study

DRAWS = 3
compare = partial(comparisons.compare, epochs=30, lr=0.05, model_selection="last")  # so that draws differ


@pytest.fixture(scope="module")
def labelled(tiny: Tiny) -> Study:
    return prepare(FitConfig(data=str(tiny.table), **tiny.settings))


@pytest.fixture(scope="module")
def drawn(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dbpt.Result:
    methods = ("zero-shot", "erm", "balanced", "afr", "groupdro:true")
    return compare(tiny, tmp_path_factory.mktemp("drawn") / "c", methods=methods, seeds=None, resample=DRAWS)


def test_a_draw_has_half_of_each_pseudo_group_and_split_and_all_test_rows(labelled):
    draws = [half_of(labelled, draw) for draw in range(4)]
    for each in draws:
        for split in ("train", "val"):
            rows = each.rows(split)
            assert len(set(rows)) == len(rows) and set(rows) < set(labelled.rows(split))
            half, whole = (of.grouping("pseudo").counts(of.rows(split)) for of in (each, labelled))
            assert (abs(2 * half - whole) <= 1).all()
        assert each.rows("test").tolist() == labelled.rows("test").tolist()
        assert each.train_counts.tolist() == labelled.train_counts.tolist()  # the average's weights stay
    assert len({each.drawn.tobytes() for each in draws}) == 4
    assert half_of(labelled, 1).drawn.tobytes() == draws[1].drawn.tobytes()


def test_each_row_is_as_likely_as_the_others_and_odd_numbers_are_rounded_both_ways():
    strata = np.repeat([3, 5, 7, 8], [1, 2, 5, 40])
    draws = np.array([half_of_each(strata, draw) for draw in range(2_000)])
    expected = np.repeat([1, 0.5, 0.5, 0.5], [1, 2, 5, 40])
    np.testing.assert_allclose(draws.mean(axis=0), expected, atol=0.05)  # over four standard deviations
    sizes = np.stack([draws[:, strata == each].sum(axis=1) for each in (3, 5, 7, 8)], axis=1)
    assert [sorted(set(column)) for column in sizes.T.tolist()] == [[1], [1], [2, 3], [20]]
    assert half_of_each(np.zeros(9, dtype=np.int64), 3).tolist() == [bool(int(b)) for b in "010101110"]


def test_rows_of_unknown_attribute_are_drawn_by_class(labelled):
    pseudo = labelled.pseudo.pseudo_attributes.copy()
    unknown = labelled.rows("train")[::3]
    pseudo[unknown] = -1
    (factor,) = labelled.pseudo.factors
    without = replace(labelled, pseudo=replace(labelled.pseudo, factors=(replace(factor, pseudo_attributes=pseudo),)))
    rows = half_of(without, 0).rows("train")
    of_unknown = rows[np.isin(rows, unknown)]
    classes = labelled.dataset.labels
    assert (abs(2 * np.bincount(classes[of_unknown]) - np.bincount(classes[unknown])) <= 1).all()


def test_the_figures_are_those_with_all_rows_and_the_spread_is_that_of_the_draws(drawn, tiny):
    metrics, folder = drawn.metrics, drawn.folder
    assert (metrics.seeds, metrics.draws) == ([0], [0, 1, 2])
    assert len(list((folder / "cells").iterdir())) == 5 * (1 + DRAWS)
    erm, balanced = (next(row for row in metrics.rows if row.method == name) for name in ("erm", "balanced"))
    assert balanced.test.average == cell(folder, "balanced_linear_seed-0")[1]["test"]["average"]
    ours, theirs = ([repeat.figures["average"] for repeat in row.draw_repeats] for row in (balanced, erm))
    assert ours == [cell(folder, f"balanced_linear_draw-{k}")[1]["test"]["average"] for k in range(DRAWS)]
    assert balanced.deviations["average"] == pytest.approx(np.std(ours, ddof=1)) and np.std(ours) > 0
    by_draw = np.subtract(ours, theirs).tolist()
    found = balanced.difference.figures["average"]
    assert found.mean == pytest.approx(balanced.test.average - erm.test.average)
    smallest = min(metrics.dataset.train_counts_pseudo)
    assert found.over_draws == pytest.approx(interval_over_draws(found.mean, by_draw, smallest))
    assert found.over_seeds is None
    text = " ".join(str(drawn).split())
    assert f"of one seed with all rows ± standard deviation over {DRAWS} draws of half of the training and" in text
    assert "would other training images of the same kind agree?" in text
    page = (folder / "compare.html").read_text()
    assert f"1 seed, {DRAWS} draws" in page and f"--resample</span> {DRAWS}" in page and "with seed 0." in page
    assert "Over draws" in page and "half of the training and validation images" in page


def test_draws_add_the_spread_to_a_comparison_of_one_seed(drawn, tiny, tmp_path):
    compare(tiny, tmp_path / "c", methods="erm", seeds=1)
    dbpt.compare(out=tmp_path / "c", resample=2, resume=True)
    more = dbpt.compare(out=tmp_path / "c", methods=[row.method for row in drawn.rows], resample=DRAWS, resume=True)
    assert contents(more.folder)["numbers"] == contents(drawn.folder)["numbers"]
    again = dbpt.compare(out=tmp_path / "c", resume=True)
    assert json.loads((again.folder / "plan.json").read_text())["draws"] == DRAWS
    assert (again.metrics.seeds, again.metrics.draws) == ([0], [0, 1, 2])


@pytest.mark.parametrize(
    ("seeds", "resample", "message"),
    [
        (3, 4, r"^--resample 4: each draw has a seed of its own; leave --seeds out, or give one seed$"),
        (1, 1, r"^--resample is 1; expected an integer from 2 to 1000$"),
        (1, 1001, r"^--resample is 1001; expected"),
        (1, True, r"^--resample is True; expected"),
        (1, "5", r"^--resample is '5'; expected"),
    ],
)
def test_what_is_no_number_of_draws_is_refused(seeds, resample, message):
    with pytest.raises(InputError, match=message):
        make_plan(FitConfig(), "erm", "linear", seeds, resample)


def test_the_interval_over_draws_hardly_shrinks_with_more_of_them_and_allows_for_few_rows():
    widths = [np.ptp(interval_over_draws(0.2, [0.1, 0.3] * number, 1000)) for number in (3, 500)]
    assert widths == pytest.approx([2 * 2.5706 * 0.10954, 2 * 1.9647 * 0.10005], rel=1e-3)
    # t of 6, 2 and 2 degrees of freedom: few rows of a group estimate the deviation badly
    widths = [np.ptp(interval_over_draws(0.2, [0.1, 0.3] * 500, rows)) for rows in (7, 2, 1)]
    assert widths == pytest.approx([2 * t * 0.10005 for t in (2.4469, 4.3027, 4.3027)], rel=1e-3)
    assert interval_over_draws(0.2, [0.1], 9) is None
    assert interval_over_draws(0.2, [0.1, 0.1], 9) is None


def test_the_interval_over_draws_covers_the_expected_difference_of_small_groups():
    """A mean over bootstrap draws, which the table showed before, is off by half a standard error or more."""
    found = coverage(5, pools=150, draws=20)
    assert abs(found.bias) < 0.2
    assert found.bias_of_draws < -0.5
    assert all(0.92 < found.covered[number] < 0.99 for number in (5, 10, 20))
    assert found.covered[20] > found.covered[5] - 0.03
