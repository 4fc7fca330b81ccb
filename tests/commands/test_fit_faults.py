"""A fit survives kill -9 at any moment, Ctrl-C, a full disk."""

import itertools
import json
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from folders import leftovers
from launched import run_command
from runs import contents

from dbpt.cli import main
from dbpt.features.embedding import EmbeddingPass
from dbpt.training import checkpoints

EPOCHS = 32


@pytest.fixture(scope="module")
def arguments(tiny) -> list[str]:
    return ["fit", str(tiny.table), *tiny.arguments, "--epochs", str(EPOCHS)]


@pytest.fixture(scope="module")
def expected(arguments, tmp_path_factory) -> dict[str, bytes]:
    """The results of an uninterrupted run."""
    run = tmp_path_factory.mktemp("expected") / "run"
    main([*arguments, "--out", str(run)])
    return contents(run)


def stay(stays: Path, *_: object) -> None:
    """Wait for the signal in short naps: one that comes just before a nap is handled after it."""
    stays.touch()
    for _ in range(6000):
        time.sleep(0.1)


def stay_in_training(stays: Path) -> None:
    """Let a run wait for its end at the fifth checkpoint: however busy the machine is, the signal comes in time."""
    save, saves = checkpoints.save_checkpoint, itertools.count(1)
    checkpoints.SECONDS_BETWEEN = 0
    checkpoints.save_checkpoint = lambda *arguments: (save(*arguments), next(saves) == 5 and stay(stays))


def stay_before_training(stays: Path) -> None:
    EmbeddingPass._encode = partial(stay, stays)


def test_ctrl_c_leaves_one_line_and_a_run_that_goes_on(arguments, expected, tmp_path, tiny, refusal):
    run, stderr = tmp_path / "run", tmp_path / "stderr"
    stays = tmp_path / "stays"
    command = [*arguments, "--out", str(run)]
    code = run_command(command, stderr, partial(stay_in_training, stays), stays.exists, signal.SIGINT)
    lines = stderr.read_text().splitlines()
    assert code == 130
    way_on = f"dbpt fit --resume --out {run}"
    assert lines[-1] == f"Interrupted; nothing is half-written; continue with: {way_on}"
    assert "Traceback" not in stderr.read_text()
    assert "" not in lines
    assert sum(line.startswith("Interrupted") for line in lines) == 1
    assert leftovers(run) == []
    assert json.loads((run / "run.json").read_text())["status"] == "training"
    assert not (run / "classifier.safetensors").exists()

    line = refusal("predict", run, tiny.table.parent / "val")
    assert line == f"{run}: this run is not finished; finish it with: {way_on}"

    main(way_on.split()[1:])
    assert contents(run) == expected


def test_ctrl_c_before_training_leaves_nothing(arguments, tmp_path):
    cache, stderr, stays = tmp_path / "cache", tmp_path / "stderr", tmp_path / "stays"
    command = [*arguments, "--out", str(tmp_path / "run"), "--cache", str(cache)]
    code = run_command(command, stderr, partial(stay_before_training, stays), stays.exists, signal.SIGINT)
    assert code == 130
    assert stderr.read_text().splitlines()[-1].startswith("Interrupted; ")
    assert not (tmp_path / "run").exists()


def full(folder: Path) -> None:
    """Fill the rest of the disk."""
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 512):
            pass


@pytest.mark.parametrize("option", ["--cache", "--out"])
def test_a_full_disk(arguments, small_disk, tmp_path, refusal, option):
    disk = small_disk(16)
    full(disk)
    line = refusal(*arguments, "--out", tmp_path / "run", option, disk / "here")
    assert "No space left on device" in line and str(disk) in line
    assert not (tmp_path / "run").exists()
    assert {path.name for path in disk.rglob("*") if path.is_file()} <= {"filler", "lock"}


def test_a_disk_that_fills_up_while_training(arguments, expected, small_disk, refusal):
    run = small_disk(48) / "run"
    line = refusal(*arguments, "--out", run)
    assert "No space left on device; free space or choose another folder" in line
    assert str(run) in line
    assert leftovers(run) == []
    assert json.loads((run / "run.json").read_text())["status"] == "training"
    small_disk.grow(run.parent)
    main([*arguments, "--out", str(run), "--resume"])
    assert contents(run) == expected
