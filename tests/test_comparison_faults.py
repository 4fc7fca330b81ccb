"""What a comparison must survive: kill -9 and Ctrl-C at any moment, trainings and processes that fail, other settings.

Whatever happened, what it ends with is what it would have been.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from comparisons import METHODS, TABLES, compare, contents

from dbpt import InputError

EPOCHS = 12
LONG = 80
"""Epochs of what is killed from outside, so that there is time to do it on a busy machine."""


@pytest.fixture(scope="module")
def expected(tiny, tmp_path_factory):
    """What an uninterrupted comparison in one process finds."""
    return contents(compare(tiny, tmp_path_factory.mktemp("expected") / "c", epochs=EPOCHS).folder)


@pytest.fixture(scope="module")
def expected_of_long(tiny, tmp_path_factory):
    return contents(compare(tiny, tmp_path_factory.mktemp("long") / "c", epochs=LONG).folder)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


# --- several processes ------------------------------------------------------------------------------------------------


def test_two_processes_find_what_one_does(tiny, tmp_path, expected):
    assert contents(compare(tiny, tmp_path / "c", epochs=EPOCHS, jobs=2).folder) == expected
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_takes_only_its_cell_with_it(tiny, tmp_path, expected):
    killed: list[int] = []

    def kill_one(line: str) -> None:
        if line.startswith("[1/") and not killed:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            victim.kill()

    found = compare(tiny, tmp_path / "c", epochs=EPOCHS, jobs=2, log=kill_one)
    (failed,) = found.numbers["failed"]
    assert failed["reason"].startswith("its process was killed by signal 9")
    assert f"failed: {failed['method']}" in str(found)
    compare(tiny, tmp_path / "c", epochs=EPOCHS, resume=True)
    assert contents(tmp_path / "c") == expected


def test_a_script_that_starts_itself_again_is_told_so(tiny, tmp_path):
    script = tmp_path / "unguarded.py"
    arguments = {**tiny.settings, "epochs": 2, "methods": "erm,dbpt", "heads": "linear", "jobs": 2, "seeds": 1}
    script.write_text(f"import dbpt\ndbpt.compare({str(tiny.table)!r}, out={str(tmp_path / 'c')!r}, **{arguments!r})\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "below if __name__ == '__main__':" in done.stderr.splitlines()[-1]


# --- killed and interrupted -------------------------------------------------------------------------------------------


@pytest.fixture
def start(tiny):
    """Starts ``dbpt compare`` in a session of its own, which ends with the test."""
    started: list[subprocess.Popen] = []

    def run(out: Path, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dbpt", "compare", str(tiny.table), "--out", str(out), *tiny.arguments]
        command += ["--methods", ",".join(METHODS), "--heads", "linear", "--seeds", "2", "--epochs", str(LONG)]
        started.append(
            subprocess.Popen(
                [*command, *options],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


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


def cells_in(out: Path) -> int:
    return len(list((out / "cells").glob("*.safetensors")))


def mid_training(out: Path) -> bool:
    return any((out / "checkpoints").glob("*.safetensors"))


def killed(process: subprocess.Popen, moment: Callable[[], bool]) -> None:
    """Kill the parent alone, and wait until its children have noticed."""
    wait_until(lambda: moment() or process.poll() is not None)
    process.kill()
    process.communicate()
    wait_until(lambda: processes_of(process.pid) == [])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_killed_at_any_moment_it_leaves_no_process_and_ends_the_same(start, tiny, tmp_path, expected_of_long):
    out = tmp_path / "c"
    moments = (("1", out.is_dir), ("2", lambda: mid_training(out) and cells_in(out) >= 3))
    for jobs, moment in moments:
        killed(start(out, "--resume", "--jobs", jobs), moment)
        assert not (out / "compare.json").exists()
        for name in ("plan.json", "config.toml"):  # whole, or not there yet
            assert not (out / name).exists() or (out / name).read_text().endswith(("}\n", "true\n"))
    assert json.loads((out / "plan.json").read_text())["status"] == "training"
    there = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.safetensors")}
    assert len(there) >= 3
    compare(tiny, out, epochs=LONG, resume=True)
    assert contents(out) == expected_of_long
    assert {path: path.stat().st_mtime_ns for path in there} == there  # what was finished was left alone
    assert not mid_training(out)
    assert leftovers(out) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_ctrl_c_is_one_line_and_leaves_no_process(start, tiny, tmp_path, expected_of_long):
    out = tmp_path / "c"
    process = start(out, "--jobs", "2")
    wait_until(lambda: mid_training(out) and cells_in(out) >= 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the children too
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "Interrupted; nothing is half-written, and dbpt compare goes on with --resume"
    assert "Traceback" not in said
    assert "leaked" not in said
    wait_until(lambda: processes_of(process.pid) == [])
    assert leftovers(out) == []
    compare(tiny, out, epochs=LONG, resume=True)
    assert contents(out) == expected_of_long


def test_interrupted_within_a_training_it_goes_on_from_its_checkpoint(tiny, tmp_path, expected, monkeypatch):
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
    assert contents(tmp_path / "c") == expected


# --- trainings that fail ----------------------------------------------------------------------------------------------


def test_a_loss_that_blows_up_fails_alone(tiny, tmp_path, command):
    out = tmp_path / "c"
    options = [*tiny.arguments, "--lr", "1e38", "--weight-decay", "10", "--methods", "zero-shot,erm", "--seeds", "2"]
    code, printed, said = command("compare", tiny.table, "--out", out, *options)
    assert code == 2
    assert said.splitlines()[-1].startswith(
        "Error: trainings that failed: 2, see under the table; the same with --resume"
    )
    assert "failed: erm, head prompt, seed 1: the loss of objective 'erm' is " in " ".join(printed.split())
    assert "ERM, head prompt: 0 of 2 seeds" in printed
    assert json.loads((out / "plan.json").read_text())["status"] == "training"
    assert {path.name for path in (out / "cells").iterdir()} == {f"zero-shot_seed-{s}.safetensors" for s in (0, 1)}


def test_a_failed_cell_is_left_out_of_means_and_tried_again(tiny, tmp_path, expected, monkeypatch):
    from dbpt.comparison import jobs

    def fails_once(stages, cell, folder, run_cell=jobs.run_cell):
        if cell.name == "dbpt_linear_seed-1":
            raise InputError("the loss is nan | 100 % bad")
        run_cell(stages, cell, folder)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_cell", fails_once)
        found = compare(tiny, tmp_path / "c", epochs=EPOCHS)
    (row,) = [row for row in found.numbers["rows"] if row["method"] == "dbpt"]
    assert row["seeds"] == row["difference"]["seeds"] == [0]
    assert row["figures"]["average"]["sd"] is None
    assert row["difference"]["figures"]["average"]["over_seeds"] is None
    assert row["difference"]["figures"]["average"]["over_images"] is not None
    assert "failed: dbpt, head linear, seed 1: the loss is nan | 100 % bad" in str(found)
    assert "the loss is nan $|$" not in (tmp_path / "c" / "compare.tex").read_text()
    compare(tiny, tmp_path / "c", epochs=EPOCHS, resume=True)
    assert contents(tmp_path / "c") == expected


# --- other settings ---------------------------------------------------------------------------------------------------


def test_a_comparison_grows_by_methods_heads_and_seeds(tiny, tmp_path, expected):
    out = tmp_path / "c"
    compare(tiny, out, methods="erm,groupdro:true", seeds=(1,), epochs=EPOCHS)
    with pytest.raises(
        InputError, match=f"--out {out}: exists; continue it with --resume, replace it with --overwrite"
    ):
        compare(tiny, out, epochs=EPOCHS)
    compare(tiny, out, epochs=EPOCHS, resume=True)
    assert contents(out) == expected
    assert json.loads((out / "plan.json").read_text())["methods"] == list(METHODS)


def test_other_settings_or_images_are_refused(tiny, tmp_path):
    out = tmp_path / "c"
    compare(tiny, out, methods="erm", seeds=1)
    before = contents(out)
    with pytest.raises(InputError, match="--resume: .* was started with epochs = 3, found 4; use the same settings"):
        compare(tiny, out, methods="erm", seeds=1, resume=True, epochs=4)
    fewer = tiny.write("fewer-compare", tiny.rows()[:-1])
    with pytest.raises(InputError, match="--resume: .* was started with other images, labels, words or weights"):
        compare(tiny, out, fewer, methods="erm", seeds=1, resume=True)
    assert contents(out) == before
    compare(tiny, out, fewer, methods="erm", seeds=1, overwrite=True)
    assert contents(out) != before


def test_a_damaged_cell_is_named(tiny, tmp_path):
    out = tmp_path / "c"
    compare(tiny, out, methods="erm", seeds=1)
    path = out / "cells" / "erm_linear_seed-0.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="erm_linear_seed-0.safetensors: not a readable result .* delete it"):
        compare(tiny, out, methods="erm", seeds=1, resume=True)
    path.unlink()
    compare(tiny, out, methods="erm", seeds=1, resume=True)


def test_a_run_folder_and_a_comparison_folder_are_not_taken_for_each_other(tiny, tiny_run, tmp_path):
    import dbpt

    with pytest.raises(InputError, match="exists and is not a comparison folder"):
        compare(tiny, tiny_run, overwrite=True)
    out = compare(tiny, tmp_path / "c", methods="erm", seeds=1).folder
    with pytest.raises(InputError, match="exists and is not a run folder"):
        dbpt.fit(tiny.table, out=out, overwrite=True, **tiny.settings)
    with pytest.raises(InputError, match="not a run folder"):
        dbpt.load(out)
    (out / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="holds 'mine.txt', which is no comparison's"):
        compare(tiny, out, methods="erm", overwrite=True)
    assert set(TABLES) < {path.name for path in out.iterdir()}
