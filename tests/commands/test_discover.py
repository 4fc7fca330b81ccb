"""`dbpt.discover` and ``dbpt discover``: what is proposed, the files, the commands to go on, what is refused."""

import json
import re
import shlex
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from browser import assert_readable
from drawn_birds import draw_birds
from made_up_results import LONG
from refusals import line_of
from tiny import rows_of

import dbpt
from dbpt import InputError
from dbpt.commands.discover.page import render_discovery
from dbpt.commands.discover.result import DiscoveryFigures
from dbpt.evaluation.discovery_fields import Rule
from dbpt.guesses.catalogue import read_catalogue
from dbpt.report.discovery_sentences import families_in_words
from dbpt.storage.typed_json import read_json, typed

CATALOGUE = """
[nonsense]
attributes = ["flurb", "snorp"]

[birds]
attributes = ["Landbird", "seabird=gull|seabird"]

[ground]
attributes = ["land=land|forest|field", "water=water|sea|lake"]
attribute_template = ["{}", "a photo of the {}."]
"""
FILES = ["config.toml", "discover.html", "discover.json", "families.csv", "status.json"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> dict:
    """The settings for a drawn data set whose zero-shot errors go with the ground, and a catalogue that has it."""
    folder = tmp_path_factory.mktemp("birds")
    (folder / "mine.toml").write_text(CATALOGUE)
    return draw_birds(folder, (60, 20, 300)) | {"catalogue": str(folder / "mine.toml"), "search": "words"}


@pytest.fixture
def few(tiny, demo) -> dict:
    """The settings for the tiny task with that catalogue."""
    return {**tiny.backbone, "catalogue": demo["catalogue"]}


@pytest.fixture(scope="module")
def found(demo, tmp_path_factory) -> dbpt.Discovery:
    return dbpt.discover("waterbirds", out=tmp_path_factory.mktemp("found") / "out", **demo)


@pytest.fixture(scope="module")
def by_chance(demo) -> dbpt.Discovery:
    """The search for errors that chance dealt."""
    labels = dbpt.load_dataset("waterbirds", root=demo["root"]).labels
    wrong = np.random.default_rng(0).uniform(size=len(labels)) < 0.3
    return dbpt.discover("waterbirds", predictions=np.where(wrong, 1 - labels, labels), split="all", **demo)


# --- what is proposed -------------------------------------------------------------------------------------------------


def test_the_ground_is_proposed_and_nothing_else(found):
    assert [family.name for family in found.proposed] == ["ground"]
    (ground,) = found.proposed
    assert ground.names == ["land", "water"]
    assert ground.explained.share > 0.7 and ground.q_value <= 0.0003
    findings = {family.name: (family.finding, family.doubts) for family in found.figures.families}
    assert findings["nonsense"][0] in ("doubted", "too few images")
    assert findings["birds"][1] and findings["birds"][0] != "proposed"
    assert "go with land / water" in found.verdict and "ground" in repr(found)


@pytest.fixture(scope="module")
def foreign(demo) -> dict:
    """The settings for predictions that go with the ground alone."""
    ground = dbpt.load_dataset("waterbirds", root=demo["root"]).attributes
    random = np.random.default_rng(0).uniform(size=len(ground)) < 0.1
    return demo | {"predictions": ground ^ random, "split": "all"}


@pytest.mark.parametrize("words", [["land", "flurb"], ["a", "b"]])
def test_words_of_the_classes_hide_no_bias_of_a_foreign_classifier(foreign, words):
    found = dbpt.discover("waterbirds", **foreign, classes=[f"landbird={words[0]}", f"waterbird={words[1]}"])
    (ground,) = found.proposed
    assert ground.name == "ground" and ground.explained.share > 0.5 and ground.beyond.share > 0.5
    assert "Look at the pictures" in found.verdict and found.figures.fit_command
    assert "--predictions FILE --split all" in found.figures.audit_command  # else it would audit zero-shot CLIP
    assert ("CLIP may confuse these names with the classes (it has words of" in found.verdict) == ("land" in words)
    assert ground.rule == (Rule(kind="words of the classes") if "land" in words else None)
    assert ground.class_words == (["land"] if "land" in words else [])


def test_what_clip_confuses_with_the_classes_is_shown_for_a_look(foreign):
    """The words of the classes name both grounds, so that without them CLIP doesn't see the ground at all."""
    classes = ["landbird=bird in the forest", "waterbird=bird on water"]
    found = dbpt.discover("waterbirds", **foreign, classes=classes)
    assert [family.name for family in found.figures.to_look_at] == ["ground"] and not found.proposed
    assert found.figures.to_look_at[0].rule.kind.endswith("beyond")
    assert "--attributes 'land=land|forest|field'" in found.figures.audit_command and not found.figures.fit_command
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbpt.commands.auto_attributes.read_catalogue", lambda: read_catalogue(foreign["catalogue"]))
        with pytest.raises(InputError, match=r"errors go with land / water, but CLIP .* --attributes 'land=land\|f"):
            dbpt.audit("waterbirds", **_without_catalogue(foreign), classes=classes, attributes="auto")


def _without_catalogue(settings: dict) -> dict:
    return {name: value for name, value in settings.items() if name not in ("catalogue", "search")}


def test_groups_are_those_of_the_errors(found, demo):
    (ground,) = found.proposed
    assert sum(group.n for group in ground.groups) == found.figures.data.n == 300
    assert sum(group.n - group.correct for group in ground.groups) == found.figures.errors
    accuracy = {(group.class_name, group.attribute): group.accuracy for group in ground.groups}
    assert accuracy["landbird", "water"] < accuracy["landbird", "land"] - 0.3


def test_errors_that_chance_deals_propose_nothing(by_chance):
    said = (
        "Nothing proposed: [0-9]+ of 380 images [(][0-9.]+\u00a0%[)] are misclassified by the classifier. Of 3 "
        "families of attributes, 1 explains no more errors than chance; "
        ".* can't be judged, since CLIP doesn't see the names"
    )
    assert by_chance.proposed == [] and re.match(said, by_chance.verdict)
    figures = by_chance.figures
    assert figures.audit_command is figures.fit_command is None
    assert "Audit the" not in by_chance.table()


def test_the_badge_is_an_all_clear_only_if_half_of_the_families_could_be_judged(by_chance):
    figures = by_chance.figures
    ground = next(family for family in figures.families if family.name == "ground")
    doubted = replace(ground, finding="doubted")
    for families, badge in (([ground, doubted], "no-evidence"), ([ground, doubted, doubted], "untrusted")):
        html = render_discovery(replace(figures, families=families), None)
        assert f'class="badge {badge}"' in html
        assert ("1 of 3 could be judged" in html) == (badge == "untrusted")
    none = replace(figures, families=[doubted], errors=0)
    assert 'class="badge no-evidence"' in render_discovery(none, None)
    assert 'class="badge untrusted"' in render_discovery(replace(none, errors=figures.data.n), None)
    errors = f"{(1 - figures.errors / figures.data.n) * 100:.1f}\u00a0% of 380 images"
    assert errors in render_discovery(figures, None)


def test_the_verdict_counts_the_families_that_each_rule_set_aside(by_chance):
    ground = next(family for family in by_chance.figures.families if family.name == "ground")
    others = ("explains little", "describes the classes", "doubted", "doubted", "no test", "too few images")
    families = [ground, *(replace(ground, finding=finding) for finding in others)]
    said = (
        "1 of 9 images (11.1\u00a0%) is misclassified by x. Of 7 families of attributes, 1 explains no more errors "
        "than chance; 1 makes only small differences; 1 says little beyond the class names; 2 can't be judged, since "
        "CLIP doesn't see the names in these images; 2 could not be tested."
    )
    assert families_in_words(families, "x", 1, 9).endswith(said)
    aside = "Of 2 families of attributes, 2 explain no more errors than chance."
    assert aside in families_in_words([ground] * 2, "x", 1, 9)


def test_only_families_without_a_p_value_could_not_be_tested(found, by_chance):
    for family in (*found.figures.families, *by_chance.figures.families):
        untested = family.explained is None or family.explained.p_value is None
        assert untested == (family.finding in ("no test", "too few images")), family
        assert (family.rule is None) == (family.finding == "proposed") == (not family.doubts)
    ground = next(row for row in by_chance.family_rows() if row["family"] == "ground")
    assert ground["rule"] == "chance" and ground["rule_value"] == ground["q_value"] > ground["rule_limit"] == 0.05
    assert f"(q = {ground['q_value']:.2g}"[:8] in ground["doubts"]


def test_a_family_that_splits_the_images_like_a_stronger_one_stands_below_it(found):
    (ground,) = found.proposed
    alike, other = replace(ground, name="beach", like="ground"), replace(ground, name="weather")
    figures = replace(found.figures, families=[ground, alike, other])
    html, table = render_discovery(figures, None), replace(found, figures=figures).table()
    assert re.findall(r"<h3>(\w+):", html) == ["ground", "weather"]
    assert re.search("<dt>Told apart also by</dt><dd>beach", html) and "splits the images like ground" in html
    assert "split the images much like ground: beach\n" in table and len(re.findall("^beach", table, re.M)) == 0
    said = "(1 other family that splits the images in another way explains errors too)"
    assert said in families_in_words(figures.families, "x", 9, 99)
    assert "other famil" not in families_in_words([ground, alike], "x", 9, 99)
    assert replace(found, figures=figures).family_rows()[1]["splits_like"] == "ground"


def test_the_page_shows_the_accuracy_of_each_group_and_what_its_images_are_taken_for(found):
    (ground,) = found.proposed
    html = (found.folder / "discover.html").read_text()
    for group in ground.groups:
        assert re.search(rf">{100 * group.accuracy:.1f}</span><span class=\"interval\">of {group.n}</span>", html)
    shown = re.findall(r"<h4>(.*?)</h4>\s*<ul.*?</ul>", html, re.DOTALL)
    strips = [re.findall("is-(right|wrong)", strip) for strip in html.split("<h4>")[1:]]
    assert [title.split(",")[0] for title in shown] == ["Worst group", "Best group"]
    for title, marks, group in zip(shown, strips, ground.worst_and_best, strict=True):
        assert f"{group.class_name} · {group.attribute}" in title and f"of {group.n} right" in title
        wrong = min(4, group.n - group.correct)
        assert marks == ["wrong"] * wrong + ["right"] * (8 - wrong)


def test_a_classifier_without_errors_is_told_so(tiny, few):
    rows = [row["label"] for row in tiny.rows() if row["split"] == "test"]
    found = dbpt.discover(tiny.table, predictions=rows, **few)
    assert found.verdict == "Nothing proposed: the classifier is right on all 32 images."


@pytest.mark.parametrize(("predictions", "split"), [("file", None), ("zero-shot", "all")])
def test_no_command_checks_images_whose_predictions_may_be_missing_or_that_are_all_searched(
    demo, tmp_path, predictions, split
):
    if predictions == "file":
        np.save(tmp_path / "mine.npy", dbpt.load_dataset("waterbirds", root=demo["root"]).attributes)
        predictions = str(tmp_path / "mine.npy")
    figures = dbpt.discover("waterbirds", predictions=predictions, split=split, **demo).figures
    assert figures.audit_command is not None and figures.proposed[0].confirmation is None
    assert "First audit other images" in render_discovery(figures, None)


@pytest.mark.parametrize("same", [True, False])
def test_a_finding_holds_elsewhere_only_if_the_same_group_is_worse(demo, tmp_path, same):
    root = draw_birds(tmp_path, (20, 150, 150))["root"]
    data, random = dbpt.load_dataset("waterbirds", root=root), np.random.default_rng(0)
    worse = data.attributes == np.where((data.splits == 1) & (not same), 0, 1)
    wrong = random.uniform(size=len(data)) < np.where(worse, 0.6, 0.05)
    cells = zip(data.paths, np.where(wrong, 1 - data.labels, data.labels).tolist(), strict=True)
    table = tmp_path / "mine.csv"
    table.write_text("path,prediction\n" + "".join(f"{path},{label}\n" for path, label in cells))
    found = dbpt.discover("waterbirds", **demo | {"root": root}, predictions=table, split="test")
    (ground,) = found.figures.distinct
    assert ground.name == "ground" and ground.confirmation.split == "val" and ground.confirmation.p_value < 0.01
    assert ground.confirmation.holds == same and ("This holds" in found.verdict) == same


def test_true_attributes_change_nothing(annotated, few):
    found = [dbpt.discover(table, split="all", **few).figures.families for table in annotated]
    assert found[0] == found[1] == found[2] and len(found[0]) > 10


def test_a_run_is_searched_without_its_attribute(tiny_run, demo):
    figures = dbpt.discover(predictions=tiny_run, catalogue=demo["catalogue"]).figures
    assert figures.predictions_by == "run" and figures.data.attributes == []
    assert "--attributes" not in figures.command


# --- files and commands -----------------------------------------------------------------------------------------------


def test_the_files_are_complete_and_agree(found):
    out = found.folder
    assert sorted(path.name for path in out.iterdir()) == FILES
    path = out / "discover.json"
    assert typed(read_json(path, "discovery"), DiscoveryFigures, path, "again") == found.figures
    families = rows_of(out / "families.csv")
    assert [row["family"] for row in families] == [family.name for family in found.figures.families]
    assert families[0]["finding"] == "proposed" and families[0]["names"] == "land | water"
    assert found.to_pandas()["family"].tolist() == [row["family"] for row in families]
    page = (out / "discover.html").read_text()
    assert len(page.encode()) < 8e6 and page.count("<img ") == 2 * 8 and found.verdict in unescape(page)
    assert json.loads(path.read_text())["audit_command"] == found.figures.audit_command


def test_the_printed_commands_run_as_they_stand(found, printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figures = found.figures
    for line in (figures.audit_command, figures.fit_command):
        arguments = shlex.split(line)[1:]
        few = ["--epochs", "1", "--head", "linear"] if arguments[0] == "fit" else []
        told = printed(*arguments, *few)
        assert "land" in told and "water" in told
    confirmation = found.proposed[0].confirmation
    assert confirmation is not None and confirmation.split == "train" and confirmation.explained.n == 60
    audited = json.loads((tmp_path / "audits/demo-waterbirds-ground/audit.json").read_text())
    assert audited["group_kind"] == "pseudo" and audited["verdict"]["kind"] == "bias"
    assert audited["data"]["attributes"] == ["land", "water"]


def test_the_printed_commands_run_as_they_stand_for_a_run(demo, printed, tmp_path, monkeypatch):
    settings = _without_catalogue(demo) | {"classes": ["landbird", "gull"]}
    settings |= {"objective": "erm", "head": "linear", "prompts": "class", "epochs": 1}
    run = dbpt.fit("waterbirds", out=tmp_path / "run", **settings)
    of = {name: demo[name] for name in ("catalogue", "cache", "search")}
    figures = dbpt.discover(predictions=run.folder, **of).figures
    monkeypatch.chdir(tmp_path)
    assert [family.confirmation.split for family in figures.proposed] == ["val"]  # it has learnt the training images
    assert "land" in printed(*shlex.split(figures.audit_command)[1:])
    assert "gull" in printed(*shlex.split(figures.fit_command)[1:], "--epochs", "1", "--head", "linear")


def test_the_command_repeats_the_search_byte_for_byte(found, printed, tmp_path):
    arguments = shlex.split(found.figures.command)[1:]
    arguments[arguments.index("--out") + 1] = str(tmp_path / "again")
    told = printed(*arguments)
    assert found.table() in told and found.figures.audit_command in told.splitlines()
    assert (tmp_path / "again/families.csv").read_bytes() == (found.folder / "families.csv").read_bytes()


def test_features_without_images_give_no_pictures(tiny, few, tiny_features, tmp_path):
    found = dbpt.discover(tiny.table, embeddings=tiny_features, out=tmp_path / "out", **few)
    assert "<img " not in (found.folder / "discover.html").read_text()


def test_nothing_sticks_out_and_no_text_is_faint_in_a_browser(found, tmp_path):
    assert_readable([(found.folder / "discover.html").read_text().replace("landbird", LONG)], tmp_path)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"attributes": ["a", "b"]}, "--attributes: dbpt discover looks for the attribute.*leave it out"),
        ({"epochs": 3}, "--epochs: dbpt discover looks for the attribute, and trains no prompt"),
        ({"weights": "w.safetensors"}, "--weights: only the audit of a run reads it"),
        ({"search": "columns"}, "--search columns: .*no column without a role"),
        ({"search": "captions"}, "--search captions: .* search words too"),
        ({"search": ["words", "pixel"]}, "--search: 'pixel' is none of .*pixels"),
        ({"search": "pixels", "catalogue": "none.toml"}, "--catalogue none.toml: --search pixels leaves words out"),
        ({"search": "pixels", "captions": "tags.csv"}, "--captions tags.csv: --search pixels leaves captions out"),
    ],
)
def test_bad_input_gets_one_line(tiny, changed, match):
    assert re.search(match, line_of(dbpt.discover, tiny.table, **tiny.backbone | changed))
