"""What an audit advises to do next, for each verdict and each classifier; its commands are run."""

import shlex
from dataclasses import replace

import pytest
from made_up_audit import figures_of
from made_up_guesses import factor_guesses, guesses_of
from made_up_results import worded
from runs import fit
from tiny import ATTRIBUTES, CLASSES, GROUPS

import dbpt
from dbpt.commands.audit.next_step import next_step
from dbpt.evaluation.audit_fields import AuditedFactor, FewerNames, Verdict
from dbpt.evaluation.audit_subject import figures_of_subject, subject_of
from dbpt.report.discovery_sentences import advice_of

BIAS = Verdict(kind="bias", sentence="It errs.")
UNTRUSTED = Verdict(kind="untrusted", sentence="", doubts=worded("nonsense"))
GUESSES = guesses_of(mean_confidence=1.0)


def step_after(subject, verdict, guesses, *, by_guesses, figures=None, **of):
    step = next_step(subject, verdict, guesses, by_guesses=by_guesses, **of)
    figures = replace(
        figures or figures_of(),
        data=figures_of_subject(subject, "")["data"],
        verdict=verdict,
        guesses=guesses,
        group_kind="pseudo" if by_guesses else "true",
        predictions_by=subject.by,
        next_step=step,
    )
    sentence = advice_of(figures)
    assert (step.method is None) is ("already trained against such" not in sentence)
    assert (step.cramers_v is None) is ("Cramér's V" not in sentence)
    return step.kind, sentence, step.commands


@pytest.fixture
def run_all(command, monkeypatch, tmp_path):
    """Run commands in an empty folder; those that train are short."""
    monkeypatch.chdir(tmp_path)

    def run_all(commands, **more):
        for line in commands:
            program, verb, *arguments = shlex.split(line)
            code, _, told = command(verb, *arguments, *more.get(verb, []))
            assert (program, code) == ("dbpt", 0), f"{line}: {told}"

    return run_all


def test_zero_shot_clip_is_trained(tiny, settings, run_all):
    subject = subject_of("zero-shot", str(tiny.table), settings, None, None)
    _, advice, commands = step_after(subject, BIAS, GUESSES, by_guesses=True)
    assert advice == "Train a classifier that relies less on the attribute:"
    assert [line.split()[:2] for line in commands] == [["dbpt", "fit"]]
    label = next_step(subject, BIAS, GUESSES, by_guesses=True).label  # a sample of the run of that command
    run_all([*commands, *label], fit=["--epochs", "1", "--head", "linear"], label=["--n", "8"])


def test_the_users_own_classifier_may_be_trained_again_with_a_sampler(tiny, tiny_run, settings, run_all, tmp_path):
    plain = settings | {"average": "plain"}
    subject = subject_of(str(tiny_run / "predictions.csv"), str(tiny.table), plain, None, None)
    _, advice, commands = step_after(subject, BIAS, GUESSES, by_guesses=True)
    assert "dbpt.GroupSampler draws each group that dbpt guess writes" in advice
    assert [line.split()[1] for line in commands] == ["fit", "guess"]
    run_all(commands[1:])
    assert (tmp_path / "squares-guesses.csv").exists()
    _, advice, commands = step_after(subject, BIAS, GUESSES, by_guesses=False)
    assert "which are known" in advice and [line.split()[1] for line in commands] == ["fit"]


@pytest.mark.parametrize(("association", "weights"), [(0.05, False), (0.0999, False), (0.1, True), (None, True)])
def test_group_weights_are_advised_where_class_and_attribute_are_related_in_training(
    tiny, settings, run_all, association, weights
):
    subject = subject_of(["disc"] * 32, str(tiny.table), settings | {"seed": 3}, None, None)
    told = {"by_guesses": False, "association": association}
    figures = dbpt.audit(tiny.table, **settings).figures
    worse = figures.groups[0]
    named = replace(BIAS, group=worse.index)
    _, advice, commands = step_after(subject, named, GUESSES, figures=figures, **told)
    assert ("train your own again with group weights" in advice) is weights
    by_clip = subject_of("zero-shot", str(tiny.table), settings, None, None)
    _, of_clip, trained = step_after(by_clip, BIAS, GUESSES, **told)
    if weights:
        assert of_clip == "Train a classifier that relies less on the attribute:"
        return
    assert f"almost unrelated in the training images (Cramér's V {association:.2f})" in advice
    assert f"add more or clearer images of '{worse.class_name}' with '{worse.attribute}'" in advice
    assert [line.split()[1] for line in commands] == ["compare"] and "images of the groups that fail" in of_clip
    assert [line.split()[1] for line in trained] == ["fit", "compare"] and "--objective erm" in trained[0]
    if association == 0.05:
        run_all(commands, compare=["--epochs", "1", "--seeds", "1"])
        run_all(trained[:1], fit=["--epochs", "1", "--head", "linear"])


