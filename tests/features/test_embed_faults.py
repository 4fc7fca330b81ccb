"""`dbpt embed` survives more than single faults: a process beside it that dies, a full disk, `rm -rf`."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from fault_injection import KILL_BEFORE
from faulty_command import FaultyCommand, broken, bytes_of, embedding, says_it_in_a_line

from dbpt.features import embedding as embedding_pass


def meet_another(here: Path) -> None:
    """Let a process that has claimed shards and decoded a batch wait for another to be as far, and soon look again."""
    encode = embedding_pass.EmbeddingPass._encode

    def meet(*arguments: object) -> None:
        (here / str(os.getpid())).touch()
        while len(list(here.iterdir())) < 2:
            time.sleep(0.001)
        encode(*arguments)

    embedding_pass.EmbeddingPass._encode, embedding_pass.SECONDS_BETWEEN_LOOKS = meet, 0.5


@pytest.fixture(scope="module")
def command(tiny, tmp_path_factory) -> FaultyCommand:
    return embedding(tiny, tmp_path_factory.mktemp("embed")).observed()


@pytest.mark.parametrize("call", ["open lock", "open .manifest.json"])
def test_of_two_at_once_one_is_killed_and_the_other_completes_all(command, tmp_path, call):
    """It dies after it has met the other, as it takes the lock or writes the manifest."""
    number = 1 + next(n for n, done in enumerate(command.calls) if done.startswith(call))
    folder, here = tmp_path / "folder", tmp_path / "here"
    here.mkdir()
    meet, found = partial(meet_another, here), []
    thread = Thread(target=lambda: found.append(command.run(folder, meet)))
    thread.start()
    code, stderr = command.run_with((KILL_BEFORE, number, 0), folder, meet)
    thread.join()
    assert code == -signal.SIGKILL, stderr
    assert found[0][0] == 0, found[0][1]
    assert bytes_of(folder) == command.expected
    command.finish(folder)


def test_a_disk_that_fills_up_while_embedding(command, small_disk):
    folder = small_disk(24) / "folder"
    code, stderr = command.run(folder)
    assert code == 2
    assert "No space left on device; free space or choose another folder" in stderr
    assert says_it_in_a_line(code, stderr, folder)
    assert broken(folder) == []
    assert {path.name for path in folder.rglob("*.tmp")} == set()
    assert list(folder.rglob("manifest.json")) != []
    small_disk.grow(folder.parent)
    command.finish(folder)
