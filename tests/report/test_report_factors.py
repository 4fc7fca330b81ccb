"""Accuracy for each of several attributes alone, from the groups of their combinations."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from by_position import group_metrics
from made_up_results import BIRDS, compared

from dbpt.evaluation.results import FactorSummary
from dbpt.report.result_rows import Row, factor_figures, group_size

SIZES = (2, 3, 2)
FACTORS = [
    FactorSummary(name=name, values=[f"{name}{i}" for i in range(n)]) for name, n in zip("abc", SIZES, strict=True)
]


METRICS = SimpleNamespace(
    average="plain", dataset=replace(BIRDS, classes=["u", "v", "w"], attributes=[""] * 12, factors=FACTORS)
)
"""The entries that are read: three classes, three factors."""


@pytest.fixture(scope="module")
def drawn():
    draws, n = np.random.default_rng(0), 500
    labels, predictions = draws.integers(0, 3, n), draws.integers(0, 3, n)
    codes = [draws.integers(0, size, n) for size in SIZES]
    codes[2][labels == 0] = 0  # class u has no value c1
    joint = np.ravel_multi_index(codes, SIZES)
    return labels, predictions, codes, joint


def test_each_factor_has_the_figures_that_it_would_have_as_the_only_attribute(drawn):
    labels, predictions, codes, joint = drawn
    groups = group_metrics(predictions, labels, joint, num_classes=3, num_attributes=12).groups
    found = factor_figures(METRICS, groups)
    assert [each.name for each in found] == ["a", "b", "c"]
    for each, code, size in zip(found, codes, SIZES, strict=True):
        names = [(y, f"{each.name}{a}") for y in "uvw" for a in range(size)]
        alone = group_metrics(predictions, labels, code, num_classes=3, num_attributes=size, group_names=names)
        assert each.groups == [group for group in alone.groups if group.n]
        assert each.worst.accuracy == alone.worst_group_accuracy
    assert ("u", "c1") not in [(group.class_name, group.attribute) for group in found[2].groups]
    assert factor_figures(METRICS, []) == []


@pytest.mark.parametrize(("differ", "factors", "size"), [(False, ["a", "b", "c"], "40"), (True, [], "differs by seed")])
def test_seeds_that_disagree_on_the_groups_have_no_figures_by_factor_and_no_sizes(differ, factors, size):
    record = compared("ERM", [0.5], [0.5] * 36, groups_differ=differ)
    shown = Row(record, METRICS, chosen=True, color="chosen")
    assert ([each.name for each in shown.factors], group_size([shown], 0)) == (factors, size)
