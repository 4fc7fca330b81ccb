"""`FitConfig` refuses choices that don't go together, each with its reason, before anything is read."""

import re
from dataclasses import fields

import pytest

import dbpt
from dbpt.errors import InputError
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.all_settings import TrainingSettings
from dbpt.settings.combinations import combinations, why_refused
from dbpt.settings.config import FitConfig, readers

ALL = list(combinations())
PPA = {"prompts": "group", "group_source": "ppa"}


def test_every_combination_is_one_of_the_choices_once():
    assert len({tuple(choice.items()) for choice in ALL}) == len(ALL) == 3 * 2 * len(OBJECTIVES) * 3 * 2 * 6


def test_a_config_is_refused_exactly_where_the_matrix_says_so():
    for choice in ALL:
        refusal = why_refused(**choice)
        if refusal is None:
            FitConfig(**choice)
            continue
        with pytest.raises(InputError, match=f"^{re.escape(refusal)}$"):
            FitConfig(**choice)
        assert f"--objective {choice['objective']}" in refusal or f"--head {choice['head']}" in refusal


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ({"objective": "erm", "group_source": "true"}, "^--group-source true with --objective erm: ERM uses no groups"),
        ({"objective": "erm", "apply": "sampling"}, "^--apply sampling with --objective erm: ERM has no weights to"),
        ({"prompts": "group", "objective": "kgcoop"}, "^--prompts group with --objective kgcoop: KgCoOp trains class"),
        ({"prompts": "class", "objective": "gla"}, "^--prompts class with --objective gla: GLA trains group prompts"),
        (PPA | {"head": "adapter"}, "start from equal prompts, .* choose --head linear$"),
        (PPA | {"objective": "subg"}, "SUBG doesn't train apart; choose --objective gla$"),
        ({"objective": "dfr"}, "^--head prompt with --objective dfr: DFR trains linear only; choose --head linear$"),
        ({"epochs": 3, "warmup_epochs": 3}, "^--warmup-epochs 3 with --epochs 3: all epochs are warm-up, .* lower --w"),
    ],
)
def test_the_reason_names_both_settings_and_the_way_out(choice, match):
    with pytest.raises(InputError, match=match):
        FitConfig(**choice)


def test_an_objective_that_is_registered_is_a_choice_at_once(registries):
    """Nothing else names the objectives: its file and the registry are all that a new one touches."""
    dbpt.register_objective("new")(type("New", (OBJECTIVES["erm"],), {"title": "New", "uses_groups": False}))
    assert FitConfig(objective="new").objective == "new"
    with pytest.raises(InputError, match="New uses no groups"):
        FitConfig(objective="new", group_source="true")
    assert any(choice["objective"] == "new" for choice in combinations())


def test_readers_of_a_setting_are_the_heads_and_objectives_that_name_it():
    assert readers("ctx_init") == ["--head prompt"]
    assert readers("eta") == ["--objective dbpt"]
    assert readers("seed") == readers("apply") == []
    named = {name for chosen in (*HEADS.values(), *OBJECTIVES.values()) for name in chosen.settings}
    assert named <= {setting.name for setting in fields(FitConfig)}


def test_only_objectives_that_loop_read_the_settings_of_the_loop():
    looping = [f"--objective {name}" for name in OBJECTIVES if name != "dfr"]
    training = {setting.name for setting in fields(TrainingSettings)}
    assert {name for name in training if readers(name) == looping} == training - {"seed", "sgd_momentum"}
