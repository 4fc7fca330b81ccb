"""``--attributes auto``: the family that explains zero-shot CLIP's errors becomes the attribute."""

import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from drawn_birds import GROUND, SHORT, true_grounds, written
from launched import command, launch
from refusals import line_of
from runs import contents, metrics_of

import dbpt
from dbpt import InputError
from dbpt.commands.auto_attributes import with_found_attributes
from dbpt.data import SPLITS
from dbpt.settings.config import make_config, read_config

pytestmark = pytest.mark.usefixtures("short_catalogue")

WORDS = {"attributes": GROUND, "attribute_template": ("{}", "a photo of the {}.")}
TRAINING = {"head": "linear", "epochs": 1, "baselines": False}


@pytest.fixture(scope="module")
def run(birds, tmp_path_factory) -> Path:
    return dbpt.fit("waterbirds", out=tmp_path_factory.mktemp("auto") / "run", **birds, **TRAINING).folder


def test_the_ground_is_found_and_the_run_has_its_words(run):
    settings = read_config(run / "config.toml")
    assert (settings["attributes"], settings["attribute_template"]) == tuple(WORDS.values())
    assert "columns" not in settings  # the data's own attribute has these names
    metrics = metrics_of(run)
    assert (metrics["group_kind"], metrics["dataset"]["attributes"]) == ("true", ["land", "water"])
    assert metrics["pseudo_quality"]["accuracy"] > 0.9
    (note,) = [note for note in metrics["dataset"]["notes"] if "auto" in note]
    assert note.startswith("--attributes auto: land-or-water (land / water), as CLIP guesses it, explains ")
    assert note.endswith("] of the errors of zero-shot CLIP in 400 training and validation images")
    assert "land-or-water (land / water), as CLIP guesses it, explains" in (run / "report.html").read_text()


def test_it_equals_a_run_with_these_words(birds, run, tmp_path):
    named = dbpt.fit("waterbirds", out=tmp_path / "run", **birds | WORDS, **TRAINING).folder
    assert contents(named) == contents(run)


def test_it_resumes_with_the_word_and_without_settings(birds, run):
    before, data = contents(run), metrics_of(run)["dataset"]
    dbpt.fit("waterbirds", out=run, resume=True, **birds, **TRAINING)
    dbpt.fit(out=run, resume=True)
    assert contents(run) == before and metrics_of(run)["dataset"] == data  # with its note
    with pytest.raises(InputError, match="was started with attribute_template = "):
        dbpt.fit("waterbirds", out=run, resume=True, **birds | {"attributes": ["sea", "shore"]}, **TRAINING)
    assert dbpt.evaluate(run).to_dict()["dataset"]["attributes"] == ["land", "water"]


def test_an_attribute_of_other_names_is_left_out_and_has_no_influence(birds):
    names, draws = np.array(["day", "night"]), np.random.default_rng(0)
    there = written(birds, "other", names[true_grounds(birds)])
    shuffled = written(birds, "shuffled", draws.permutation(names[true_grounds(birds)]))
    found = [with_found_attributes(make_config(each)) for each in (there, shuffled, written(birds, "none", [""] * 500))]
    assert [config.attributes for config, _ in found] == [GROUND] * 3
    assert [config.columns for config, _ in found] == [("attribute=",), ("attribute=",), None]
    assert len({notes for _, notes in found}) == 1


def test_nothing_is_proposed_if_only_test_rows_have_the_bias(birds, tmp_path):
    """The training and validation rows have one ground, so their errors don't go with it; nothing is written."""
    is_test = dbpt.load_dataset("waterbirds", birds["root"]).splits == SPLITS.index("test")
    one_ground = written(birds, "one-ground", [""] * 500, kept=is_test | (true_grounds(birds) == 0))
    told = line_of(dbpt.fit, out=tmp_path / "run", **one_ground | TRAINING)
    assert re.match("--attributes auto: none of 3 families .* the 21 errors of ", told)
    assert not (tmp_path / "run").exists()
    for way_out in (
        "--attributes NAME NAME",
        "--attributes clusters",
        "--objective erm",
        f"dbpt discover {one_ground['data']}",
    ):
        assert way_out in told


def test_a_comparison_is_that_of_the_words_and_keeps_its_note(birds, tmp_path):
    plan = {"methods": ["erm", "dbpt"], "heads": "linear", "seeds": 1, "epochs": 1}
    found = dbpt.compare("waterbirds", out=tmp_path / "auto", **plan, **birds).to_dict()
    named = dbpt.compare("waterbirds", out=tmp_path / "named", **plan, **birds | WORDS).to_dict()
    notes, others = found["dataset"].pop("notes"), named["dataset"].pop("notes")
    assert [note for note in notes if note not in others] == [notes[-1]] and "auto: land-or-water" in notes[-1]
    assert found["dataset"] == named["dataset"]
    assert "<span>--attributes</span> &#39;land=land|meadow" in (tmp_path / "auto/compare.html").read_text()
    assert [row["test"] for row in found["rows"]] == [row["test"] for row in named["rows"]]
    again = dbpt.compare("waterbirds", out=tmp_path / "auto", resume=True, **plan | {"seeds": 2}, **birds).to_dict()
    assert again["dataset"]["notes"] == notes and again["dataset"]["attributes"] == ["land", "water"]


def fit_birds(rank, arguments, of_rank=None):
    unread = Mock(side_effect=AssertionError("only the first rank searches"))
    dbpt.commands.auto_attributes.read_catalogue = unread if rank else lambda: SHORT
    command(rank, arguments, of_rank)


def test_two_ranks_train_on_what_the_first_finds(birds, run, tmp_path):
    choice = [f"--{name}={value}" for name, value in birds.items() if name != "attributes"]
    choice += ["--attributes", "auto", "--head=linear", "--epochs=1", "--no-baselines"]
    arguments = ["fit", "waterbirds", *choice, f"--out={tmp_path / 'run'}"]
    launch(tmp_path, 2, fit_birds, arguments, {1: [f"--root={tmp_path / 'nowhere'}"]}).finished()
    assert read_config(tmp_path / "run/config.toml")["attributes"] == GROUND
    assert metrics_of(tmp_path / "run")["dataset"] == metrics_of(run)["dataset"]
    for name in ("groups.csv", "pseudo_attributes.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_guess_takes_it(birds, caplog):
    caplog.set_level("INFO")
    guessed = dbpt.guess_attributes("waterbirds", **birds)
    assert list(guessed.dataset.attribute_names) == ["land", "water"]
    assert sum(": land-or-water " in record.getMessage() for record in caplog.records) == 1
