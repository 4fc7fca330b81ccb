"""What a few known attributes are worth (`--pseudo-method probe`): the table of docs/pseudo_attributes.md.

Peers: CLIP's words, wrong words, and the true attributes of all images, which train the same heads on the same draws of
the training rows (`dbpt compare --resample`). Each draw knows other images. A draw that knows fewer than two images of
an attribute, which the probe refuses, is replaced by the next one and counted. Run by hand, on demos and on config
files as `dbpt fit --config` takes them:

    python benches/few_attributes_table.py DRAWS demo-waterbirds [my-data.toml ...]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from controls_table import WORDS

from dbpt.errors import InputError
from dbpt.experiments.comparison.resampling import resampled
from dbpt.experiments.figures import Labelled
from dbpt.experiments.methods import trained_result
from dbpt.experiments.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.settings.config import make_config, read_config
from dbpt.settings.data import resolve_demo

METHODS = ("erm", "balanced", "dbpt")
COLUMNS = ("data", "attributes", "right", "lowest precision", "out of fold", "doubted", *METHODS)


def sources(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the sources of attributes, and their settings."""
    yield "CLIP's words", {}
    if name in WORDS:
        yield "wrong words", {"attributes": WORDS[name]["wrong wordings"]}
    for known in (16, 64, 256):
        yield f"{known} known", {"pseudo_method": "probe", "probe_rows": known}
    yield "all known", {"group_source": "true", "model_selection": "true-wgp"}


def quality(labelled: Labelled) -> tuple[float, float]:
    """Return the share of right guesses in training, and the lowest precision of a pseudo-group there.

    Images whose attribute was given to the probe are left out.
    """
    rows = labelled.rows("train")
    if labelled.pseudo.is_given is not None:
        rows = rows[~labelled.pseudo.is_given[rows]]
    right = labelled.pseudo.pseudo_attributes[rows] == labelled.dataset.attributes[rows]
    groups = labelled.groups("pseudo")[rows]
    return right.mean(), min(right[groups == group].mean() for group in np.unique(groups))


def rows_of(source: str, draws: int) -> Iterator[list[str]]:
    """Yield the rows of the table for a data set."""
    name = Path(source).stem
    shared = read_config(Path(source)) if source.endswith(".toml") else {"data": source}
    for title, settings in sources(name):
        config = resolve_demo(make_config(shared | {"head": "linear", "baselines": False} | settings))
        embedded = load_and_embed([config])
        found: list[list[float]] = []
        refused = 0
        for draw in count():
            try:
                labelled = add_pseudo_attributes(embedded, replace(config, seed=draw))
            except InputError:
                refused += 1
                continue
            probe = labelled.pseudo.probe
            out_of_fold = (
                (np.nan, np.nan) if probe is None else (probe.figures[0].accuracy, bool(probe.figures[0].doubts))
            )
            drawn, worst = resampled(labelled, draw), []
            for method in METHODS:
                uses_groups = {"group_source": "pseudo"} if method == "erm" else {}
                experiment = arrange(embedded, drawn, replace(config, objective=method, seed=draw, **uses_groups))
                result = trained_result(experiment, method, checkpoint_path=None, quiet=True)
                worst.append(result.row.figure("worst_group_accuracy") or 0.0)
            known = (1.0, 1.0) if config.group_source == "true" else quality(labelled)
            found.append([*known, *out_of_fold, *worst])
            if len(found) == draws:
                break
        yield [name, title + (f" ({refused} draws refused)" if refused else ""), *cells(100 * np.array(found))]


def cells(found: np.ndarray) -> Iterator[str]:
    """Yield the mean and the standard deviation over the draws of each column."""
    for position, (mean, deviation) in enumerate(zip(found.mean(axis=0), found.std(axis=0, ddof=1), strict=True)):
        with_deviation = f"{mean:.1f} ± {deviation:.1f}" if position != 3 else f"{mean:.0f} %"
        yield "–" if np.isnan(mean) else with_deviation if deviation else f"{mean:.1f}"


def main(draws: int, names: list[str]) -> None:
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name in names:
        for row in rows_of(name, draws):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
