"""Methods, heads and seeds become the cells of a comparison; the others are refused or left out, with a reason."""

from dataclasses import replace

import pytest

from dbpt.commands.compare.plan import BY_THE_PLAN, METHODS, is_cell_file, make_plan, shared_settings
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig

CONFIG = FitConfig(data="demo", epochs=7)
ISSUE = "zero-shot,erm,balanced,dbpt,groupdro,groupdro:true,jtt,dfr"


def names(plan) -> list[tuple[str, str | None]]:
    return [(row.method.name, row.head) for row in plan.rows]


def test_rows_are_zero_shot_and_then_head_by_head():
    plan = make_plan(CONFIG, "dbpt,zero-shot,groupdro:true", ["linear", "prompt"], (3, 7))
    trained = [(method, head) for head in ("linear", "prompt") for method in ("dbpt", "groupdro:true")]
    assert names(plan) == [("zero-shot", None), *trained]
    cells = [cell.name for cell in plan.cells[4:7]]
    assert cells == ["groupdro-true_prompt_seed-3", "zero-shot_seed-7", "dbpt_linear_seed-7"]
    assert len({cell.name for cell in plan.cells}) == 10


def test_a_cell_has_the_settings_of_one_fit():
    plan = make_plan(CONFIG, "groupdro:true", "linear", 2)
    own = {"objective": "groupdro", "group_source": "true", "head": "linear", "prompts": "class", "baselines": False}
    assert [cell.config for cell in plan.cells] == [replace(CONFIG, seed=seed, **own) for seed in (0, 1)]
    assert make_plan(CONFIG, METHODS, "prompt", 1).left_out == ()


@pytest.mark.parametrize(
    ("settings", "heads", "has_mixed"),
    [
        ({"attributes": ("land", "water")}, "prompt", True),
        ({"attributes": ("land", "water")}, "adapter,linear", True),
        ({"attributes": ("land", "water")}, "adapter", False),
        ({"attributes": ("clusters",)}, "prompt", False),
    ],
)
def test_by_default_it_has_what_fit_saves_where_that_can_be_made(settings, heads, has_mixed):
    plan = make_plan(shared_settings(settings), None, heads)
    assert ("gla:mixed" in [method.name for method in plan.methods]) is has_mixed
    assert {method.name for method in plan.methods} | {"gla:mixed"} == set(METHODS)


def test_a_head_that_a_method_cannot_train_is_left_out():
    plan = make_plan(CONFIG, ISSUE, "prompt,linear", 1)
    assert ("dfr", "linear") in names(plan)
    assert len(plan.rows) == 14
    assert plan.left_out == ("--head prompt with --objective dfr: DFR trains linear only; choose --head linear",)


def test_what_has_no_weights_is_compared_with_sampling_all_the_same():
    plan = make_plan(FitConfig(apply="sampling"), "erm,dbpt,jtt,dfr", "linear", 1)
    assert [cell.config.apply for cell in plan.cells] == [None, "sampling", "sampling", None]


@pytest.mark.parametrize(
    ("methods", "heads", "seeds", "message"),
    [
        ("dbtp", "prompt", 1, r"--methods: 'dbtp' is none of zero-shot, group-prompts, .* \(did you mean 'dbpt'\?\)"),
        ("dbpt:trve", "prompt", 1, "--methods: 'dbpt:trve': expected after the colon"),
        ("gla:group:group", "prompt", 1, "--methods: 'gla:group:group': names the groups or 'group' twice"),
        ("dbpt:true:pseudo", "prompt", 1, "--methods: 'dbpt:true:pseudo': names the groups or 'group' twice"),
        ("zero-shot:true", "prompt", 1, "--methods: 'zero-shot:true': zero-shot is not trained and takes no groups"),
        ("dfr", "prompt,adapter", 1, "--methods dfr: .*: DFR trains linear only; choose --head linear"),
        ("dbpt,dbpt:pseudo", "prompt", 1, "--methods: 'dbpt' is given twice; keep one"),
        (",", "prompt", 1, "--methods: found ','; expected names"),
        ("erm", "lineal", 1, r"--heads: 'lineal' is none of prompt, linear, adapter \(did you mean 'linear'\?\)"),
        ("erm", "linear", 0, "--seeds: found 0; expected at least 1"),
        ("erm", "linear", 20261126, "--seeds: found 20261126, so many seeds; for seed 20261126 alone write 20261126,"),
        ("erm", "linear", (), r"--seeds: found \(\); expected how many"),
        ("erm", "linear", 2.5, "--seeds: found 2.5; expected how many"),
        ([3], "linear", 1, r"--methods: found \[3\]; expected names"),
        ("erm", 3, 1, "--heads: found 3; expected names"),
        ("erm  dbpt,gla", "linear", "ab", "--seeds: found 'ab'; expected how many there are"),
        ("erm", "linear", (3, 3), "--seeds: '3' is given twice; keep one"),
    ],
)
def test_a_plan_that_means_nothing_is_refused_in_one_line(methods, heads, seeds, message):
    with pytest.raises(InputError, match=f"^{message}"):
        make_plan(CONFIG, methods, heads, seeds)


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("balance", r"no row has this name \(did you mean 'balanced'\?\); names are zero-shot balanced dbpt ba"),
        ("balanced,adapter", "no row has this name .* balanced,linear,max_weight=9 "),
        ("dbpt,eta=5.0", "no row has this name.* dbpt,linear,eta=5,max_weight=9$"),
        ("erm", "no row has this name"),
        ("", "no row has this name"),
        (7, "no row has this name"),
    ],
)
def test_a_row_to_compare_with_that_no_row_will_be_is_refused(against, message):
    plan = {"methods": "zero-shot,balanced,dbpt", "heads": "prompt,linear", "vary": {"eta": [0, 5], "max_weight": [9]}}
    with pytest.raises(InputError, match=f"^--against {against or repr('')}: {message}"):
        make_plan(CONFIG, against=against, **plan)
    for good in ("zero-shot", "balanced", "dbpt,linear", "dbpt,eta=5", "dbpt,max_weight=9,prompt"):
        assert make_plan(CONFIG, against=good.replace(",", " , "), **plan).against == good


@pytest.mark.parametrize("name", BY_THE_PLAN)
def test_a_setting_that_each_row_has_for_itself_is_refused(name):
    value = getattr(CONFIG, name)
    with pytest.raises(InputError, match=f"^--{name.replace('_', '-')}: each row of a comparison has its own; .* --"):
        shared_settings({"data": "demo", name: value})


def test_which_files_are_those_of_cells():
    plan = make_plan(CONFIG, "zero-shot,erm,groupdro:true", "prompt,linear", (3, 12))
    assert all(is_cell_file(f"{cell.name}.safetensors") for cell in plan.cells)
    for name in ("erm.safetensors", "mine_linear_seed-0.safetensors", "erm_linear_seed-0.safetensors.bak", "seed-0"):
        assert not is_cell_file(name)
    for varied in ("x_linear", "erm_linear_a/b=1", "erm_eta=1", "erm_linear_eta=", "erm_linear_eta=1,"):
        assert not is_cell_file(f"{varied}_seed-0.safetensors")
