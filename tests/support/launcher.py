"""Starts `dbpt` in processes that can be killed, each in a tenth of a second."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Forks a process per line of standard input, so that each starts with torch already imported.
LAUNCHER = f"""
import json, os, sys, warnings
import dbpt.cli, dbpt.clip.load, dbpt.commands.fit.saved_candidate, dbpt.commands.trained_methods, dbpt.runs.run_folder
sys.path.insert(0, {str(Path(__file__).parent)!r})
import blank_charts
blank_charts.leave_blank()
for line in sys.stdin:
    arguments, stderr, first = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        exec(first)
        dbpt.cli.main(arguments)
        sys.exit(0)
    print(child, flush=True)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Launcher:
    """Starts ``dbpt ARGUMENTS`` in a process of its own, and meddles with it."""

    def __init__(self, environment: dict[str, str] | None = None, folder: Path | None = None) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, "-c", LAUNCHER], env=environment, cwd=folder, **pipes)

    def run(
        self,
        arguments: list[str],
        stderr: Path,
        until: Callable[[], bool] = lambda: False,
        signal_number: int = signal.SIGKILL,
        first: str = "",
        is_left: bool = False,
    ) -> int:
        """Send the signal once ``until`` holds (never, if the process ends before); return the exit code.

        ``first`` is Python code that the process runs before the command. If it ``is_left`` alone no signal is sent.
        """
        self.server.stdin.write(json.dumps([arguments, str(stderr), first]) + "\n")
        self.server.stdin.flush()
        child = int(self.server.stdout.readline())
        alive = Path(f"/proc/{child}/cmdline")
        deadline = time.monotonic() + 600
        while not is_left and not until() and alive.exists() and alive.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.0005)
        if not is_left:
            os.kill(child, signal_number)  # it stays a zombie, so nobody else's, until the launcher has waited for it
        self.server.stdin.write("\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def close(self) -> None:
        """End the server."""
        self.server.stdin.close()
        self.server.stdout.close()
        self.server.wait(timeout=600)


def leftovers(run: Path) -> list[Path]:
    return [path for path in run.rglob("*") if path.name.endswith(".tmp")]
