"""The step that follows from the verdict of an audit, with its commands."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbpt.data import Vocabulary, entries_of, factor_entries
from dbpt.data.words import Factor
from dbpt.errors import InputError
from dbpt.evaluation.audit_fields import AuditedFactor, FewerNames, NextStep, StepKind, Verdict
from dbpt.evaluation.audit_subject import Subject
from dbpt.guesses.base import BY_VALUES, OWN_VALUES
from dbpt.guesses.figures import Guesses
from dbpt.objectives import OBJECTIVES
from dbpt.report.text import label_command
from dbpt.runs.run_folder import RUN_FOLDER
from dbpt.settings.all_settings import AUDIT_SETTINGS, GUESS_SETTINGS
from dbpt.settings.fields import Command

TRAINING_SETTINGS = AUDIT_SETTINGS | {"group_template"}
"""Settings that the next commands, which may train, take over from the audit or from its run."""
UNRELATED = 0.1
"""Below this Cramér's V in the training images, group weights can't lessen a bias.

Of two equally frequent classes, 0.1 is a mix of 55 to 45: the weights of the two groups of a class differ by a factor
of 1.2, and the attribute tells the class of 55 % of the images. At 0.3 it is 65 to 35, a factor of 1.9.
"""


def next_step(
    subject: Subject,
    verdict: Verdict,
    guesses: Guesses,
    *,
    by_guesses: bool,
    factors: Sequence[AuditedFactor] = (),
    association: float | None = None,
) -> NextStep:
    """Return the step that follows from the verdict, and the commands that it needs.

    Args:
        subject, verdict, guesses: what is audited, the result, and the guesses of the attribute.
        by_guesses: whether the groups are those of the ``guesses``.
        factors: if there are several, the commands have those with a bias.
        association: Cramér's V of class and attribute in the training images; None if unknown.
    """
    untrusted = by_guesses and verdict.kind == "untrusted"
    left_out = [factor.name for factor in factors if factor.verdict.kind != "bias"]
    is_known = not by_guesses or guesses.provenance in ("file", *BY_VALUES)
    if untrusted and guesses.provenance != "probe" and (fewer := _fewer_names(subject, guesses)):
        step = fewer
    elif verdict.kind != "bias":
        kind: StepKind = verdict.why_nothing or verdict.kind
        if by_guesses and kind == "one attribute" and guesses.n_unknown and not is_known:
            kind = "lower confidence"
        step = NextStep("label more" if untrusted and guesses.provenance == "probe" else kind)
    elif subject.by == "run" and OBJECTIVES[subject.config.trained_objective].uses_groups:
        can_label = guesses.provenance not in OWN_VALUES and _has_the_guesses(subject.title, subject)
        step = _other_methods(subject, left_out, can_label=can_label)
    elif association is not None and association < UNRELATED:
        step = replace(_without_weights(subject, left_out), cramers_v=association)
    else:
        step = _train(subject, left_out, writes_guesses=subject.by == "file" and not is_known)
    if verdict.kind == "bias":
        step = replace(step, doubted=[factor.name for factor in factors if factor.verdict.kind == "untrusted"])
    if by_guesses and guesses.provenance not in OWN_VALUES and subject.config.opens_images:
        step = replace(step, label=_label(subject, step))
    return step


def _label(subject: Subject, step: NextStep) -> list[str]:
    """Return what draws a sample to label: of the audited run, or of one with its guesses that ``step`` may train.

    Empty if ``step`` does so, as it does after a method, or if no training images make a run.
    """
    if step.method is not None or not subject.dataset.in_split("train").any():
        return []
    if subject.by == "run" and (audited := subject.predictions_named) and _has_the_guesses(audited, subject):
        return [label_command(Path(audited))]
    is_trained = step.kind in ("train", "train without weights")
    run = f"runs/{subject.dataset.name}"
    fit = Command("fit", subject.source, {"out": run, "head": "linear"} | _settings(subject, (), TRAINING_SETTINGS))
    return [*([] if is_trained else [str(fit)]), label_command(Path(run))]


def _has_the_guesses(run: str, subject: Subject) -> bool:
    """Return whether a run was trained with the guesses that are audited."""
    own, names = RUN_FOLDER.read_settings(Path(run)), ("data", "attributes", "factors")
    return all(getattr(own, name) == getattr(subject.config, name) for name in names)


def _fewer_names(subject: Subject, guesses: Guesses) -> NextStep | None:
    """Return the step to an audit without the names to leave out; None if there are none."""
    words = subject.dataset.words
    left_out = {factor.name: factor.leave_out for factor in guesses.factors}
    suspects = [_without_values(suspect, left_out[suspect.name]) for suspect in words.suspects]
    fewer = [FewerNames(left_out[suspect.name], list(suspect.values)) for suspect in suspects if left_out[suspect.name]]
    if not fewer:
        return None
    step = NextStep("fewer names", fewer_names=fewer)
    if subject.predictions_named is None:  # an array
        return step
    setting = "factors" if words.factors else "attributes"
    try:
        entries = factor_entries(suspects) if words.factors else _short_entries(suspects[0].values)
    except InputError:  # names from the data that options can't have
        return step
    out = f"audits/{subject.dataset.name}-fewer-names"
    arguments = subject.asked.given(subject.read - {setting}) | {setting: entries} | subject.whose() | {"out": out}
    return replace(step, commands=[str(Command("audit", subject.source, arguments))])


def _without_values(factor: Factor, names: Collection[str]) -> Factor:
    """Return the factor without some of its values."""
    return replace(
        factor,
        values={name: wordings for name, wordings in factor.values.items() if name not in names},
        shared=tuple(name for name in factor.shared if name not in names),
        of_class={key: tuple(value for value in own if value not in names) for key, own in factor.of_class.items()},
    )


def _short_entries(values: Vocabulary) -> list[str]:
    """Return the entries of ``--attributes``, those of names that are their only wording without it."""
    entries = zip(entries_of(values, "--attributes"), values.items(), strict=True)
    return [name if (name,) == wordings else entry for entry, (name, wordings) in entries]


def _without_weights(subject: Subject, left_out: Sequence[str]) -> NextStep:
    """Return the step if class and attribute are unrelated in the training images, so reweighting can't help."""
    settings = _settings(subject, left_out, TRAINING_SETTINGS - {"seed"})
    out = f"runs/{subject.dataset.name}"
    by_sentences = () if subject.config.lacks_words else ("group-prompts",)
    own = {"methods": ("zero-shot", *by_sentences, "erm"), "heads": "linear", "out": f"{out}-compare"}
    compare = str(Command("compare", subject.source, own | settings))
    if subject.by != "zero-shot":
        return NextStep("compare", commands=[compare])
    fit = Command("fit", subject.source, {"out": out, "objective": "erm"} | settings)
    return NextStep("train without weights", commands=[str(fit), compare])


