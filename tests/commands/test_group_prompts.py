"""``--prompts group`` and ``auto``: heads, classifier, predictions, resuming, clusters, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from by_position import group_metrics
from comparisons import compare
from runs import fit, history_of, metrics_of
from safetensors import safe_open
from safetensors.numpy import load_file

import dbpt
from dbpt import InputError
from dbpt.commands.compare.compare import next_steps
from dbpt.commands.compare.plan import make_plan
from dbpt.commands.fit import saved_candidate
from dbpt.commands.trained_methods import build_head, trained_result
from dbpt.evaluation.results import Row
from dbpt.objectives.base import EXCLUDED
from dbpt.settings.config import make_config
from dbpt.study.stages import prepare

HEADS = ("prompt", "linear", "adapter")
TEMPLATE = ("a {class} on a {attribute}.",)


@pytest.fixture(scope="module", params=HEADS)
def group_run(request, tiny, tmp_path_factory) -> Path:
    """The folder of a run with group prompts of each head."""
    out = tmp_path_factory.mktemp("groups") / request.param
    return fit(tiny, out, head=request.param, prompts="group", group_template=TEMPLATE, baselines=False)


def test_the_classifier_has_weights_of_groups_and_the_row_says_so(group_run):
    tensors = load_file(group_run / "classifier.safetensors")
    assert tensors["weights"].shape == (2, 2, 16)
    row = metrics_of(group_run)["rows"][-1]
    assert (row["method"], row["prompts"], metrics_of(group_run)["saved"]["method"]) == ("gla", "group", "gla")
    assert history_of(group_run)[-1]["epoch"] == 6
    page = (group_run / "report.html").read_text()
    assert "<dt>Sentences, group</dt><dd>a {class} on a {attribute}.</dd>" in page.replace("<wbr>", "")
    assert "tells the groups of class and attribute apart" in page


def test_the_answer_is_the_largest_summed_probability_and_attributes_are_told(group_run, tiny):
    classifier = dbpt.load(group_run)
    features = np.random.default_rng(0).standard_normal((7, 16)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    logits = classifier.head.head.all_logits(classifier.head.tensors, features)
    joint = np.exp(logits.astype(np.float64))
    joint /= joint.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(classifier.head.probabilities(features), joint.sum(axis=2), atol=1e-5)
    np.testing.assert_allclose(classifier.head.attribute_probabilities(features), joint.sum(axis=1), atol=1e-5)
    assert classifier.head.predictions(features).tolist() == joint.sum(axis=2).argmax(axis=1).tolist()
    for found in classifier.predict(tiny.images(3)):
        assert found.prediction in classifier.class_names
        assert found.pseudo_attribute == ["meadow", "lake"][int(found.attribute_probabilities.argmax())]


def test_evaluation_and_predictions_agree_with_the_run(group_run, tiny):
    of_run, again = metrics_of(group_run)["rows"][-1]["test"], dbpt.evaluate(group_run).chosen.record.test
    assert again.worst_group_accuracy == of_run["worst_group_accuracy"]
    lines = (group_run / "predictions.csv").read_text().splitlines()
    predicted = [line.split(",") for line in lines[1:6]]
    found = [each.prediction for each in dbpt.load(group_run).predict(tiny.images(5))]
    assert found == [cells[lines[0].split(",").index("prediction")] for cells in predicted]


def test_the_head_starts_as_the_untrained_group_prompts(tiny):
    settings = tiny.settings | {"head": "linear", "group_template": TEMPLATE, "prompts": "group"}
    head = build_head(prepare(make_config({"data": str(tiny.table), **settings})), "group")
    expected = untrained_weights(settings, tiny).reshape(4, -1)
    np.testing.assert_allclose(head.weights.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_shares_of_the_groups_are_those_of_the_training_images(tiny):
    settings = {"head": "linear", "prompts": "group", "min_group_count": 0.0}
    study = prepare(make_config({"data": str(tiny.table), **tiny.settings, **settings}))
    train_G, val_G = (study.grouping("pseudo").counts(study.rows(split)) for split in ("train", "val"))
    assert np.abs(train_G / train_G.sum() - val_G / val_G.sum()).max() > 0.1
    found = trained_result(study, "gla", "group", checkpoint_path=None, quiet=True).trained
    rows = study.rows("train")
    features, labels, groups = (
        each[rows] for each in (study.features, study.dataset.labels, study.grouping("pseudo").groups)
    )
    logits = build_head(study, "group")(torch.from_numpy(features)).detach().double()
    adjusted = (logits + torch.from_numpy(train_G / train_G.sum()).log()).log_softmax(dim=1)
    assert (groups // 2).tolist() == labels.tolist()
    expected = -adjusted.gather(1, torch.from_numpy(groups)[:, None]).mean().item()
    assert found.history[0].loss == pytest.approx(expected, rel=1e-4)


def test_a_class_may_lack_an_attribute_and_never_gets_it(tiny, tmp_path):
    factors = ["ground: meadow, lake, sand", "ground[disc]: meadow, lake"]
    run = fit(tiny, tmp_path / "run", head="linear", prompts="group", attributes=None, factors=factors)
    bias = load_file(run / "classifier.safetensors")["logit_bias"]
    assert bias.shape == (2, 3)
    assert bias[1, 2] == EXCLUDED  # the classes of a table are sorted
    head = dbpt.load(run).head
    logits = head.head.all_logits(head.tensors, np.eye(16, dtype=np.float32)[:4])
    assert (logits[:, 1, 2] < logits[:, 1, :2].min(axis=1) - 1000).all()


@pytest.mark.parametrize("head", ["prompt", "linear"])
def test_clusters_have_no_words_and_start_as_their_class(head, tiny, tmp_path):
    settings = {"attributes": ("clusters",), "prompts": "group", "head": head}
    study = prepare(make_config({"data": str(tiny.table), **tiny.settings, **settings}))
    first = build_head(study, "group")
    number = study.grouping("pseudo").num_groups
    assert first(torch.eye(16)).shape == (16, number)
    run = fit(tiny, tmp_path / "run", baselines=False, **settings)
    assert dbpt.load(run).head.weights.shape[:2] == (2, number // 2)
    if head == "prompt":
        shapes = {name: tensor.shape for name, tensor in load_file(run / "prompt.safetensors").items()}
        assert shapes == {"context": (3, 16), "offsets": (number, 16)}
    found = next(dbpt.load(run).predict(tiny.images(1)))
    assert found.attribute_probabilities is None


def untrained_weights(settings, tiny):
    """(C, A, D) the text features of the sentences of the groups, times the scale."""
    study = prepare(make_config({"data": str(tiny.table), **settings | {"prompts": "group"}}))
    texts = [f"a {c} on a {a}." for c in ("box", "disc") for a in ("meadow", "lake")]
    features = study.embedded.backbone.encode_text(texts).numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return study.embedded.backbone.logit_scale * unit.reshape(2, 2, -1)


@pytest.mark.parametrize("head", ["linear", "prompt"])
def test_auto_keeps_a_mixture_of_trained_and_untrained_group_prompts(head, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_candidate, "words_fail", lambda *_: False)  # the tiny CLIP knows none
    settings = tiny.settings | {"head": head, "prompts": "auto", "group_template": TEMPLATE, "baselines": False}
    result = dbpt.fit(tiny.table, out=tmp_path / "auto", model_selection="last", **settings)
    metrics = metrics_of(result.folder)
    assert [row["method"] for row in metrics["rows"]] == ["zero-shot", "group-prompts-sum", "dbpt", "gla", "gla:mixed"]
    assert [row["alpha"] for row in metrics["rows"]][1:4] == [0, None, None]
    saved, choice_of = metrics["saved"]["method"], metrics["saved"]["choice"]
    assert (saved, choice_of["hedge"], choice_of["why"]) == ("gla:mixed", "gla:mixed", "last")
    rarest = min(metrics["dataset"]["train_counts_pseudo"])
    alpha = metrics["rows"][-1]["alpha"]
    assert alpha == pytest.approx(rarest**2 / (rarest**2 + 25)) and 0 < alpha < 1
    assert f"<dt>alpha</dt><dd>{alpha}" in (result.folder / "report.html").read_text()
    assert {each["row"] for each in history_of(result.folder)} == {"dbpt", "gla"}
    assert [row.method for row in result.metrics.others(result.chosen.record)] == ["zero-shot"]

    of_groups = settings | {"prompts": "group", "model_selection": "last"}
    trained = dbpt.fit(tiny.table, out=tmp_path / "trained", **of_groups)
    saved, ends = (load_file(each.folder / "classifier.safetensors") for each in (result, trained))
    expected = alpha * ends["logit_scale"] * ends["weights"] + (1 - alpha) * untrained_weights(settings, tiny)
    np.testing.assert_allclose(saved["logit_scale"] * saved["weights"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(saved["logit_bias"], alpha * ends["logit_bias"], rtol=1e-5, atol=1e-6)

    assert dbpt.load(result.folder).config.prompts == "group"
    assert dbpt.evaluate(result.folder).chosen.record.alpha == alpha
    assert dbpt.fit(out=result.folder, resume=True).table() == result.table()

    # A resume may mix otherwise: no checkpoint depends on it.
    for other, name in ((1.0, "gla"), (0.0, "group-prompts-sum")):
        again = dbpt.fit(out=result.folder, resume=True, alpha=other)
        assert metrics_of(again.folder)["saved"]["method"] == name
        both = [load_file(each.folder / "classifier.safetensors") for each in (again, trained)]
        if other:
            assert all(both[0][key].tobytes() == both[1][key].tobytes() for key in both[1])
        else:
            np.testing.assert_allclose(both[0]["weights"], untrained_weights(settings, tiny), rtol=1e-4, atol=1e-4)
    if head == "prompt":
        contexts = [load_file(each / "prompt.safetensors")["context"] for each in (result.folder, trained.folder)]
        assert contexts[0].tobytes() == contexts[1].tobytes()


def test_a_mixture_starts_at_the_sentences_wherever_the_training_did(tiny, tiny_run, tmp_path):
    settings = tiny.settings | {"n_ctx": None, "epochs": 1, "baselines": False, "group_template": TEMPLATE}
    mixed = {"prompts": "group", "alpha": 0.25, "start_from": tiny_run}
    result = dbpt.fit(tiny.table, out=tmp_path / "run", **settings | mixed)
    assert [row.method for row in result.rows] == ["zero-shot", "gla", "gla:mixed"]
    trained = dbpt.fit(tiny.table, out=tmp_path / "trained", **settings | mixed | {"alpha": 1}).folder
    ends = load_file(trained / "classifier.safetensors")
    saved = load_file(result.folder / "classifier.safetensors")["weights"]
    expected = 0.25 * ends["logit_scale"] * ends["weights"] + 0.75 * untrained_weights(settings, tiny)
    np.testing.assert_allclose(saved, expected, rtol=1e-4, atol=1e-4)
    with safe_open(result.folder / "prompt.safetensors", "numpy") as file:
        assert file.metadata()["alpha"] == "0.25"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prompts": "class"}, "--alpha 0.5: it mixes trained group prompts"),
        ({"prompts": "group", "head": "adapter"}, "--alpha 0.5: the logits of head adapter are not linear"),
        ({"prompts": "group", "attributes": ("clusters",)}, "--alpha 0.5: groups without words"),
        ({"prompts": "group", "alpha": 50}, "alpha: must be at most 1, found 50; 50 per cent are 0.5"),
    ],
)
def test_where_nothing_can_be_mixed_alpha_is_refused(given, words, tiny, tmp_path):
    with pytest.raises(InputError, match=words):
        dbpt.fit(tiny.table, out=tmp_path / "run", **tiny.settings | {"head": "linear", "alpha": 0.5} | given)
    assert not (tmp_path / "run").exists()  # not even begun


def test_the_adapter_has_no_mixture_so_validation_chooses(tiny, tmp_path):
    settings = tiny.settings | {"head": "adapter", "prompts": "auto", "group_template": TEMPLATE}
    metrics = metrics_of(dbpt.fit(tiny.table, out=tmp_path / "auto", baselines=False, **settings).folder)
    assert {row["method"] for row in metrics["rows"]} == {"zero-shot", "dbpt", "gla"}
    assert (metrics["saved"]["choice"]["hedge"], metrics["saved"]["choice"]["why"]) == (None, "score")
    scores = {row["method"]: row["repeats"][0]["validation_score"] for row in metrics["rows"][1:]}
    assert metrics["saved"]["method"] == max(scores, key=scores.__getitem__)


@pytest.mark.parametrize(
    ("given", "only", "words"),
    [
        ({"attributes": ("clusters",)}, "unnamed", "no words tell the groups of a class apart"),
        ({"group_source": "ppa", "head": "adapter"}, "unnamed", "no words tell the groups of a class apart"),
        ({"model_selection": "last", "head": "adapter"}, "last", "validation chooses nothing"),
        ({"objective": "kgcoop", "head": "prompt"}, "objective", "the objective can train nothing else"),
    ],
)
def test_auto_trains_class_prompts_alone_where_it_must(given, only, words, tiny, tmp_path):
    settings = tiny.settings | {"head": "linear", "prompts": "auto"} | given
    result = dbpt.fit(tiny.table, out=tmp_path / "run", baselines=False, **settings)
    metrics = metrics_of(result.folder)
    assert metrics["saved"]["only"] == only
    assert metrics["rows"][-1]["prompts"] == "class"
    assert words in " ".join(result.table().split())


def test_alpha_is_no_hindrance_to_class_prompts(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_candidate, "words_fail", lambda *_: True)
    settings = tiny.settings | {"head": "linear", "prompts": "auto", "alpha": 0.5, "model_selection": "last"}
    run = dbpt.fit(tiny.table, out=tmp_path / "run", **settings)
    assert (run.chosen.record.prompts, dbpt.load(run.folder).config.alpha) == ("class", None)
    assert dbpt.fit(out=run.folder, resume=True).table() == run.table()


@pytest.mark.parametrize("given", [{"batch_size": 16}, {"apply": "sampling"}])
def test_a_run_of_auto_can_be_used_if_only_one_of_the_two_samples(given, tiny, tmp_path, printed):
    """The classifier of GLA, which has no weights to sample by, must not be refused for those of dbpt."""
    settings = tiny.settings | {"head": "linear", "prompts": "auto", "group_template": TEMPLATE} | given
    run = dbpt.fit(tiny.table, out=tmp_path / "auto", baselines=False, **settings)
    for prompts in ("class", "group"):
        config = make_config({"data": str(tiny.table), **settings}).for_one(prompts)
        assert (config.prompts, config.apply) == (prompts, given.get("apply") if prompts == "class" else None)
    assert dbpt.evaluate(run.folder).worst_group_accuracy == run.worst_group_accuracy
    assert dbpt.fit(out=run.folder, resume=True).table() == run.table()
    printed("fit", "--config", run.folder / "config.toml", "--out", tmp_path / "again", "--no-baselines")


def test_a_run_is_audited_and_labelled(group_run, tiny, tmp_path, printed):
    printed("audit", tiny.table, "--predictions", group_run, "--out", tmp_path / "audit")
    printed("label", group_run, "--out", tmp_path / "labels", "--n", "12")


def test_prompts_start_as_those_of_other_runs(tiny, tiny_run, tmp_path):
    """A context that all share starts any other, also that of groups without words, whose offsets start at 0."""
    settings = tiny.settings | {"n_ctx": None, "epochs": 1, "baselines": False}
    named, unnamed = {"prompts": "group"}, {"prompts": "group", "group_source": "ppa"}
    first = dbpt.fit(tiny.table, out=tmp_path / "named", start_from=tiny_run, **settings | named).folder
    assert load_file(first / "prompt.safetensors")["context"].shape == (3, 16)
    own = dbpt.fit(tiny.table, out=tmp_path / "unnamed", start_from=first, **settings | unnamed).folder
    started = build_head(
        prepare(make_config({"data": str(tiny.table), "start_from": own, **settings | unnamed})), "group"
    )
    saved = load_file(own / "prompt.safetensors")
    assert started.context.detach().numpy().tobytes() == saved["context"].tobytes()
    assert started.offsets.detach().abs().max() == 0 < np.abs(saved["offsets"]).max()
    for number, given in enumerate(({}, named)):
        dbpt.fit(tiny.table, out=tmp_path / f"again-{number}", start_from=own, **settings | given)


def test_each_class_may_have_a_context_that_its_groups_share(tiny, tmp_path):
    run = fit(tiny, tmp_path / "run", prompts="group", class_specific_context=True, baselines=False)
    assert load_file(run / "prompt.safetensors")["context"].shape == (2, 3, 16)
    assert dbpt.load(run).head.weights.shape == (2, 2, 16)


def test_a_named_objective_is_trained_with_both(tiny, tmp_path):
    metrics = metrics_of(fit(tiny, tmp_path / "run", head="linear", prompts="auto", objective="balanced"))
    names = {"balanced", "group-prompts-sum", "balanced:group", "balanced:group:mixed"}
    assert {row["method"] for row in metrics["rows"]} == {"zero-shot", "erm", *names}


def test_a_comparison_has_rows_of_group_prompts(tiny, tmp_path):
    methods = ["group-prompts-sum", "erm", "erm:group", "balanced:group", "gla", "gla:true", "balanced:true:group"]
    result = compare(tiny, tmp_path / "c", methods=methods, heads=("linear",), seeds=1)
    rows = json.loads((tmp_path / "c" / "compare.json").read_text())["rows"]
    assert [row["method"] for row in rows] == [*methods[:-1], "balanced:group:true"]
    assert rows[-1]["title"] == "balanced (group prompts, true groups)"
    cells = {path.name for path in (result.folder / "cells").iterdir()}
    assert {"balanced-group-true_linear_seed-0.safetensors", "gla_linear_seed-0.safetensors"} <= cells
    again = compare(tiny, result.folder, methods=methods, heads=("linear",), seeds=1, resume=True)
    assert again.table() == result.table()


def test_methods_without_groups_are_chosen_by_average_accuracy_unless_asked_otherwise(tiny, tmp_path):
    settings = tiny.settings | {"head": "linear", "prompts": "class", "epochs": 30}
    asked = {"model_selection": "pseudo-wgp"}
    for given, selection, key in (({}, "average", "val_average"), (asked, "pseudo-wgp", "val_wgp")):
        run = dbpt.fit(tiny.table, out=tmp_path / selection, **settings | given).folder
        erm = next(row for row in metrics_of(run)["rows"] if row["method"] == "erm")
        scores = [each[key] for each in history_of(run) if each["row"] == "erm"]
        assert (erm["model_selection"], erm["repeats"][0]["validation_score"]) == (selection, max(scores))
        assert metrics_of(run)["rows"][-1]["model_selection"] == "pseudo-wgp"


def test_a_comparison_has_the_row_that_fit_saves(tiny, tmp_path):
    settings = {"methods": ["group-prompts-sum", "dbpt", "gla", "gla:mixed"], "seeds": 1}
    result = compare(tiny, tmp_path / "c", heads=("linear", "adapter"), vary={"alpha": [0, 0.5, 1]}, **settings)
    rows = {(row.method, row.head, *(row.record.varied.values())): row for row in result.rows}
    assert [key for key in rows if key[0] == "gla:mixed"] == [("gla:mixed", "linear", each) for each in (0, 0.5, 1)]
    assert any("head adapter" in reason for reason in result.metrics.left_out)
    assert rows["gla:mixed", "linear", 0].groups == rows["group-prompts-sum", None].groups
    assert rows["gla:mixed", "linear", 1].groups == rows["gla", "linear"].groups
    mixed, trained = (rows[key].record.repeats for key in (("gla:mixed", "linear", 0.5), ("gla", "linear")))
    without = {"validation_score": None, "figures": {}, "seconds": 0.0}
    assert [replace(each, **without) for each in mixed] == [replace(each, **without) for each in trained]
    validation = {key[2:]: row.record.validation_score for key, row in rows.items() if key[0] == "gla:mixed"}
    assert validation[1,] == pytest.approx(rows["gla", "linear"].record.validation_score)
    (candidate,) = [row for i in result.metrics.candidates if (row := result.rows[i]).method == "gla:mixed"]
    assert validation[candidate.record.varied["alpha"],] == max(validation.values())
    asked = make_config({"data": "x.csv", "prompts": "auto"})
    plan = make_plan(make_config({"data": "x.csv"}), ["gla:mixed"])
    assert next_steps(Path("c"), asked, plan).fit == "dbpt fit x.csv --out c-gla-mixed"
    plan = make_plan(make_config({"data": "x.csv", "alpha": 0.25}), ["gla:mixed"])
    assert next_steps(Path("c"), asked, plan).fit.endswith("--objective gla --prompts group --alpha 0.25")
    again = compare(tiny, tmp_path / "d", heads=("linear",), alpha=0, **settings)
    assert again.rows[-1].groups == rows["group-prompts-sum", None].groups
    with pytest.raises(InputError, match="made with other settings"):
        compare(tiny, tmp_path / "d", heads=("linear",), alpha=1, resume=True, **settings)
    unread = compare(tiny, tmp_path / "f", alpha=0.5, methods=["gla"], seeds=1).warnings
    assert any(each.startswith("--alpha 0.5 changes nothing") for each in unread)
    with pytest.raises(InputError, match="only --methods NAME:mixed does"):
        make_plan(make_config({"data": "x.csv"}), ["gla"], vary={"alpha": [0, 1]})
    for methods, words in ((["gla:mixed:ppa"], "groups without words"), (["gla:mixed:mixed"], "twice")):
        with pytest.raises(InputError, match=words):
            compare(tiny, tmp_path / "e", heads=("linear",), methods=methods, seeds=1)


def test_a_harder_test_split_is_said():
    def evaluated(right):
        predictions = np.where(np.arange(80) % 40 < right, np.repeat([0, 1], 40), np.repeat([1, 0], 40))
        return group_metrics(predictions, np.repeat([0, 1], 40), np.tile([0, 1], 40), num_classes=2, num_attributes=2)

    for val, test, kinds in ((38, 10, ["test is harder"]), (38, 30, []), (10, 38, [])):
        row = Row(method="gla", title="GLA", val=evaluated(val), test=evaluated(test))
        assert [each.kind for each in saved_candidate.harder_test(row)] == kinds
    assert saved_candidate.harder_test(Row(method="gla", title="GLA", val=None, test=evaluated(10))) == []
    few = group_metrics([1] * 40, [1] * 40, [1] * 40, num_classes=2, num_attributes=2)  # lacks test's worst group
    assert saved_candidate.harder_test(Row(method="gla", title="GLA", val=few, test=evaluated(10))) == []


def test_group_prompts_need_an_attribute(tiny, bare, tmp_path):
    with pytest.raises(InputError, match="no spurious attribute"):
        fit(tiny, tmp_path / "run", bare, attributes=None, prompts="group")
    run = fit(tiny, tmp_path / "auto", bare, attributes=None, prompts="auto", objective="erm")
    assert metrics_of(run)["saved"]["only"] == "no-attribute"
