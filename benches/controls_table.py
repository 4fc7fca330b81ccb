"""Controls that could have failed, over draws of the training rows: the table of docs/explanation/controls.md.

Peers: ERM, class-balanced ERM and weights 1/N_g (``balanced``), trained in the same run on the same draws. Each draw is
one of ``dbpt compare --resample``, and random changes such as flipped labels are drawn anew in it. ``untrained`` are
group prompts without training, ``mixed`` those between them and ``gla``, and ``auto`` what ``dbpt fit`` saves. Run by
hand, on demos and on config files as `dbpt fit --config` takes them, and with the environment variable ``CONTROLS``
only those controls whose names contain it:

    python benches/controls_table.py linear DRAWS demo-waterbirds [my-data.toml ...]

Other wordings of the attributes are in `WORDS`, by data set. Names stay, so that figures are over the true groups.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.commands.compare.cells import half_of
from dbpt.commands.fit.saved_candidate import choose, with_mixed
from dbpt.commands.trained_methods import trained_result, training_free_result
from dbpt.data import SPLITS
from dbpt.errors import InputError
from dbpt.evaluation.results import Row
from dbpt.settings.config import FitConfig, make_config, read_config
from dbpt.study.data import resolve_demo
from dbpt.study.stages import add_pseudo_attributes, arrange, judged_guesses, load_and_embed
from dbpt.study.study import Study

METHODS = {"erm": "class", "class-balanced": "class", "balanced": "class", "dbpt": "class", "gla": "group"}
"""Objectives and their prompts."""
COLUMNS = ("zero-shot", "untrained", *METHODS, "mixed", "auto")
TRAIN, VAL, LEFT_OUT = SPLITS.index("train"), SPLITS.index("val"), -1
WORDS = {
    "demo-waterbirds": {
        "one wording": ("land", "water"),
        "five wordings": ("land=land|forest|field|grass|ground", "water=water|sea|lake|river|ocean"),
        "wrong wordings": ("land=monday", "water=tuesday"),
    },
    "demo-celeba": {
        "one wording": ("female=woman", "male=man"),
        "five wordings": ("female=woman|girl|lady|female|female person", "male=man|boy|gentleman|male|male person"),
        "wrong wordings": ("female=monday", "male=tuesday"),
    },
    "demo-metashift": {
        "one wording": ("indoor", "outdoor"),
        "five wordings": ("indoor=indoor|room|house|home|inside", "outdoor=outdoor|garden|street|field|outside"),
        "wrong wordings": ("indoor=monday", "outdoor=tuesday"),
    },
    "photographs": {
        "one wording": ("photo", "sketch"),
        "five wordings": ("photo=photo|photograph|picture|snapshot|color", "sketch=sketch|drawing|doodle|pencil|ink"),
        "wrong wordings": ("photo=monday", "sketch=tuesday"),
    },
}
UNRELATED = (("indoors", "outdoors"), ("red", "blue"), ("cat", "car"))
"""Words of other attributes. Names stay, so that figures are over the true groups."""
Change = Callable[[Study, np.random.Generator], Study]


@dataclass(frozen=True)
class Control:
    """A change of the settings, or of the labels and splits by a random generator."""

    name: str
    settings: dict[str, Any]
    change: Change = lambda study, random: study


def permuted(study: Study, random: np.random.Generator) -> Study:
    """Permute the pseudo attributes within each class and split: the same counts, no information."""
    guessed, labels = study.pseudo.pseudo_attributes.copy(), study.dataset.labels
    for label in np.unique(labels):
        for split in range(len(SPLITS)):
            rows = np.flatnonzero((labels == label) & (study.splits == split))
            guessed[rows] = guessed[random.permutation(rows)]
    return with_attributes(study, guessed)


def flipped(study: Study, random: np.random.Generator, *, rate: float) -> Study:
    """Take the true attributes, each another one with probability ``rate``, for pseudo attributes."""
    true, number = study.dataset.attributes, study.dataset.num_attributes
    other = (true + random.integers(1, number, len(true))) % number
    return with_attributes(study, np.where(random.random(len(true)) < rate, other, true))


def with_attributes(study: Study, attributes: NDArray[np.int64]) -> Study:
    """Replace the pseudo attributes (N,)."""
    factor = replace(study.pseudo.factors[0], pseudo_attributes=attributes)
    return replace(study, pseudo=replace(study.pseudo, factors=(factor,)))


def few(study: Study, random: np.random.Generator, *, rows: int) -> Study:
    """Keep ``rows`` of the smallest pseudo-group of each class in training and in validation."""
    return cut(study, random, {TRAIN: rows, VAL: rows})


def skewed(study: Study, random: np.random.Generator) -> Study:
    """Give validation the shares that training has: cut its smallest pseudo-groups."""
    counts = study.grouping("pseudo").counts(study.rows("train")), study.grouping("pseudo").counts(study.rows("val"))
    share = (counts[0] / counts[1]).max()
    return cut(study, random, {VAL: max(1, round(smallest_groups(study)[1].min() / share))})


def smallest_groups(study: Study) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the smallest pseudo-group of each class in training, (C,), and its size (C,)."""
    counts_CA = study.grouping("pseudo").counts(study.rows("train")).reshape(study.dataset.num_classes, -1)
    smallest_C = counts_CA.argmin(axis=1)
    classes_C = np.arange(len(counts_CA))
    return classes_C * counts_CA.shape[1] + smallest_C, counts_CA[classes_C, smallest_C]


