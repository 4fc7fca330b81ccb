"""The comparison that the project exists for: zero-shot, ERM, balanced, dbpt with pseudo and with true groups, by seed.

Peers: ERM prompt tuning (CoOp) and the same objectives with true groups (an oracle), trained in the same process on the
same cached features. Prints mean and standard deviation over the seeds on the test split. Run by hand, on the demos

    python benches/method_table.py

or on a config file as `dbpt fit --config` takes it:

    python benches/method_table.py my-data.toml
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import dbpt
from dbpt.config import read_config

SEEDS = (0, 1, 2)
RUNS: tuple[dict[str, Any], ...] = (
    {"objective": "dbpt"},  # brings the zero-shot and ERM rows along
    {"objective": "balanced", "baselines": False},
    {"objective": "dbpt", "baselines": False, "group_source": "true"},
)


def results(settings: dict[str, Any]) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Test metrics of each method, one entry a seed, and the quality of the pseudo attributes."""
    data = settings["data"]
    rows: dict[str, list[dict[str, Any]]] = {}
    quality: dict[str, Any] = {}
    for seed in SEEDS:
        for choice in RUNS:
            with tempfile.TemporaryDirectory() as folder:
                options = {name: value for name, value in settings.items() if name != "data"}
                run = dbpt.fit(data, out=Path(folder) / "run", **(options | choice | {"seed": seed}))
            quality = run.metrics["pseudo_quality"] or {}
            for row in run.metrics["rows"]:
                name = row["name"] + (" (true groups)" if row["group_source"] == "true" else "")
                if name != "zero-shot" or (seed == SEEDS[0] and name not in rows):
                    rows.setdefault(name, []).append(row["test"])
    return rows, quality


def print_table(name: str, settings: dict[str, Any]) -> None:
    rows, quality = results(settings)
    print(f"\n{name}, test split, seeds {', '.join(map(str, SEEDS))}\n")
    print("| method | WGA | average | gap |\n|---|---|---|---|")
    for method, metrics in rows.items():
        print(
            f"| {method} | " + " | ".join(spread(metrics, k) for k in ("worst_group_accuracy", "average", "gap")) + " |"
        )
    smallest = quality["groups"][quality["smallest_group"]]
    print(
        f"\npseudo attributes right: {100 * quality['accuracy']:.1f} %; "
        f"smallest pseudo-group of training: {smallest['n_right']} of {smallest['n']} right",
        flush=True,
    )


def spread(metrics: list[dict[str, Any]], key: str) -> str:
    values = [100 * entry[key] for entry in metrics]
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


def main() -> None:
    if len(sys.argv) > 1:
        for path in sys.argv[1:]:
            print_table(path, read_config(Path(path)))
    else:
        for name in ("demo-waterbirds", "demo-celeba", "demo-metashift"):
            print_table(name, {"data": name})


if __name__ == "__main__":
    main()
