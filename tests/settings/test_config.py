"""Settings: defaults, types and limits, the nearest name, and the TOML round trip."""

import os
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from dbpt.environment import cache_folder
from dbpt.errors import InputError
from dbpt.settings.all_settings import SECTIONS
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.settings.fields import Command, flag_of, options_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


OF_A_FILE = {"pseudo_attributes": "mine.csv"}
LIMITS = {"low": "at least", "above": "above", "high": "at most", "below": "below"}


def refused(match: str, **settings: object) -> None:
    with pytest.raises(InputError, match=match):
        make_config(settings)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 2.5}, r"--epochs: expected an integer, found 2\.5"),
        ({"epochs": True}, r"--epochs: expected an integer, found True"),
        ({"epochs": None}, r"--epochs: expected an integer, found None"),
        ({"lr": float("nan")}, r"--lr: expected a finite number, found nan"),
        ({"lr": "0.1"}, r"--lr: expected a finite number, found '0\.1'"),
        ({"class_specific_context": "yes"}, r"--class-specific-context: expected true or false, found 'yes'"),
        ({"ctx_init": " "}, r"^--ctx-init ' ': no token; expected words, or leave it out$"),
        ({"n_ctx": 4, "ctx_init": "a b"}, r"^--n-ctx 4 with --ctx-init 'a b': .*; drop one of the two"),
        ({"objective": "dpbt"}, r"'dpbt' is none of dbpt, gla, balanced, erm, .* \(did you mean 'dbpt'\?\)"),
        ({"objective": "jtt", "epochs": 3, "identification_epochs": 4}, r"epochs 4: .* expected at most --epochs 3"),
        ({"pseudo_method": "argmax", "proportions": (1, 1)}, r"^--proportions with --pseudo-method argmax: only"),
        ({"pseudo_method": "proportional", "proportions": (0.5, -1)}, r"^--proportions: must be 0 or above .* 0\.5 -1"),
        ({"pseudo_method": "proportional", "proportions": (0, 0)}, r"^--proportions: must be 0 or above and not all 0"),
        ({"pseudo_method": "proportional", "proportions": ()}, r"^--proportions: .*, found none"),
        ({"pseudo_method": "proportional", "proportions": ("a",)}, r"^--proportions: expected a list of numbers"),
        ({"attributes": "land"}, r"--attributes: expected a list of strings, found 'land'; write \['land'\]$"),
        ({"attributes": "land, water"}, r"found 'land, water'; write \['land', 'water'\]$"),
        ({"classes": [1, 2]}, r"--classes: expected a list of strings"),
        ({"objective": print}, "--objective: expected a string, .*; dbpt.register_objective adds yours$"),
        ({"root": 3}, r"--root: expected a string, found 3"),
        (
            {"embeddings": ["a name"] * 99},
            r"^--embeddings: expected a string, found \('a name', .{60,70}; numpy.save .*given$",
        ),
        ({"columns": {"labels": "y"}}, r"^--columns: 'labels' is none of path, label, split, attribute"),
        ({"attributes": {"land": 3, "water": "water"}}, r"^--attributes: found 'land': 3; expected names and wordings"),
        ({"classes": {"a=b": "x", "c": "c"}}, r"^--classes: 'a=b' can't be written"),
        (OF_A_FILE | {"label_model": "ViT-B-32"}, "^--pseudo-attributes with --label-model: nothing is guessed, since"),
        (OF_A_FILE | {"proportions": (1, 2)}, "^--pseudo-attributes with --proportions: nothing is guessed"),
        (OF_A_FILE | {"pseudo_method": "argmax"}, "^--pseudo-attributes with --pseudo-method: nothing is guessed"),
        ({"label_pretrained": "x"}, "^--label-pretrained x: without --label-model; name"),
        ({"baselines": 1}, r"--baselines: expected true or false"),
        ({"objective": "dfr", "head": "linear", "features": "live"}, r"^--features live with --objective dfr: "),
        ({"epoch": 3}, r"unknown setting 'epoch' \(did you mean 'epochs'\?\)"),
        ({"zzz": 3}, "^unknown setting 'zzz'; dbpt fit --help-all lists all settings$"),
        ({"out": "run"}, "^unknown setting 'out'; give --out$"),
        ({"recipe": "coup"}, r"^--recipe: 'coup' is none of default, paper, coop \(did you mean 'coop'\?\)"),
        ({"recipe": ["coop"]}, r"^--recipe: \['coop'\] is none of default, paper, coop"),
    ],
)
def test_bad_values_are_refused_by_name(settings, match):
    refused(match, **settings)


