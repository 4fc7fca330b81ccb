"""Count how often an audit doubts CLIP's guesses: right ones, wrong ones, and those of nonsense names.

Each case has a random half of a data set and one wording for each name. Peer: CLIP's mean confidence, which people
read as trust, with a doubt below 0.9. Run by hand, on the demos

    python benches/guess_trust_table.py

or also on config files as `dbpt fit --config` takes them, whose attributes have several wordings:

    python benches/guess_trust_table.py my-data.toml
"""

import itertools
import sys
import tempfile
import warnings
from collections import defaultdict
from typing import Any

import numpy as np

import dbpt
from dbpt.data.demo import mini_clip_paths
from dbpt.data.words import parse_vocabulary
from dbpt.guesses.catalogue import catalogue_words
from dbpt.guesses.doubts import AGREEMENT_TEMPLATES, guess_trust
from dbpt.settings.config import make_config, read_config
from dbpt.study.data import open_dataset
from dbpt.study.study import embed_dataset

DEMOS = {
    "waterbirds": ["land=land background|forest|grass|field", "water=water background|ocean|water|sea|lake"],
    "celeba": ["female=female celebrity|woman|girl|female person", "male=male celebrity|man|boy|male person"],
    "metashift": ["outdoor=outdoors|outside|in nature", "indoor=indoors|inside|in a room"],
}
NONSENSE = (
    "flurb snorp xqzt wvvk blicket dax grob plim quux fizz abc def ghi the of tuesday thursday seven honest tax "
    "seventeen monday verb idea honor percent gravity rhetoric"
)
UNRELATED = (
    "day night/red blue/summer winter/small large/city desert/new old/left right/happy sad/morning evening/wood metal/"
    "cheap expensive/north south"
)
OBJECTS = (
    "goldfish/banana/pizza/lemon/orange/mushroom/sombrero/volleyball/jellyfish/scorpion/tarantula/penguin/koala/snail/"
    "lobster/bison/monarch butterfly/bee/sunglasses/sock/teapot/desk/barrel/bathtub/convertible/school bus/trolleybus/"
    "lifeboat/obelisk/refrigerator/torch/umbrella/spider web/cliff/volcano/tractor/lawn mower/spider/bus/bridge/"
    "lampshade/sofa/pretzel/hourglass/bow tie/cauliflower/guacamole/ladybug/dam"
)
PER_KIND = 20
CONFIDENT = 0.9


class Case:
    """Half of the rows of a data set, with a backbone."""

    def __init__(self, dataset: Any, backbone: Any, features: np.ndarray, random: np.random.Generator) -> None:
        rows = np.sort(random.permutation(len(dataset))[: len(dataset) // 2])
        self.dataset, self.backbone, self.features = dataset.take(rows), backbone, features[rows]

    def logits(self, names: list[str], template: str) -> np.ndarray:
        """(n, A) zero-shot logits."""
        return dbpt.zero_shot_logits(self.backbone, self.features, [template.replace("{}", name) for name in names])

    def judged(self, names: list[str], template: str) -> tuple[bool, bool, float | None]:
        """Return if the guesses are doubted, if confidence is low, and the lowest recall of a true attribute."""
        logits = self.logits(names, template)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = dbpt.label_attributes(logits)
            trust = guess_trust(
                found.pseudo_attributes,
                logits,
                [self.logits(names, each) for each in AGREEMENT_TEMPLATES],
                self.logits(catalogue_words(), AGREEMENT_TEMPLATES[0]),
                self.dataset.labels,
                names,
            )
        true = self.dataset.attributes
        hits = [(found.pseudo_attributes[true == a] == a).mean() for a in range(len(names)) if (true == a).any()]
        return bool(trust.doubts), float(found.confidence.mean()) < CONFIDENT, float(np.mean(hits)) if hits else None


def prepared(settings: dict[str, Any]) -> tuple[Any, Any, np.ndarray]:
    """The data set, the backbone and the features of all rows."""
    config = make_config(settings)
    dataset = open_dataset(config)
    backbone = dbpt.load_backbone(config.model, config.pretrained, tokenizer=config.tokenizer)
    dataset, features, _ = embed_dataset(dataset, backbone, config)
    return dataset, backbone, features


def right(share: float) -> str:
    """The quality of guesses in words."""
    return "95 % or more right" if share >= 0.95 else "75 to 95 % right" if share >= 0.75 else "fewer right"


def main(paths: list[str]) -> None:
    """Print the table."""
    random, counted = np.random.default_rng(0), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        model, pretrained = map(str, mini_clip_paths())
        tasks = []
        for name, attributes in DEMOS.items():
            root = f"{folder}/{name}"
            dbpt.write_demo(f"demo-{name}", root)
            shared = {"model": model, "pretrained": pretrained, "cache": folder}
            tasks.append({"data": name, "root": root, "attributes": attributes, **shared})
        tasks += [read_config(path) for path in paths]
        vocabularies = [parse_vocabulary(task["attributes"], "--attributes") for task in tasks]
        for task, vocabulary in zip(tasks, vocabularies, strict=True):
            loaded = prepared(task)
            template = loaded[0].words.attribute_templates[0]
            for names in itertools.product(*vocabulary.values()):
                doubted, unsure, hits = Case(*loaded, random).judged(list(names), template)
                counted[f"the data set's own attribute, {right(hits)}"].append((doubted, unsure))
            for _ in range(PER_KIND):
                names = random.choice(NONSENSE.split(), random.integers(2, 4), replace=False).tolist()
                counted["names without meaning"].append(Case(*loaded, random).judged(names, "a photo of a {}.")[:2])
                names = random.choice(OBJECTS.split("/"), random.integers(2, 4), replace=False).tolist()
                found = Case(*loaded, random).judged(names, "a photo of a {}.")
                counted["objects that no image shows"].append(found[:2])
                one = np.flatnonzero(loaded[0].labels == random.integers(loaded[0].num_classes))
                found = Case(loaded[0].take(one), loaded[1], loaded[2][one], random).judged(names, "a photo of a {}.")
                counted["objects that no image shows, images of one class only"].append(found[:2])
            for pair in UNRELATED.split("/"):
                found = Case(*loaded, random).judged(pair.split(), "a photo of a {}.")
                counted["names that have nothing to do with the data"].append(found[:2])
            for other in vocabularies:
                if other is not vocabulary:
                    names = [wordings[0] for wordings in other.values()]
                    found = Case(*loaded, random).judged(names, template)
                    counted["the attributes of the other data sets"].append(found[:2])
                    names = [wordings[0] for wordings in vocabulary.values()] + [random.choice(names)]
                    doubted, unsure, hits = Case(*loaded, random).judged(names, template)
                    kind = f"the data set's own attribute and a name of another, {right(hits)}"
                    counted[kind].append((doubted, unsure))
            one = np.flatnonzero(loaded[0].attributes == 0)
            alone = (loaded[0].take(one), loaded[1], loaded[2][one])
            for names in itertools.product(*vocabulary.values()):
                doubted, unsure, hits = Case(*alone, random).judged(list(names), template)
                counted[f"images of one attribute only, {right(hits)}"].append((doubted, unsure))
    print("| cases | number | doubted | mean confidence below 0.9 |\n" + 4 * "|---" + "|")
    for kind, found in sorted(counted.items()):
        doubted, unsure = np.mean(found, axis=0)
        print(f"| {kind} | {len(found)} | {100 * doubted:.0f} % | {100 * unsure:.0f} % |")


if __name__ == "__main__":
    main(sys.argv[1:])
