"""What a few known attributes are worth (`--pseudo-method probe`): the table of docs/explanation/known_attributes.md.

Peers: CLIP's words, wrong words, and the true attributes of all images, which train the same heads on the same draws of
the training rows, with replacement. Each draw knows other images. A draw that knows fewer than two images of
an attribute, which the probe refuses, is replaced by the next one. A cell has the right guesses in training, the lowest
precision of a pseudo-group there, and the worst-group accuracy of `dbpt` on test; progress has all figures. Run by
hand, on demos and on config files as `dbpt fit --config` takes them:

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
from bootstrap import bootstrapped
from controls_table import WORDS

from dbpt.commands.trained_methods import trained_result
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.study.data import resolve_demo
from dbpt.study.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.study.study import Study

METHODS = ("erm", "balanced", "dbpt")


def sources(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the sources of attributes, and their settings."""
    yield "CLIP's words", {}
    if name in WORDS:
        yield "wrong words", {"attributes": WORDS[name]["wrong wordings"]}
    for known in (16, 64, 256):
        yield f"{known} known", {"pseudo_method": "probe", "probe_rows": known}
    yield "all known", {"group_source": "true", "model_selection": "true-wgp"}


def quality(study: Study) -> tuple[float, float]:
    """Return the share of right guesses in training, and the lowest precision of a pseudo-group there.

    Images whose attribute was given to the probe are left out.
    """
    rows = study.rows("train")
    if study.pseudo.is_given is not None:
        rows = rows[~study.pseudo.is_given[rows]]
    right = study.pseudo.pseudo_attributes[rows] == study.dataset.attributes[rows]
    groups = study.grouping("pseudo").groups[rows]
    return right.mean(), min(right[groups == group].mean() for group in np.unique(groups))


def cells_of(source: str, draws: int) -> Iterator[tuple[str, str]]:
    """Yield each source of attributes and the figures of a data set."""
    name = Path(source).stem
    shared = read_config(Path(source)) if source.endswith(".toml") else {"data": source}
    for title, settings in sources(name):
        config = resolve_demo(make_config(shared | {"head": "linear", "baselines": False} | settings))
        embedded = load_and_embed([config])
        found: list[list[float]] = []
        refused = doubted = 0
        for draw in count():
            try:
                study = add_pseudo_attributes(embedded, replace(config, seed=draw))
            except InputError:
                refused += 1
                continue
            probe, known = study.pseudo.probe, config.group_source == "true"
            doubted += probe is not None and bool(probe.figures[0].doubts)
            right, precision = (1.0, 1.0) if known else quality(study)
            out_of_fold = np.nan if probe is None else probe.figures[0].accuracy
            found.append([right, out_of_fold, precision, *worst_groups(bootstrapped(study, draw), config, draw)])
            if len(found) == draws:
                break
        figures = 100 * np.array(found)
        errors = np.abs(figures[:, 1] - figures[:, 0])
        of_probe = f"; {refused} draws refused, {doubted} doubted; out of fold off by {errors.mean():.1f}"
        texts = [text(column) for column in figures.T]
        print(f"{name}: {title}: {' · '.join(texts)}{of_probe if probe else ''}", file=sys.stderr, flush=True)
        yield title, " · ".join(texts[:4:2] + texts[-1:])


def worst_groups(drawn: Study, config: FitConfig, seed: int) -> Iterator[float]:
    """Yield the worst-group accuracy of each of `METHODS` on the test rows."""
    for method in METHODS:
        uses = {"group_source": "pseudo"} if method == "erm" else {}
        study = arrange(drawn, replace(config, objective=method, seed=seed, **uses))
        result = trained_result(study, method, checkpoint_path=None, quiet=True)
        yield result.row.figure("worst_group_accuracy") or 0.0


def text(figures: np.ndarray) -> str:
    """Return the mean and the standard deviation over the draws."""
    deviation = figures.std(ddof=1)
    return "–" if np.isnan(deviation) else f"{figures.mean():.1f}" + (f" ± {deviation:.1f}" if deviation else "")


def main(draws: int, names: list[str]) -> None:
    """Print the table: a row for each source of attributes, a column for each data set."""
    table: dict[str, list[str]] = {}
    for name in names:
        for title, cell in cells_of(name, draws):
            table.setdefault(title, []).append(cell)
    print(f"| {draws} draws | {' | '.join(Path(name).stem for name in names)} |\n|---{'|---' * len(names)}|")
    for title, row in table.items():
        print(f"| {title} | {' | '.join(row)} |")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
