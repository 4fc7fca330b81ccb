"""Every command in every surrounding besides its files: other processes, signals, environment, working directory.

`tests/cli/test_hostile_surroundings.py` tries the cases and compares them with docs/faults.md, whose end `page` writes.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from hostile_files import FILES, World
from launcher import Launcher

from dbpt.features import verify_cache
from dbpt.storage.locks import OwnedLock

RUN_FOLDERS = {
    "audit --overwrite": "audit",
    "fit --resume": "half",
    "fit --overwrite": "half",
    "compare --resume": "comparison",
}
WRITERS = {*RUN_FOLDERS, "audit", "discover", "fit", "embed", "label --labels"}
"""Those that write more than what `World.put_back` deletes."""
CACHE, FOLDER = "another process writes into its cache", "another process writes into its folder"
POOR, DELETED = "`LC_ALL=C`, no home", "a deleted working directory"
KILLED = "SIGKILL, then again"
SURROUNDINGS = (CACHE, FOLDER, POOR, DELETED, "SIGINT", "SIGTERM", KILLED)
NOBODY = """
import pwd
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
"""
"""The user has no entry among the system's users, as in many containers."""
SMALL_DEMO = (8, 4, 4)
WATCHED = """
import gc, os, pathlib, sys, hostile_surroundings, dbpt.data.demo
gc.freeze()
dbpt.data.demo.SPLIT_SIZES = hostile_surroundings.SMALL_DEMO
opened = hostile_surroundings.OPENED
opened.watch({folder!r}, {number}, 9)
def leave(code):
    pathlib.Path({count!r}).write_text(str(opened.count))
    os._exit(code)
sys.exit = leave  # at once: torch takes a second to end
"""
Run = Callable[..., tuple[int, str, str]]


