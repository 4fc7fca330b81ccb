"""Class prompts, group prompts, and the choice between them by validation: the tables of docs/explanation/results.md.

Peers: training-free group prompts, ERM, `balanced`, Group DRO and oracles, in the same comparison, so on the same draws
of the training rows. Its cells have the figure by which `--prompts auto` would choose between `dbpt` and `gla`;
here it is chosen in each draw. Worst-group accuracy on test in per cent: with all rows, and mean ± standard deviation
over the draws, which have half of the training rows. Run by hand, on folders of `dbpt compare ... --resample 20`:

    python benches/group_prompts_table.py FOLDER [FOLDER ...]
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open

from dbpt.storage.typed_json import read_json

CANDIDATES = ("dbpt", "gla")


def rows_of(folder: Path) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Return the row of ``metrics.json`` of each cell, by method and head, and by seed or draw."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for path in sorted((folder / "cells").glob("*.safetensors")):
        method, head, repeat = re.fullmatch(r"([^_]+)(?:_([^_]+))?_((?:seed|draw)-[0-9]+)", path.stem).groups()
        with safe_open(path, "numpy") as file:
            found.setdefault((method, head or "–"), {})[repeat] = json.loads(file.metadata()["row"])
    return found


def auto(by_class: dict[str, dict[str, Any]], by_group: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the row that validation prefers in each repeat; the first if they are level."""
    pairs = {repeat: (by_class[repeat], by_group[repeat]) for repeat in by_class.keys() & by_group.keys()}
    return {repeat: max(pair, key=lambda row: row["repeats"][0]["validation_score"]) for repeat, pair in pairs.items()}


def line(of_repeats: dict[str, dict[str, Any]]) -> str:
    """Return the figures of a method."""
    worst = {repeat: 100 * row["test"]["worst_group_accuracy"] for repeat, row in of_repeats.items()}
    draws = [value for repeat, value in worst.items() if repeat.startswith("draw")]
    whole = statistics.mean(value for repeat, value in worst.items() if repeat.startswith("seed"))
    return f"{whole:.1f} | {statistics.mean(draws):.1f} ± {statistics.stdev(draws):.1f}"


def main(folders: list[str]) -> None:
    """Print a table for each comparison."""
    for folder in map(Path, folders):
        found = rows_of(folder)
        order = [
            (row["method"].replace(":", "-"), row["head"]) for row in read_json(folder / "compare.json", "")["rows"]
        ]
        print(f"\n{folder.name}\n\n| method | head | all rows | draws |\n|---|---|---|---|")
        for method, head in order:
            print(f"| {method} | {head or '–'} | {line(found[method, head or '–'])} |")
        for head in dict.fromkeys(head for _, head in order if head):
            if all((method, head) in found for method in CANDIDATES):
                chosen = auto(*(found[method, head] for method in CANDIDATES))
                share = statistics.mean(row["method"] == "gla" for row in chosen.values())
                print(f"| auto (group prompts in {100 * share:.0f} % of the draws) | {head} | {line(chosen)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
