"""Train with guesses that raise doubts, and with those that don't: does a doubt foretell harm?

Each case has one pair of words for the attribute of a data set (its own, unrelated ones, words without meaning, objects
that no image shows, attributes of other data) and half of the training images. Peers in the same run: class-balanced
training, which needs no attribute, and `dbpt` with the true attribute. Run by hand, on demos and on config files as
`dbpt fit --config` takes them, whose words are in `WORDS`:

    python benches/doubted_guesses_table.py CASES_PER_KIND demo-waterbirds demo-celeba demo-metashift photographs.toml
"""

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from controls_table import with_attributes
from guess_trust_table import NONSENSE, OBJECTS, UNRELATED

from dbpt.commands.compare.cells import half_of
from dbpt.commands.fit.saved_candidate import choose, with_mixed
from dbpt.commands.trained_methods import MethodResult, trained_result
from dbpt.settings.config import make_config, read_config
from dbpt.study.data import resolve_demo
from dbpt.study.stages import add_pseudo_attributes, arrange, judged_guesses, load_and_embed
from dbpt.study.study import Study

WORDS = {
    "demo-waterbirds": (
        "land/land background/forest/grass/field/meadow",
        "water/water background/ocean/sea/lake",
    ),
    "demo-celeba": ("female/female celebrity/woman/girl/female person", "male/male celebrity/man/boy/male person"),
    "demo-metashift": ("indoor/indoors/inside/in a room/home", "outdoor/outdoors/outside/in nature/garden"),
    "photographs": ("photo/photograph/picture/snapshot/color/image", "sketch/drawing/doodle/pencil/ink/painting"),
}
KINDS = ("no doubt", "separation alone", "other words alone", "several", "sentences or spread among them")
COLUMNS = ("class-balanced", "dbpt", "gla", "saved by default", "dbpt, true attribute")
FAR = 5.0


def main(per_kind: int, sources: list[str]) -> None:
    """Print the table."""
    found = defaultdict(list)
    for source in sources:
        for kind, right, figures in cases(source, per_kind):
            found[kind].append((100 * right, *figures))
    print("| doubts | cases | guesses right | " + " | ".join(COLUMNS) + f" | dbpt better / worse by {FAR:g} points |")
    print("|---" * (len(COLUMNS) + 4) + "|")
    for kind in filter(found.get, KINDS):
        rows = np.array(found[kind])
        gain = rows[:, 2] - rows[:, 1]
        means = " | ".join(f"{mean:.1f}" for mean in rows.mean(axis=0))
        print(f"| {kind} | {len(rows)} | {means} | {(gain > FAR).sum()} / {(gain < -FAR).sum()} |", flush=True)


def cases(source: str, per_kind: int) -> Iterator[tuple[str, float, list[float]]]:
    """Yield the kind of doubts, the mean recall of the true attributes, and the worst group of each column."""
    name = Path(source).stem
    shared = read_config(Path(source)) if source.endswith(".toml") else {"data": source}
    names = [words.split("/")[0] for words in WORDS[name]]
    for seed, pair in enumerate(pairs(name, per_kind)):
        attributes = [f"{value}={word}" for value, word in zip(names, pair, strict=True)]
        settings = {"head": "linear", "baselines": False, "attributes": attributes, "seed": seed}
        config = resolve_demo(make_config(shared | settings))
        study = add_pseudo_attributes(load_and_embed([config]), config)
        study = replace(study, guesses=judged_guesses(study.embedded, study.pseudo))
        true, guessed = study.dataset.attributes, study.pseudo.factors[0].pseudo_attributes
        recall = float(np.mean([(guessed[true == value] == value).mean() for value in range(len(names))]))
        half = half_of(study, seed)

        def trained(study: Study, method: str, prompts: str, config=config) -> MethodResult:
            chosen = arrange(study, replace(config, objective=method, prompts=prompts))
            return trained_result(chosen, method, prompts, checkpoint_path=None, quiet=True)

        results = {method: trained(half, method, "class") for method in ("class-balanced", "dbpt")}
        results["gla"] = trained(half, "gla", "group")
        asked = arrange(half, config)
        candidates, hedge = with_mixed(asked, results)
        saved = candidates[choose(asked, candidates, hedge)[0]]
        oracle = trained(with_attributes(half, half.dataset.attributes), "dbpt", "class")
        worst = [100 * (r.row.figure("worst_group_accuracy") or 0.0) for r in (*results.values(), saved, oracle)]
        kinds = {doubt.kind for doubt in study.guesses.factors[0].doubts}
        # Names without meaning may be swapped: the groups are the same.
        yield kind_of(kinds), max(recall, 1 - recall), worst


def pairs(name: str, per_kind: int) -> list[tuple[str, ...]]:
    """Return the pairs of words for the attribute of a data set."""
    random = np.random.default_rng(0)
    own = list(itertools.product(*(words.split("/") for words in WORDS[name])))
    chosen = [own[number] for number in random.permutation(len(own))[: 2 * per_kind]]
    chosen += [tuple(pair.split()) for pair in UNRELATED.split("/")[:per_kind]]
    for words in (NONSENSE.split(), OBJECTS.split("/")):
        chosen += [tuple(random.choice(words, 2, replace=False).tolist()) for _ in range(per_kind)]
    for other in (other for other in WORDS if other != name):
        chosen += [tuple(random.choice(w.split("/")) for w in WORDS[other]) for _ in range(per_kind // 3)]
    return chosen


def kind_of(doubts: set[str]) -> str:
    """Return which of the `KINDS` the doubts are."""
    if not doubts or doubts in ({"separation"}, {"other words"}):
        return f"{next(iter(doubts))} alone" if doubts else KINDS[0]
    return KINDS[4] if doubts & {"sentences", "spread"} else KINDS[3]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
