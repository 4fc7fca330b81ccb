"""How many steps PPA's probe takes: recall and precision of the rare rows, and the worst group of `gla:ppa`.

Peers: other numbers of steps, and GLA with the guesses of CLIP, on the same draws. A demo's draws are those of ``dbpt
compare --resample``. A config file, as `dbpt fit --config` takes it, has a table without splits; each draw is a task of
two of its classes and two of its attributes, with 20 to 30 training rows in a common group, 3 to 5 in a rare one, 6 and
2 for validation, and all others for testing. A true group is rare below a quarter of its class. Run by hand:

    python benches/ppa_steps_table.py linear DRAWS demo-waterbirds [my-data.toml ...]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.commands.compare.cells import half_of
from dbpt.commands.trained_methods import trained_result
from dbpt.data.dataset import Dataset
from dbpt.data.writing import csv_text
from dbpt.guesses import linear_probe
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.study.data import open_dataset, resolve_demo
from dbpt.study.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.study.study import Study

STEPS = (1, 3, 5, 10, 20, 100)
TRAINING, VALIDATION = ((20, 30), (3, 5)), (6, 2)
LEAST_TEST = 8


def task(dataset: Dataset, random: np.random.Generator) -> list[list[str]]:
    """Draw the table of a small task."""
    classes, attributes = (random.permutation(size)[:2] for size in (dataset.num_classes, dataset.num_attributes))
    table = [["path", "label", "attribute", "split"]]
    for i, label in enumerate(classes):
        for j, attribute in enumerate(attributes):
            rows = random.permutation(np.flatnonzero((dataset.labels == label) & (dataset.attributes == attribute)))
            is_rare = int(i != j)
            held = VALIDATION[is_rare]
            drawn = int(random.integers(*TRAINING[is_rare], endpoint=True))
            drawn = min(drawn, len(rows) - held - LEAST_TEST)
            splits = ["val"] * held + ["train"] * drawn + ["test"] * (len(rows) - held - drawn)
            names = (dataset.class_names[label], dataset.attribute_names[attribute])
            table += [[dataset.paths[row], *names, split] for row, split in zip(rows, splits, strict=True)]
    return table


def studies(source: str, head: str, draws: int) -> Iterator[tuple[Study, FitConfig]]:
    """Yield each draw of a demo, or each task of a config file, with its settings."""
    shared: dict[str, Any] = {"head": head, "baselines": False, "prompts": "group", "objective": "gla"}
    if not source.endswith(".toml"):
        config = resolve_demo(make_config(shared | {"data": source}))
        study = add_pseudo_attributes(load_and_embed([config]), config)
        for draw in range(draws):
            yield half_of(study, draw), replace(config, seed=draw)
        return
    shared |= read_config(Path(source))
    whole = make_config(shared)
    dataset, backbone = open_dataset(whole), None
    with tempfile.TemporaryDirectory() as folder:
        for draw in range(draws):
            path = Path(folder) / f"{draw}.csv"
            path.write_text(csv_text(task(dataset, np.random.default_rng(draw))))
            of_task = {"data": str(path), "root": str(dataset.root), "classes": None, "attributes": None}
            config = make_config(shared | of_task | {"seed": draw})
            embedded = load_and_embed([config], backbone=backbone)
            backbone = embedded.backbone
            yield add_pseudo_attributes(embedded, config), config


def worst_of(study: Study, config: FitConfig) -> float:
    """Train and return the worst true group on test, in per cent."""
    row = trained_result(study, "gla", "group", checkpoint_path=None, quiet=True).row
    return 100 * (row.figure("worst_group_accuracy") or 0.0)


def rare_rows(study: Study) -> NDArray[np.bool_]:
    """Return for each training row whether its true group is rare in its class."""
    counts_CA = study.grouping("true").counts(study.rows("train")).reshape(study.dataset.num_classes, -1)
    is_rare_G = (counts_CA < counts_CA.sum(axis=1, keepdims=True) / 4).reshape(-1)
    return np.asarray(is_rare_G[study.grouping("true").groups[study.rows("train")]])


def main(head: str, draws: int, sources: list[str]) -> None:
    """Print the table."""
    print("| data | GLA, guesses of CLIP | " + " | ".join(f"{steps} steps" for steps in STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    for source in sources:
        words, figures = [], []
        for study, config in studies(source, head, draws):
            words.append(worst_of(arrange(study, config), config))
            of_steps = []
            for linear_probe.PPA_STEPS in STEPS:
                by_ppa = arrange(study, replace(config, group_source="ppa"))
                rare, wrong = rare_rows(by_ppa), by_ppa.probe_errors[by_ppa.rows("train")] == 1
                hits = (rare & wrong).sum()
                shares = (100 * hits / rare.sum(), 100 * hits / max(wrong.sum(), 1))
                of_steps.append((*shares, worst_of(by_ppa, by_ppa.config)))
            figures.append(of_steps)
        values = np.array(figures)
        last = values[:, STEPS.index(100), 2]
        cells = []
        for recall, precision, worst in values.transpose(1, 2, 0):
            gain = worst - last
            error = gain.std(ddof=1) / np.sqrt(draws)
            of_cell = f"{recall.mean():.0f} / {precision.mean():.0f}, {worst.mean():.1f}"
            cells.append(of_cell + (f" ({gain.mean():+.1f} ± {error:.1f})" if error else ""))
        print(f"| {Path(source).stem}, {draws} draws | {np.mean(words):.1f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