class Opened:
    """Counts the files that this process opens below a folder; at the n-th it sends itself a signal."""

    def __init__(self) -> None:
        self.folder = ""
        self.count, self._number, self._signal, self._is_hooked = 0, 0, 0, False

    def watch(self, folder: str, number: int, signal_number: int) -> None:
        """Begin to count; 0 is no number of a file."""
        self.folder, self.count, self._number, self._signal = folder, 0, number, signal_number
        if not self._is_hooked:  # a hook can't be removed
            sys.addaudithook(self._see)
            self._is_hooked = True

    def _see(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder and event == "open" and str(arguments[0]).startswith(self.folder):
            self.count += 1
            if self.count == self._number:
                os.kill(os.getpid(), self._signal)


OPENED = Opened()


class Surroundings:
    """Runs commands in a `World`, in this process or in those of a launcher without locale and home."""

    def __init__(self, world: World, command: Run, scratch: Path) -> None:
        self.world, self.command, self.scratch = world, command, scratch
        scratch.mkdir()
        poor = {name: text for name, text in os.environ.items() if name not in ("HOME", "LANG", "LC_CTYPE")}
        poor |= {"LC_ALL": "C", "PYTHONPATH": os.pathsep.join(sys.path)}
        self.launcher = Launcher(poor, scratch)

    def outcomes(self, verb: str) -> dict[str, str]:
        """Return what comes of a command in each of `SURROUNDINGS`."""
        folder, shard = self.world.folder / RUN_FOLDERS.get(verb, ""), self.world.file("SHARD")
        locks = [shard.parent / "lock", shard.parent / "claims" / f"{shard.stem}.lock"]
        cases: dict[str, Callable[[], tuple[int, str]]] = {
            CACHE: lambda: self._beside(verb, *locks),
            POOR: lambda: self._in_poverty(verb, 0),
            DELETED: lambda: self._in_a_deleted_folder(verb),
            "SIGINT": lambda: self._signalled(verb, signal.SIGINT),
            "SIGTERM": lambda: self._signalled(verb, signal.SIGTERM),
            KILLED: lambda: self._in_poverty(verb, self._halfway()),
        }
        if verb in RUN_FOLDERS:
            cases[FOLDER] = lambda: self._beside(verb, folder / "dbpt.lock")
        return {name: self._outcome(verb, name, run) for name, run in cases.items()}

    def _outcome(self, verb: str, name: str, run: Callable[[], tuple[int, str]]) -> str:
        mine = {path: path.read_bytes() for path in (self.world.folder / "data").rglob("*") if path.is_file()}
        try:
            found = self._told(*run())
            if any(path.read_bytes() != content for path, content in mine.items()):
                found = "**fault**: the user's files have changed"
            if broken := verify_cache(self.world.folder / "cache/features"):
                found = f"**fault**: {broken}"
            if name == KILLED:
                found += f"; {self._told(*self._run(verb))}"
        finally:
            self.world.put_back(self.world.folder / "new", everything=verb in WRITERS and name != DELETED)
        return found

    def _told(self, code: int, err: str) -> str:
        lines = [line for line in err.splitlines() if re.match("Error: |Interrupted|Terminated", line)]
        if "Traceback" in err or code not in (0, 2, 130, 143, -signal.SIGKILL) or len(lines) != (code > 0):
            return f"**fault**: {code} {err[-300:]!r}"
        line = "".join(lines).removeprefix("Error: ").replace(str(self.world.folder), "...")
        line = re.sub("(?<=continue with: ).*", lambda way: f"`{way[0]}`" if len(way[0]) < 50 else "the command", line)
        line = re.sub(r"process \d+ of \S+ on [^\s,;]+", "process N of USER on HOST", line)
        return {0: "as usual", -signal.SIGKILL: "killed"}.get(code, f"{code}: {line}")

    def _run(self, verb: str) -> tuple[int, str]:
        code, _, err = self.command(*self.world.arguments(verb))
        return code, err

    def _beside(self, verb: str, *locks: Path) -> tuple[int, str]:
        with contextlib.ExitStack() as held:
            for file in locks:
                held.enter_context(OwnedLock(file, "it"))
            return self._run(verb)

    def _in_poverty(self, verb: str, number: int) -> tuple[int, str]:
        """Killed at the file of this ``number`` that it opens."""
        stderr, count = self.scratch / "stderr", str(self.scratch / "count")
        first = NOBODY + WATCHED.format(folder=str(self.world.folder), number=number, count=count)
        code = self.launcher.run(self.world.arguments(verb), stderr, first=first, is_left=True)
        return code, stderr.read_text()

    def _halfway(self) -> int:
        return (int((self.scratch / "count").read_text()) + 1) // 2

    def _signalled(self, verb: str, number: int) -> tuple[int, str]:
        """Halfway through the files that the command has opened in a process of its own."""
        OPENED.watch(str(self.world.folder), self._halfway(), number)
        try:
            return self._run(verb)
        finally:
            OPENED.folder = ""

    def _in_a_deleted_folder(self, verb: str) -> tuple[int, str]:
        before = Path.cwd()
        os.chdir(tempfile.mkdtemp())
        Path.cwd().rmdir()
        try:
            return self._run(verb)
        finally:
            os.chdir(before)


def page(outcomes: Mapping[str, Mapping[str, str]]) -> str:
    """Return the end of docs/faults.md."""
    rows: dict[str, list[str]] = {}
    for command in FILES:
        cells = [outcomes[command].get(name, "") for name in SURROUNDINGS]
        rows.setdefault(" | ".join(cells), []).append(f"`{command}`")
    lines = [f"| {', '.join(commands)} | {cells} |\n" for cells, commands in rows.items()]
    return f"{HEAD}| command | {' | '.join(SURROUNDINGS)} |\n|{'---|' * (len(SURROUNDINGS) + 1)}\n{''.join(lines)}"


HEAD = """
## Other processes, signals, the environment

How every command reacts in each surrounding. *As usual*: exit code 0. Otherwise the table has the exit code and the one
line on standard error. The signal comes halfway through the files that the command opens. After SIGKILL the same
command was run again. *No home*: no `HOME`, and a user without a name. The second column is empty for commands that
write into no folder of a run or comparison. All images are in the cache; with images to compute, `embed` and the others
share the work with the other process.

"""
