"""`Classifier.save_pretrained`, `from_pretrained` and `push_to_hub`: the same answers from a folder or a repository."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from fake_hub import fake_hub
from huggingface_hub import ModelCard, constants

import dbpt
from dbpt import Classifier, InputError
from dbpt.evaluation.results import read_metrics
from dbpt.report.model_card import model_card


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with fake_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


def answers(classifier, tiny, **options):
    return list(classifier.predict(tiny.images(12), **options))


def assert_same(found, expected, tiny, **options):
    pairs = zip(answers(found, tiny, **options), answers(expected, tiny, **options), strict=True)
    for one, other in pairs:
        assert (one.prediction, one.pseudo_attribute) == (other.prediction, other.pseudo_attribute)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"prompts": "group", "head": "linear", "lr": None, "n_ctx": None},
        {"head": "adapter", "lr": None, "n_ctx": None},
        {"attributes": "clusters:2"},
        {"pseudo_method": "probe", "probe_rows": 20},
        {"attributes": None, "factors": ["ground: meadow, lake"]},
    ],
    ids=["class", "group", "adapter", "clusters", "probe", "factors"],
)
def test_a_saved_folder_answers_as_the_run_does(tiny, tmp_path, settings):
    run = dbpt.fit(tiny.table, out=tmp_path / "run", **tiny.settings | {"epochs": 2} | settings).folder
    classifier = dbpt.load(run)
    classifier.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert str(tiny.weights.parent) not in (tmp_path / "saved/config.json").read_text()
    found = dbpt.load(tmp_path / "saved", weights=tiny.weights)
    asks = "clusters" not in str(settings) and not classifier.knows_attributes
    assert_same(found, classifier, tiny, attributes=asks)
    assert found.words == classifier.words and found.class_names == classifier.class_names
    found.save_pretrained(tmp_path / "again")
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_the_hub_keeps_it(hub, tiny, tiny_run, tmp_path, monkeypatch):
    classifier, namesake = dbpt.load(tiny_run), tmp_path / "me/squares"
    namesake.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    classifier.push_to_hub("me/squares", token="hf_1")
    assert list(namesake.iterdir()) == []
    namesake.rmdir()
    assert set(hub.files["me/squares"]) == {"README.md", "config.json", "model.safetensors"}
    found = Classifier.from_pretrained("me/squares", weights=tiny.weights)
    assert_same(found, classifier, tiny)
    with pytest.raises(InputError, match=r"^'me/none': no such folder, and the Hub could not give it \(.*404"):
        Classifier.from_pretrained("me/none")
    with pytest.raises(InputError, match="^'a name/at/all': is no folder, and not the name of a repository"):
        Classifier.from_pretrained("a name/at/all")


def test_weights_beside_the_folder(tiny, tiny_run, tmp_path):
    dbpt.load(tiny_run).save_pretrained(tmp_path / "saved")
    with pytest.raises(InputError, match=r"saved: needs CLIP's weights tiny.safetensors \(sha256 .*; name the file"):
        dbpt.load(tmp_path / "saved")
    shutil.copy(tiny.weights, tmp_path / "saved")
    assert_same(dbpt.load(tmp_path / "saved"), dbpt.load(tiny_run), tiny)
    (tmp_path / "saved/tiny.safetensors").write_bytes(tiny.weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="changed since"):
        dbpt.load(tmp_path / "saved")


def test_the_card(tiny_run):
    classifier = dbpt.load(tiny_run)
    card, metrics = ModelCard(classifier.card), read_metrics(tiny_run / "metrics.json")
    assert card.data.library_name == "dbpt" and card.data.pipeline_tag == "image-classification"
    figures = {each.metric_name: each.metric_value for each in card.data.eval_results}
    shown = metrics.rows[-1].test
    assert figures == {
        "worst-group accuracy": round(shown.worst_group_accuracy, 4),
        "average accuracy": round(shown.average, 4),
    }
    for group in shown.groups:
        cells = f"| {100 * group.accuracy:.1f} | [{100 * group.low:.1f}, {100 * group.high:.1f}] |"
        assert any(
            f"{group.class_name} · {group.attribute}" in line and cells in line for line in card.text.split("\n")
        )
    for text in ("dbpt fit ", "CLIP's guesses, proportional", "50 training, 24 validation, 32 test", "Limits"):
        assert text in card.text
    assert all(f"Doubted: {doubt}" in card.text for doubt in map(str, metrics.guesses.doubts))


def test_a_run_without_a_card(copied, tmp_path):
    (copied / "README.md").unlink()
    with pytest.raises(InputError, match=r"^the run has no README.md, its model card; fit again$"):
        dbpt.load(copied).save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_saved_classifier_is_replaced_as_a_whole_and_nothing_else_is(tiny_run, copied, tmp_path):
    classifier, folder = dbpt.load(tiny_run), tmp_path / "saved"
    classifier.save_pretrained(folder)
    (copied / "README.md").write_text("---\nlibrary_name: dbpt\n---\n# Another")
    with pytest.raises(InputError, match="exists; .* overwrite=True"):
        dbpt.load(copied).save_pretrained(folder)
    assert "# Another" not in (folder / "README.md").read_text()
    dbpt.load(copied).save_pretrained(folder, overwrite=True)
    assert "# Another" in (folder / "README.md").read_text()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    for path, why in (
        (copied, "is the folder of a run"),
        (tmp_path / "file", "is no folder"),
        (tmp_path / "mine", "holds"),
        (tmp_path / "file/sub", "cannot create"),
    ):
        with pytest.raises(InputError, match=f"{path}: {why}"):
            classifier.save_pretrained(path, overwrite=True)
    for name in ("a" * 300, "a\0", "a\ud800"):
        with pytest.raises(InputError, match="cannot create") as caught:
            classifier.save_pretrained(name)
        assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="so no saved classifier; dbpt.load reads the folder of a run"):
        Classifier.from_pretrained(tiny_run)
    with pytest.raises(InputError, match="is a file, and not the name of a repository"):
        Classifier.from_pretrained(tmp_path / "file")
    with pytest.raises(InputError, match="'a b/c': the Hub did not take it"):
        classifier.push_to_hub("a b/c")


@pytest.mark.parametrize(
    ("model", "pretrained", "base"),
    [
        ("ViT-B-32", "openai", "timm/vit_base_patch32_clip_224.openai"),
        ("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("ViT-B-16-SigLIP", "webli", "timm/ViT-B-16-SigLIP"),
        ("hf-hub:me/clip", None, "me/clip"),
        ("ViT-B-32", "/home/me/clip.safetensors", None),
        ("/home/me/tiny.json", "random", None),
    ],
)
def test_the_card_names_the_base_model_if_the_hub_has_it(tiny_run, model, pretrained, base):
    metrics = read_metrics(tiny_run / "metrics.json")
    metrics = replace(metrics, backbone=replace(metrics.backbone, model=model, pretrained=pretrained))
    card = ModelCard(model_card(metrics, "dbpt fit x.csv", is_drawn=False, weights=None))
    assert card.data.base_model == base and card.data.license is None
    assert (
        f"- Base model: {base or 'not stated; name it in'}" in card.text
        and "- License: not stated; name it" in card.text
    )


def test_license_and_base_model_are_stated_when_the_classifier_is_handed_over(tiny_run, copied, tmp_path):
    classifier, stated = dbpt.load(tiny_run), {"license": "cc-by-4.0", "base_model": "me/clip"}
    classifier.save_pretrained(tmp_path / "saved", model_card_kwargs=stated)
    card, before = ModelCard.load(tmp_path / "saved/README.md"), ModelCard(classifier.card)
    assert (card.data.license, card.data.base_model) == ("cc-by-4.0", "me/clip")
    assert "- License: cc-by-4.0\n- Base model: me/clip\n" in card.text and "not stated" not in card.text
    assert card.data.eval_results == before.data.eval_results and card.data.tags == before.data.tags
    again = Classifier.from_pretrained(tmp_path / "saved", weights=classifier.backbone.spec["weights"]["path"])
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again/README.md").read_text() == (tmp_path / "saved/README.md").read_text()
    (copied / "README.md").write_text("# Mine, of an older dbpt")
    dbpt.load(copied).save_pretrained(tmp_path / "mine", model_card_kwargs={"license": "mit"})
    mine = ModelCard.load(tmp_path / "mine/README.md")
    assert mine.data.license == "mit" and "# Mine, of an older dbpt" in mine.text
    for wrong in ("", 7, "mit\n- x"):
        with pytest.raises(InputError, match="^model_card_kwargs: license is"):
            classifier.save_pretrained(tmp_path / "wrong", model_card_kwargs={"license": wrong})
    assert not (tmp_path / "wrong").exists()


def test_the_card_of_a_demo_claims_nothing_about_the_benchmark(tiny_run):
    metrics = read_metrics(tiny_run / "metrics.json")
    text = model_card(
        metrics, "dbpt fit demo --out /home/me/runs/a", is_drawn=True, weights="/home/me/clip.safetensors"
    )
    card = ModelCard(text)
    assert card.data.eval_results is None and "drawn by dbpt" in card.text
    assert "/home" not in text and 'from_pretrained(FOLDER, weights="clip.safetensors")' in text
    by_probe = replace(metrics, rows=[replace(row, group_source="ppa") for row in metrics.rows])
    assert "errors of a probe" in model_card(by_probe, "dbpt fit x.csv", is_drawn=False, weights=None)
