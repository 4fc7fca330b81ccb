"""How long a mistake takes to be answered, against `import torch`, and `dbpt fit demo` with nothing cached.

    python benches/bench_start.py [--turns 5] [--against CHECKOUT]

Each command is a process of its own; all commands take turns. CHECKOUT is another checkout of dbpt, built in place; it
runs the same commands. Times are processor seconds of the process and its children, and seconds by the clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OWN = Path(__file__).resolve().parents[1]
MISTAKES = (
    "fit missing.csv --out run",
    "fit unlabelled.csv --out run",
    "fit labelled.csv --out run --epochs -3",
    "compare labelled.csv --out run --embeddings missing.npy",
    "audit missing.csv",
)
PEERS = ("import torch", "import open_clip")


def cost(command: list[str], checkout: Path, folder: Path) -> tuple[float, float]:
    """Run a command in a folder; return its processor seconds and its seconds by the clock."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(checkout / "python")}
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=False)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    checkouts = {"": OWN} | ({f", {asked.against}": asked.against.resolve()} if asked.against else {})
    commands = {code: (["-c", code], OWN) for code in PEERS}
    for suffix, checkout in checkouts.items():
        commands |= {f"dbpt {line}{suffix}": (["-m", "dbpt", *line.split()], checkout) for line in MISTAKES}
        commands[f"dbpt fit demo{suffix}"] = (["-m", "dbpt", "fit", "demo", "--out", "run", "--cache", "."], checkout)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(asked.turns):
        order = list(commands.items())[:: -1 if turn % 2 else 1]
        for name, (command, checkout) in order:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "labelled.csv").write_text("path,label,split\na.png,x,train\n")
                Path(folder, "unlabelled.csv").write_text("path,split\na.png,train\n")
                times[name].append(cost(command, checkout, Path(folder)))
    for name, taken in times.items():
        figures = [f"{min(kind):6.2f} {statistics.median(kind):6.2f}" for kind in zip(*taken, strict=True)]
        print(f"{name:60} processor: least, median {figures[0]}   clock: {figures[1]}")


if __name__ == "__main__":
    main()
