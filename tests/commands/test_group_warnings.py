"""Warnings about groups that training or validation lacks, or that are too small to choose an epoch by."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from comparisons import compare
from runs import said
from tiny import ATTRIBUTES

from dbpt.data import load_dataset
from dbpt.guesses import GuessedFactors, PseudoAttributes
from dbpt.settings.config import FitConfig
from dbpt.study.checks import group_warnings, setting_warnings
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
    guessed = GuessedFactors((PseudoAttributes(pseudo, None, None, "argmax"),))
    study = Study(embedded=SimpleNamespace(dataset=dataset), config=config, pseudo=guessed, splits=splits)
    return said(group_warnings(study))


def test_nothing_is_said_where_every_group_has_enough_rows(tiny):
    assert warnings(tiny, **ENOUGH) == []


TRUE = {"group_source": "true", "model_selection": "true-wga"}


@pytest.mark.parametrize(("kind", "settings"), [("pseudo", {}), ("true", TRUE)])
def test_a_group_that_a_split_lacks_is_told_with_its_rows_in_the_other_and_the_way_out(tiny, kind, settings):
    assert warnings(tiny, ENOUGH["train"], (10, 0, 10, 12), **settings) == [
        f"{kind}-groups with no row in split 'val': {NAMES[1]} (5 in 'train'); the epoch is chosen without them: add "
        "such rows, or choose with --model-selection last"
    ]
    assert warnings(tiny, (20, 5, 0, 20), ENOUGH["val"], **settings) == [
        f"{kind}-groups with no row in split 'train': {NAMES[2]} (10 in 'val'); nothing is learnt about them: add such "
        "rows"
    ]


def test_small_groups_of_validation_are_told_apart_from_those_it_lacks(tiny):
    told = warnings(tiny, ENOUGH["train"], (9, 0, 1, 10))
    assert [line.partition(";")[0] for line in told] == [
        f"pseudo-groups with no row in split 'val': {NAMES[1]} (5 in 'train')",
        f"pseudo-groups with under 10 rows in split 'val': {NAMES[0]} (9 in 'val'), {NAMES[2]} (1 in 'val')",
    ]
    assert "; a few images decide which epoch is best" in told[1]


def test_a_group_that_occurs_nowhere_is_only_said_not_to_be_learnt(tiny):
    told = warnings(tiny, (20, 5, 0, 20), (10, 10, 0, 10))
    (line,) = [line.partition(";")[0] for line in told]
    assert line == f"pseudo-groups with no row in split 'train': {NAMES[2]} (0 in 'val')"


@pytest.mark.parametrize("model_selection", ["average", "last"])
def test_validation_groups_do_not_matter_where_none_chooses_the_epoch(tiny, model_selection):
    assert warnings(tiny, ENOUGH["train"], (1, 0, 1, 10), model_selection=model_selection) == []


def test_dfr_learns_from_validation(tiny):
    assert warnings(tiny, (20, 5, 0, 20), ENOUGH["val"], objective="dfr", head="linear") == []
    told = warnings(tiny, ENOUGH["train"], (10, 0, 10, 10), objective="dfr", head="linear")
    assert told[0].startswith(f"pseudo-groups with no row in split 'val': {NAMES[1]} (5 in 'train'); nothing is learnt")


def test_a_selection_that_no_objective_reads_is_told(tiny):
    refit = FitConfig(objective="dfr", head="linear", model_selection="last", baselines=False)
    (told,) = said(setting_warnings([refit]))
    assert told.startswith("--model-selection last changes nothing in this run: only --objective dbpt and ")
    assert "dfr" not in told
    (told,) = said(setting_warnings([replace(refit, baselines=True)]))
    assert told.startswith("--model-selection last changes nothing in this run but in the ERM row: only --objective")
    assert setting_warnings([replace(refit, model_selection="auto")]) == []
    assert setting_warnings([refit, replace(refit, objective="erm")]) == []


@pytest.mark.parametrize(
    ("settings", "is_read"),
    [
        ({}, True),
        ({"prompts": "group"}, True),
        ({"prompts": "group", "objective": "balanced", "group_source": "true"}, True),
        ({"objective": "gla"}, True),
        ({"prompts": "class"}, False),
        ({"objective": "kgcoop"}, False),
        ({"model_selection": "last"}, True),
        ({"model_selection": "last", "prompts": "group"}, True),
        ({"group_source": "ppa"}, False),
        ({"group_source": "ppa", "prompts": "group"}, False),
    ],
)
def test_sentences_of_groups_that_nothing_reads_are_told(settings, is_read):
    config = FitConfig(group_template=("a {attribute} {class}.",), **settings)
    told = [] if is_read else ["only group prompts with named groups would read it"]
    assert [line.partition("this run: ")[2] for line in said(setting_warnings([config]))] == told
    assert setting_warnings([config, replace(config, prompts="group", objective="gla", group_source="true")]) == []
    assert setting_warnings([config], sentences_read=True) == []


@pytest.mark.parametrize("free", ["group-prompts", "orthogonal-calibrated", "zero-shot"])
def test_rows_without_training_may_read_the_sentences_of_groups(tiny, tmp_path, free):
    plan = {"methods": ["erm", free], "heads": ("linear",), "seeds": 1, "epochs": 1, "n_ctx": None}
    result = compare(tiny, tmp_path / "c", group_template=["a {attribute} {class}."], **plan)
    told = [line for line in result.warnings if line.startswith("--group-template a {attribute} {class}. changes")]
    assert len(told) == (free == "zero-shot")


@pytest.mark.parametrize("verb", ["audit", "discover", "guess"])
@pytest.mark.parametrize("given", [("--group-template", "a {attribute} {class}."), ("--epochs", "3")])
def test_commands_that_train_nothing_refuse_settings_of_training(tiny, verb, given, refusal):
    assert given[0] in refusal(verb, tiny.table, *given)
