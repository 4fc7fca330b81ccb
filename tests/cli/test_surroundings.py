"""The command line in its environment, with its output, signals and memory: one line, and the right exit code."""

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from launched import run_command

import dbpt
from dbpt.commands.compare.compare import compare
from dbpt.environment import launched, launched_rank, launched_size
from dbpt.errors import InputError
from dbpt.training import checkpoints

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and devices of Linux")


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dbpt", *map(str, arguments)]
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 600, **options})


LAUNCHED = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
TWO = {"WORLD_SIZE": "2", "RANK": "0"}
ALONE = "start with torchrun, or unset "


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (LAUNCHED | {"WORLD_SIZE": "0"}, "$WORLD_SIZE is '0'; expected a number from 1 to 2147483648"),
        (LAUNCHED | {"RANK": "-1"}, "$RANK is '-1'; expected a number from 0 to 1"),
        (LAUNCHED | {"MASTER_PORT": "x"}, "$MASTER_PORT is 'x'; expected a number from 0 to 65535"),
        (LAUNCHED | {"LOCAL_RANK": "2"}, "$LOCAL_RANK is '2'; expected a number from 0 to 1"),
        (LAUNCHED | {"LOCAL_WORLD_SIZE": "many"}, "$LOCAL_WORLD_SIZE is 'many'; expected a number from 1 to 2"),
        ({"WORLD_SIZE": "zwei"}, f"$WORLD_SIZE is 'zwei'; expected a number from 1 to 2147483648: {ALONE}RANK and "),
        ({"WORLD_SIZE": "1", "RANK": "1"}, "$RANK is '1'; expected a number from 0 to 0"),
        (TWO, "$WORLD_SIZE is 2 and $RANK is set, but not $MASTER_ADDR and $MASTER_PORT, "),
        (TWO | {"MASTER_PORT": "1"}, f"but not $MASTER_ADDR, where the processes meet: {ALONE}WORLD_SIZE"),
        (TWO | {"MASTER_ADDR": "x"}, "$RANK is set, but not $MASTER_PORT, where the processes"),
    ],
)
def test_a_launchers_variables_that_cannot_be(monkeypatch, variables, told):
    _set_alone(monkeypatch, variables)
    for asked in (launched, launched_rank):
        with pytest.raises(InputError, match=re.escape(told)):
            asked()


def test_half_a_launch_does_not_train_alone(refusal, monkeypatch, tiny, tmp_path):
    _set_alone(monkeypatch, TWO)
    model, run = (tiny.table, *tiny.arguments, "--device", "cpu"), tmp_path / "run"
    for arguments in (("fit", *model, "--out", run), ("embed", *model, "--cache", run), ("predict", run, "a.png")):
        assert "but not $MASTER_ADDR" in refusal(*arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "4"}, {"RANK": "3"}])
def test_variables_that_launch_nothing(monkeypatch, variables):
    _set_alone(monkeypatch, variables)
    assert (launched(), launched_rank(), launched_size()) == (False, 0, 1)


def test_a_group_of_the_callers_needs_no_address(monkeypatch):
    _set_alone(monkeypatch, {"WORLD_SIZE": "2", "RANK": "1"})
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    assert not launched()


def _set_alone(monkeypatch, variables):
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)


@linux_only
@pytest.mark.parametrize("arguments", [["--help"], ["env"]])
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
    assert (done.returncode, done.stderr) == (141, "")


@linux_only
@pytest.mark.parametrize(("closed", "length"), [(">&-", 0), ("2>&-", 1)])
def test_a_closed_stream_is_as_one_that_leads_nowhere(closed, length):
    command = ["sh", "-c", f'"$0" -m dbpt --version {closed}', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, length, "")


def test_only_a_closed_pipe_has_its_exit_code(command, monkeypatch):
    monkeypatch.setattr("dbpt.cli.embed_data_demo_cache_env.click.echo", lambda *_: sys.exit(1))
    assert command("cache", "list")[0] == 1


@linux_only
def test_a_deleted_working_directory(tmp_path):
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "dbpt", "cache", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert done.stderr == "Error: the working directory has been deleted; go to another one, then start dbpt again\n"


@linux_only
def test_a_user_without_a_name_and_a_home_as_in_many_containers(command, monkeypatch, tiny, tmp_path):
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", Mock(side_effect=KeyError("uid")))
    code, _, stderr = command("fit", tiny.table, *tiny.arguments, "--epochs", "1", "--out", tmp_path / "run")
    assert code == 0, stderr


def save_each_epoch() -> None:
    checkpoints.SECONDS_BETWEEN = 0


