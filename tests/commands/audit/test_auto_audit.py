"""``dbpt audit --attributes auto``: the family that explains the errors of the audited classifier is audited."""

import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from drawn_birds import GROUND, true_grounds, written
from refusals import line_of

import dbpt
from dbpt import InputError
from dbpt.cli import main
from dbpt.report.discovery_sentences import search_in_words
from dbpt.report.text import share_in_words

pytestmark = pytest.mark.usefixtures("short_catalogue")

WORDS = {"attributes": GROUND, "attribute_template": ("{}", "a photo of the {}.")}
TRAINING = {"head": "linear", "prompts": "class", "epochs": 1, "objective": "erm", "baselines": False}
TOO_SMALL = "; since it was chosen on these images, its p-value is too small: test it on others"


@pytest.fixture(scope="module")
def run(birds, tmp_path_factory) -> Path:
    return dbpt.fit("waterbirds", out=tmp_path_factory.mktemp("trained") / "run", **birds | WORDS | TRAINING).folder


@pytest.fixture(scope="module")
def right(birds, tmp_path_factory) -> dict:
    """The settings for a table of the test images that zero-shot CLIP gets right, without their ground.

    ``predictions`` name a file of a classifier that gets every second image on water wrong.
    """
    images = dbpt.audit("waterbirds", split="all", **birds | WORDS).images
    is_right = np.array(images["prediction"]) == np.array(images["label"])
    kept, grounds = np.flatnonzero(is_right), true_grounds(birds)
    words = dbpt.load_dataset("waterbirds", birds["root"]).words
    table = written(birds, "right", [""] * 500, splits=("test",) * 3, kept=is_right)
    file = tmp_path_factory.mktemp("mine") / "mine.csv"
    lines, names = ["path,prediction"], list(words.classes)
    for place, row in enumerate(kept.tolist()):
        label = names.index(images["label"][row])
        lines.append(f"{images['path'][row]},{names[1 - label if grounds[row] == 1 and place % 2 else label]}")
    file.write_text("\n".join(lines))
    return table | {"predictions": str(file), "classes": words.classes, "template": words.templates}


def discovered(settings: dict) -> str:
    """The first family that `dbpt.discover` proposes with the same arguments, as the audit's note says it."""
    chosen = {name: value for name, value in settings.items() if name != "attributes"}
    best = dbpt.discover(**chosen).proposed[0]
    explains = f"as CLIP guesses it, explains {share_in_words(best.explained)} of the errors of "
    return f"{best.name} ({' / '.join(best.names)}), {explains}"


def same_figures(one: dbpt.Audit, other: dbpt.Audit) -> None:
    """Both audits have the same groups, guesses and verdict; that of a search on the audited images has no p-value."""
    assert replace(one.verdict, lead=[]) == replace(other.verdict, lead=[])
    leads = [[re.sub(r" \(p [^)]*\)", "", text) for text in audit.verdict.lead] for audit in (one, other)]
    assert leads[0] == leads[1]
    assert ("(p " in str(one.verdict)) is not one.figures.data.is_searched
    for name in ("groups", "explained", "guesses", "metrics", "words", "attribute_templates"):
        assert getattr(one.figures, name) == getattr(other.figures, name)


def test_the_errors_of_a_file_are_searched_where_zero_shot_clip_has_none(right):
    found = dbpt.audit(**right)
    note = f"{discovered(right)}the classifier in {found.figures.data.n} images that are audited"
    assert (search := found.figures.data.search).sentence == note + TOO_SMALL
    assert (search.names, search.others, search.may_be_class, search.on_audited) == (["land", "water"], 0, False, True)
    assert f"in {found.figures.data.n} test images (1 other" in search_in_words(
        replace(search, others=1, images="test")
    )
    assert found.verdict.kind == "bias" and found.figures.data.attributes == ["land", "water"]
    same_figures(found, dbpt.audit(**right | WORDS))
    with pytest.raises(InputError, match=r"^--attributes auto: none of 3 families is proposed for the 0 errors of "):
        dbpt.audit(**right | {"predictions": "zero-shot"})


def test_a_probe_is_searched_in_the_images_that_it_predicts(birds):
    settings = {"data": "waterbirds", "predictions": "probe", **birds}
    found = dbpt.audit(**settings)
    assert "a linear probe in 240 images that are audited" in found.figures.data.search.sentence
    same_figures(found, dbpt.audit(**settings | WORDS))


def test_a_run_is_searched_with_its_own_data_and_classes(run):
    settings = {"predictions": run, "attributes": "auto", "split": "all"}
    found = dbpt.audit(**settings)
    assert "the classifier of the run in 500 images that are audited" in found.figures.data.search.sentence
    same_figures(found, dbpt.audit(**settings | {"attributes": GROUND}))