def test_every_number_has_a_limit_and_values_beyond_it_are_refused():
    for setting in fields(FitConfig):
        limits, kind = LIMITS.keys() & setting.metadata, str(setting.type).removesuffix(" | None")
        assert kind not in ("int", "float") or limits & {"low", "above"}, setting.name
        for limit in limits:
            step = 1 if kind == "int" else max(1e-9, abs(setting.metadata[limit]) / 1e9)
            beyond = setting.metadata[limit] + {"low": -step, "high": step}.get(limit, 0)
            refused(f"^{flag_of(setting.name)}: must be {LIMITS[limit]} ", **{setting.name: beyond})


def test_a_value_that_is_no_choice_is_refused_with_the_choices():
    for setting in fields(FitConfig):
        if choices := setting.metadata.get("choices"):
            value = ("x",) if setting.type.startswith("tuple") else "x"
            refused(f"^{flag_of(setting.name)}: 'x' is none of {', '.join(choices)}", **{setting.name: value})


def test_every_setting_has_a_help_text_a_section_and_a_valid_default():
    config = FitConfig()
    assert [setting for section in SECTIONS for setting in fields(section)] == list(fields(FitConfig))
    assert all(isinstance(config, section) and section().title == section.title for section in SECTIONS)
    for setting in fields(FitConfig):
        assert setting.metadata["help"]
        assert getattr(config, setting.name) == setting.default


def test_defaults_that_depend_on_other_settings_are_resolved():
    resolved = FitConfig().resolved()
    assert (resolved.lr, resolved.ctx_init, resolved.n_ctx) == (0.003, None, None)
    linear = FitConfig(head="linear", optimizer="sgd").resolved()
    assert (linear.lr, linear.ctx_init) == (0.1, None)
    assert FitConfig(lr=0.5).resolved().lr == 0.5
    assert [FitConfig(batch_size=size).resolved().dro_step_size for size in (0, 32)] == [0.1, 0.01]
    assert FitConfig(dro_step_size=0.0).resolved().dro_step_size == 0
    assert [FitConfig(epochs=epochs).resolved().identification_epochs for epochs in (200, 3)] == [50, 1]
    assert FitConfig(identification_epochs=7).resolved().identification_epochs == 7


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "loss"),
        ({"batch_size": 32}, "sampling"),
        ({"batch_size": 32, "apply": "loss"}, "loss"),
        ({"batch_size": 32, "optimizer": "sgd"}, "loss"),
        ({"batch_size": 32, "objective": "jtt"}, "sampling"),
        ({"batch_size": 32, "objective": "erm"}, None),
        ({"batch_size": 32, "objective": "dfr", "head": "linear"}, None),
        ({"recipe": "coop"}, "loss"),
    ],
)
def test_weights_go_into_the_sampler_where_adamw_would_take_them_out_of_the_loss(settings, expected):
    config = make_config({"prompts": "class"} | settings)
    assert config.application(config.trained_objective) == config.resolved().apply == expected


def test_values_are_taken_as_python_users_write_them():
    config = make_config({"attributes": ["a", "b"], "root": Path("some/where"), "lr": 1})
    assert (config.attributes, config.root, config.lr) == (("a", "b"), str(Path("some/where")), 1)
    words = {"animal": ["dog", "elephant"], "thing": "thing"}
    config = make_config({"classes": words, "columns": {"label": "y", "attribute": ""}})
    assert config.classes == ("animal=dog|elephant", "thing=thing")
    assert config.columns == ("label=y", "attribute=")


