"""Compare initialisations and learning rates of the heads on features, on validation.

The linear head starts from the zero-shot classifier or from zeros. A score is the worst-group accuracy over pseudo
groups of validation at the best epoch, in per cent, mean ± standard deviation over seeds 0, 1, 2. Run by hand on the
demos, or on a config file of `dbpt fit`:

    python benches/head_table.py [my-data.toml]
"""

import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import dbpt.commands.trained_methods
from dbpt.heads import Head
from dbpt.settings.config import make_config, read_config
from dbpt.study.data import resolve_demo
from dbpt.study.stages import prepare
from dbpt.study.study import Study

SEEDS = (0, 1, 2)
SMALL_BATCHES = {"optimizer": "sgd", "batch_size": 32, "epochs": 50}
OBJECTIVES = {"linear": ("balanced", "dbpt", "groupdro", "erm"), "adapter": ("balanced", "dbpt", "erm")}
RATES = (0.01, 0.1, 1.0)


def from_zeros(study: Study, prompts: str) -> Head:
    """Return the built head with zero weights; ``prompts`` as for `build_head`."""
    head = as_built(study, prompts)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
    return head


as_built = dbpt.commands.trained_methods.build_head


def score(study: Study, objective: str, **settings: Any) -> str:
    values = []
    for seed in SEEDS:
        config = replace(study.config, objective=objective, seed=seed, **settings)
        row = dbpt.commands.trained_methods.trained_result(
            replace(study, config=config), objective, checkpoint_path=None
        )
        values.append(100 * row.trained.history[row.trained.best_epoch - 1].val_wga)
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def print_table(name: str, settings: dict[str, Any]) -> None:
    study = prepare(resolve_demo(make_config({**settings, **SMALL_BATCHES})))
    starts = [("linear", "zero-shot", as_built), ("linear", "zeros", from_zeros), ("adapter", "drawn", as_built)]
    print(f"\n{name}\n\n| head | start | objective | {' | '.join(map(str, RATES))} |\n{'|---' * (3 + len(RATES))}|")
    for head, start, build in starts:
        dbpt.commands.trained_methods.build_head = build
        for objective in OBJECTIVES[head]:
            cells = [score(study, objective, head=head, lr=rate) for rate in RATES]
            print(f"| {head} | {start} | {objective} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    tables = {path: read_config(Path(path)) for path in sys.argv[1:]}
    for name, settings in (tables or {n: {"data": n} for n in ("demo-waterbirds", "demo-celeba")}).items():
        print_table(name, settings)


if __name__ == "__main__":
    main()