def test_the_advice_is_chosen_by_the_association_in_the_training_images(tiny, settings):
    """The audited images are balanced, and all discs on lakes are taken for boxes."""
    audited = [row | {"split": "test"} for row in tiny.rows() if row["split"] != "train"]
    mine = ["box" if row["attribute"] == "lake" else row["label"] for row in audited]
    for related in (False, True):
        rows = [*audited]
        for label, attribute in GROUPS:
            if not related or label == attribute:
                of_group = (CLASSES[label], ATTRIBUTES[attribute])
                members = [row for row in tiny.rows() if (row["label"], row["attribute"]) == of_group]
                rows += [row for row in members if row["split"] == "train"][:5]
        found = dbpt.audit(tiny.write(f"advised-{related}", rows), predictions=mine, **settings)
        assert found.verdict.kind == "bias"
        assert ("almost unrelated" in found.figures.next_step.sentence) is not related
        assert found.figures.training_cramers_v == (1.0 if related else pytest.approx(0, abs=0.1))


def test_a_run_against_the_bias_is_not_trained_again(tiny, tiny_run, run_all, tmp_path):
    subject = subject_of(str(tiny_run), None, {}, None, None)
    _, advice, commands = step_after(subject, BIAS, GUESSES, by_guesses=True)
    assert "already trained against such a bias, with the objective dbpt" in advice
    assert [line.split()[1] for line in commands] == ["label", "compare"]
    others = replace(subject, config=replace(subject.config, attributes=("left", "right")))
    _, _, to_compare = step_after(others, BIAS, GUESSES, by_guesses=True)  # the run has guesses of others to label
    assert [line.split()[1] for line in to_compare] == ["compare"]
    assert dbpt.audit(predictions=tiny_run).figures.next_step.commands == []  # no bias there
    moved = [line.replace(f"{tiny_run}-", f"{tmp_path}/") for line in commands]
    run_all(
        moved,
        compare=["--epochs", "1", "--seeds", "1", "--methods", "erm", "dbpt", "--heads", "linear"],
        label=["--n", "8"],
    )


def test_a_run_without_group_weights_is_trained_with_them(tiny, tmp_path):
    run = fit(
        tiny, tmp_path / "erm", objective="erm", model_selection="average", head="linear", baselines=False, epochs=1
    )
    subject = subject_of(str(run), None, {}, None, None)
    _, advice, commands = step_after(subject, BIAS, GUESSES, by_guesses=True)
    assert advice.startswith("Train") and [line.split()[1] for line in commands] == ["fit"]
    assert "erm" not in shlex.split(commands[0])  # its objective is that of dbpt


def test_a_sample_of_guesses_can_be_labelled_after_any_audit(tiny, settings, run_all):
    fit, label = dbpt.audit(without_attributes(tiny, "next-label"), **settings).figures.next_step.label
    run_all([fit, label], fit=["--epochs", "1"], label=["--n", "8"])
    assert dbpt.audit(predictions="runs/next-label").figures.next_step.label == [label]
    others = dbpt.audit(predictions="runs/next-label", attributes=("sky", "sea"))  # which the run didn't guess
    assert [line.split()[1] for line in others.figures.next_step.label] == ["fit", "label"]
    assert not dbpt.audit(tiny.table, **settings).figures.next_step.label  # the groups are known


