"""Processes on one cache: locks that name their owner, claims, and the work shared to the last byte."""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import launched
import pytest
from folders import files_in
from small_images import write_images

from dbpt.errors import InputError
from dbpt.features import cache_files, verify_cache
from dbpt.storage import locks as owned_lock
from dbpt.storage.locks import OwnedLock

PROCESSES = launched.forking()


def hold(file: Path, ready, done) -> None:
    with OwnedLock(file, "it"):
        ready.set()
        done.wait(600)


@pytest.fixture
def held(tmp_path):
    """A lock that another process has: (its file, that process, what lets it go)."""
    ready, done = PROCESSES.Event(), PROCESSES.Event()
    process = PROCESSES.Process(target=hold, args=(tmp_path / "lock", ready, done))
    process.start()
    assert ready.wait(600)
    yield tmp_path / "lock", process, done
    if process.is_alive():  # setting an event waits for the dead who waited for it
        done.set()
    process.join(600)


def test_a_lock_is_one_owners_and_says_whose(held, monkeypatch, logged):
    file, process, done = held
    lock = OwnedLock(file, "the feature cache")
    assert not lock.take()
    assert re.fullmatch(rf"process {process.pid} of .+ on {re.escape(socket.gethostname())}", lock.owner())
    waiting = OwnedLock(file, "the feature cache")
    monkeypatch.setattr(owned_lock, "PATIENCE", 0.0)
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    launched.wait_until(lambda: logged.messages)
    assert logged.messages[0].startswith(f"waiting for process {process.pid} of ")
    assert logged.messages[0].endswith(", who has the feature cache")
    done.set()
    thread.join(600)
    assert len(logged.messages) == 1
    assert f"process {os.getpid()} of" in lock.owner()
    waiting.release()
    assert list(file.parent.iterdir()) == []
    assert lock.take()
    lock.release()


def test_a_wait_may_end_before_the_lock_is_free(held):
    file, process, done = held
    assert not OwnedLock(file, "it").wait(0.1)
    assert f"process {process.pid} " in OwnedLock(file, "it").owner()
    done.set()
    lock = OwnedLock(file, "it")
    assert lock.wait(600)
    lock.release()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_owner_has_no_lock(held):
    file, process, _ = held
    os.kill(process.pid, signal.SIGKILL)
    process.join(600)
    lock = OwnedLock(file, "it")
    assert lock.take()
    lock.release()


def test_a_lock_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot lock shard 12: .*; choose another folder"):
        OwnedLock(tmp_path / "file/lock", "shard 12").take()


@pytest.mark.parametrize("name", ["lock", "lock.owner"])
def test_no_link_is_followed(tmp_path, name):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).symlink_to(mine)
    lock = OwnedLock(tmp_path / "folder/lock", "it")
    if name == "lock":
        with pytest.raises(InputError, match="cannot lock it: Too many levels of symbolic links"):
            lock.take()
    else:
        assert lock.take()
        assert str(os.getpid()) in lock.owner()
        lock.release()
    assert mine.read_text() == "precious"


def test_a_lock_whose_file_was_removed_before_it_was_locked_is_not_taken(tmp_path, monkeypatch):
    """Else two would have it: the other one that of the next file of this name."""
    import fcntl

    lock, real = OwnedLock(tmp_path / "lock", "it"), fcntl.flock

    def removed_meanwhile(descriptor, flags):
        lock.file.unlink(missing_ok=True)
        real(descriptor, flags)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", removed_meanwhile)
        assert not lock.take()
    with lock, OwnedLock(tmp_path / "other", "another"):
        assert not OwnedLock(lock.file, "it").take()


# --- the work shared ------------------------------------------------------------------------------------------------
COUNT = 50
SHARDS = 13


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> list[str]:
    """The arguments of ``dbpt embed`` for 50 images, two of them bad."""
    folder = write_images(tmp_path_factory.mktemp("task"), COUNT)
    (folder / "images/7.png").write_bytes(b"")
    (folder / "images/30.png").write_text("<html>")
    model = ["--model", str(folder / "tiny.json"), "--pretrained", "random", "--device", "cpu"]
    return ["embed", str(folder / "list.csv"), *model, "--embed-batch-size", "4", "--max-failures", "0.1"]


def small_shards(arguments: list[str], before: Callable[[], object] = lambda: None) -> None:
    """``dbpt`` with shards of four rows, which calls ``before`` before it stores each."""
    from dbpt.cli import main
    from dbpt.features.cache import FeatureCache

    cache_files.LEAST_SHARD_ROWS = 4
    add = FeatureCache.add

    def add_after(self, *rows) -> None:
        before()
        add(self, *rows)

    FeatureCache.add = add_after
    main(arguments)


def meeting(rank: int, arguments: list[str], here: Path, count: int) -> None:
    """Store nothing before all ranks have a shard in hand."""

    def meet() -> None:
        (here / str(rank)).touch()
        launched.wait_until(lambda: len(list(here.iterdir())) == count)

    small_shards(arguments, meet)


@pytest.fixture(scope="module")
def expected(task, tmp_path_factory) -> dict[str, bytes]:
    """The cache of one process."""
    cache = tmp_path_factory.mktemp("expected")
    process = PROCESSES.Process(target=small_shards, args=([*task, "--cache", str(cache)],))
    process.start()
    process.join(600)
    assert process.exitcode == 0
    found = files_in(cache)
    assert len(found) == SHARDS + 1  # the manifest
    return found


def decoded(printed: str) -> int:
    return int(re.search(r"decoded by this process: (\d+)", printed)[1])


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.full)])
def test_ranks_share_the_work_and_end_with_the_bytes_of_one(task, expected, tmp_path, count):
    cache = tmp_path / "cache"
    (tmp_path / "here").mkdir()
    arguments = [*task, "--cache", str(cache)]
    ranks = launched.launch(tmp_path / "ranks", count, meeting, arguments, tmp_path / "here", count)
    assert ranks.codes() == [0] * count
    assert files_in(cache) == expected
    assert verify_cache(cache / "features") == []
    out = ranks.printed("out")
    assert [bool(text) for text in out] == [True] + [False] * (count - 1)
    assert out[0].startswith(f"48 of {COUNT} images have features")
    assert 0 < decoded(out[0]) < COUNT
    assert "failed: the file is empty (first: images/7.png)" in out[0]
    assert ranks.printed("err")[1:] == [""] * (count - 1)
