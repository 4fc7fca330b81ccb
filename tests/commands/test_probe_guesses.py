"""``--pseudo-method probe`` end to end: guesses from few known attributes, trained on, shown, and kept with the run."""

import json
import shutil

import numpy as np
import pytest
from html_page import Page
from runs import contents, fit, metrics_of, pseudo_attributes
from tiny import ATTRIBUTES, rows_of

import dbpt
from dbpt import InputError
from dbpt.commands.compare.cells import Stages
from dbpt.commands.compare.plan import make_plan
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION
from dbpt.settings.config import make_config
from dbpt.storage.tensors import read_tensors, write_tensors

PROBE = {"pseudo_method": "probe", "head": "linear", "lr": 0.05}


@pytest.fixture(scope="module")
def few(tiny):
    """The table of the tiny task with the attributes of every third training image alone."""
    rows = [
        row | {"attribute": row["attribute"] if row["split"] == "train" and number % 3 == 0 else ""}
        for number, row in enumerate(tiny.rows())
    ]
    return tiny.write("probe-few", rows)


@pytest.fixture(scope="module")
def few_run(tiny, few, tmp_path_factory):
    return fit(tiny, tmp_path_factory.mktemp("probe") / "few", few, **PROBE)


def given(table):
    return {row["path"]: row["attribute"] for row in rows_of(table)}


def code(name):
    return ATTRIBUTES.index(name)


def test_known_images_keep_their_attribute_and_the_others_are_guessed(tiny, few, few_run):
    found, truth = pseudo_attributes(few_run), given(tiny.table)
    known = {path: code(name) for path, name in given(few).items() if name}
    assert known.items() <= found.items()
    others = [path for path in found if path not in known]
    assert np.mean([found[path] == code(truth[path]) for path in others]) > 0.9


def test_words_have_no_influence(tiny, few, few_run, tmp_path):
    words = ("meadow=monday", "lake=tuesday")
    other = fit(tiny, tmp_path / "run", few, **PROBE, attributes=words)
    assert contents(other) == contents(few_run)


def test_figures_out_of_fold_are_in_metrics_and_tables_and_pages(few, few_run):
    metrics = metrics_of(few_run)
    (factor,) = metrics["guesses"]["factors"]
    found = factor["cross_validated"]
    assert found["n_known"] == sum(map(bool, given(few).values())) == sum(found["n_guessed"])
    assert found["accuracy"] > 0.8 and len(found["precision"]) == 2
    assert (metrics["guesses"]["method"], metrics["group_kind"]) == ("probe (known ones from the data)", "pseudo")
    assert metrics["pseudo_quality"] is None  # nothing is known of the others
    told = " ".join(str(dbpt.Result.read(few_run)).split())
    assert "groups: pseudo attributes (guessed by a probe)" in told
    assert f"out of fold on {found['n_known']} known images {100 * found['accuracy']:.1f} right, precision" in told
    for name in ("guesses.html", "report.html"):
        page = Page((few_run / name).read_text()).words
        assert "out of fold" in page and "the probe gives its guess" in page
        assert "What CLIP took for" not in page and "CLIP guessed" not in page


def test_known_attributes_are_not_counted_as_right_guesses(tiny, tmp_path):
    metrics = metrics_of(fit(tiny, tmp_path / "run", **PROBE, probe_rows=24))
    assert metrics["pseudo_quality"]["n"] < 50 and metrics["pseudo_quality"]["accuracy"] > 0.8
    assert metrics["guesses"]["factors"][0]["cross_validated"]["n_known"] == 24


def test_evaluate_and_predict_guess_other_images_by_the_probe_of_the_run(tiny, bare, few_run, monkeypatch):
    monkeypatch.setattr("dbpt.guesses.linear_probe._fit", None)  # nothing is fitted again
    found, own = dbpt.evaluate(few_run, bare), dbpt.evaluate(few_run)
    methods = found.metrics.guesses.method, own.metrics.guesses.method
    assert methods == ("probe", metrics_of(few_run)["guesses"]["method"])
    assert found.metrics.guesses.cross_validations == own.metrics.guesses.cross_validations
    assert own.worst_group_accuracy == dbpt.Result.read(few_run).worst_group_accuracy
    annotated = dbpt.evaluate(few_run, tiny.write("probe-annotated", tiny.rows()))
    assert annotated.metrics.group_kind == "true" and annotated.metrics.pseudo_quality.n == 50
    guesses = pseudo_attributes(few_run)
    paths = [row["path"] for row in tiny.rows() if row["split"] == "test"]
    predicted = dbpt.load(few_run).predict([tiny.table.parent / path for path in paths], attributes=True)
    named = [code(each.pseudo_attribute) for each in predicted]
    assert named == [guesses[path] for path in paths]