def test_toml_round_trip_of_every_kind_of_value(tmp_path):
    awkward = ('quote" back\\slash', "tab\t newline\n del\x7f nul\x00", "größer 🦆|水")
    numbers = {"lr": 1e-7, "eta": 3, "seed": 2**63 - 1}
    config = make_config({"data": "x.csv", "classes": awkward, "baselines": False} | numbers)
    path = tmp_path / "c.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert make_config(read_config(path)) == config
    assert "attributes" not in tomllib.loads(config.to_toml())  # what is unset stays unset


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"epochs = \nlr = 1\n", r"cannot read as a TOML config: .*line 1"),
        (b"\xff\xfe", r"cannot read as a TOML config"),
        (b"epoch = 3", r"unknown setting 'epoch' \(did you mean 'epochs'\?\)"),
        (b"epochs = '3'", r"--epochs: expected an integer, found '3'"),
        (b"[training]\nepochs = 3", r"settings in a table \[training\]: write them at the top, without"),
        (b"objective = 'erm'\ngroup_source = 'true'", r"--group-source true with --objective erm"),
    ],
)
def test_bad_config_files_are_named(tmp_path, content, match):
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: .*{match}"):
        read_config(path)


def test_options_give_the_command_line_the_same_settings():
    from dbpt.cli.fit_and_compare import fit

    settings = {"data": "x.csv", "classes": ["a=b|c", "d e"], "eta": 0.5, "class_specific_context": True}
    config = make_config({**settings, "baselines": False, "proportions": [0.25, 0.75], "root": "my images"})
    options = options_of(config.given(each.name for each in fields(config) if each.name != "data"))
    assert options[:4] == ["--classes", "a=b|c", "d e", "--root"]
    assert "--no-baselines" in options and "--lr" not in options
    given = fit.make_context("fit", ["x.csv", "--out", "run", *options]).params
    known = {name: value for name, value in given.items() if value not in (None, ()) and hasattr(config, name)}
    assert make_config(known) == config
    assert config.given({"eta", "lr"}) == {"eta": 0.5}


def test_cache_folder_by_setting_environment_and_default(monkeypatch, tmp_path):
    monkeypatch.delenv("DBPT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "dbpt"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert FitConfig().cache_dir == tmp_path / "dbpt"
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path / "mine"))
    assert FitConfig().cache_dir == tmp_path / "mine"
    assert FitConfig(cache="~/here").cache_dir == Path.home() / "here"
    monkeypatch.setenv("DBPT_CACHE", "~/there")
    assert FitConfig().cache_dir == Path.home() / "there"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(InputError, match="not a home folder here; name a folder with --cache"):
        cache_folder()


@pytest.mark.parametrize("name", ["data", "root", "embeddings", "model", "pretrained", "tokenizer", "cache"])
def test_a_path_may_begin_with_the_home_folder(name):
    assert getattr(make_config({name: "~/x.json"}), name) == str(Path.home() / "x.json")
    assert getattr(make_config({name: Path("~/x.json")}), name) == str(Path.home() / "x.json")


def test_a_device_of_torch_is_one():
    assert make_config({"device": torch.device("cuda:1")}).device == "cuda:1"


def test_numpy_scalars_are_numbers_and_arrays_lists():
    config = make_config({"epochs": np.int64(3), "lr": np.float32(0.5)})
    assert (config.epochs, config.lr) == (3, 0.5)
    assert make_config({"classes": np.array(["a", "b"]), "proportions": np.array([1, 3])}).classes == ("a", "b")


def test_a_command_prints_itself_for_a_shell_and_for_python():
    arguments = {"predictions": ..., "attributes": ("land", "open water"), "baselines": False, "seed": 3, "out": None}
    command = Command("audit", "my birds.csv", arguments)
    assert command.call == (
        "dbpt.audit('my birds.csv', predictions=..., attributes=('land', 'open water'), baselines=False, seed=3)"
    )
    line = str(Command("audit", "my birds.csv", arguments | {"predictions": "FILE"}))
    assert line == (
        "dbpt audit 'my birds.csv' --predictions FILE --attributes land 'open water' --no-baselines --seed 3"
    )
