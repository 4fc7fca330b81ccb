"""``--attributes clusters`` end to end: found without words, trained on, shown, and kept with the run."""

from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from runs import fit, groups_of, metrics_of, pseudo_attributes, without
from tiny import ATTRIBUTES, rows_of

import dbpt
from dbpt import InputError
from dbpt.objectives.training_free import TRAINING_FREE

WORD = {"attributes": "clusters"}
QUICK = {"head": "linear", "baselines": False, "epochs": 1, "warmup_epochs": 0}


def text_of(path: Path) -> str:
    return Page(path.read_text()).words


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    return fit(tiny, tmp_path_factory.mktemp("clusters") / "run", **WORD)


@pytest.fixture(scope="module")
def bare_run(tiny, bare, tmp_path_factory):
    return fit(tiny, tmp_path_factory.mktemp("clusters") / "bare", bare, **WORD)


def test_true_attributes_still_define_the_reported_groups(run):
    metrics = metrics_of(run)
    assert (metrics["group_kind"], metrics["dataset"]["attributes"]) == ("true", sorted(ATTRIBUTES))
    assert metrics["dataset"]["counts"]["test"] == [8] * 4
    assert (metrics["guesses"]["method"], metrics["guesses"]["shares"]) == ("clusters", [])
    assert [len(names) for names in metrics["dataset"]["clusters"]["names"]] == [2, 2]
    assert sum(metrics["dataset"]["train_counts_pseudo"]) == 50
    assert 0.8 < metrics["pseudo_quality"]["accuracy"] <= 1
    row = metrics["rows"][-1]
    assert (row["method"], row["group_source"]) == ("dbpt", "pseudo")


def test_without_true_attributes_the_groups_are_the_clusters(bare_run):
    metrics = metrics_of(bare_run)
    data, names = metrics["dataset"], metrics["dataset"]["clusters"]["names"]
    assert (metrics["group_kind"], data["attributes"], metrics["pseudo_quality"]) == ("pseudo", [], None)
    assert data["counts"]["train"] == data["train_counts_pseudo"]
    assert len(metrics["rows"][-1]["test"]["groups"]) == 4
    result = dbpt.Result.read(bare_run)
    assert [(group.class_name, group.attribute) for group in result.groups] == [
        (label, name) for label, of_class in zip(("box", "disc"), names, strict=True) for name in of_class
    ]
    assert "groups: clusters within each class (found by the model)" in str(result)
    assert "2 clusters within each class" in str(result)
    assert [(row["class"], row["attribute"]) for row in groups_of(bare_run)] == [
        ("box", names[0][0]), ("box", names[0][1]), ("disc", names[1][0]), ("disc", names[1][1])
    ]  # fmt: skip


def test_test_images_have_no_influence(tiny, run, tmp_path):
    fewer = [row for number, row in enumerate(tiny.rows()) if row["split"] != "test" or number % 2]
    other = fit(tiny, tmp_path / "run", tiny.write("clusters-fewer", fewer), **WORD, **QUICK)
    assert (other / "clusters.safetensors").read_bytes() == (run / "clusters.safetensors").read_bytes()
    assert pseudo_attributes(other).items() <= pseudo_attributes(run).items()


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "groupdro", "apply": "sampling"},
        {"objective": "dfr", "head": "linear"},
        pytest.param({"objective": "dbpt", "group_source": "true"}, marks=pytest.mark.full),
        pytest.param({"objective": "dbpt", "attributes": "clusters:3"}, marks=pytest.mark.full),
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_objective_trains_on_them(tiny, tmp_path, settings):
    found = fit(tiny, tmp_path / "run", **WORD | {"baselines": False} | settings)
    assert metrics_of(found)["rows"][-1]["test"]["worst_group_accuracy"] is not None
    assert len(groups_of(found)) == (6 if "attributes" in settings else 4)


def test_unsure_images_get_no_cluster(tiny, bare, monkeypatch):
    from dbpt.guesses import clusters as class_clusters

    real = class_clusters.softmax
    monkeypatch.setattr(class_clusters, "softmax", lambda scores: real(scores / 1000))  # the tiny images are sure
    found = dbpt.guess_attributes(bare, min_confidence=0.6, **WORD, **tiny.backbone)
    is_unsure = found.pseudo.confidence < 0.6
    assert 0 < is_unsure.sum() < len(is_unsure)
    np.testing.assert_array_equal(found.groups < 0, is_unsure)
    assert f"{is_unsure.sum()} images got no attribute" in found.table()


def test_the_pages_show_each_cluster_by_class(run, bare_run):
    for one in (run, bare_run):
        names = metrics_of(one)["dataset"]["clusters"]["names"]
        for page in ("guesses.html", "report.html"):
            told = text_of(one / page)
            for label, of_class in zip(("box", "disc"), names, strict=True):
                for name in of_class:
                    assert f"{label} · {name}" in told, page
            for wrong in ("What CLIP took for", "CLIP guessed", "dbpt label", "gives its guess"):
                assert wrong not in told, (page, wrong)
    assert "commonest attribute of their cluster" in text_of(run / "guesses.html")
    assert "clusters of the images of each class" in text_of(bare_run / "report.html")


