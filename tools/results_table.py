"""Combine the comparisons of several data sets into the tables of docs/results.md.

    python tools/results_table.py NAME=FOLDER ...

reads folders of `dbpt compare` and prints two Markdown tables. The first has, for each method, head and data set, the
worst-group accuracy with its standard deviation over the seeds if that is not 0, the average, and the gap. The second
has the difference in worst-group accuracy between dbpt and other methods for seed 0, with its interval over images.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from dbpt.groups import worst_group_accuracy, worst_group_difference_interval

OTHERS = ("balanced", "groupdro", "dbpt-soft", "dbpt-true", "groupdro-true")


def main() -> None:
    folders = {name: Path(folder) for name, folder in (argument.split("=", 1) for argument in sys.argv[1:])}
    print_figures({name: json.loads((folder / "compare.json").read_text("utf-8")) for name, folder in folders.items()})
    print(f"\n| dbpt against | head | {' | '.join(folders)} |\n|---|---|{'---|' * len(folders)}")
    for head in ("prompt", "linear"):
        leads = {name: leads_of(folder, head) for name, folder in folders.items()}
        for number, other in enumerate(OTHERS):
            print(f"| {other} | {head} | {' | '.join(leads[name][number] for name in folders)} |")


def print_figures(numbers: dict[str, Any]) -> None:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name, comparison in numbers.items():
        for row in comparison["rows"]:
            cells.setdefault((row["title"], row["head"] or "–"), {})[name] = cell(row["figures"])
    print(f"| method | head | {' | '.join(numbers)} |\n|---|---|{'---|' * len(numbers)}")
    for (title, head), of_data in cells.items():
        print(f"| {title} | {head} | {' | '.join(of_data.get(name, '–') for name in numbers)} |")


def cell(figures: dict[str, Any]) -> str:
    wga, average, gap = (100 * figures[name]["mean"] for name in ("worst_group_accuracy", "average", "gap"))
    sd = 100 * (figures["worst_group_accuracy"]["sd"] or 0.0)
    return f"**{wga:.1f}**{f' ± {sd:.1f}' if sd >= 0.05 else ''} · {average:.1f} · {gap:.1f}"


def leads_of(folder: Path, head: str) -> list[str]:
    """Return the lead of dbpt over each of `OTHERS` in points, with its 95 % interval over images."""
    cells = [load_file(folder / "cells" / f"{name}_{head}_seed-0.safetensors") for name in ("dbpt", *OTHERS)]
    groups, (ours, *theirs) = cells[0]["groups"].astype(np.int64), [cell["correct"].astype(bool) for cell in cells]
    leads = []
    for other in theirs:
        lead = worst_group_accuracy(ours, groups) - worst_group_accuracy(other, groups)
        low, high = worst_group_difference_interval(ours, other, groups)
        leads.append(f"{100 * lead:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]".replace("-", "−"))
    return leads


if __name__ == "__main__":
    main()
