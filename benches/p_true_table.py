"""When and by what dbpt's weights should move: `--p-true` and `--cadence`, judged on validation over pseudo groups.

Peers: each other. A run's score is the worst-group accuracy over pseudo groups of validation in its kept epoch, which
is what a user without annotations can see; beside it, for the record, that of the last epoch, and the test split's over
true groups. Batches are small: in one batch of all rows the choices are nearly the same. Run by
hand, with a head, on the demos

    python benches/p_true_table.py linear

or on a config file as `dbpt fit --config` takes it:

    python benches/p_true_table.py prompt my-data.toml
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import dbpt
from dbpt.config import read_config

SEEDS = (0, 1, 2)
SMALL_BATCHES = {"optimizer": "sgd", "lr": 1.0, "batch_size": 32, "epochs": 50}
CHOICES: tuple[dict[str, Any], ...] = (
    {"p_true": "batches", "cadence": "epoch", "ema_momentum": 0.5},
    {"p_true": "exact", "cadence": "epoch", "ema_momentum": 0.5},
    {"p_true": "batches", "cadence": "step", "ema_momentum": 0.5},
    {"p_true": "batches", "cadence": "step", "ema_momentum": 0.95},
    {"p_true": "exact", "cadence": "step", "ema_momentum": 0.95},
)


def scores(settings: dict[str, Any], seed: int) -> tuple[float, float, float]:
    """Per cent: validation of the kept epoch, of the last, and test."""
    options = {name: value for name, value in settings.items() if name != "data"}
    with tempfile.TemporaryDirectory() as folder:
        run = dbpt.fit(settings["data"], out=Path(folder) / "run", baselines=False, seed=seed, **options)
        lines = (run.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [entry for entry in map(json.loads, lines) if entry["row"] == "dbpt"]
    kept = next(entry for entry in history if entry["selected"])
    test = run.metrics["rows"][-1]["test"]["worst_group_accuracy"]
    return 100 * kept["val_wga"], 100 * history[-1]["val_wga"], 100 * test


def print_table(name: str, settings: dict[str, Any]) -> None:
    print(f"\n{name}, head {settings['head']}, seeds {', '.join(map(str, SEEDS))}\n")
    print("| p_true | cadence | EMA momentum | validation, kept epoch | last epoch | test |\n|---|---|---|---|---|---|")
    for choice in CHOICES:
        columns = zip(*(scores({**settings, **choice}, seed) for seed in SEEDS), strict=True)
        cells = [f"{statistics.mean(column):.1f} ± {statistics.stdev(column):.1f}" for column in columns]
        print(f"| {' | '.join([*map(str, choice.values()), *cells])} |", flush=True)


def main() -> None:
    head, *paths = sys.argv[1:]
    tables = {path: read_config(Path(path)) for path in paths}
    tables = tables or {name: {"data": name} for name in ("demo-waterbirds", "demo-celeba", "demo-metashift")}
    for name, settings in tables.items():
        start = {"n_ctx": 16} if head == "prompt" else {}
        print_table(name, {**settings, **SMALL_BATCHES, **start, "head": head})


if __name__ == "__main__":
    main()
