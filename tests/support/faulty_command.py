"""Commands that run in processes of their own and meet faults, and what must hold then.

Whatever happens to one, the same command once more ends with the bytes of a run that nothing happened to.
"""

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_injection import KILL_AFTER, KILL_BEFORE, KILL_HALFWAY, ONE_ERROR, arm
from launched import run_command
from tiny import Tiny

from dbpt.cli import main
from dbpt.features import cache_files, verify_cache
from dbpt.storage.locks import OWNER

HAVE_TIMES = frozenset({"metrics.json", "report.html"})
KILLS = (KILL_BEFORE, KILL_HALFWAY, KILL_AFTER)
WAYS_OUT = ("choose another", "free space", "start again", "delete")
Fault = tuple[str, int, int]
"""The kind of a fault, the number of its call, and an errno; see `fault_injection`."""


@dataclass(frozen=True)
class FaultyCommand:
    """``dbpt ARGUMENTS``, which keeps all that it writes below FOLDER; ``settings`` are those of `cache_files`.

    scratch: a folder for what is known of its processes.
    expected: the bytes of its files after a run that nothing happened to.
    calls: the calls of such a run that change or secure the disk.
    seconds: how long such a run takes.
    """

    scratch: Path
    arguments: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def observed(self) -> "FaultyCommand":
        """The same, with what `expected`, `calls` and `seconds` are."""
        if sys.version_info < (3, 11):
            pytest.skip("before Python 3.11 pathlib has its own references to the calls that are counted")
        folder, clock = self.scratch / "uninterrupted", Clock()
        code, stderr = self.run_with((ONE_ERROR, 0, 0), folder, until=lambda: clock.seconds() < 0)
        assert code == 0, stderr
        calls = (self.scratch / "calls").read_text().splitlines()
        return replace(self, expected=bytes_of(folder), calls=calls, seconds=clock.seconds())

    def run(self, folder: Path, *first: Callable[[], object], **options: Any) -> tuple[int, str]:
        """Exit code and standard error of the command in a process of its own, which calls ``first`` before."""
        stderr = self.scratch / f"stderr-{threading.get_ident()}"
        code = run_command(self._arguments(folder), stderr, partial(_prepare, self.settings, first), **options)
        return code, stderr.read_text()

    def run_with(self, fault: Fault, folder: Path, *first: Callable[[], object], **options: Any) -> tuple[int, str]:
        """The same, with a fault."""
        return self.run(folder, *first, partial(arm, str(folder), *fault, str(self.scratch / "calls")), **options)

    def killed_at_random(self, folder: Path, seed: int) -> None:
        """kill -9 at a time drawn evenly from those that a run takes; then let it end."""
        draws, code = random.Random(seed), 0
        while code == 0:  # it was faster than the one that was timed
            shutil.rmtree(folder, ignore_errors=True)
            clock, end = Clock(), draws.uniform(0, self.seconds)
            code, stderr = self.run(folder, until=lambda clock=clock, end=end: clock.seconds() >= end)
        assert code == -signal.SIGKILL, stderr
        assert broken(folder) == []
        self.finish(folder)

    def finish(self, folder: Path) -> None:
        """Run it to its end in this process, and compare."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.settings.items():
                patch.setattr(cache_files, name, value)
            main(self._arguments(folder))
        assert bytes_of(folder) == self.expected
        assert verify_cache(folder / "cache" / "features") == []

    def survives(self, faults: list[Fault], folder: Path) -> None:
        """Let it meet ``faults``, one a run, and run it to its end. After the first, a run may be over before its."""
        for is_later, fault in enumerate(faults):
            code, stderr = self.run_with(fault, folder)
            what = f"{fault} {self.calls[fault[1] - 1]}: {stderr}"
            if fault[0] in KILLS and not (is_later and code == 0):
                assert code == -signal.SIGKILL, what
            else:
                assert says_it_in_a_line(code, stderr, folder), what
            assert broken(folder) == [], what
            make_writable(folder)
            if fault[0] == ONE_ERROR:
                for note in folder.rglob(f"*{OWNER}"):  # its owner tried to delete it; without its lock it says nothing
                    note.unlink()
        self.finish(folder)
        shutil.rmtree(folder)

    def _arguments(self, folder: Path) -> list[str]:
        return [argument.replace("FOLDER", str(folder)) for argument in self.arguments]


def _prepare(settings: dict[str, Any], first: tuple[Callable[[], object], ...]) -> None:
    for name, value in settings.items():
        setattr(cache_files, name, value)
    for call in first:
        call()


class Clock:
    """Runs from the first time that it is asked, as `run_command` does when its process has begun."""

    def __init__(self) -> None:
        self._begun: float | None = None

    def seconds(self) -> float:
        self._begun = time.monotonic() if self._begun is None else self._begun
        return time.monotonic() - self._begun


def embedding(tiny: Tiny, scratch: Path) -> FaultyCommand:
    """Embeds 22 files, two of which are no images, as three shards."""
    rows = tiny.rows()[:20]
    rows[3:3] = [rows[0] | {"path": tiny.model.name}]
    rows[13:13] = [rows[0] | {"path": tiny.weights.name}]
    table = tiny.write("some", rows)
    arguments = ["embed", str(table), "--model", str(tiny.model), "--pretrained", str(tiny.weights)]
    arguments += ["--cache", "FOLDER/cache", "--embed-batch-size", "4", "--max-failures", "0.1"]
    return FaultyCommand(scratch, tuple(arguments), {"LEAST_SHARD_ROWS": 8})


def fitting(tiny: Tiny, scratch: Path, epochs: int) -> FaultyCommand:
    """A fit whose cache is empty."""
    arguments = ["fit", str(tiny.table), *tiny.arguments, "--no-baselines"]
    arguments += ["--epochs", str(epochs), "--cache", "FOLDER/cache"]
    return FaultyCommand(scratch, (*arguments, "--out", "FOLDER/run", "--resume"))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the content of the files by name, without times and the place of the folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in HAVE_TIMES]
    return {str(path.relative_to(folder)): path.read_bytes().replace(os.fsencode(folder), b"FOLDER") for path in files}


def make_writable(folder: Path) -> None:
    """Give back what a fault has taken."""
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o755)


def broken(folder: Path) -> list[str]:
    """Return the listed shards that are not whole."""
    features = folder / "cache" / "features"
    return verify_cache(features) if features.is_dir() else []


def says_it_in_a_line(code: int, stderr: str, folder: Path) -> bool:
    """Return whether it has succeeded, or told in one line what is wrong, where, and what to do."""
    errors = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    if "Traceback" in stderr or (code, len(errors)) not in ((0, 0), (2, 1)):
        return False
    return all(str(folder) in line and any(way in line for way in WAYS_OUT) for line in errors)
