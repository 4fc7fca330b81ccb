"""What may have no influence: true attributes without an oracle, and the images and labels of the test split."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import ATTRIBUTES

import dbpt
from dbpt.commands.auto_attributes import with_found_attributes
from dbpt.commands.trained_methods import MethodResult, trained_result, training_free_result
from dbpt.errors import InputError
from dbpt.guesses import PSEUDO_METHODS
from dbpt.guesses.catalogue import Family
from dbpt.objectives.training_free import TRAINING_FREE
from dbpt.settings.all_settings import TRUE_SELECTIONS
from dbpt.settings.combinations import combinations, why_refused
from dbpt.settings.config import FitConfig
from dbpt.study.stages import arrange, prepare
from dbpt.study.study import Study

FREE = [
    choice
    for choice in combinations()
    if why_refused(**choice) is None
    and choice["group_source"] != "true"
    and choice["model_selection"] not in TRUE_SELECTIONS
]
ONE_OF_FOUR = [choice for n, choice in enumerate(FREE) if n % 4 == n // 4 % 4]
"""Of each other combination one selection, by turns: an epoch is chosen in the same way whatever was trained."""
SETTINGS = {"epochs": 2, "warmup_epochs": 0, "identification_epochs": 1, "lr": 0.05}


@pytest.fixture(scope="module")
def experiments(tiny, annotated) -> list[Study]:
    """The tiny task, with its true attributes shuffled, and without any."""
    return [prepare(FitConfig(data=str(table), **tiny.settings | SETTINGS)) for table in annotated]


@pytest.mark.parametrize("asked", [{"attributes": ("clusters",)}, {"shots": 5}], ids=str)
def test_true_attributes_change_no_cluster_and_no_shot(experiments, asked):
    found = []
    for each in experiments:
        study = prepare(replace(each.config, **asked))
        pseudo = study.pseudo.names, study.pseudo.pseudo_attributes.tolist(), study.pseudo.posterior.tobytes()
        found.append((learnt(study, {"head": "linear"}), study.dataset.paths, pseudo))
    assert found == [found[0]] * 3


def test_only_the_known_attributes_change_what_a_probe_guesses(tiny, experiments):
    """``--probe-rows 24``: attributes of all other images, of any split, are shuffled among them."""
    asked = {"pseudo_method": "probe", "probe_rows": 24, "head": "linear"}
    first = prepare(replace(experiments[0].config, **asked))
    assert first.pseudo.is_given.sum() == 24
    rows, draws = tiny.rows(), np.random.default_rng(1)
    learnt_from = {first.dataset.paths[row] for row in np.flatnonzero(first.pseudo.is_given)}
    others = [number for number, row in enumerate(rows) if row["path"] not in learnt_from]
    shuffled = [row["attribute"] for row in rows]
    for number, other in zip(others, draws.permutation(others), strict=True):
        shuffled[number] = rows[other]["attribute"]
    assert shuffled != [row["attribute"] for row in rows]
    table = tiny.write("leak-but-known", [r | {"attribute": a} for r, a in zip(rows, shuffled, strict=True)])
    other = prepare(replace(first.config, data=str(table)))
    assert other.pseudo.posterior.tobytes() == first.pseudo.posterior.tobytes()
    assert other.pseudo.pseudo_attributes.tolist() == first.pseudo.pseudo_attributes.tolist()
    assert other.pseudo.probe.figures == first.pseudo.probe.figures
    for choice in ({"head": "linear"}, {"head": "prompt", "objective": "groupdro"}):
        assert learnt(other, choice) == learnt(first, choice)
    changed = [r | {"attribute": "lake" if r["path"] in learnt_from else r["attribute"]} for r in rows]
    changed[next(n for n, row in enumerate(rows) if row["path"] in learnt_from)]["attribute"] = "meadow"
    with pytest.raises(InputError, match="1 of the 24 training and validation images"):  # so that it could fail
        prepare(replace(first.config, data=str(tiny.write("leak-known", changed))))


def test_true_attributes_change_nothing_that_discovery_finds_or_teaches(tiny, experiments, monkeypatch):
    """``--attributes auto`` on the same three tables. The tiny CLIP has no doubts only if its limits are low."""
    ground = Family("ground", {name: (name,) for name in ATTRIBUTES}, ("{}",))
    monkeypatch.setattr("dbpt.commands.auto_attributes.read_catalogue", lambda: (ground,))
    for limit, value in {"LOWEST_AGREEMENT": 0.0, "LOWEST_SEPARATION": 0.05, "MOST_NEARER_WORDS": 1.0}.items():
        monkeypatch.setattr(f"dbpt.guesses.doubts.{limit}", value)
    found = [with_found_attributes(replace(each.config, attributes=("auto",))) for each in experiments]
    assert {notes for _, notes in found} == {found[0][1]}
    assert "(meadow / lake), as CLIP guesses it, explains" in found[0][1][0]
    as_they_are, *others = (
        (config.attributes, each.pseudo.pseudo_attributes.tolist(), learnt(each, {"head": "linear"}))
        for config, each in ((config, prepare(config)) for config, _ in found)
    )
    assert others == [as_they_are] * 2


def learnt(study: Study, choice: dict[str, Any]) -> tuple:
    chosen = arrange(study, replace(study.config, **choice))
    row = trained_result(chosen, *chosen.config.trained[0], checkpoint_path=None)
    return bytes_of(row), row.trained.best_epoch, row.trained.history


def test_there_are_as_many_as_documented():
    """With four selections each. Every head has dbpt, balanced, groupdro, jtt and class-balanced with two ways, and
    erm, suby, subg with one; linear has dfr and afr; prompt has kgcoop and prograd; adapter has contrastive-adapter
    with two ways. Group prompts have gla too, but not dfr, kgcoop, prograd and contrastive-adapter. All that use groups
    take ppa's: dbpt, balanced and groupdro with two ways, subg and dfr with one. So do group prompts of prompt and
    linear, without subg and with gla."""
    of_classes, of_groups = 3 * (5 * 2 + 3) + 2 + 2 + 2, 3 * (5 * 2 + 4) + 1
    of_ppa = 3 * (3 * 2 + 1) + 1 + 2 * (3 * 2 + 1)
    assert len(FREE) == 4 * len(ONE_OF_FOUR) == 4 * (of_classes + of_groups + of_ppa)
    assert len({choice["model_selection"] for choice in ONE_OF_FOUR}) == 4


@pytest.mark.parametrize("choice", ONE_OF_FOUR, ids=lambda choice: "-".join(choice.values()))
def test_true_attributes_change_nothing(experiments, choice):
    """With true attributes and without any: whatever reads them where they are known learns something else there."""
    as_they_are, without = (learnt(study, choice) for study in experiments[::2])
    assert without == as_they_are


@pytest.mark.parametrize("name", TRAINING_FREE)
def test_true_attributes_change_nothing_without_training(experiments, name):
    as_they_are, *others = (bytes_of(training_free_result(each, name)) for each in experiments)
    assert others == [as_they_are] * 2


def bytes_of(result: MethodResult) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in result.classifier.tensors.items()}


@pytest.mark.parametrize("choice", [{"group_source": "true"}, {"model_selection": "true-wga"}])
def test_an_oracle_would_be_seen(experiments, choice):
    """So that the test above could fail."""
    asked = {"objective": "balanced", "head": "linear", "epochs": 6, **choice}
    assert learnt(experiments[0], asked) != learnt(experiments[1], asked)


def other_tests(rows):
    """The table with the test rows' labels flipped, in another order and with some of them dropped, or without them."""
    test = [row for row in rows if row["split"] == "test"]
    rest = [row for row in rows if row["split"] != "test"]
    names = sorted({row["label"] for row in rows})
    flipped = [row | {"label": names[1 - names.index(row["label"])]} for row in test]
    return {"flipped": flipped[::-2] + rest, "none": rest}


def contents_of(run):
    """Return the classifier, the history, and the pseudo attributes of the other rows."""
    tensors = load_file(run / "pseudo_attributes.safetensors")
    names = bytes(tensors["paths"]).decode().split("\0")
    rows = np.flatnonzero(tensors["splits"] < 2)
    columns = [tensors[name] for name in ("pseudo_attributes", "posterior", "confidence")]
    pseudo = {names[row]: [column[row].tobytes() for column in columns] for row in rows}
    return (run / "classifier.safetensors").read_bytes(), (run / "history.jsonl").read_bytes(), pseudo


@pytest.mark.parametrize("method", PSEUDO_METHODS)
def test_test_rows_change_no_byte_of_what_is_learnt(tiny, tmp_path, method):
    def run(name, table):
        out = tmp_path / name
        settings = tiny.settings | {"pseudo_method": method, "head": "linear", "baselines": False, "epochs": 3}
        dbpt.fit(table, out=out, **settings)
        return contents_of(out)

    rows = tiny.rows()
    expected = run("as-it-is", tiny.table)
    for name, changed in other_tests(rows).items():
        assert run(name, tiny.write(f"{method}-{name}", changed)) == expected