@linux_only
def test_sigterm_ends_as_ctrl_c_does(tiny, tmp_path):
    """With what is computed kept, which the default of the system would lose."""
    stderr, cache = tmp_path / "stderr", tmp_path / "cache"
    command = ["fit", str(tiny.table), *tiny.arguments, "--cache", str(cache), "--epochs", "10000"]

    def trains() -> bool:
        return (tmp_path / "run" / "checkpoints" / "erm.safetensors").exists()

    code = run_command([*command, "--out", str(tmp_path / "run")], stderr, save_each_epoch, trains, signal.SIGTERM)
    way_on = f"dbpt fit --resume --out {tmp_path / 'run'}"
    assert stderr.read_text().splitlines()[-1] == f"Terminated; nothing is half-written; continue with: {way_on}"
    assert code == 143
    assert not (tmp_path / "run" / "dbpt.lock").exists()


@linux_only
@pytest.mark.parametrize(("name", "line", "code"), [("SIGINT", "Interrupted", 130), ("SIGTERM", "Terminated", 143)])
def test_a_signal_within_an_import_that_swallows_exceptions_ends_the_command(tmp_path, name, line, code):
    swallow = f"import os, signal\ntry:\n    os.kill(os.getpid(), signal.{name})\nexcept BaseException:\n    pass\n"
    (tmp_path / "swallows.py").write_text(swallow)
    main = (
        "import signal; from dbpt.cli import main; signal.signal(signal.SIGINT, signal.default_int_handler); main({})"
    )
    environment = {**os.environ, "DBPT_PLUGINS": "swallows"}
    command = [sys.executable, "-c", main.format(["fit", "--out", "o"])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    way_on = "; nothing is half-written; continue with: dbpt fit --out o"
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{line}{way_on}\n")


WITHIN_A_LIBRARY = {
    "becomes ValueError": (  # in `torch.asarray`, which safetensors calls for each tensor
        "import torch",
        "torch.UntypedStorage.__getitem__",
        "type(arguments[1]) is int and kill()",
    ),
    "is swallowed": ("import json", "json.loads", "exec('try: kill()\\nexcept BaseException: pass')"),
}


@linux_only
@pytest.mark.parametrize("where", WITHIN_A_LIBRARY)
def test_a_signal_that_a_library_turns_into_its_own_error_blames_nothing(tiny, tmp_path, where):
    module, function, act = WITHIN_A_LIBRARY[where]
    first = (
        f"{module}\nimport os, signal\nreal = {function}\n"
        f"def kill():\n"
        f"    {function} = real\n"
        f"    os.kill(os.getpid(), signal.SIGTERM)\n"
        f"def killed(*arguments, **options):\n"
        f"    {act}\n"
        f"    return real(*arguments, **options)\n"
        f"{function} = killed\n"
    )
    command = ["fit", str(tiny.table), *tiny.arguments, "--cache", str(tmp_path / "c"), "--out", str(tmp_path / "run")]
    assert run_command(command, tmp_path / "stderr", partial(exec, first, {})) == 143
    printed = (tmp_path / "stderr").read_text()
    assert "\nTerminated; nothing is half-written; continue with: dbpt fit" in f"\n{printed}"
    assert "damaged" not in printed and "Traceback" not in printed and "Error" not in printed


@pytest.mark.parametrize(
    ("module", "rank", "told"), [("click", "0", b"Interrupted\n"), ("dbpt.cli.fit_and_compare", "1", b"")]
)
def test_ctrl_c_before_the_command_line_has_loaded_is_one_line(module, rank, told):
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from dbpt.cli import main\n"
        "main(['--help'])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ | {"LOCAL_RANK": rank})
    assert (found.returncode, found.stdout, found.stderr) == (130, b"", told)


def test_loading_the_command_line_leaves_signals_as_they_were():
    code = "import signal; {}; before = signal.getsignal(2); import dbpt.cli; print(signal.getsignal(2) is before)"
    for given in ("pass", "signal.signal(2, signal.SIG_IGN)"):
        found = subprocess.run([sys.executable, "-c", code.format(given)], capture_output=True, check=True)
        assert found.stdout == b"True\n"


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory on the GPU"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_too_little_memory_in_training(tiny, tmp_path, monkeypatch, error, where):
    monkeypatch.setattr("dbpt.commands.trained_methods.train", Mock(side_effect=error))
    with pytest.raises(InputError, match=f"^{where}: lower --batch-size .*, --text-memory-mb or --embed-batch-size"):
        dbpt.fit(tiny.table, out=tmp_path / "run", **tiny.settings)
    found = compare(tiny.table, out=tmp_path / "c", methods="zero-shot,erm", seeds=1, **tiny.settings)
    assert [failed["reason"].partition(":")[0] for failed in found.to_dict()["failed"]] == [where]
