"""Each call by which `dbpt embed` and `dbpt fit` change or secure the disk fails, or is the last of its process.

CI takes a sample of them; with DBPT_ALL_FAULTS set it is each at each call.
"""

import os
import random

import pytest
from fault_injection import DELETE, KINDS, MAKE_READ_ONLY, all_faults
from faulty_command import FaultyCommand, embedding, fitting, make_writable, says_it_in_a_line

ALL = "DBPT_ALL_FAULTS" in os.environ
COMMANDS = ("embed", "fit")


@pytest.fixture(scope="module", params=COMMANDS)
def command(request, tiny, tmp_path_factory) -> FaultyCommand:
    scratch = tmp_path_factory.mktemp(request.param)
    made = embedding(tiny, scratch) if request.param == "embed" else fitting(tiny, scratch, 2)
    return made.observed()


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_disk_does_the_same_command_ends_with_the_same_bytes(command, kind, tmp_path):
    faults = [fault for fault in all_faults(command.calls) if fault[0] == kind]
    for fault in faults if ALL else [random.Random(kind).choice(faults)]:
        command.survives([fault], tmp_path / "folder")


@pytest.mark.parametrize(
    ("kind", "says"), [(MAKE_READ_ONLY, "Permission denied; "), (DELETE, "No such file or directory; ")]
)
def test_a_folder_lost_under_way_is_told_in_one_line(command, tmp_path, kind, says):
    number = 1 + next(n for n, call in enumerate(command.calls) if call.startswith("open .manifest.json"))
    code, stderr = command.run_with((kind, number, 0), tmp_path / "folder")
    assert says_it_in_a_line(code, stderr, tmp_path / "folder"), stderr
    assert code == 2
    assert says in stderr
    make_writable(tmp_path / "folder")
    command.finish(tmp_path / "folder")


@pytest.mark.full
@pytest.mark.parametrize("seed", range(50 if ALL else 1))
def test_so_it_does_after_two_faults_in_a_row(command, tmp_path, seed):
    """The second run finds what the first has left."""
    command.survives(random.Random(seed).sample(all_faults(command.calls), 2), tmp_path / "folder")
