"""kill -9 at times drawn evenly from those that `dbpt embed` and `dbpt fit` take, whatever these are doing then.

Six in CI; DBPT_RANDOM_KILLS of each command otherwise. The kills of test_kill_moments.py and test_disk_faults.py are
aimed at what is written.
"""

import os

import pytest
from faulty_command import FaultyCommand, embedding, fitting

KILLS = int(os.environ.get("DBPT_RANDOM_KILLS", "3"))


@pytest.fixture(scope="module", params=["embed", "fit"])
def command(request, launcher, tiny, tmp_path_factory) -> FaultyCommand:
    scratch = tmp_path_factory.mktemp(request.param)
    made = embedding(launcher, tiny, scratch) if request.param == "embed" else fitting(launcher, tiny, scratch, 8)
    return made.observed()


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_at_any_time_it_ends_with_the_same_bytes(command, tmp_path, seed):
    command.killed_at_random(tmp_path / "folder", seed)