def test_what_helps_where_nothing_could_be_compared(tiny, settings):
    subject = subject_of("zero-shot", str(tiny.table), settings | {"min_confidence": 0.999999}, None, None)
    found = dbpt.audit(tiny.write("next-none", [{**row, "attribute": ""} for row in tiny.rows()]),
                       min_confidence=0.999999, **settings)  # fmt: skip
    assert found.verdict.kind in ("nothing to compare", "untrusted")
    assert "no image was guessed" not in str(found.verdict)
    nothing = Verdict(kind="nothing to compare", sentence="", why_nothing="one attribute")
    unknown = guesses_of(n_unknown=5)
    for verdict, guesses, kind in (
        (nothing, unknown, "lower confidence"),
        (nothing, GUESSES, "one attribute"),
        (replace(nothing, why_nothing="no errors"), unknown, "no errors"),
        (replace(nothing, why_nothing="whole classes"), unknown, "whole classes"),
        (Verdict(kind="no evidence", sentence=""), GUESSES, "no evidence"),
        (UNTRUSTED, GUESSES, "untrusted"),
    ):
        assert next_step(subject, verdict, guesses, by_guesses=True).kind == kind


def without_attributes(tiny, name):
    return tiny.write(name, [{**row, "attribute": ""} for row in tiny.rows()])


def without(leave_out):
    return guesses_of(doubts=worded("nonsense"), leave_out=leave_out)


def audited_factor(name, verdict):
    nothing = {"values": [], "groups": [], "cramers_v": None, "explained": None, "explained_beyond": None}
    return AuditedFactor(name=name, group_kind="pseudo", verdict=verdict, **nothing)


def test_some_of_many_names_are_left_out_of_the_next_audit(tiny, settings, run_all, tmp_path):
    table = without_attributes(tiny, "fewer")
    settings |= {"attributes": ("meadow=grass|meadow", "lake", "sky", "tree=oak|elm")}
    subject = subject_of("zero-shot", str(table), settings, None, None)
    _, advice, commands = step_after(subject, UNTRUSTED, without(["lake", "sky"]), by_guesses=True)
    assert advice == "Audit again without 'lake' and 'sky': 'meadow' and 'tree' alone raise no doubt."
    (line,) = commands
    assert "--attributes 'meadow=grass|meadow' 'tree=oak|elm' --predictions zero-shot --split test --out" in line
    run_all(commands)
    assert (tmp_path / "audits/fewer-fewer-names/audit.html").exists()
    _, advice, commands = step_after(subject, UNTRUSTED, without([]), by_guesses=True)
    assert advice.startswith("Audit again with words that name") and commands == []
    fewer = next_step(subject, UNTRUSTED, without(["sky"]), by_guesses=True).fewer_names
    assert fewer == [FewerNames(leave_out=["sky"], kept=["meadow", "lake", "tree"])]
    array = subject_of(["disc"] * len(subject.audited), str(table), settings, None, None)
    assert next_step(array, UNTRUSTED, without(["sky"]), by_guesses=True).commands == []  # which no command can name


def test_values_of_a_factor_are_left_out_of_the_next_audit(tiny, settings, run_all):
    table = without_attributes(tiny, "fewer-values")
    factors = ("ground: meadow, lake=lake|pond, sky", "light: day, night")
    subject = subject_of("zero-shot", str(table), settings | {"attributes": None, "factors": factors}, None, None)
    ground = factor_guesses(
        name="ground", values=["meadow", "lake", "sky"], doubts=worded("nonsense"), leave_out=["sky"]
    )
    guesses = guesses_of(ground, factor_guesses(name="light", values=["day", "night"]))
    _, advice, commands = step_after(subject, UNTRUSTED, guesses, by_guesses=True)
    assert advice == "Audit again without 'sky': 'meadow' and 'lake' alone raise no doubt."
    assert "--factors 'ground: meadow, lake=lake|pond' 'light: day, night'" in commands[0]
    run_all(commands)


def test_commands_against_a_bias_leave_out_a_factor_in_doubt_and_say_so(tiny, tiny_run, settings, run_all):
    factors = ("ground: meadow, lake", "kind[disc]: coin, plate", "kind[box]: crate, chest")
    changed = {"attributes": None, "factors": factors, "columns": {"attribute": ""}}
    subject = subject_of(str(tiny_run / "predictions.csv"), str(tiny.table), settings | changed, None, None)
    audited = [audited_factor("ground", BIAS), audited_factor("kind", UNTRUSTED)]
    _, advice, commands = step_after(subject, BIAS, GUESSES, by_guesses=True, factors=audited)
    assert advice.startswith("First find out whether kind is the reason: audit again with other words for its values")
    assert "What follows leaves kind out. Let dbpt train" in advice
    assert [line.split()[1] for line in commands] == ["fit", "guess"]
    assert all("kind" not in line and "'ground: meadow, lake'" in line for line in commands)
    run_all(commands[1:])
