"""Many small random tasks, with validation as skewed as training: the first tables of docs/explanation/results.md.

Peers: zero-shot, untrained group prompts, ERM, `balanced` and GLA, trained in the same run on the same images. A task
has two classes and two values of the attribute (every seventh three and three), 18 to 25 training images in each common
group and 3 to 5 in each rare one, a third of that in validation (at least 6, and 1 to 3), and the rest to test. `equal`
gives each group of validation as many images as a common one. Run by hand, on tables with the columns path, label and
attribute, whose images are in a folder for each class:

    python benches/small_tasks_table.py HEAD skewed|equal right|unrelated|unknown|flipped10|flipped20 TASKS MODEL.json \
        WEIGHTS.safetensors TABLE.csv [TABLE.csv ...]

`unrelated` takes words for the attribute that have nothing to do with it, `unknown` such words for the classes.
"""

from __future__ import annotations

import csv
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from controls_table import with_attributes

from dbpt.clip import Backbone, load_backbone
from dbpt.commands.fit.saved_candidate import choose, with_mixed
from dbpt.commands.trained_methods import MethodResult, trained_result, training_free_result
from dbpt.settings.config import make_config
from dbpt.study.stages import add_pseudo_attributes, arrange, judged_guesses, load_and_embed
from dbpt.study.study import Study

UNRELATED = (("sunny", "dark", "wet"), ("red", "blue", "green"), ("indoors", "outdoors", "upstairs"))
UNKNOWN = (("thing", "matter", "item"), ("first", "second", "third"), ("monday", "tuesday", "friday"))
TRAINED = {"erm": "class", "balanced": "class", "dbpt": "class", "gla": "group"}
ORACLES = {"balanced": "class", "gla": "group"}
Pool = dict[tuple[str, str], list[str]]


def pool_of(tables: list[str]) -> Pool:
    """Return the images by class and attribute, as absolute paths; the class is the folder of an image."""
    pool: Pool = {}
    for table in map(Path, tables):
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                path = table.parent / row["path"]
                pool.setdefault((path.parent.name, row["attribute"]), []).append(str(path.resolve()))
    return pool


def draw_task(pool: Pool, seed: int, *, equal: bool) -> tuple[list[str], list[str], list[tuple[str, ...]]]:
    """Return classes, attributes and rows of path, label, attribute and split."""
    rng, size = random.Random(seed), 3 if seed % 7 == 3 else 2
    attributes = sorted({attribute for _, attribute in pool})
    classes = sorted({label for label, _ in pool if all((label, each) in pool for each in attributes)})
    classes, attributes = rng.sample(classes, size), rng.sample(attributes, size)
    common, rare, few = rng.randint(18, 25), rng.randint(3, 5), rng.randint(1, 3)
    rows = []
    for y, label in enumerate(classes):
        for a, attribute in enumerate(attributes):
            paths = list(pool[label, attribute])
            rng.shuffle(paths)
            train, val = (common, max(6, common // 3)) if y == a else (rare, few)
            val = max(6, common // 3) if equal else val
            train = min(train, len(paths) - val - 6)
            splits = ["train"] * train + ["val"] * val + ["test"] * (len(paths) - train - val)
            rows += [(path, label, attribute, split) for path, split in zip(paths, splits, strict=True)]
    return classes, attributes, rows


def study_of(seed: int, pool: Pool, backbone: Backbone, settings: dict[str, str], how: str, *, equal: bool) -> Study:
    """Return a task with guesses."""
    classes, attributes, rows = draw_task(pool, seed, equal=equal)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "task.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label", "attribute", "split"), *rows])
        words = {"unrelated": (classes, UNRELATED[seed % 3]), "unknown": (UNKNOWN[seed % 3], attributes)}
        wordings = words.get(how, (classes, attributes))
        named = [
            tuple(f"{name}={word}" for name, word in zip(names, of, strict=False))
            for names, of in zip((classes, attributes), wordings, strict=True)
        ]
        given = {"data": str(table), "classes": named[0], "attributes": named[1], "baselines": False, "seed": seed}
        config = make_config(settings | given)
        study = add_pseudo_attributes(load_and_embed([config], backbone=backbone), config)
    if how.startswith("flipped"):
        rng, guessed = np.random.default_rng(seed), study.pseudo.pseudo_attributes
        other = (guessed + rng.integers(1, len(attributes), len(guessed))) % len(attributes)
        flipped = np.where(rng.random(len(guessed)) < int(how[7:]) / 100, other, guessed)
        study = with_attributes(study, flipped)
    return replace(study, guesses=judged_guesses(study.embedded, study.pseudo))


def worst(result: MethodResult) -> float:
    """Return worst-group accuracy on test in per cent."""
    return 100 * (result.row.figure("worst_group_accuracy") or 0.0)


def of_task(study: Study) -> tuple[dict[str, float], str]:
    """Return the figure of each row, and the name of the candidate that is saved."""
    figures = {"zero-shot": worst(training_free_result(study, "zero-shot"))}
    results = {}
    for source, methods in (("pseudo", TRAINED), ("true", ORACLES)):
        for objective, prompts in methods.items():
            config = replace(study.config, objective=objective, prompts=prompts)
            config = replace(config, group_source=source) if objective != "erm" else config
            result = trained_result(arrange(study, config), objective, prompts, checkpoint_path=None, quiet=True)
            figures[objective if source == "pseudo" else f"{objective}, true attributes"] = worst(result)
            if source == "pseudo":
                results[objective] = result
    candidates, hedge = with_mixed(study, {name: results[name] for name in ("dbpt", "gla")})
    best, _ = choose(study, candidates, hedge)
    figures |= {name: worst(candidates[name]) for name in candidates} | {"auto": worst(candidates[best])}
    return figures, best


def main(head: str, validation: str, how: str, tasks: int, model: str, weights: str, tables: list[str]) -> None:
    """Print the mean of each row, and how often the choice leaves the mixture."""
    pool, backbone = pool_of(tables), load_backbone(model, weights, image_precision="float32")
    settings = {"model": model, "pretrained": weights, "image_precision": "float32", "head": head}
    lines, picks = [], []
    for seed in range(tasks):
        figures, best = of_task(study_of(seed, pool, backbone, settings, how, equal=validation == "equal"))
        lines.append(figures)
        picks.append(best)
        print(seed, best, {name: round(value, 1) for name, value in figures.items()}, file=sys.stderr, flush=True)
    print(f"{head}, {validation}, {how}, {tasks} tasks")
    for name in lines[0]:
        values = np.array([figures[name] for figures in lines])
        print(f"| {name} | {values.mean():.1f} ± {values.std(ddof=1) / len(values) ** 0.5:.1f} |")
    changes = [line["auto"] - line["gla:mixed"] for line, best in zip(lines, picks, strict=True) if best != "gla:mixed"]
    hurt = sum(change < -2 for change in changes)
    print(f"another candidate than the mixture in {len(changes)}, more than 2 points worse than it in {hurt}")
    regret = np.array([line["auto"] - max(line["group-prompts-sum"], line["gla"]) for line in lines])
    print(f"auto minus the better of untrained and GLA in each task: {regret.mean():.1f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], sys.argv[6], sys.argv[7:])