def test_images_have_their_cluster_in_predictions_csv(run):
    rows = rows_of(run / "predictions.csv")
    names = metrics_of(run)["dataset"]["clusters"]["names"]
    for row in rows:
        of_class = names[("box", "disc").index(row["label"])]
        assert int(row["group"]) == 2 * ("box", "disc").index(row["label"]) + of_class.index(row["pseudo_attribute"])


def test_it_is_evaluated_with_the_clusters_of_the_run(tiny, bare_run, tmp_path):
    again = dbpt.evaluate(bare_run)
    assert again.to_dict()["rows"][0]["test"] == metrics_of(bare_run)["rows"][-1]["test"]
    some = [row for row in without(tiny.rows(), "attribute") if row["split"] == "test"][:9]
    few = dbpt.evaluate(bare_run, tiny.write("clusters-some", some)).to_dict()
    found = pseudo_attributes(bare_run)
    counts = np.bincount([2 * (row["label"] == "disc") + found[row["path"]] for row in some], minlength=4)
    assert [group["n"] for group in few["rows"][0]["test"]["groups"]] == counts.tolist()


def test_guess_writes_them(tiny, bare, bare_run, tmp_path):
    out = tmp_path / "guesses.csv"
    found = dbpt.guess_attributes(bare, out=out, **WORD, **tiny.backbone)
    assert dict(zip(found.columns["path"], found.pseudo.pseudo_attributes.tolist(), strict=True)) == pseudo_attributes(
        bare_run
    )
    assert {row["group"] for row in rows_of(out)} == {"0", "1", "2", "3"}
    assert "clusters within each class, in per cent" in found.table() and "separation: " in found.table()
    assert all(name in found.table() for name in found.pseudo.names[0])


def test_a_comparison(tiny, bare, bare_run, tmp_path):
    settings = {"methods": ["erm", "dbpt"], "seeds": 1, **tiny.settings, **WORD}
    found = dbpt.compare(bare, out=tmp_path / "c", **settings)
    assert "groups: clusters within each class" in str(found)
    assert found.worst_group_accuracy == dbpt.Result.read(bare_run).worst_group_accuracy
    told = text_of(tmp_path / "c" / "compare.html")
    assert "clusters of the images of each class" in told
    for wrong in ("CLIP guessed", "What CLIP took for", "dbpt label"):
        assert wrong not in told, wrong


def test_a_method_that_needs_words_is_refused_in_a_comparison(tiny, tmp_path):
    for method in (name for name, each in TRAINING_FREE.items() if each.needs_attributes):
        with pytest.raises(InputError, match=f"--methods {method}: needs names of attributes, which clusters lack"):
            dbpt.compare(tiny.table, out=tmp_path / "c", methods=["erm", method], **tiny.settings | WORD)
    assert not (tmp_path / "c").exists()


def test_the_features_of_another_clip_are_clustered(tiny, bare, bare_run, other, label_model, tmp_path):
    same = fit(tiny, tmp_path / "same", bare, **label_model, **WORD, **QUICK)
    labelled = label_model | {"label_pretrained": other["pretrained"]}
    found = fit(tiny, tmp_path / "run", bare, **labelled, **WORD, **QUICK)
    assert pseudo_attributes(same) == pseudo_attributes(bare_run) != pseudo_attributes(found)
    assert dbpt.evaluate(found).to_dict()["rows"][0]["test"] == metrics_of(found)["rows"][-1]["test"]


def test_what_needs_a_name_says_so(tiny, run, refusal, tmp_path):
    image = tiny.table.parent / tiny.rows()[0]["path"]
    for arguments, message in (
        (["predict", run, image, "--with-attribute"], "--with-attribute: the run has clusters within the classes"),
        (["label", run, "--out", tmp_path / "labels"], "its attributes are clusters, which nobody can label"),
    ):
        assert message in refusal(*arguments)


def test_clusters_that_are_none_give_a_warning(tiny, bare, tmp_path, monkeypatch):
    monkeypatch.setattr("dbpt.guesses.clusters.DISTINCT", 1e9)
    monkeypatch.setattr("dbpt.guesses.clusters.FEWEST_ROWS", 10)
    found = fit(tiny, tmp_path / "run", bare, **WORD, **QUICK)
    warning = dbpt.Result.read(found).warnings[0]
    assert warning.startswith("the clusters can't be trusted: the images of classes 'box', 'disc' form no distinct")
    assert "The clusters can’t be trusted" in text_of(found / "report.html")
    audit = dbpt.audit(bare, **WORD, **tiny.backbone)
    assert audit.verdict.kind == "untrusted"
    assert audit.verdict.sentence.startswith("Some classes may form no distinct clusters, so this audit can't tell")
