"""``dbpt audit --attributes clusters``: the clusters are audited, whether the data have true attributes or not."""

from dataclasses import asdict

import pandas as pd
import pytest
from html_page import Page
from runs import fit, metrics_of
from tiny import ATTRIBUTES, rows_of

import dbpt
from dbpt import InputError

WORD = {"attributes": "clusters"}
QUICK = {"baselines": False, "epochs": 1, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    return fit(tiny, tmp_path_factory.mktemp("cluster-audit") / "run", **WORD | QUICK)


def attributes_of(found) -> list[str]:
    return [group.attribute for group in found.groups]


def clusters_of(run) -> list[str]:
    return [name for names in metrics_of(run)["dataset"]["clusters"]["names"] for name in names]


def test_the_groups_are_the_clusters(tiny, bare, run, tmp_path):
    found = dbpt.audit(bare, out=tmp_path / "audit", **WORD, **tiny.backbone)
    assert attributes_of(found) == clusters_of(run)
    assert sum(group.n for group in found.groups) == 32
    assert {group.false_positive_rate for group in found.groups} == {None}
    assert (found.figures.cramers_v, found.figures.training_cramers_v) == (None, None)
    assert "groups: clusters within each class" in found.table()
    told = Page((tmp_path / "audit" / "audit.html").read_text()).words
    assert "audit of clusters within each class" in told
    assert "Errors explained by the cluster" in told
    assert "What CLIP took for" not in told


def test_true_attributes_change_nothing_but_the_share_of_clusters_that_are_right(tiny, bare, tmp_path):
    blind = asdict(dbpt.audit(bare, **WORD, **tiny.backbone).figures)
    found = dbpt.audit(tiny.table, out=tmp_path / "audit", **WORD, **tiny.backbone)
    figures = asdict(found.figures)
    assert (figures["group_kind"], figures["data"]["attributes"]) == ("pseudo", [])
    for name in ("metrics", "verdict", "explained", "confusion", "words", "next_step"):
        assert figures[name] == blind[name], name
    assert 0.8 < figures["guesses"]["accuracy"] <= 1 and blind["guesses"]["accuracy"] is None
    told = Page((tmp_path / "audit" / "audit.html").read_text()).words
    assert "have the commonest attribute of their cluster" in told
    assert not any(name in told for name in ATTRIBUTES)


def test_images_csv_names_the_cluster_of_each_image_as_its_attribute(tiny, tmp_path):
    found = dbpt.audit(tiny.table, out=tmp_path / "audit", **WORD, **tiny.backbone)
    rows = rows_of(tmp_path / "audit" / "images.csv")
    names = attributes_of(found)
    assert [row["attribute"] for row in rows] == [names[int(row["group"])] for row in rows]
    table = found.to_metric_frame_table()
    assert isinstance(table, pd.DataFrame) and set(table["attribute"]) <= set(names) and len(table) == len(rows)


def test_a_run_with_clusters(tiny, bare, run, tmp_path):
    """Its groups are those of its report, true ones where the data have them, unless the audit asks for clusters."""
    of_run = dbpt.audit(predictions=run)
    assert (of_run.figures.group_kind, attributes_of(of_run)) == ("true", sorted(ATTRIBUTES) * 2)
    assert "--attributes" not in of_run.figures.command
    asked = dbpt.audit(predictions=run, **WORD)
    assert (asked.figures.group_kind, attributes_of(asked)) == ("pseudo", clusters_of(run))
    assert "--attributes clusters" in asked.figures.command
    blind = dbpt.audit(bare, predictions=run)
    assert attributes_of(blind) == clusters_of(run)
    assert attributes_of(dbpt.audit(bare, predictions=run, attributes=None)) == clusters_of(run)
    by_name = dbpt.audit(bare, predictions=run, attributes=ATTRIBUTES)
    assert attributes_of(by_name) == [*ATTRIBUTES] * 2


def test_a_run_with_words_of_its_own_is_audited_over_clusters(tiny, run, tmp_path):
    """Settings that clusters don't read come from the run here, not from the user."""
    words = {"attribute_template": ["a {}"], "pseudo_method": "argmax", "guess_only_unknown": True}
    by_words = fit(tiny, tmp_path / "words", **words | QUICK)
    found = dbpt.audit(predictions=by_words, **WORD)
    assert attributes_of(found) == clusters_of(run)
    with pytest.raises(InputError, match="--pseudo-method argmax with --attributes clusters: "):
        dbpt.audit(predictions=by_words, pseudo_method="argmax", **WORD)


def test_clusters_of_a_run_are_in_its_own_features(run, label_model):
    with pytest.raises(
        InputError, match="--label-model: the clusters of the run .* are in the features of its own model"
    ):
        dbpt.audit(predictions=run, **label_model)
    assert dbpt.audit(predictions=run, **WORD, **label_model).figures.group_kind == "pseudo"
