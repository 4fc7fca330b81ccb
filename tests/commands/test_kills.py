"""SIGKILL at exact moments of training, and at times drawn evenly from those that `dbpt embed` and `dbpt fit` take.

Of these, four in CI; DBPT_RANDOM_KILLS of each command otherwise. The kills of test_disk_faults.py are aimed at what is
written.
"""

import os
import signal
from functools import partial

import pytest
from faulty_command import FaultyCommand, embedding, fitting
from folders import leftovers
from kill_moments import arm
from launched import run_command
from runs import contents, epochs_saved

from dbpt.cli import main

STEPS_AN_EPOCH = 4  # 50 rows in batches of 16

# One after the other in the same run: (moment, how many of them to let pass, epochs whose checkpoint is there then).
KILLS = (
    ("after a step", 1, 0),
    ("before the checkpoint", 1, 0),
    ("after the file is renamed", 1, 1),
    ("after a step", STEPS_AN_EPOCH + 2, 2),
    ("while the file is written", 1, 2),
    ("before the file is renamed", 1, 2),
    ("after a step", STEPS_AN_EPOCH, 2),  # the last of its epoch
    ("before the checkpoint", 2, 3),
)


@pytest.mark.parametrize(
    "choice",
    [
        "--head linear --objective groupdro --apply sampling --features live",
        pytest.param("--head prompt --objective gla --prompts group --optimizer sgd", marks=pytest.mark.full),
        pytest.param(
            "--head adapter --objective jtt --identification-epochs 2 --apply sampling --optimizer sgd",
            marks=pytest.mark.full,
        ),
    ],
)
def test_killed_at_each_moment_in_turn_it_ends_with_the_same_bytes(tiny, tmp_path, choice):
    command = ["fit", str(tiny.table), *tiny.arguments, "--epochs", "5", "--no-baselines", *choice.split()]
    main([*command, "--out", str(tmp_path / "expected")])
    run, stderr = tmp_path / "run", tmp_path / "stderr"
    checkpoint = run / "checkpoints" / f"{choice.split()[3]}.safetensors"
    for moment, number, epochs in KILLS:
        code = run_command([*command, "--out", str(run), "--resume"], stderr, partial(arm, moment, number))
        assert code == -signal.SIGKILL, (moment, stderr.read_text())
        assert epochs_saved(checkpoint) == epochs, moment
        assert len(leftovers(run)) == ("while" in moment or "before the file" in moment), moment
    main([*command, "--out", str(run), "--resume"])
    assert leftovers(run) == []
    assert contents(run) == contents(tmp_path / "expected")


RANDOM_KILLS = int(os.environ.get("DBPT_RANDOM_KILLS", "2"))


@pytest.fixture(scope="module", params=["embed", "fit"])
def command(request, tiny, tmp_path_factory) -> FaultyCommand:
    scratch = tmp_path_factory.mktemp(request.param)
    made = embedding(tiny, scratch) if request.param == "embed" else fitting(tiny, scratch, 8)
    return made.observed()


@pytest.mark.parametrize("seed", range(RANDOM_KILLS))
def test_killed_at_any_time_it_ends_with_the_same_bytes(command, tmp_path, seed):
    command.killed_at_random(tmp_path / "folder", seed)