def test_an_audit_of_the_run_uses_its_probe_unless_it_is_about_something_else(tiny, few_run, monkeypatch):
    monkeypatch.setattr("dbpt.guesses.linear_probe._fit", None)
    cache = {"cache": tiny.settings["cache"]}
    found = dbpt.audit(predictions=few_run, **cache)
    assert found.figures.guesses.provenance == "probe" and "guessed by the probe" in found.table()
    for other in ({"attributes": ("cow", "ship"), "columns": {"attribute": ""}}, {"pseudo_method": "argmax"}):
        assert dbpt.audit(predictions=few_run, **cache, **other).figures.guesses.provenance == "words"


def test_guess_and_audit_have_it_too(tiny, few):
    guessed = dbpt.guess_attributes(few, pseudo_method="probe", **tiny.guessing)
    assert "guessed by the probe" in guessed.table() and "out of fold on" in guessed.table()
    audited = dbpt.audit(few, pseudo_method="probe", **tiny.guessing)
    assert audited.figures.guesses.cross_validations == guessed.guesses.cross_validations
    assert audited.figures.group_kind == "pseudo"


def test_known_attributes_may_come_from_a_file(tiny, bare, few, few_run, tmp_path):
    known = fit(tiny, tmp_path / "run", bare, **PROBE, pseudo_attributes=str(few))
    assert (known / "classifier.safetensors").read_bytes() == (few_run / "classifier.safetensors").read_bytes()
    assert metrics_of(known)["guesses"]["method"] == "probe (known ones from the file)"


def test_a_comparison_draws_the_known_images_anew_for_each_draw(tiny, tmp_path):
    settings = tiny.settings | {"pseudo_method": "probe", "probe_rows": 24}
    result = dbpt.compare(tiny.table, out=tmp_path / "c", methods="dbpt", heads="linear", resample=2, **settings)
    assert result.metrics.guesses.cross_validations[0].n_known == 24
    assert "out of fold on 24 known images" in " ".join(str(result).split())
    plan = make_plan(make_config(settings | {"data": str(tiny.table)}), "dbpt", "linear", 1, resample=2)
    stages = Stages([cell.config for cell in plan.cells])
    one, other = (stages.guessed(cell).pseudo.is_given for cell in plan.rows[0].draws)
    assert one.sum() == other.sum() == 24 and (one != other).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pseudo_method": "argmax", "probe_rows": 9}, "--probe-rows 9: without --pseudo-method probe; add it"),
        ({"probe_rows": 75}, "--probe-rows 75: only 74 training and validation images have a known attribute; lower"),
        ({"attributes": "auto"}, "--pseudo-method probe with --attributes auto: it learns from known attributes; drop"),
        ({"probe_rows": 2}, "it needs at least 2 of each, copies not counted: raise --probe-rows"),
        ({"attributes": ("lake", "meadow", "sky")}, "0 of the 74 training and .* the attribute 'sky'"),
    ],
)
def test_bad_settings_get_one_line(tiny, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        fit(tiny, tmp_path / "run", **PROBE | settings)
    assert not (tmp_path / "run").exists() or not (tmp_path / "run" / "run.json").exists()


def test_known_attributes_of_test_images_alone_are_refused(tiny, tmp_path):
    rows = [row | {"attribute": row["attribute"] if row["split"] == "test" else ""} for row in tiny.rows()]
    of_test = r"no training .* known attribute: those that are known \(32\) are of the test split, which the probe does"
    with pytest.raises(InputError, match=of_test):
        fit(tiny, tmp_path / "run", tiny.write("probe-bad", rows), **PROBE)


def test_a_damaged_probe_is_refused(few_run, tmp_path):
    run = shutil.copytree(few_run, tmp_path / "run")
    tensors, metadata = read_tensors(run / "probe.safetensors", "probe", version=TENSORS_SCHEMA_VERSION, hint="")
    metadata.pop("schema_version")
    for changed in ({"weights": tensors["weights"][:1]}, {"biases": tensors["biases"] * np.float32(np.nan)}):
        write_tensors(run / "probe.safetensors", tensors | changed, metadata, version=TENSORS_SCHEMA_VERSION)
        with pytest.raises(InputError, match="does not belong to this run; fit again"):
            dbpt.load(run)
    metadata["cross_validated"] = json.dumps([])
    write_tensors(run / "probe.safetensors", tensors, metadata, version=TENSORS_SCHEMA_VERSION)
    with pytest.raises(InputError, match="does not belong to this run; fit again"):
        dbpt.load(run)


def test_a_probe_of_another_model_can_not_predict(tiny, few, label_model, tmp_path):
    run = fit(tiny, tmp_path / "run", few, **PROBE, **label_model)
    assert dbpt.evaluate(run).metrics.guesses.cross_validations
    with pytest.raises(InputError, match="--with-attribute: the run's probe reads features of --label-model; use"):
        dbpt.load(run).predict(tiny.images(1), attributes=True)
