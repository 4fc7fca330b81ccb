"""`dbpt compare --resample K`: K draws of the training and validation rows, the same for every method."""

import json
from dataclasses import replace

import numpy as np
import pytest
from comparisons import cell, compare, contents
from tiny import Tiny

import dbpt
from dbpt import InputError
from dbpt.data import SPLITS
from dbpt.experiments.comparison.plan import seeds_of
from dbpt.experiments.comparison.resampling import resampled
from dbpt.experiments.comparison.summary import bootstrap_interval
from dbpt.experiments.figures import Labelled
from dbpt.experiments.stages import prepare
from dbpt.settings.config import FitConfig

DRAWS = 3


@pytest.fixture(scope="module")
def labelled(tiny: Tiny) -> Labelled:
    return prepare(FitConfig(data=str(tiny.table), **tiny.settings)).labelled


@pytest.fixture(scope="module")
def drawn(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dbpt.Result:
    methods = ("zero-shot", "erm", "balanced", "afr", "groupdro:true")
    return compare(tiny, tmp_path_factory.mktemp("drawn") / "c", methods=methods, seeds=None, resample=DRAWS)


def test_a_draw_has_as_many_rows_of_each_pseudo_group_and_split_and_all_test_rows(labelled):
    draws = [resampled(labelled, seed) for seed in range(4)]
    for each in draws:
        for split in SPLITS:
            assert each.counts("pseudo", split).tolist() == labelled.counts("pseudo", split).tolist()
            assert len(each.rows(split)) == len(labelled.rows(split))
        assert each.rows("test").tolist() == labelled.rows("test").tolist()
        train = each.rows("train")
        assert set(train) < set(labelled.rows("train"))
        assert len(set(train)) < len(train)
        assert each.train_counts.tolist() == labelled.train_counts.tolist()  # the average's weights stay
    assert len({each.drawn.tobytes() for each in draws}) == 4
    assert resampled(labelled, 1).drawn.tobytes() == draws[1].drawn.tobytes()


def test_each_row_is_as_likely_as_the_others_of_its_stratum(labelled):
    repeats = np.array([np.bincount(resampled(labelled, seed).drawn, minlength=1000) for seed in range(2_000)])
    for split in ("train", "val"):
        means = repeats.mean(axis=0)[labelled.rows(split)]
        np.testing.assert_allclose(means, 1, atol=0.13)  # over five standard deviations of a binomial count


def test_rows_of_unknown_attribute_are_drawn_by_class(labelled):
    pseudo = labelled.pseudo.pseudo_attributes.copy()
    unknown = labelled.rows("train")[::3]
    pseudo[unknown] = -1
    without = replace(labelled, pseudo=replace(labelled.pseudo, pseudo_attributes=pseudo))
    rows = resampled(without, 0).rows("train")
    of_unknown = rows[np.isin(rows, unknown)]
    classes = labelled.dataset.labels
    assert np.bincount(classes[of_unknown]).tolist() == np.bincount(classes[unknown]).tolist()


def test_the_table_is_of_the_draws_and_every_method_has_the_same_ones(drawn, tiny):
    metrics, folder = drawn.metrics, drawn.folder
    assert metrics.resampled and metrics.seeds == [0, 1, 2]
    assert len(list((folder / "cells").iterdir())) == 5 * DRAWS
    erm, balanced = (next(row for row in metrics.rows if row.method == name) for name in ("erm", "balanced"))
    values = [cell(folder, f"balanced_linear_draw-{k}")[1]["test"]["average"] for k in range(DRAWS)]
    figure = balanced.figures["average"]
    assert figure.by_seed == values and figure.mean == pytest.approx(np.mean(values)) and figure.sd > 0
    differences = np.subtract(figure.by_seed, erm.figures["average"].by_seed).tolist()
    assert balanced.difference.figures["average"].over_seeds == pytest.approx(bootstrap_interval(differences))
    text = " ".join(str(drawn).split())
    assert f"mean ± standard deviation over {DRAWS} draws of the training and validation rows" in text
    assert "the same head and draw" in text
    assert "seed" not in text
    page = (folder / "compare.html").read_text()
    assert "Over draws" in page and "drawn with replacement" in page and "over the seeds" not in page
    assert f"--resample {DRAWS}" in page


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.full)])
def test_more_draws_are_added(drawn, tiny, tmp_path, jobs):
    first = compare(tiny, tmp_path / "c", methods="erm", seeds=None, resample=2)
    more = dbpt.compare(out=tmp_path / "c", methods=drawn_methods(drawn), resample=DRAWS, jobs=jobs, resume=True)
    assert first.metrics.rows[0].figures["average"].by_seed == more.metrics.rows[1].figures["average"].by_seed[:2]
    assert contents(more.folder)["numbers"] == contents(drawn.folder)["numbers"]
    again = dbpt.compare(out=tmp_path / "c", resume=True)
    assert json.loads((again.folder / "plan.json").read_text())["resampled"] is True
    assert again.metrics.seeds == [0, 1, 2]


def drawn_methods(drawn: dbpt.Result) -> list[str]:
    return [row.method for row in drawn.metrics.rows]


def test_a_comparison_keeps_to_seeds_or_to_draws(drawn, comparison):
    with pytest.raises(InputError, match=r"was started with --resample 3; keep to it, or start again with --overwrite"):
        dbpt.compare(out=drawn.folder, seeds=3, resume=True)
    with pytest.raises(InputError, match=r"was started with --seeds 2; keep to it"):
        dbpt.compare(out=comparison.folder, resample=3, resume=True)


@pytest.mark.parametrize(
    ("seeds", "resample", "message"),
    [
        (3, 4, r"^--resample: each draw has a seed of its own; leave --seeds out$"),
        (None, 1, r"^--resample: found 1; expected the number of draws, 2 to 1000$"),
        (None, 1001, r"^--resample: found 1001; expected"),
        (None, True, r"^--resample: found True; expected"),
    ],
)
def test_what_is_no_number_of_draws_is_refused(seeds, resample, message):
    with pytest.raises(InputError, match=message):
        seeds_of(seeds, resample)


def test_the_interval_over_draws_covers_and_does_not_shrink_with_more_of_them():
    """The mean of 40 rows, in 2,000 samples: the interval of bootstrap draws should have the truth in 95 %."""
    random = np.random.default_rng(0)
    for draws in (5, 20):
        samples = random.exponential(size=(2_000, 40))
        rows = random.integers(0, 40, (2_000, draws, 40))
        means = np.take_along_axis(samples[:, None, :], rows, axis=2).mean(axis=2)
        intervals = np.array([bootstrap_interval(each.tolist()) for each in means])
        covered = ((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1)).mean()
        assert 0.92 < covered < 0.97
    assert bootstrap_interval([0.1]) is None
    assert bootstrap_interval([0.1, 0.1]) is None
