"""Targets: settings and words, and what stands in the folders of runs, comparisons and samples."""

import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import repairs
import torch
from by_position import group_metrics
from fuzz_target import Parse, Workplace, target

import dbpt
from dbpt.commands.compare import cell_files
from dbpt.commands.label.judge import read_answers
from dbpt.commands.label.sample import Design, RunLabels, Stratum, read_design, write_design
from dbpt.data.columns import parse_columns
from dbpt.data.words import Words, check_templates, parse_vocabulary
from dbpt.evaluation.results import Repeat, Row
from dbpt.guesses import GuessedFactors
from dbpt.guesses.clusters import ClassClusters
from dbpt.guesses.linear_probe import AttributeProbe, CrossValidated
from dbpt.runs.run_folder import read_clusters, read_probe, write_clusters, write_probe
from dbpt.settings.config import make_config, read_config
from dbpt.storage.tensors import write_tensors
from dbpt.training.checkpoints import Checkpoint, LoopState, load_checkpoint, save_checkpoint
from dbpt.training.model_selection import EpochRecord

STRATA = (Stratum(0, 0, True, 0.5, 1.0, 4, 2), Stratum(1, -1, False, 0.2, 0.9, 3, 1))
WORDS = {"meadow": ("meadow",), "lake": ("lake", "a lake")}
PATHS = ("a.png", "bé.png", "c,d.png")
DESIGN = Design("runs/a", "squares", "test", 0, ("disc", "box"), WORDS, STRATA, PATHS, (0, 0, 1))


@target()
def config(workplace: Workplace) -> Parse:
    return workplace.parser_of("config.toml", lambda path: make_config(read_config(path)).resolved().to_toml())


@target()
def words(workplace: Workplace) -> Parse:
    """Lines as the arguments of ``--classes``, ``--template`` and ``--columns``."""

    def parse(content: bytes) -> None:
        arguments = content.decode("utf-8", "surrogateescape").split("\n")
        vocabulary = parse_vocabulary([line for line in arguments if "{}" not in line and ":" not in line], "--classes")
        assert len(vocabulary) >= 2 and all(wording.strip() for row in vocabulary.values() for wording in row)
        check_templates([line for line in arguments if "{}" in line], "--template")
        parse_columns([line.replace(":", "=") for line in arguments if ":" in line])

    return parse


def copied_run(workplace: Workplace) -> Path:
    return Path(shutil.copytree(workplace.fixture("tiny_run"), workplace.folder / "run"))


@target()
def run_json(workplace: Workplace) -> Parse:
    run = copied_run(workplace)
    return workplace.parser_of("run/run.json", lambda path: dbpt.load(run))


@target(repairs.digest)
def run_classifier(workplace: Workplace) -> Parse:
    run, features = copied_run(workplace), np.eye(3, 16, dtype=np.float32)

    def read(path: Path) -> None:
        probabilities = dbpt.load(run).head.probabilities(features)
        assert probabilities.shape == (3, 2)

    return workplace.parser_of("run/classifier.safetensors", read)


def saved(workplace: Workplace, name: str) -> Parse:
    folder = workplace.folder / "saved"
    dbpt.load(workplace.fixture("tiny_run")).save_pretrained(folder)
    shutil.copy(workplace.fixture("tiny").weights, folder)
    return workplace.parser_of(f"saved/{name}", lambda path: dbpt.load(folder).backbone.encode_text(["a dog"]))


target(name="saved_config")(partial(saved, name="config.json"))
target(repairs.digest, name="saved_tensors")(partial(saved, name="model.safetensors"))


@target(repairs.digest)
def run_clusters(workplace: Workplace) -> Parse:
    """The clusters of a run with two classes of three clusters."""
    draws = np.random.default_rng(0)
    weights, biases = draws.normal(size=(2, 3, 16)).astype(np.float32), draws.normal(size=(2, 3)).astype(np.float32)
    names = (("1: sea, sky", "2: é", "3"), ("1", "2", "3"))
    write_clusters(workplace.folder, ClassClusters(weights, biases, np.array([0.5, np.nan]), names))

    def read(path: Path) -> None:
        found = read_clusters(path.parent, 2)
        pseudo = GuessedFactors.of_clusters(
            found, np.eye(4, found.weights.shape[2], dtype=np.float32), np.array([0, 1, 1, 0])
        )
        assert set(pseudo.pseudo_attributes.tolist()) <= set(range(len(found.names[0])))

    return workplace.parser_of("clusters.safetensors", read)


