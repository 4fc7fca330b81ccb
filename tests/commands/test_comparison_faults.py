"""A comparison survives kill -9 and Ctrl-C at any moment, of itself or one of its processes, and ends the same."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest
from comparisons import EPOCHS, METHODS, compare, contents
from folders import change_json, leftovers
from launched import wait_until

from dbpt.cli import main
from dbpt.errors import InputError

STAY = """
import time
from pathlib import Path
from dbpt.training import checkpoints

checkpoints.SECONDS_BETWEEN = 0
save = checkpoints.save_checkpoint

def save_and_stay(*arguments):
    save(*arguments)
    while len(list(Path({cells!r}).glob("*.safetensors"))) >= 2:
        time.sleep(0.01)

checkpoints.save_checkpoint = save_and_stay
if __name__ == "__main__":
    from dbpt.cli import main
    main()
"""
"""`dbpt` whose trainings wait for their end at a checkpoint once there are two cells: a busy machine can't miss it."""


@pytest.mark.usefixtures("quick_jobs")
def test_two_processes_find_what_one_does_and_a_death_loses_only_its_cell(tiny, tmp_path, long_comparison, logged):
    others, killed = multiprocessing.active_children(), list[int]()

    def kill_one(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("[2/") and not killed:
            victim = next(child for child in multiprocessing.active_children() if child not in others)
            killed.append(victim.pid)
            victim.kill()
        return True

    logged.handler.addFilter(kill_one)
    found = compare(tiny, tmp_path / "c", epochs=EPOCHS, jobs=2)
    logged.handler.removeFilter(kill_one)
    assert killed
    (failed,) = found.to_dict()["failed"]
    assert failed["reason"].startswith("its process was killed by signal 9")
    assert f"failed: {failed['method']}" in str(found)
    assert set(multiprocessing.active_children()) <= set(others)
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "c" / "cells").iterdir()}
    assert len(there) == 7
    compare(tiny, tmp_path / "c", epochs=EPOCHS, resume=True)
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert contents(tmp_path / "c") == long_comparison


def test_a_process_that_cannot_begin_is_told_of(tiny, tmp_path, monkeypatch):
    """As where a script starts itself again in each process: this one ends it at once."""
    script = ModuleType("__main__")
    script.__file__ = str(tmp_path / "unguarded.py")
    (tmp_path / "unguarded.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setitem(sys.modules, "__main__", script)
    with pytest.raises(InputError, match="^--jobs: a process ended with exit code 3 before it could begin; in a scr"):
        compare(tiny, tmp_path / "c", jobs=2)


@pytest.fixture
def process(tiny, tmp_path):
    """``dbpt compare`` in two jobs and a session of its own, which stays at two cells, and ends with the test."""
    out, script = tmp_path / "c", tmp_path / "stay.py"
    script.write_text(STAY.format(cells=str(out / "cells")))
    rows = ["--methods", ",".join(METHODS), "--heads", "linear", "--seeds", "2", "--epochs", str(EPOCHS), "--jobs", "2"]
    words = [sys.executable, script, "compare", tiny.table, "--out", out, *tiny.arguments, *rows]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **streams, start_new_session=True) as process:
        yield process
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def processes_of(session: int) -> list[str]:
    """The command lines of all processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, owner = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(owner) == session and state != "Z":
                found.append((entry / "cmdline").read_text())
        except (OSError, ValueError):
            continue
    return found


def mid_training(out: Path) -> bool:
    return any((out / "checkpoints").glob("*.safetensors"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.full
@pytest.mark.parametrize("ctrl_c", [True, False])
def test_stopped_among_two_jobs_it_leaves_no_process_and_ends_the_same(process, tmp_path, long_comparison, ctrl_c):
    out = tmp_path / "c"
    way_on = f"dbpt compare --resume --out {out}"
    wait_until(lambda: mid_training(out) and len(list(out.glob("cells/*.safetensors"))) >= 2)
    if ctrl_c:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the children too
        _, said = process.communicate(timeout=600)
        assert process.returncode == 130, said
        assert said.splitlines()[-1] == f"Interrupted; nothing is half-written; continue with: {way_on}"
        assert "Traceback" not in said and "leaked" not in said
    else:
        process.kill()  # the parent alone
        process.wait()
    wait_until(lambda: processes_of(process.pid) == [])  # its children have noticed
    assert not (out / "compare.json").exists()
    assert json.loads((out / "plan.json").read_text())["status"] == "training"
    there = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.safetensors")}
    main(way_on.split()[1:])
    assert contents(out) == long_comparison
    assert {path: path.stat().st_mtime_ns for path in there} == there  # what was finished was left alone
    assert not mid_training(out) and leftovers(out) == []


def test_interrupted_within_a_training_it_goes_on_from_its_checkpoint(tiny, tmp_path, long_comparison, monkeypatch):
    from dbpt.training import loop

    epochs: list[int] = []

    def counted(self, *arguments, train_epoch=loop._Run._train_epoch):
        if len(epochs) == EPOCHS + 5 and not (tmp_path / "resumed").exists():
            raise KeyboardInterrupt
        epochs.append(1)
        return train_epoch(self, *arguments)

    monkeypatch.setattr(loop._Run, "_train_epoch", counted)
    with pytest.raises(KeyboardInterrupt):
        compare(tiny, tmp_path / "c", epochs=EPOCHS)
    (tmp_path / "resumed").touch()
    compare(tiny, tmp_path / "c", epochs=EPOCHS, resume=True)
    assert len(epochs) == 6 * EPOCHS  # none was trained twice
    assert contents(tmp_path / "c") == long_comparison


def test_a_comparison_of_an_older_version_is_refused_before_anything_of_it_changes(tiny, tmp_path):
    compare(tiny, tmp_path / "c", methods="zero-shot", seeds=1)
    change_json(tmp_path / "c/plan.json", schema_version=3)
    before = contents(tmp_path / "c")
    with pytest.raises(InputError, match="plan.json: written by an older dbpt .*; make it again"):
        compare(tiny, tmp_path / "c", methods="zero-shot", seeds=1, resume=True)
    assert contents(tmp_path / "c") == before
    compare(tiny, tmp_path / "c", methods="zero-shot", seeds=1, overwrite=True)
    assert json.loads((tmp_path / "c/plan.json").read_text())["schema_version"] > 3
