"""Compare `dbpt` with clusters within each class (`--attributes clusters`), with words, and methods without either.

Each of three draws takes 80 % of the training rows. A score is the worst-group accuracy over true groups of the test
split, in per cent, mean ± standard deviation over the draws. ERM and JTT use no attribute, and their epoch has the best
average on validation. The last columns are the clusters: their number, their lowest separation, and how many training
rows are in a cluster of their own true attribute, of the attribute that is common in their class and of the rare one.
The second table swaps class and attribute: CLIP sees the new class best, and clusters must find what it sees less. Run
by hand on the demos, or on config files of `dbpt fit`:

    python benches/class_clusters_table.py [my-data.toml ...]
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import dbpt
from dbpt.commands.result import Result
from dbpt.data import Dataset
from dbpt.data.demo import mini_clip_paths
from dbpt.settings.config import make_config, read_config
from dbpt.study.data import configured_dataset

DRAWS, SHARE = 3, 0.8
TITLES = ("zero-shot", "ERM", "JTT", "dbpt, words", "dbpt, clusters", "balanced, clusters", "dbpt, true groups")


def drawn(dataset: Dataset, seed: int) -> Dataset:
    """Return the data set with a random part of its training rows."""
    kept = (dataset.splits != 0) | (np.random.default_rng(seed).random(len(dataset)) < SHARE)
    return dataset.take(np.flatnonzero(kept))


def scores(dataset: Dataset, settings: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the worst-group accuracy of each row, and the content of metrics.json of the run with clusters."""

    def run(name: str, **chosen: Any) -> Result:
        given = settings | {"baselines": False, "out": folder / name} | chosen
        if given.get("attributes") == "clusters":
            given.pop("attribute_template", None)
        return dbpt.fit(dataset, **given)

    found = {name.upper(): run(name, objective=name, model_selection="average") for name in ("erm", "jtt")}
    found["dbpt, words"] = run("words")
    found["dbpt, clusters"] = clusters = run("clusters", attributes="clusters")
    found["balanced, clusters"] = run("balanced", attributes="clusters", objective="balanced")
    found["dbpt, true groups"] = run("true", group_source="true", model_selection="true-wgp")
    worst = {name: result.worst_group_accuracy for name, result in found.items()}
    worst["zero-shot"] = clusters.rows[0].worst_group_accuracy
    return worst, clusters.to_dict()


def recalls(metrics: dict[str, Any]) -> tuple[float, float]:
    """Return the shares of common and of rare training rows that are in a cluster of their own true attribute."""
    by_class: dict[int, list[dict[str, Any]]] = {}
    for group in metrics["pseudo_quality"]["groups"]:
        by_class.setdefault(group["label"], []).append(group)
    common = [max(groups, key=lambda group: group["n_true"]) for groups in by_class.values()]
    rare = [min(groups, key=lambda group: group["n_true"]) for groups in by_class.values()]
    return tuple(sum(g["n_right"] for g in groups) / sum(g["n_true"] for g in groups) for groups in (common, rare))


def print_row(name: str, settings: dict[str, Any]) -> None:
    dataset = configured_dataset(make_config(settings))
    options = {name: value for name, value in settings.items() if name not in ("data", "root", "columns")}
    worst: list[dict[str, float]] = []
    metrics: list[dict[str, Any]] = []
    for seed in range(DRAWS):
        with tempfile.TemporaryDirectory() as folder:
            found = scores(drawn(dataset, seed), options, Path(folder))
        worst.append(found[0])
        metrics.append(found[1])
    cells = []
    for title in TITLES:
        values = [100 * each[title] for each in worst]
        cells.append(f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}")
    clusters = [each["dataset"]["clusters"] for each in metrics]
    numbers = sorted({len(each["names"][0]) for each in clusters})
    separation = min(value for each in clusters for value in each["separation"])
    shares = np.mean([recalls(each) for each in metrics], axis=0)
    cells += [" or ".join(map(str, numbers)), f"{separation:.2f}", *(f"{100 * share:.0f}" for share in shares)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_swapped(name: str, settings: dict[str, Any]) -> None:
    """Print a row for each class after the attribute has become the class."""
    own = configured_dataset(make_config(settings))
    words = replace(
        own.words,
        classes=own.words.attributes,
        attributes=own.words.classes,
        templates=own.words.attribute_templates,
        attribute_templates=own.words.templates,
    )
    dataset = replace(own, labels=own.attributes, attributes=own.labels, words=words, published=None)
    options = {each: settings[each] for each in ("model", "pretrained", "cache")}
    found = dbpt.guess_attributes(dataset, attributes="clusters", **options)
    clusters, training = found.pseudo.class_clusters, dataset.splits == 0
    assert clusters is not None
    for label, class_name in enumerate(dataset.class_names):
        rows = np.flatnonzero(training & (dataset.labels == label))
        truth, of_rows = dataset.attributes[rows], found.pseudo.pseudo_attributes[rows]
        number = len(clusters.names[0])
        taken = np.array([np.bincount(truth[of_rows == k], minlength=2).argmax() for k in range(number)])
        rare = int(np.bincount(truth, minlength=2).argmin())
        shares = [100 * (taken[of_rows] == truth)[truth == value].mean() for value in (1 - rare, rare)]
        cells = [number, f"{clusters.separation[label]:.2f}", *(f"{share:.0f}" for share in shares)]
        print(f"| {name}, {class_name} | {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        named = [(Path(path).stem, read_config(Path(path))) for path in sys.argv[1:]] or list(demos(Path(folder)))
        last = ["clusters", "separation", "common rows", "rare rows"]
        for heads, print_rows in ((["data", *TITLES], print_row), (["swapped, class"], print_swapped)):
            print(f"\n| {' | '.join([*heads, *last])} |\n{'|---' * len([*heads, *last])}|")
            for name, settings in named:
                print_rows(name, settings)


def demos(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and settings of the demos, which are drawn into ``folder``."""
    model, pretrained = map(str, mini_clip_paths())
    for name in ("demo-waterbirds", "demo-celeba", "demo-metashift"):
        dbpt.write_demo(name, folder / name)
        settings = {"data": name.removeprefix("demo-"), "root": str(folder / name), "cache": str(folder / "cache")}
        yield name, {**settings, "model": model, "pretrained": pretrained}


if __name__ == "__main__":
    main()
