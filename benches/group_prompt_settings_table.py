"""Settings of trained group prompts: the table of docs/explanation/defaults.md.

Worst-group accuracy over true groups of the test split, in per cent. The peer is `gla` with group prompts and the
default settings, trained on the same draws, those of ``dbpt compare --resample``. The other columns are differences to
it. "mean difference" mixes the probabilities of both classifiers, the training-free one with the share in brackets.
Run by hand, on demos and on config files as `dbpt fit --config` takes them:

    python benches/group_prompt_settings_table.py HEAD DRAWS demo-waterbirds [my-data.toml ...]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dbpt.commands.compare.cells import half_of
from dbpt.commands.trained_methods import MethodResult, trained_result, training_free_result
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.study.data import resolve_demo
from dbpt.study.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.study.study import Study

RATES = {"prompt": (0.0003, 0.001, 0.01, 0.03), "linear": (0.001, 0.003, 0.03, 0.1)}
CONTEXTS: dict[str, dict[str, Any]] = {
    "1 random token": {"n_ctx": 1},
    "4 random tokens": {"n_ctx": 4},
    "16 random tokens": {"n_ctx": 16},
    "class-specific context": {"class_specific_context": True},
    "class-specific, 4 random tokens": {"class_specific_context": True, "n_ctx": 4},
}
SHARES = (0.25, 0.5)


def variants(head: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each variant; the first are the defaults."""
    rates = {f"lr {rate:g}": {"lr": rate} for rate in RATES[head]}
    tau = {f"τ = {tau:g}": {"tau": tau} for tau in (0.5, 1.5)}
    small = {"batches of 32, 20 epochs": {"batch_size": 32, "epochs": 20}}
    return (
        {"default": {}} | rates | (CONTEXTS if head == "prompt" else {}) | tau | {"400 epochs": {"epochs": 400}} | small
    )


def trained(study: Study, config: FitConfig) -> tuple[Study, MethodResult]:
    """Train once."""
    arranged = arrange(study, config)
    return arranged, trained_result(arranged, "gla", "group", checkpoint_path=None, quiet=True)


def mixed(study: Study, result: MethodResult, share: float) -> float:
    """Return the worst-group accuracy if the mean difference's probabilities have this share."""
    free = training_free_result(study, "mean-difference")
    both_NC = [one.classifier.probabilities(study.features) for one in (result, free)]
    found = study.metrics(((1 - share) * both_NC[0] + share * both_NC[1]).argmax(axis=1), ("test",))
    return float(found["test"].worst_group_accuracy)


def figures(study: Study, config: FitConfig, head: str) -> dict[str, float]:
    """Return the worst-group accuracy of each variant in one draw."""
    found: dict[str, float] = {}
    for name, settings in variants(head).items():
        arranged, result = trained(study, replace(config, **settings))
        found[name] = result.row.figure("worst_group_accuracy") or 0.0
        if not settings:
            found |= {f"mean difference ({100 * share:g} %)": mixed(arranged, result, share) for share in SHARES}
    return found


def main(head: str, draws: int, sources: list[str]) -> None:
    """Print the table: a row for each variant, a column for each data set."""
    columns = []
    for source in sources:
        shared = read_config(Path(source)) if source.endswith(".toml") else {"data": source}
        config = resolve_demo(
            make_config(shared | {"head": head, "objective": "gla", "prompts": "group", "baselines": False})
        )
        guessed = add_pseudo_attributes(load_and_embed([config]), config)
        of_draws = [figures(half_of(guessed, draw), replace(config, seed=draw), head) for draw in range(draws)]
        columns.append({name: 100 * np.array([found[name] for found in of_draws]) for name in of_draws[0]})
        print(f"{source}: {columns[-1]}", file=sys.stderr, flush=True)
    names = [Path(source).stem for source in sources]
    print(f"| {head}, {draws} draws | {' | '.join(names)} |\n|---{'|---' * len(names)}|")
    for name in columns[0]:
        cells = []
        for column in columns:
            change = column[name] - column["default"]
            text = f"{change.mean():+.1f} ({(change > 0).sum()} : {(change < 0).sum()})"
            own = column[name]
            cells.append(f"{own.mean():.1f} ± {own.std(ddof=1):.1f}" if name == "default" else text)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
