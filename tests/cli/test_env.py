"""``dbpt env``: what a bug report needs, also where packages are missing or broken."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from block_imports import BLOCKED

import dbpt
from dbpt.environment import git_revision


def entries_of(printed: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in printed.splitlines())


def test_names_versions_devices_and_folders(command, monkeypatch, tmp_path):
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DBPT_PLUGINS", "no_such_module")  # a broken plugin may be the reason for the report
    code, printed, told = command("env")
    entries = entries_of(printed)
    assert (code, told) == (0, "")
    revision = git_revision(Path(dbpt.__file__).parent)  # of a checkout that is installed in place
    assert entries["dbpt"] == dbpt.__version__ + (f", git revision {revision}" if revision else "")
    assert entries["Python"].startswith(platform.python_version())
    assert (entries["numpy"], entries["torch"]) == (np.__version__, version("torch"))
    assert {"open-clip-torch", "platform", "processors", "devices", "settings"} < set(entries)
    assert "onnx" in entries["extras"].split(", ") and "wandb" not in entries["extras"]
    assert entries["cache"] == str(tmp_path / "cache")
    assert "missing" not in printed  # tomli, which later versions of Python don't need
    assert "DBPT_PLUGINS=no_such_module" in entries["settings"]


def test_with_numpy_alone():
    code = (
        BLOCKED.format(allowed=["numpy", "dbpt"])
        + "import runpy\nrunpy.run_module('dbpt.environment', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert entries_of(done.stdout)["devices"] == "unknown: No module named 'torch'"


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_names_the_git_revision_of_dbpt_but_not_of_a_project_around_it(monkeypatch, tmp_path):
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "dbpt").mkdir()
    (tmp_path / "dbpt/__init__.py").touch()
    (tmp_path / "mine.py").touch()
    for arguments in (["init", "-q"], ["add", "mine.py"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    assert git_revision(tmp_path / "dbpt") == ""
    for arguments in (["add", "dbpt"], ["commit", "-qm", "two"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert head.startswith(git_revision(tmp_path / "dbpt")) and git_revision(tmp_path / "dbpt")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert git_revision(Path(tmp_path / "dbpt")) == ""
