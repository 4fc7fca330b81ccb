"""SIGKILL at exact moments: after a step, between an epoch's last step and its checkpoint, during its write, after."""

import signal
from pathlib import Path

import pytest
from launcher import Launcher, leftovers
from runs import contents, epochs_saved

from dbpt.cli import main

SUPPORT = str(Path(__file__).parents[1] / "support")
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
        "--head prompt --objective dbpt --optimizer sgd",
        "--head linear --objective groupdro --apply sampling",
        "--head adapter --objective jtt --identification-epochs 2 --apply sampling --optimizer sgd",
        pytest.param("--head prompt --objective groupdro --apply sampling", marks=pytest.mark.full),
        pytest.param("--head prompt --objective jtt --identification-epochs 2", marks=pytest.mark.full),
        pytest.param("--head linear --objective dbpt --apply sampling", marks=pytest.mark.full),
    ],
)
def test_killed_at_each_moment_in_turn_it_ends_with_the_same_bytes(launcher: Launcher, tiny, tmp_path, choice):
    command = ["fit", str(tiny.table), *tiny.arguments, "--epochs", "5", "--no-baselines", *choice.split()]
    main([*command, "--out", str(tmp_path / "expected")])
    run, stderr = tmp_path / "run", tmp_path / "stderr"
    checkpoint = run / "checkpoints" / f"{choice.split()[3]}.safetensors"
    for moment, number, epochs in KILLS:
        first = f"import sys; sys.path.insert(0, {SUPPORT!r}); from kill_moments import arm; arm({moment!r}, {number})"
        code = launcher.run([*command, "--out", str(run), "--resume"], stderr, first=first)
        assert code == -signal.SIGKILL, (moment, stderr.read_text())
        assert epochs_saved(checkpoint) == epochs, moment
        assert len(leftovers(run)) == ("while" in moment or "before the file" in moment), moment
    main([*command, "--out", str(run), "--resume"])
    assert leftovers(run) == []
    assert contents(run) == contents(tmp_path / "expected")