def _other_methods(subject: Subject, left_out: Sequence[str], *, can_label: bool) -> NextStep:
    """Return the step after a run that was trained against such a bias already."""
    run, own = subject.title, _settings(subject, left_out, {"factors", "columns"}) if left_out else {}
    arguments = {"config": f"{run}/config.toml"} | own | {"out": f"{run}-compare"}
    compare = Command("compare", subject.source, arguments)
    label = Command("label", run, {"split": "train", "out": f"{run}-labels"})
    commands = [label, compare] if can_label else [compare]
    return NextStep("compare", commands=list(map(str, commands)), method=subject.config.method)


def _train(subject: Subject, left_out: Sequence[str], *, writes_guesses: bool) -> NextStep:
    """Return the step that trains against a bias; ``writes_guesses`` says that a user's own training needs them."""
    source, name = subject.source, subject.dataset.name
    commands = [Command("fit", source, {"out": f"runs/{name}"} | _settings(subject, left_out, TRAINING_SETTINGS))]
    if writes_guesses:
        own = {"out": f"{name}-guesses.csv"}
        commands.append(Command("guess", source, own | _settings(subject, left_out, GUESS_SETTINGS)))
    return NextStep("train", commands=list(map(str, commands)))


def _settings(subject: Subject, left_out: Collection[str], settings: Collection[str]) -> dict[str, Any]:
    """Return the values of these settings, without the entries of the factors that are left out."""

    def kept(entries: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return tuple(entry for entry in entries or () if re.split(r"[\[:=]", entry)[0].strip() not in left_out) or None

    asked = subject.asked
    return replace(asked, factors=kept(asked.factors), columns=kept(asked.columns)).given(settings)
