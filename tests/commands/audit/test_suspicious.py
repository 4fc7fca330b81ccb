"""suspicious.csv of an audit: planted wrong labels and rare cases, ranked, for all kinds of predictions and groups."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from drawn_birds import GROUND, written
from html_page import Page
from scipy.special import softmax
from tiny import rows_of

import dbpt
from dbpt.commands.audit.suspicious import probabilities_at_attributes
from dbpt.data.writing import csv_text
from dbpt.evaluation.audit_subject import subject_of
from dbpt.heads.class_and_group_prompts import group_texts

WRONG = "wrong label"


def drawn(birds, seed, folder):
    """The drawn birds with 16 wrong labels in the training split, four of them of rare images.

    Also predictions of a good classifier, which relies on the attribute and never saw the wrong labels.
    """
    data = dbpt.load_dataset("waterbirds", birds["root"])
    random = np.random.default_rng(seed)
    training = data.splits == 0
    is_rare = data.labels != data.attributes
    wrong = np.concatenate(
        [random.permutation(np.flatnonzero(training & part))[:n] for part, n in ((is_rare, 4), (~is_rare, 12))]
    )
    labels = data.labels.copy()
    labels[wrong] = 1 - labels[wrong]
    settings = written(birds, f"flipped-{seed}", np.array(data.attribute_names)[data.attributes], labels=labels)
    table, wrong_paths = Path(settings.pop("data")), {data.paths[row] for row in wrong}
    random, lines = np.random.default_rng(seed), []
    for row in rows_of(table):
        is_land = (row["label"] == "landbird") != (row["path"] in wrong_paths)
        logit = (3.5 if is_land else -3.5) + (1.5 if row["attribute"] == "land" else -1.5) + random.normal(0, 1.3)
        p_land = 1 / (1 + np.exp(-logit))
        lines.append((row["path"], "landbird" if logit > 0 else "waterbird", f"{p_land:.4f}", f"{1 - p_land:.4f}"))
    predictions = folder / f"predictions-{seed}.csv"
    predictions.write_text(csv_text([("path", "prediction", "p_landbird", "p_waterbird"), *lines]))
    return table, settings | {"attributes": GROUND}, wrong_paths, predictions


@pytest.fixture(scope="module")
def flipped(birds, tmp_path_factory):
    return drawn(birds, 0, tmp_path_factory.mktemp("predictions"))


@pytest.fixture(scope="module")
def audited(flipped, tmp_path_factory):
    table, settings, _, predictions = flipped
    out = tmp_path_factory.mktemp("suspicious") / "audit"
    return dbpt.audit(table, predictions=predictions, split="train", out=out, **settings)


@pytest.fixture(scope="module")
def draws(birds, tmp_path_factory):
    """Audits of twelve draws of wrong labels and predictions, and the paths of the wrong labels."""
    folder = tmp_path_factory.mktemp("draws")
    found = [drawn(birds, seed, folder) for seed in range(12)]
    return [
        (dbpt.audit(table, predictions=predictions, split="train", **settings), wrong)
        for table, settings, wrong, predictions in found
    ]


def test_the_table_ranks_the_wrong_labels_first(audited, flipped):
    rows, wrong = rows_of(audited.folder / "suspicious.csv"), flipped[2]
    qualities = [float(row["label_quality"]) for row in rows]
    assert qualities == sorted(qualities)
    assert len(wrong & {row["path"] for row in rows[:24]}) >= 14
    assert abs(audited.figures.suspicious.share_wrong - len(wrong) / 240) < 0.02


def test_half_of_the_wrong_labels_are_called_so_and_few_others(draws):
    right, false = [], []
    for found, wrong in draws:
        rows = zip(found.suspicious["path"], found.suspicious["looks_like"], strict=True)
        called = {path for path, kind in rows if kind == WRONG}
        right.append(len(called & wrong))
        false.append(len(called - wrong))
    assert np.mean(right) >= 8 and max(false) <= 2
    shares = [found.figures.suspicious.share_wrong for found, _ in draws]
    assert 0.6 < np.mean(shares) / (16 / 240) < 1.1


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
    table, settings, wrong, _ = flipped
    rows = [[row["path"], row["prediction"]] for row in rows_of(audited.folder / "images.csv")]
    (tmp_path / "names.csv").write_text(csv_text([("path", "prediction"), *rows]))
    found = dbpt.audit(table, predictions=tmp_path / "names.csv", split="train", **settings).suspicious
    assert "self_confidence" not in found
    assert len(wrong & set(found["path"][:24])) >= 10


@pytest.mark.parametrize("by", ["clusters", "distrusted words"])
def test_groups_that_say_nothing_across_classes_make_no_rare_case(by, flipped):
    table, settings, wrong, _ = flipped
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
    table, settings, _, _ = flipped
    words = {"classes": ["landbird=waterbird", "waterbird=landbird"], "attributes": ["land", "water"]}
    found = dbpt.audit(table, split="train", **settings | words)
    assert found.figures.suspicious.wrong_labels == 0 and "wrong; suspicious.csv" not in found.table()


def test_errors_that_are_mostly_wrong_labels_are_a_warning(draws):
    said = 0
    for found, _ in draws:
        named = found.figures.named_group
        warnings = [each for each in found.figures.warnings if each.kind == "errors are wrong labels"]
        columns = (found.suspicious[name] for name in ("label", "attribute", "looks_like", "prediction"))
        n = sum(
            (label, attribute, kind) == (named.class_name, named.attribute, WRONG) and prediction != label
            for label, attribute, kind, prediction in zip(*columns, strict=True)
        )
        errors = named.n - named.correct
        assert [(each.values["n"], each.values["of"]) for each in warnings] == [(n, errors)] * (2 * n >= errors)
        said += len(warnings)
    assert 6 <= said < 12


def test_sentences_of_class_and_attribute_count_too(flipped):
    table, settings, _, _ = flipped
    subject = subject_of("zero-shot", table, settings, "train", None)
    codes = np.resize([0, 1, -1], len(subject.audited))
    found = probabilities_at_attributes(subject, codes)
    features, texts = subject.embedded.features[subject.audited], group_texts(subject.dataset.words)
    logits = dbpt.zero_shot_logits(subject.embedded.backbone, features, *texts)
    of_land, of_water, of_both = logits[:, [0, 2]], logits[:, [1, 3]], logits.reshape(-1, 2, 2).mean(axis=2)
    expected = softmax(np.choose(codes[:, None] % 3, [of_land, of_water, of_both]), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    audited = dbpt.audit(table, predictions="zero-shot", split="train", **settings).suspicious
    paths = [subject.dataset.paths[row] for row in subject.audited]
    rows = [paths.index(path) for path in audited["path"]]
    known = subject.dataset.attributes[subject.audited]
    sources = [subject.predictions.probabilities, probabilities_at_attributes(subject, known)]
    quality = dbpt.evaluation.label_quality(subject.labels, known, *sources).quality
    assert audited["label_quality"].tolist() == quality[rows].round(4).tolist()