@target(repairs.digest)
def run_probe(workplace: Workplace) -> Parse:
    """The probe of a run with two attributes."""
    words = Words({"a": ("a",), "b": ("b",)}, {"land": ("land",), "water": ("water",)}, ("{}",), ("{}",))
    draws, guessed = np.random.default_rng(0), np.array([0, 1, 1, 0, 0])
    figures = CrossValidated.of(guessed, np.array([0, 1, 0, 0, 0]), np.zeros(5, np.int64), words.suspects[0], {0: "a"})
    weights, biases = draws.normal(size=(2, 16)).astype(np.float32), draws.normal(size=2).astype(np.float32)
    write_probe(workplace.folder, AttributeProbe(weights, biases, (figures,)))

    def read(path: Path) -> None:
        found = read_probe(path.parent, words)
        assert found.logits(np.eye(4, found.weights.shape[1], dtype=np.float32)).shape == (4, 2)
        assert len(found.figures[0].precision) == 2 and isinstance(found.figures[0].doubts, list)

    return workplace.parser_of("probe.safetensors", read)


@target(repairs.digest)
def run_pseudo_attributes(workplace: Workplace) -> Parse:
    run = copied_run(workplace)
    classifier = dbpt.load(run)

    def read(path: Path) -> None:
        labelled = RunLabels(run, classifier)
        rows = labelled.rows("test" if (labelled.splits == 2).any() else "val")
        assert all(labelled.paths[row] for row in rows) and labelled.confidence[rows].ndim == 1

    return workplace.parser_of("run/pseudo_attributes.safetensors", read)


@target(repairs.digest)
def checkpoint(workplace: Workplace) -> Parse:
    path = workplace.folder / "dbpt.safetensors"
    progress = LoopState(
        [EpochRecord(1, 0.1, 0.7, [1.0, None], None, None, 0.5, 0.5, 0.6)], (0.5, 0.6), 1, 0, [(1, 0.1)]
    )
    save_checkpoint(path, Checkpoint({"words": "f"}, {"head.context": torch.zeros(2, 3)}, progress))
    return workplace.parser_of(path.name, lambda path: load_checkpoint(path, {"words": "f"}))


@target(repairs.digest)
def comparison_cell(workplace: Workplace) -> Parse:
    path = workplace.folder / "erm.safetensors"
    test = group_metrics([0], [0], [0], num_classes=1, num_attributes=1)
    row = Row(method="erm", title="ERM", repeats=[Repeat(seed=0)], test=test)
    metadata = {"fingerprint": "f", "row": json.dumps(asdict(row))}
    one = np.ones(3, dtype=np.int64)
    tensors = {"correct": one.astype(np.uint8), "groups": one.astype(np.int32), "rows": one}
    write_tensors(path, tensors, metadata, version=cell_files.SCHEMA_VERSION)
    return workplace.parser_of(path.name, lambda path: cell_files.read_result(path, "f"))


@target()
def comparison_figures(workplace: Workplace) -> Parse:
    return workplace.parser_of("compare.json", lambda path: dbpt.Result.read(path.parent).to_dict())


def sample(workplace: Workplace, name: str) -> Parse:
    write_design(workplace.folder, DESIGN)
    return workplace.parser_of(name, lambda path: read_design(workplace.folder))


target(name="sample_design")(partial(sample, name="design.json"))
target(name="sample_rows")(partial(sample, name="sample.csv"))


@target()
def labels(workplace: Workplace) -> Parse:
    def read(path: Path) -> None:
        answers = read_answers(path, DESIGN)
        assert answers.shape == (3, 1) and -2 <= answers.min() <= answers.max() < 2

    return workplace.parser_of("labels.csv", read)
