"""Sweep the training settings and score them on validation over pseudo groups, to choose the defaults.

    python tools/sweep.py docs/explanation/sweep.csv demo-waterbirds demo-celeba demo-metashift NAME=CONFIG.toml

trains every recipe of `STAGES` with seeds 0, 1, 2 on the demos and on the data of a config file of `dbpt fit`, and adds
a line for each training to the CSV. It skips trainings that the CSV contains. `--stages 'NAME;NAME'` limits it.
`python tools/sweep_tables.py` writes the tables of docs/explanation/defaults.md from the CSV.

It uses no test rows and no attribute labels. `score`: one half of validation selects the epoch by worst-group accuracy
over pseudo groups, the other half evaluates it, and the two directions are averaged, so a recipe gains nothing from
more epochs to select from. `last`: the same accuracy of the last epoch on all of validation.
"""

import argparse
import csv
import itertools
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.commands.trained_methods import build_head, build_objective
from dbpt.errors import InputError
from dbpt.groups import worst_group_accuracy
from dbpt.settings.config import FitConfig, make_config, read_config, readers
from dbpt.study.data import resolve_demo
from dbpt.study.stages import prepare
from dbpt.study.study import Study
from dbpt.training import Rows, train
from dbpt.training.loop import one_thread_if_small

SEEDS = (0, 1, 2)
SETTINGS = ("head", "objective", "optimizer", "lr", "batch_size", "epochs", "n_ctx", "ctx_init", "eta", "ema_momentum",
            "weight_decay", "warmup_epochs", "dro_step_size", "identification_epochs", "up_weight")  # fmt: skip
COLUMNS = ("stage", "data", "seed", *SETTINGS, "score", "last")

Recipe = dict[str, Any]


def grid(**values: tuple[Any, ...]) -> list[Recipe]:
    return [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]


WORDS: Recipe = {"ctx_init": "a photo of a"}
CENTRE: Recipe = {"optimizer": "adamw", "lr": 0.003, "batch_size": 0, "epochs": 200, "eta": 1.0, "ema_momentum": 0.9}
STARTS: tuple[Recipe, ...] = (WORDS, {"n_ctx": 4}, {"n_ctx": 16})
RATES = {"adamw": (0.0003, 0.001, 0.003, 0.01, 0.03), "sgd": (0.03, 0.1, 0.3, 1.0, 3.0)}
SMALL: Recipe = {"head": "linear", "batch_size": 32, "epochs": 50, "ema_momentum": 0.9}
COOP: Recipe = {"optimizer": "sgd", "batch_size": 32, "epochs": 50, "n_ctx": 16, "ema_momentum": 0.5}


def around(centre: Recipe, *changes: Recipe) -> list[Recipe]:
    return [centre | change for change in changes]


STAGES: dict[str, list[Recipe]] = {
    "start, optimizer, learning rate": [
        CENTRE | start | {"optimizer": optimizer, "lr": lr}
        for start in STARTS
        for optimizer, rates in RATES.items()
        for lr in rates
    ],
    "batch and epochs": around(
        CENTRE | WORDS,
        *grid(batch_size=(0,), epochs=(50, 100), lr=(0.001, 0.003, 0.01)),
        *grid(batch_size=(0,), epochs=(400,), lr=(0.003,)),
        *grid(batch_size=(256,), epochs=(20,), lr=(0.001, 0.003), ema_momentum=(0.5,)),
        *grid(batch_size=(256,), epochs=(100,), lr=(0.001,), ema_momentum=(0.5,)),
        *grid(batch_size=(32,), epochs=(10,), lr=(0.0003, 0.001), ema_momentum=(0.5,)),
        *grid(batch_size=(32,), epochs=(50,), lr=(0.001,), ema_momentum=(0.5,)),
    ),
    "group weights": around(
        CENTRE | WORDS,
        *grid(eta=(0.0, 0.5, 2.0, 4.0)),
        *grid(ema_momentum=(0.0, 0.5, 0.95, 0.99)),
        *grid(eta=(2.0, 4.0), ema_momentum=(0.0, 0.99)),
    ),
    "number of random tokens": around(CENTRE, *grid(n_ctx=(1, 2, 8, 32), lr=(0.001, 0.003))),
    "small batches, SGD": around(COOP, *grid(lr=(0.002, 0.1, 1.0))),
    "decay and warm-up": around(
        CENTRE | WORDS, *grid(weight_decay=(0.0, 0.01, 0.1)), *grid(warmup_epochs=(0, 10)),
    ),
    "linear and adapter": around(
        CENTRE,
        *grid(head=("linear",), lr=(0.001, 0.01, 0.1, 1.0)),
        *grid(head=("linear",), optimizer=("sgd",), lr=(0.1, 1.0, 10.0)),
        *grid(head=("adapter",), lr=(0.0001, 0.001, 0.01)),
        *grid(head=("adapter",), optimizer=("sgd",), lr=(0.01, 0.1, 1.0)),
    ),
    "Group DRO": around(
        CENTRE | {"objective": "groupdro"},
        *grid(ctx_init=("a photo of a",), dro_step_size=(0.001, 0.01, 0.1, 1.0)),
        *grid(head=("linear",), lr=(0.01,), dro_step_size=(0.001, 0.01, 0.1, 1.0)),
    ),
    "group weights, small batches": around(
        SMALL, *grid(optimizer=("adamw",), lr=(0.01,), eta=(0.0, 1.0, 2.0, 5.0, 10.0)),
        *grid(optimizer=("sgd",), lr=(0.1,), eta=(0.0, 1.0, 2.0, 5.0, 10.0)),
    ),
    "Group DRO, small batches": around(
        SMALL | {"objective": "groupdro"},
        *grid(optimizer=("adamw",), lr=(0.01,), dro_step_size=(0.001, 0.01, 0.03, 0.1, 0.3)),
        *grid(optimizer=("sgd",), lr=(0.1,), dro_step_size=(0.001, 0.01, 0.03, 0.1, 0.3)),
    ),
    "JTT": around(
        CENTRE | {"objective": "jtt"},
        *grid(ctx_init=("a photo of a",), identification_epochs=(10, 20, 50, 100, 200)),
        *grid(ctx_init=("a photo of a",), identification_epochs=(50,), up_weight=(5.0, 100.0)),
        *grid(head=("linear",), lr=(0.01,), identification_epochs=(10, 20, 50, 100, 200)),
    ),
    "the other objectives": around(
        CENTRE | WORDS, *grid(objective=("erm", "balanced"), lr=(0.001, 0.003, 0.01)),
    ),
}  # fmt: skip


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("data", nargs="+", help="a demo's name, or NAME=CONFIG.toml")
    parser.add_argument("--stages", default=";".join(STAGES), help="separated by semicolons")
    arguments = parser.parse_args()
    for given in arguments.data:
        name, _, path = given.partition("=")
        study = open_experiment(read_config(Path(path)) if path else {"data": name})
        for stage in arguments.stages.split(";"):
            for recipe, seed in itertools.product(STAGES[stage], SEEDS):
                config = replace(study.config, seed=seed, **recipe)
                add(arguments.results, stage, name, replace(study, config=config))


