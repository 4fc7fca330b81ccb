"""A run is used from another working directory, and after it has moved together with its data."""

import json
import shutil

import pytest
from folders import change_json
from tiny import Tiny, make_tiny

import dbpt
from dbpt import InputError
from dbpt.commands.label.sample import read_design
from dbpt.runs.run_folder import RUN_FOLDER
from dbpt.settings.config import FitConfig


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Tiny:
    """A project with data, a run and a sample, made with relative paths."""
    tiny = make_tiny(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tiny.table.parent)
        settings = tiny.settings | {"epochs": 1, "baselines": False, "head": "linear", "n_ctx": None}
        settings |= {"model": tiny.model.name, "pretrained": tiny.weights.name}
        dbpt.fit("squares.csv", out="runs/squares", **settings)
        dbpt.draw_label_sample("runs/squares", out="checks/squares", n=20)
    return tiny


@pytest.fixture
def moved(made, tmp_path, monkeypatch):
    """A copy of it beside the working directory, which has another table of the same name; the first one is gone."""
    project = shutil.copytree(made.table.parent, tmp_path / "project")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/squares.csv").write_text("path,label\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return project


def use(project, weights, verb: str, **given):
    run = "../project/runs/squares"
    if verb == "evaluate":
        return dbpt.evaluate(run, given.get("data"), weights=weights)
    if verb in ("audit", "discover"):
        more = {} if verb == "audit" else {"search": ["pixels"]}
        return getattr(dbpt, verb)(given.get("data"), predictions=run, weights=weights, **more)
    if verb == "label":
        return dbpt.draw_label_sample(run, out="sample", n=20, weights=weights, **given)
    change_json(project / "runs/squares/run.json", status="training")
    return dbpt.fit(**given, out=run, resume=True)


@pytest.mark.parametrize("verb", ["evaluate", "audit", "discover", "label", "fit"])
def test_every_command_finds_the_data_of_a_moved_run_and_else_asks_for_them(made, moved, verb):
    use(moved, made.weights, verb)
    shutil.rmtree(moved / "checks")
    (moved / "squares.csv").rename(moved / "renamed.csv")
    shutil.rmtree("sample", ignore_errors=True)
    option = "--data" if verb == "label" else "DATA"
    with pytest.raises(
        InputError, match=rf"squares.csv: does not exist; .*/runs/squares was made with it.* as {option}$"
    ):
        use(moved, made.weights, verb)
    use(moved, made.weights, verb, data=str(moved / "renamed.csv"))


def test_paths_stay_as_they_are_where_the_run_was_made_and_lead_from_elsewhere(made, moved, monkeypatch):
    assert RUN_FOLDER.read_settings(moved / "runs/squares").data == str(moved / "squares.csv")
    assert read_design(moved / "checks/squares").run == str(moved / "runs/squares")
    paths = json.loads((moved / "runs/squares/run.json").read_text())["paths"]
    strange = {"epochs": "../../squares.csv", "zzz": "\0"}
    change_json(moved / "runs/squares/run.json", paths=paths | strange)
    settings = RUN_FOLDER.read_settings(moved.parent / "elsewhere/../project/runs/squares")
    assert (settings.pretrained, settings.device) == (str(moved / "tiny.safetensors"), FitConfig.device)
    config = moved / "runs/squares/config.toml"
    absolute = config.read_text().replace('data = "squares.csv"', f'data = "{moved.parent}/elsewhere/squares.csv"')
    config.write_text(absolute)  # a run that was copied beside another table, while its own is still there
    assert RUN_FOLDER.read_settings(moved / "runs/squares").data == f"{moved.parent}/elsewhere/squares.csv"
    (moved.parent / "elsewhere/squares.csv").unlink()
    assert RUN_FOLDER.read_settings(moved / "runs/squares").data == str(moved / "squares.csv")
    config.write_text(absolute.replace(f"{moved.parent}/elsewhere/", ""))
    monkeypatch.chdir(moved)
    assert RUN_FOLDER.read_settings(moved / "runs/squares").data == "squares.csv"
    assert read_design(moved / "checks/squares").run == str(moved / "runs/squares")
