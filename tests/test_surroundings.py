"""What the command line meets around it: the environment, its output, signals, memory. One line, and the right code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dbpt
from dbpt.comparison.comparing import compare
from dbpt.errors import InputError

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and devices of Linux")


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dbpt", *map(str, arguments)]
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 120, **options})


LAUNCHED = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("name", "value", "range"),
    [
        ("WORLD_SIZE", "x", "1 to 2147483648"),
        ("WORLD_SIZE", "0", "1 to 2147483648"),
        ("RANK", "-1", "0 to 1"),
        ("RANK", "5", "0 to 1"),
        ("RANK", "", "0 to 1"),
        ("MASTER_PORT", "x", "0 to 65535"),
        ("MASTER_PORT", "70000", "0 to 65535"),
        ("LOCAL_RANK", "2", "0 to 1"),
        ("LOCAL_WORLD_SIZE", "many", "1 to 2"),
    ],
)
@pytest.mark.parametrize("verb", ["fit", "predict"])
def test_a_launchers_variables_that_cannot_be(command, monkeypatch, tiny, tmp_path, verb, name, value, range):
    for key, text in {**LAUNCHED, name: value}.items():
        monkeypatch.setenv(key, text)
    model = (*tiny.arguments, "--device", "cpu", "--out", tmp_path / "run")
    code, out, err = command(verb, tiny.table, *model) if verb == "fit" else command(verb, tmp_path, "a.png")
    assert (code, out) == (2, "")
    assert err == (
        f"Error: ${name} is {value!r}; expected a number from {range}: start with torchrun, or unset RANK and "
        "WORLD_SIZE to run alone\n"
    )


@linux_only
@pytest.mark.parametrize(
    "arguments", [["--help"], ["fit", "--help"], ["--version"], ["cache", "list", "--cache", "/nowhere"]]
)
def test_standard_output_on_a_full_device(arguments):
    with Path("/dev/full").open("w") as full:
        done = run(*arguments, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stderr) == (2, "Error: standard output: cannot write: No space left on device\n")


@linux_only
def test_standard_output_that_nobody_reads():
    reader, writer = os.pipe()
    os.close(reader)
    done = run("--help", stdout=writer, stderr=subprocess.PIPE, capture_output=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@linux_only
@pytest.mark.parametrize("arguments", [["predict", "run", "a.png"], ["data", "check", "a.csv"], ["cache", "list"]])
def test_a_deleted_working_directory(arguments, tmp_path):
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "dbpt", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "Error: the working directory has been deleted; go to another one, then start dbpt again\n"


@linux_only
def test_sigterm_ends_as_ctrl_c_does(launcher, tiny, tmp_path):
    """With what is computed kept, which the default of the system would lose."""
    stderr, cache = tmp_path / "stderr", tmp_path / "cache"
    command = ["fit", str(tiny.table), *tiny.arguments, "--cache", str(cache), "--epochs", "10000"]

    def trains() -> bool:
        return (tmp_path / "run" / "checkpoints" / "erm.safetensors").exists()

    code = launcher.run([*command, "--out", str(tmp_path / "run")], stderr, trains, signal.SIGTERM)
    assert (
        stderr.read_text().splitlines()[-1] == "Terminated; nothing is half-written, and dbpt fit goes on with --resume"
    )
    assert code == 143
    assert not (tmp_path / "run" / "dbpt.lock").exists()


def test_a_learning_rate_that_no_step_can_have(tiny, tmp_path):
    for optimizer in ("adamw", "sgd"):
        with pytest.raises(InputError, match=r"of objective 'erm' is inf in epoch .*: lower --lr"):
            dbpt.fit(
                tiny.table,
                out=tmp_path / optimizer,
                **tiny.settings | {"lr": 1e300, "optimizer": optimizer, "warmup_epochs": 0},
            )


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory on the GPU"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_too_little_memory_in_training(tiny, tmp_path, monkeypatch, error, where):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("dbpt.methods.train", fail)
    with pytest.raises(
        InputError, match=f"^{where}: lower --batch-size .*, --text-memory-mb or --embed-batch-size, or"
    ):
        dbpt.fit(tiny.table, out=tmp_path / "run", **tiny.settings)
    found = compare(tiny.table, out=tmp_path / "c", methods="zero-shot,erm", seeds=1, **tiny.settings)
    assert [failed["reason"].partition(":")[0] for failed in found.numbers["failed"]] == [where]