def open_experiment(settings: Recipe) -> Study:
    return prepare(resolve_demo(make_config(settings)))


def add(results: Path, stage: str, name: str, study: Study) -> None:
    """Train and add the line to the CSV, unless it is there."""
    line = {"stage": stage, "data": name, "seed": str(study.config.seed)} | written(study.config)
    if results.exists():
        with results.open(newline="", encoding="utf-8") as file:
            if any(line.items() <= other.items() for other in csv.DictReader(file)):
                return
    line |= measure(study)
    with results.open("a", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not file.tell():
            table.writeheader()
        table.writerow(line)


def written(config: FitConfig) -> dict[str, str]:
    """Return the `SETTINGS` that the run reads; the others are empty."""
    values = asdict(config.resolved())
    chosen = {f"--head {config.head}", f"--objective {config.objective}"}
    unread = {name for name in SETTINGS if readers(name) and chosen.isdisjoint(readers(name))}
    return {name: "" if name in unread or values[name] is None else str(values[name]) for name in SETTINGS}


def measure(study: Study) -> dict[str, str]:
    config, training, validation = study.config, rows_of(study, "train"), rows_of(study, "val")
    head, objective = build_head(study), build_objective(study, config.objective, training)
    features, correct = torch.from_numpy(validation.features), []

    def on_epoch(_: object) -> None:
        with torch.no_grad():
            correct.append(head(features).argmax(dim=1).numpy() == validation.labels)

    try:
        with one_thread_if_small(head.multiply_adds):
            train(head, objective, training, validation, config, on_epoch=on_epoch)
    except InputError as error:  # the loss is not finite any more
        print(error)
    correct = correct[-config.epochs :]  # what comes before is preparation, which is never kept
    first = halves(validation.groups)
    score = np.mean([judged(correct, validation.groups, chooses) for chooses in (first, ~first)])
    last = worst_group_accuracy(correct[-1], validation.groups)
    assert last is not None
    return {"score": f"{100 * score:.2f}", "last": f"{100 * last:.2f}"}


def rows_of(study: Study, split: str) -> Rows:
    rows = study.rows(split)
    return Rows(study.embedded.features[rows], study.dataset.labels[rows], study.grouping("pseudo").groups[rows])


def halves(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (N,), true for every other row of each group."""
    half = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        half[np.flatnonzero(groups == group)[::2]] = True
    return half


def judged(correct: list[NDArray[np.bool_]], groups: NDArray[np.int64], chooses: NDArray[np.bool_]) -> float:
    """Return the worst-group accuracy on the other rows of the first epoch that is best on the selecting rows."""
    scores = [(worst_group_accuracy(epoch[chooses], groups[chooses]), epoch[chooses].mean()) for epoch in correct]
    judgement = worst_group_accuracy(correct[scores.index(max(scores))][~chooses], groups[~chooses])
    assert judgement is not None
    return judgement


if __name__ == "__main__":
    main()
