"""The keywords of `fit` and others: each setting with its type, for `help`, tab completion and type checkers."""

import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from documentation import read, tool

import dbpt
from dbpt.commands.compare.plan import BY_THE_PLAN
from dbpt.settings.config import FitConfig
from dbpt.settings.keywords import FitSettings, SharedSettings

NAMES = {setting.name for setting in fields(FitConfig)} - {"data"} | {"recipe"}
USES = """
import pandas as pd
from pathlib import Path

import dbpt

frame = pd.DataFrame()
words = {"land": ["forest", "field"], "water": "water"}
run = dbpt.fit(frame, out=Path("run"), attributes=words, columns={"label": "y"}, root=Path("images"), lr=0.1, n_ctx=4)
dbpt.fit("demo", out="run", attributes=["land", "water"], model=dbpt.load_backbone("ViT-B-32", "openai"), epochs=3)
dbpt.compare("demo", out="compared", epochs=3, average="plain")
dbpt.check_data(dbpt.load_dataset("rows.csv", classes=words), max_failures=0.5)
"""
MISUSES = {
    'dbpt.fit("demo", out="run", epoch=3)': 'Unexpected keyword argument "epoch" for "fit"; did you mean "epochs"?',
    'dbpt.fit("demo", out="run", epochs="3")': 'Argument "epochs" to "fit" has incompatible type "str"; expected "int"',
    'dbpt.fit("demo", out="run", model_selection="best")': 'Argument "model_selection" to "fit" has incompatible type ',
    'dbpt.compare("demo", out="c", seed=3)': 'Unexpected keyword argument "seed" for "compare"; did you mean "seeds"?',
    'dbpt.embed("demo", clases=["a", "b"])': 'Unexpected keyword argument "clases" for "embed"',
}


def test_the_keywords_are_the_settings_and_their_types():
    assert read("python/dbpt/settings/keywords.py") == tool("write_docs").keywords_module()
    assert set(FitSettings.__annotations__) == NAMES
    assert NAMES - set(SharedSettings.__annotations__) == set(BY_THE_PLAN)


@pytest.mark.parametrize("function", [dbpt.fit, dbpt.compare, dbpt.embed, dbpt.check_data])
def test_a_signature_shows_every_setting_with_its_default(function):
    shown = inspect.signature(function).parameters
    assert NAMES - set(shown) == (set(BY_THE_PLAN) if function is dbpt.compare else set())
    assert (shown["lr"].default, shown["epochs"].default, shown["recipe"].default) == (None, 200, "default")
    assert shown["epochs"].annotation == "int"


def test_an_unknown_argument_may_mean_one_that_is_no_setting():
    with pytest.raises(dbpt.InputError, match=r"unknown argument 'prediction' \(did you mean 'predictions'\?\)"):
        dbpt.audit("demo", prediction="mine.csv")


@pytest.mark.parametrize(("verb", "function"), [("fit", dbpt.fit), ("compare", dbpt.compare), ("audit", dbpt.audit)])
def test_the_main_settings_come_first_in_the_order_of_help_which_shows_no_others(command, verb, function):
    main = [setting.name for setting in fields(FitConfig) if setting.metadata["main"]]
    _, short, _ = command(verb, "--help")
    _, whole, _ = command(verb, "--help-all")
    shown, every = (re.findall(r"^  (?:-\w, )?--([a-z-]+)", text, re.M) for text in (short, whole))
    assert set(shown) < set(every) and len(shown) <= 28
    settings = [name for each in shown if (name := each.replace("-", "_")) in NAMES - {"recipe"}]
    assert settings == [name for name in inspect.signature(function).parameters if name in settings]
    assert settings == [name for name in main if name in settings]
    assert {f"--{name}" for name in ("eta", "afr-gamma", "celeba-target")}.isdisjoint(short.split())


@pytest.mark.full
def test_mypy_knows_every_setting(tmp_path):
    """Libraries are skipped: reading torch takes a minute."""
    libraries = ("torch", "open_clip", "numpy", "PIL", "jinja2", "safetensors", "tqdm", "filelock")
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in libraries)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nignore_missing_imports = true\nfollow_imports = silent\n{skipped}")
    (tmp_path / "uses.py").write_text(USES + "\n".join(MISUSES))
    command = [sys.executable, "-m", "mypy", "uses.py", "--cache-dir", "cache", "--no-error-summary"]
    home = Path(dbpt.__file__).parents[1]
    path = {} if home.name == "site-packages" else {"MYPYPATH": str(home)}  # mypy refuses site-packages there
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=os.environ | path)
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(":")[1] for line in found] == [str(USES.count("\n") + n + 1) for n in range(len(MISUSES))]
    assert all(message in line for line, message in zip(found, MISUSES.values(), strict=True)), done.stdout