@pytest.mark.parametrize(
    "source",
    [
        {"attributes": "clusters:2", "shots": 60},
        pytest.param({**WORDS, "pseudo_method": "probe", "probe_rows": 100}, marks=pytest.mark.full),
        {"attributes": None, "factors": ["ground: land, water", "time: day, night"]},
    ],
)
def test_the_attributes_of_a_run_have_no_influence(birds, tmp_path, source):
    run = dbpt.fit("waterbirds", out=tmp_path / "run", **birds | TRAINING | source).folder
    found = dbpt.audit(predictions=run, attributes="auto", split="all")
    assert found.figures.data.attributes == ["land", "water"] and found.figures.guesses.method == "proportional"
    assert found.figures.data.n == dbpt.audit(predictions=run, split="all").figures.data.n


@pytest.mark.parametrize(("split", "searched"), [("train", 160), ("val", 240), ("test", 400)])
def test_zero_shot_clip_is_searched_in_images_that_are_not_audited(birds, split, searched):
    found = dbpt.audit("waterbirds", split=split, **birds)
    assert found.figures.data.search.sentence.endswith(f"of zero-shot CLIP in {searched} images that are not audited")
    assert found.figures.data.attributes == ["land", "water"]
    assert found.table().count("--attributes auto: land-or-water") == 1 and "too small" not in found.table()


@pytest.mark.parametrize("whose", ["file", "run"])
def test_the_command_on_the_page_repeats_the_search(right, run, whose, tmp_path):
    of_file = whose == "file"
    settings = right if of_file else {"predictions": run, "attributes": "auto", "split": "all"}
    first = dbpt.audit(out=tmp_path / "audit", **settings).figures
    assert "--attributes auto" in first.command and "land=" not in first.command
    before = {file.name: file.read_bytes() for file in (tmp_path / "audit").iterdir() if file.is_file()}
    main([*shlex.split(first.command)[1:], "--overwrite"])
    assert before.keys() > {"audit.html", "audit.json", "images.csv"}
    assert before == {name: (tmp_path / "audit" / name).read_bytes() for name in before}
    assert any("--attributes 'land=land|meadow" in command for command in first.next_step.commands)


def test_true_attributes_of_other_names_are_ignored(birds, right):
    true, draws = np.array(["day", "night"])[true_grounds(birds)], np.random.default_rng(0)
    kept = np.isin(dbpt.load_dataset("waterbirds", birds["root"]).paths, dbpt.audit(**right).images["path"])
    chosen = {"splits": ("test",) * 3, "kept": kept}
    there, shuffled = (  # one name for both tables, which the figures repeat
        dbpt.audit(**written(birds, "known", each, **chosen), predictions=right["predictions"])
        for each in (true, draws.permutation(true))
    )
    assert asdict(there.figures) == asdict(shuffled.figures) and there.figures.group_kind == "pseudo"
    assert "--columns attribute=" in there.figures.next_step.commands[0]


def by_chance(birds: dict) -> np.ndarray:
    labels = dbpt.load_dataset("waterbirds", birds["root"]).labels
    return np.where(np.random.default_rng(1).uniform(size=500) < 0.3, 1 - labels, labels)


def test_nothing_proposed_ends_with_one_line_and_the_search_that_shows_why(birds, tmp_path, capsys):
    file, out = tmp_path / "mine.npy", tmp_path / "audit"
    np.save(file, by_chance(birds))
    told = line_of(dbpt.audit, "waterbirds", predictions=file, split="all", out=out, **birds)
    assert re.match(r"--attributes auto: none of 3 families is proposed for the \d+ ", told) and not out.exists()
    assert "of the classifier in 500 images that are audited; name attributes (--attributes NAME NAME), or let " in told
    command = told[told.index("dbpt discover") : told.index(" shows what was tried")]
    main(shlex.split(command)[1:])
    assert "Nothing proposed" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"dbpt\.discover\(.*predictions=\.\.\., split='all'\) shows what"):
        dbpt.audit("waterbirds", predictions=by_chance(birds), split="all", **birds)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": "nowhere.csv"}, "nowhere.csv: cannot read the predictions"),
        ({"predictions": [0, 1]}, "predictions: "),
        ({"attribute_template": ["a {}."]}, "--attribute-template a {}. with --attributes auto"),
    ],
)
def test_bad_input_is_refused_before_the_search(birds, changes, message, tmp_path):
    with pytest.raises(InputError, match=f"^{message}"):
        dbpt.audit(**{"data": "waterbirds", **birds, "out": tmp_path / "audit", "predictions": "probe"} | changes)
    assert not (tmp_path / "audit").exists()
