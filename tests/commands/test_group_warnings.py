"""Warnings about groups that training or validation lacks, or that are too small to choose an epoch by."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from runs import fit, metrics_of
from tiny import ATTRIBUTES

from dbpt.data import load_dataset
from dbpt.guesses import PseudoAttributes
from dbpt.settings.config import FitConfig
from dbpt.study.stages import group_warnings, setting_warnings
from dbpt.study.study import Study

NAMES = ("box · meadow", "box · lake", "disc · meadow", "disc · lake")
# Rows of each group in training and in validation.
ENOUGH = {"train": (20, 5, 5, 20), "val": (10, 10, 10, 10)}


def warnings(tiny, train, val, **settings) -> list[str]:
    dataset = load_dataset(tiny.table, attributes={name: (name,) for name in ATTRIBUTES})
    groups = np.concatenate([np.repeat(range(4), train), np.repeat(range(4), val)])
    splits = np.repeat([0, 1], [sum(train), sum(val)])
    config = FitConfig(**settings)
    attributes, pseudo = np.zeros_like(groups), groups % 2  # the run is not to look at those of the other kind
    if config.group_source == "true" and config.model_selection == "true-wga":
        attributes, pseudo = pseudo, attributes
    columns = {"lines": np.arange(len(groups)), "labels": groups // 2, "attributes": attributes, "splits": splits}
    dataset = replace(dataset, paths=("image.png",) * len(groups), **columns)
    guessed = PseudoAttributes(pseudo, None, None, "argmax")
    return group_warnings(
        Study(embedded=SimpleNamespace(dataset=dataset), config=config, pseudo=guessed, splits=splits)
    )


def test_nothing_is_said_where_every_group_has_enough_rows(tiny):
    assert warnings(tiny, **ENOUGH) == []


TRUE = {"group_source": "true", "model_selection": "true-wga"}


@pytest.mark.parametrize(("kind", "settings"), [("pseudo", {}), ("true", TRUE)])
def test_a_group_that_a_split_lacks_is_told_with_its_rows_in_the_other_and_the_way_out(tiny, kind, settings):
    assert warnings(tiny, ENOUGH["train"], (10, 0, 10, 12), **settings) == [
        f"{kind}-groups with no row in split 'val': {NAMES[1]} (5 in 'train'); the epoch is chosen without them, as if "
        "they did not exist: add rows of them, or choose with --model-selection last"
    ]
    assert warnings(tiny, (20, 5, 0, 20), ENOUGH["val"], **settings) == [
        f"{kind}-groups with no row in split 'train': {NAMES[2]} (10 in 'val'); nothing is learnt about them, add rows "
        "of them"
    ]


def test_small_groups_of_validation_are_told_apart_from_those_it_lacks(tiny):
    told = warnings(tiny, ENOUGH["train"], (9, 0, 1, 10))
    assert [line.partition(";")[0] for line in told] == [
        f"pseudo-groups with no row in split 'val': {NAMES[1]} (5 in 'train')",
        f"pseudo-groups with under 10 rows in split 'val': {NAMES[0]} (9 in 'val'), {NAMES[2]} (1 in 'val')",
    ]
    assert "; a few images decide which epoch is best: add rows of them, or choose with --model-selection " in told[1]


def test_a_group_that_occurs_nowhere_is_only_said_not_to_be_learnt(tiny):
    told = warnings(tiny, (20, 5, 0, 20), (10, 10, 0, 10))
    (line,) = [line.partition(";")[0] for line in told]
    assert line == f"pseudo-groups with no row in split 'train': {NAMES[2]} (0 in 'val')"


@pytest.mark.parametrize("model_selection", ["average", "last"])
def test_validation_groups_do_not_matter_where_none_chooses_the_epoch(tiny, model_selection):
    assert warnings(tiny, ENOUGH["train"], (1, 0, 1, 10), model_selection=model_selection) == []


def test_dfr_learns_from_validation(tiny):
    told = warnings(tiny, ENOUGH["train"], (10, 0, 10, 10), objective="dfr", head="linear")
    assert told[0].startswith(f"pseudo-groups with no row in split 'val': {NAMES[1]} (5 in 'train'); nothing is learnt")


def test_a_fit_without_one_group_in_validation_says_so_in_its_metrics(tiny, tmp_path):
    rows = [row for row in tiny.rows() if not row["path"].startswith("val/10")]
    run = fit(tiny, tmp_path / "run", tiny.write("no-box-meadow", rows), epochs=1, baselines=False, **TRUE)
    (told,) = [line for line in metrics_of(run)["warnings"] if "chosen without them" in line]
    assert told.startswith(f"true-groups with no row in split 'val': {NAMES[0]} (5 in 'train');")


def test_a_selection_that_no_objective_reads_is_told(tiny):
    refit = FitConfig(objective="dfr", head="linear", model_selection="last", baselines=False)
    (told,) = setting_warnings([refit])
    assert told.startswith("--model-selection last changes nothing in this run: only --objective dbpt and ")
    assert "dfr" not in told
    (told,) = setting_warnings([replace(refit, baselines=True)])
    assert told.startswith("--model-selection last changes nothing in this run but in the ERM row: only --objective")
    assert setting_warnings([replace(refit, model_selection="pseudo-wgp")]) == []
    assert setting_warnings([refit, replace(refit, objective="erm")]) == []
