"""``dbpt compare`` on the command line: what it passes on, what it refuses in one line, and what it prints."""

from functools import partial

import pytest
from comparisons import METHODS
from passed_on import passed_on

from dbpt.commands.compare.plan import BY_THE_PLAN


@pytest.fixture
def options(monkeypatch):
    """Return what the command line passes to `dbpt.compare`, without ``out``."""
    return partial(passed_on, monkeypatch, "compare")


def test_what_is_said_is_passed_on_and_the_rest_has_its_defaults(options):
    plain = {"methods": None, "heads": None, "seeds": None, "resample": None, "vary": None}
    plain |= {"against": None, "jobs": 1, "resume": False, "overwrite": False}
    assert options("DATA") == {"data": "DATA", **plain}
    said = options("DATA", "--methods", "erm,dbpt:true", "--heads", "linear", "--jobs", 3, "--resume", "--lr", 0.1)
    chosen = {"methods": "erm,dbpt:true", "heads": "linear", "jobs": 3, "resume": True, "lr": 0.1}
    assert said == plain | {"data": "DATA", **chosen}
    assert options("DATA", "--attributes", "a", "b=c|d", "--classes", "e", "f")["attributes"] == ("a", "b=c|d")
    seeds = [options("DATA", "--seeds", *text.split())["seeds"] for text in ("2", "3,7", "3 7", "3,")]
    assert seeds == [2, (3, 7), (3, 7), (3,)]
    assert options("DATA", "--methods", "erm", "dbpt", "--seeds", "2")["methods"] == "erm,dbpt"
    assert options("DATA", "--resample", "20")["resample"] == 20
    assert options("DATA", "--against", "gla:mixed")["against"] == "gla:mixed"
    varied = options("DATA", "--vary", "eta=0,1", "batch-size=16", "--jobs", 2)["vary"]
    assert varied == {"eta": ["0", "1"], "batch_size": ["16"]}


def test_the_settings_file_of_a_run_will_do(options, tiny_run, tmp_path):
    settings = options("--config", tiny_run / "config.toml", "--epochs", "2")
    assert settings["data"].endswith("squares.csv")
    assert (settings["epochs"], settings["n_ctx"]) == (2, 3)
    assert set(settings).isdisjoint(BY_THE_PLAN)
    (tmp_path / "own.toml").write_text('data = "DATA"\nlr = 0.5\n')
    assert options("--config", tmp_path / "own.toml")["lr"] == 0.5


def test_what_a_settings_file_says_in_vain_is_told(command, tiny_run, tmp_path):
    _, _, said = command("compare", "--config", tiny_run / "config.toml", "--out", tmp_path / "c", "--methods", "ebm")
    first, last = said.splitlines()
    names = "objective, group_source, prompts, head, seed, baselines"
    assert first.endswith(f"config.toml: {names} left out, because each row of a comparison has its own")
    assert last.startswith("Error: --methods: 'ebm' is none of ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'DATA'"),
        (["demo", "--seeds", "five"], "'five' is neither a number nor a list such as 3 7"),
        (["demo", "--method", "erm"], "--methods"),
        (["demo", "--jobs", "0"], "--jobs is 0; expected"),
        (["demo", "--objective", "erm"], "--objective: each row"),
        (["demo", "--resume", "--overwrite"], "--resume and --overwrite: choose one"),
    ],
)
def test_usage_errors_are_one_line(refusal, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path / "cache"))
    assert message in refusal("compare", *arguments, "--out", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_help_is_silent_on_what_the_plan_says(command):
    _, printed, _ = command("compare", "--help-all")
    assert "--group-source" not in printed and "--objective" not in printed
    assert all(f"--{name}" in printed for name in ("methods", "heads", "seeds", "jobs", "epochs", "model-selection"))


def test_through_the_command_line(command, tiny, tmp_path):
    out = tmp_path / "c"
    options = ["--methods", ",".join(METHODS), "--heads", "linear,prompt", "--seeds", "2", "--epochs", "2"]
    code, printed, said = command("compare", tiny.table, "--out", out, *tiny.arguments, *options)
    assert code == 0, said
    assert printed.endswith(f"\n\nreport: {out / 'compare.html'}; tables: .csv, .json\n")
    assert "Group DRO (true groups)  linear" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 110
    assert "[14/14] groupdro:true, prompt, seed 1: worst group " in said
    again = command("compare", tiny.table, "--out", out, *tiny.arguments, *options, "--resume")
    assert (again[0], again[1]) == (0, printed)
    assert "14 of 14 trainings are finished" in again[2]
