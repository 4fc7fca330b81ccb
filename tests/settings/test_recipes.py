"""Recipes: what they say, and what counts more than they do."""

import pytest

from dbpt.cli import main
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig, make_config, override, read_config


def test_the_default_recipe_changes_nothing():
    assert make_config({"recipe": "default"}) == make_config({}) == FitConfig()


def test_coop_trains_as_its_paper_says():
    config = make_config({"recipe": "coop"})
    assert (config.optimizer, config.peak_lr, config.sgd_momentum, config.weight_decay) == ("sgd", 0.002, 0.9, 5e-4)
    assert (config.batch_size, config.epochs, config.warmup_epochs) == (32, 200, 1)
    assert (config.n_ctx, config.resolved().ctx_init) == (16, None)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"lr": 0.5}, {"lr": 0.5, "epochs": 200}),
        ({"n_ctx": 4}, {"n_ctx": 4, "ctx_init": None}),
        ({"ctx_init": "a drawing of"}, {"n_ctx": None, "ctx_init": "a drawing of"}),
        ({"batch_size": 0, "head": "linear"}, {"batch_size": 0, "lr": 0.002, "n_ctx": None}),
    ],
)
def test_what_is_given_counts_more_than_the_recipe(given, found):
    config = make_config({"recipe": "coop", **given})
    assert {name: getattr(config, name) for name in found} == found


def test_a_config_file_may_name_a_recipe(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('recipe = "coop"\nepochs = 7\n', encoding="utf-8")
    config = make_config(read_config(path) | {"lr": 0.1})
    assert (config.epochs, config.lr, config.batch_size) == (7, 0.1, 32)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"epochs": 9}, {"lr": 0.003, "epochs": 9, "ctx_init": None}),
        ({"recipe": "coop"}, {"lr": 0.002, "optimizer": "sgd", "batch_size": 32, "n_ctx": 16, "ctx_init": None}),
        ({"recipe": "coop", "lr": 0.5}, {"lr": 0.5, "optimizer": "sgd"}),
        ({"n_ctx": 4}, {"n_ctx": 4, "ctx_init": None, "lr": 0.003}),
    ],
)
def test_the_command_line_counts_more_than_the_file_of_another_run(tmp_path, given, found):
    """Such a file names every setting."""
    path = tmp_path / "config.toml"
    path.write_text(make_config({}).to_toml(), encoding="utf-8")
    config = make_config(override(read_config(path), given)).resolved()
    assert {name: getattr(config, name) for name in found} == found


@pytest.mark.parametrize(
    ("line", "given", "found"),
    [
        ('attributes = ["a", "b"]', {"factors": ("s: c, d",)}, (None, ("s: c, d",))),
        ('factors = ["s: c, d"]', {"attributes": ("a", "b")}, (("a", "b"), None)),
        ('factors = ["s: c, d"]', {"attributes": None}, (None, ("s: c, d",))),
    ],
)
def test_factors_replace_the_attributes_of_a_file_and_the_other_way_round(tmp_path, line, given, found):
    path = tmp_path / "c.toml"
    path.write_text(line, encoding="utf-8")
    config = make_config(override(read_config(path), given))
    assert (config.attributes, config.factors) == found


def test_attributes_and_factors_given_together_are_refused_beside_a_file_too():
    with pytest.raises(InputError, match="^--factors with --attributes: "):
        make_config(override({"attributes": ("e", "f")}, {"attributes": ("a", "b"), "factors": ("s: c, d",)}))


def test_fit_reads_a_file_that_way(tiny, tiny_run, tmp_path):
    arguments = ["--config", str(tiny_run / "config.toml"), "--recipe", "coop", "--epochs", "1", "--no-baselines"]
    main(["fit", *arguments, "--out", str(tmp_path / "run")])
    settings = read_config(tmp_path / "run" / "config.toml")
    assert (settings["optimizer"], settings["lr"], settings["n_ctx"], settings["epochs"]) == ("sgd", 0.002, 16, 1)
