"""suspicious.csv of an audit: planted wrong labels and rare cases, ranked, for all kinds of predictions and groups."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from drawn_birds import GROUND, written
from html_page import Page
from tiny import rows_of

import dbpt
from dbpt.data.writing import csv_text


@pytest.fixture(scope="module")
def flipped(birds):
    """The drawn birds with 16 wrong labels in the training split, four of them of rare images."""
    data = dbpt.load_dataset("waterbirds", birds["root"])
    random = np.random.default_rng(0)
    training = data.splits == 0
    is_rare = data.labels != data.attributes
    wrong = np.concatenate(
        [random.permutation(np.flatnonzero(training & part))[:n] for part, n in ((is_rare, 4), (~is_rare, 12))]
    )
    labels = data.labels.copy()
    labels[wrong] = 1 - labels[wrong]
    settings = written(birds, "flipped", np.array(data.attribute_names)[data.attributes], labels=labels)
    return Path(settings.pop("data")), settings | {"attributes": GROUND}, {data.paths[row] for row in wrong}


@pytest.fixture(scope="module")
def predicted(flipped, tmp_path_factory):
    """Predictions of a good classifier, which relies on the attribute and never saw the wrong labels."""
    table, _, wrong = flipped
    random, lines = np.random.default_rng(0), []
    for row in rows_of(table):
        is_land = (row["label"] == "landbird") != (row["path"] in wrong)
        logit = (3.5 if is_land else -3.5) + (1.5 if row["attribute"] == "land" else -1.5) + random.normal(0, 1.3)
        p_land = 1 / (1 + np.exp(-logit))
        lines.append((row["path"], "landbird" if logit > 0 else "waterbird", f"{p_land:.4f}", f"{1 - p_land:.4f}"))
    predictions = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    predictions.write_text(csv_text([("path", "prediction", "p_landbird", "p_waterbird"), *lines]))
    return predictions


@pytest.fixture(scope="module")
def audited(flipped, predicted, tmp_path_factory):
    table, settings, _ = flipped
    out = tmp_path_factory.mktemp("suspicious") / "audit"
    return dbpt.audit(table, predictions=predicted, split="train", out=out, **settings)


def test_the_table_ranks_the_wrong_labels_first(audited, flipped):
    rows, wrong = rows_of(audited.folder / "suspicious.csv"), flipped[2]
    qualities = [float(row["label_quality"]) for row in rows]
    assert qualities == sorted(qualities)
    assert len(wrong & {row["path"] for row in rows[:24]}) >= 14
    called = {row["path"] for row in rows if row["looks_like"] == "wrong label"}
    assert len(wrong & called) >= 8 and len(called - wrong) <= 2
    assert abs(audited.figures.suspicious.share_wrong - len(wrong) / 240) < 0.02


def test_it_lists_each_error_and_each_label_that_looks_wrong_and_the_figures_count_them(audited):
    rows = rows_of(audited.folder / "suspicious.csv")
    errors = {row["path"] for row in rows_of(audited.folder / "images.csv") if row["prediction"] != row["label"]}
    others = {row["path"] for row in rows if row["looks_like"] != "wrong label"}
    assert others <= errors <= {row["path"] for row in rows}
    assert all((row["likeliest_class"] != row["label"]) == (row["looks_like"] == "wrong label") for row in rows)
    counted, kinds = audited.figures.suspicious, Counter(row["looks_like"] for row in rows)
    assert (counted.wrong_labels, counted.rare_cases, counted.hard_cases) == tuple(
        kinds[kind] for kind in ("wrong label", "rare case", "hard case")
    )
    assert str(counted.wrong_labels) in audited.table() and "suspicious.csv" in audited.table()


def test_rare_cases_are_of_groups_with_few_training_images(audited):
    rare = [row for row in rows_of(audited.folder / "suspicious.csv") if row["looks_like"] == "rare case"]
    assert rare
    sizes = Counter((row["label"], row["attribute"]) for row in rows_of(audited.folder / "images.csv"))
    for row in rare:
        largest = max(n for (label, _), n in sizes.items() if label == row["label"])
        assert 2 * sizes[row["label"], row["attribute"]] < largest


def test_the_score_of_others_is_the_probability_of_the_label(audited):
    of_path = {row["path"]: row for row in rows_of(audited.folder / "images.csv")}
    for row in rows_of(audited.folder / "suspicious.csv"):
        assert row["self_confidence"] == of_path[row["path"]][f"p_{row['label']}"]


def test_names_alone_are_predictions_enough(audited, flipped, tmp_path):
    table, settings, wrong = flipped
    rows = [[row["path"], row["prediction"]] for row in rows_of(audited.folder / "images.csv")]
    (tmp_path / "names.csv").write_text(csv_text([("path", "prediction"), *rows]))
    found = dbpt.audit(table, predictions=tmp_path / "names.csv", split="train", **settings).suspicious
    assert "self_confidence" not in found
    assert len(wrong & set(found["path"][:24])) >= 10


@pytest.mark.parametrize("by", ["clusters", "distrusted words"])
def test_groups_that_say_nothing_across_classes_make_no_rare_case(by, flipped):
    table, settings, wrong = flipped
    chosen = {"attributes": "clusters" if by == "clusters" else ["spoon", "fork"], "columns": {"attribute": ""}}
    found = dbpt.audit(table, predictions="probe", split="train", **settings | chosen)
    assert by == "clusters" or found.verdict.kind == "untrusted"
    assert found.figures.suspicious.rare_cases == 0
    assert len(wrong & set(found.suspicious["path"][:24])) >= 10


def test_the_page_shows_the_first_of_each_kind(audited):
    page, rows = Page((audited.folder / "audit.html").read_text()), rows_of(audited.folder / "suspicious.csv")
    page.assert_self_contained()
    assert f"{audited.figures.suspicious.wrong_labels} labels look wrong" in page.words
    shown = (audited.folder / "audit.html").read_text().partition('<section aria-labelledby="suspicious">')[2]
    shown = shown.partition("</section>")[0].replace("<wbr>", "")
    for kind in ("wrong label", "rare case"):
        paths = [row["path"] for row in rows if row["looks_like"] == kind]
        places = [shown.index(path) for path in paths]
        assert places == sorted(places) and paths
        assert f"<strong>{kind}</strong>: {len(paths)} images" in shown


def test_an_audit_without_suspicious_images_has_an_empty_table_and_no_section(tiny, tmp_path):
    predictions = tmp_path / "right.csv"
    shown = [row for row in tiny.rows() if row["split"] == "test"]
    predictions.write_text(csv_text([("path", "prediction"), *([row["path"], row["label"]] for row in shown)]))
    found = dbpt.audit(tiny.table, predictions=predictions, out=tmp_path / "audit", **tiny.guessing)
    wrong = found.figures.suspicious.wrong_labels
    assert rows_of(tmp_path / "audit" / "suspicious.csv") == [] and wrong == 0
    assert "Wrong label" not in (tmp_path / "audit" / "audit.html").read_text()


def test_no_label_looks_wrong_to_a_clip_that_knows_no_words_of_the_classes(flipped):
    table, settings, _ = flipped
    words = {"classes": ["landbird=waterbird", "waterbird=landbird"], "attributes": ["land", "water"]}
    found = dbpt.audit(table, split="train", **settings | words)
    assert found.figures.suspicious.wrong_labels == 0 and "wrong; suspicious.csv" not in found.table()


def test_errors_that_are_wrong_labels_are_a_warning(audited):
    named = audited.figures.named_group
    (warning,) = [each for each in audited.figures.warnings if each.kind == "errors are wrong labels"]
    assert warning.values["of"] == named.n - named.correct and warning.values["n"] >= warning.values["of"] / 2
