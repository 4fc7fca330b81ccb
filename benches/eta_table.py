"""What eta adds where some guesses are wrong: the table of docs/explanation/controls.md.

CLIP's guesses of all images, each replaced by another value with probability RATE, as a file of guesses
(``--pseudo-attributes``) might have them. The peer is eta = 0, which is ``balanced``, on the same draw and the same
flips. Each draw is one of ``dbpt compare --resample``, with new flips. Run by hand, on demos and on config files as
`dbpt fit --config` takes them, for one head and one batch size, where 0 is all rows:

    python benches/eta_table.py linear 0 DRAWS demo-waterbirds [my-data.toml ...]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from controls_table import with_attributes

from dbpt.commands.compare.cells import half_of
from dbpt.commands.trained_methods import trained_result
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.study.data import resolve_demo
from dbpt.study.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.study.study import Study

RATES = (0.0, 0.05, 0.1, 0.2)
ETAS = (0.0, 1.0, 3.0, 5.0, 8.0)
EPOCHS = {True: 200, False: 20}
"""With all rows in a batch, and with small batches."""


def flipped(study: Study, draw: int, rate: float) -> Study:
    """Replace each guess by another value with probability ``rate``. A larger rate flips more of the same guesses."""
    guesses, number = study.pseudo.pseudo_attributes, study.dataset.num_attributes
    random = np.random.default_rng([draw, 17])
    other = (guesses + random.integers(1, number, len(guesses))) % number
    wrong = (random.random(len(guesses)) < rate) & (guesses >= 0)
    return with_attributes(study, np.where(wrong, other, guesses))


def worst_group(study: Study, config: FitConfig) -> float:
    """Train once and return the worst-group accuracy over true groups of the test split, in per cent."""
    result = trained_result(arrange(study, config), "dbpt", checkpoint_path=None, quiet=True)
    worst = result.row.figure("worst_group_accuracy")
    assert worst is not None
    return 100 * worst


def cells(figures: Sequence[Sequence[float]]) -> list[str]:
    """Return the mean of eta = 0 and the differences to it, from the figures of each draw by eta."""
    of_eta = np.array(figures).T
    found = [f"{of_eta[0].mean():.1f} ± {of_eta[0].std(ddof=1):.1f}"]
    for difference in of_eta[1:] - of_eta[0]:
        found.append(f"{difference.mean():+.1f} ({(difference > 0).sum()} : {(difference < 0).sum()})")
    return found


def main(head: str, batch: int, draws: int, sources: Sequence[str]) -> None:
    """Print the table: a row for each data set and rate, a column for each eta."""
    print(f"| {head}, {draws} draws | flipped | {' | '.join(f'η = {eta:g}' for eta in ETAS)} |\n{'|---' * 7}|")
    for source in sources:
        shared = read_config(Path(source)) if source.endswith(".toml") else {"data": source}
        settings = {"head": head, "batch_size": batch, "epochs": EPOCHS[batch == 0], "baselines": False}
        config = resolve_demo(make_config(shared | settings))
        embedded = load_and_embed([config])
        guessed = add_pseudo_attributes(embedded, config)
        for rate in RATES:
            figures = []
            for draw in range(draws):
                study = half_of(flipped(guessed, draw, rate), draw)
                of_draw = [replace(config, eta=eta, seed=draw) for eta in ETAS]
                figures.append([worst_group(study, chosen) for chosen in of_draw])
            print(f"| {Path(source).stem} | {100 * rate:g} % | {' | '.join(cells(figures))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