def cut(study: Study, random: np.random.Generator, rows_of: dict[int, int]) -> Study:
    """Leave all but a number of rows of each class's smallest pseudo-group out of a split."""
    splits, groups = study.splits.copy(), study.grouping("pseudo").groups
    for group in smallest_groups(study)[0]:
        for split, rows in rows_of.items():
            members = np.flatnonzero((groups == group) & (splits == split))
            splits[random.permutation(members)[rows:]] = LEFT_OUT
    return replace(study, splits=splits)


def no_validation(study: Study, random: np.random.Generator) -> Study:
    """Let 20 % of the training rows of each pseudo-group, drawn at random, be validation; leave the given one out."""
    splits, groups = study.splits.copy(), study.grouping("pseudo").groups
    splits[splits == VAL] = LEFT_OUT
    for group in np.unique(groups[splits == TRAIN]):
        members = random.permutation(np.flatnonzero((groups == group) & (splits == TRAIN)))
        splits[members[: min(max(1, round(0.2 * len(members))), len(members) - 1)]] = VAL
    return replace(study, splits=splits)


def controls(name: str) -> Iterator[Control]:
    """Yield all controls of a data set."""
    yield Control("as it is", {})
    yield Control("permuted pseudo attributes (placebo)", {}, permuted)
    for rate in (0.0, 0.05, 0.1, 0.2):
        yield Control(f"true attributes, {100 * rate:g} % flipped", {}, partial(flipped, rate=rate))
    for words, attributes in WORDS.get(name, {}).items():
        yield Control(words, {"attributes": attributes})
    names = [attribute.partition("=")[0] for attribute in WORDS.get(name, {}).get("wrong wordings", ())]
    for words in UNRELATED if names else ():
        attributes = tuple(f"{name}={word}" for name, word in zip(names, words, strict=True))
        yield Control(f"the words {' / '.join(words)}", {"attributes": attributes})
    for rows in (3, 8, 15, 30):
        yield Control(f"at most {rows} rows in the smallest group of a class", {}, partial(few, rows=2 * rows))
    yield Control("validation skewed like training", {}, skewed)
    yield Control("no validation: 20 % of training", {}, no_validation)
    for selection in ("pseudo-wga", "true-wgp", "average", "last"):
        yield Control(f"--model-selection {selection}", {"model_selection": selection})
    small = {"batch_size": 32, "epochs": 20}
    yield Control("η = 5", {"eta": 5.0})
    yield Control("batches of 32, 20 epochs", small)
    yield Control("η = 5, batches of 32, 20 epochs", {"eta": 5.0, **small})
    yield Control("sgd", {"optimizer": "sgd"})
    yield Control("sgd, batches of 32, 20 epochs", {"optimizer": "sgd", **small})


def main(head: str, draws: int, sources: Sequence[str]) -> None:
    """Print the table: a row for each control, a column for each data set."""
    cells: dict[str, dict[str, str]] = {}
    for source in sources:
        name = Path(source).stem
        for control, cell in table_of(source, name, head, draws):
            cells.setdefault(control, {})[name] = cell
            print(f"{name}: {control}: {cell}", file=sys.stderr, flush=True)
    names = [Path(source).stem for source in sources]
    print(f"| {' · '.join(COLUMNS)}, {draws} draws | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for control, of_data in cells.items():
        print(f"| {control} | {' | '.join(of_data.get(name, '–') for name in names)} |")


def table_of(source: str, name: str, head: str, draws: int) -> Iterator[tuple[str, str]]:
    """Yield each control of a data set and the figures of all methods."""
    shared = read_config(Path(source)) if source.endswith(".toml") else {"data": source}
    studies: dict[object, Study] = {}
    for control in controls(name):
        if os.environ.get("CONTROLS", "") not in control.name:
            continue
        config = resolve_demo(make_config(shared | {"head": head, "baselines": False} | control.settings))
        if config.attributes not in studies:
            study = add_pseudo_attributes(load_and_embed([config]), config)
            studies[config.attributes] = replace(study, guesses=judged_guesses(study.embedded, study.pseudo))
        try:
            rows = [of_draw(studies[config.attributes], config, control, draw) for draw in range(draws)]
        except InputError as error:
            yield control.name, str(error)
            continue
        worst = 100 * np.array([[row.figure("worst_group_accuracy") or 0.0 for row in of_draw] for of_draw in rows])
        means = " · ".join(f"{mean:.1f}" for mean in worst.mean(axis=0))
        yield control.name, f"{means} ± {worst[:, -1].std(ddof=1):.1f}"


def of_draw(study: Study, config: FitConfig, control: Control, draw: int) -> list[Row]:
    """Return the row of each column."""
    changed = half_of(control.change(study, np.random.default_rng([draw, 17])), draw)
    results = {}
    for method, prompts in METHODS.items():
        chosen = arrange(changed, replace(config, objective=method, prompts=prompts, seed=draw))
        results[method] = trained_result(chosen, method, prompts, checkpoint_path=None, quiet=True)
    asked = arrange(changed, replace(config, seed=draw))
    candidates, hedge = with_mixed(asked, {name: results[name] for name in ("dbpt", "gla")})
    assert hedge is not None
    free = {"zero-shot": training_free_result(asked, "zero-shot"), "untrained": candidates["group-prompts-sum"]}
    saved = {"mixed": candidates[hedge], "auto": candidates[choose(asked, candidates, hedge)[0]]}
    return [result.row for result in (free | results | saved).values()]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
