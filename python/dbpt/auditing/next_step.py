"""The next step after an audit: advice in a sentence, and commands."""

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace

from dbpt.auditing.figures import NextStep, StepKind
from dbpt.auditing.subject import Subject
from dbpt.data import SPLITS, Vocabulary, entries_of, factor_entries
from dbpt.data.words import Factor
from dbpt.errors import InputError, in_quotes
from dbpt.groups import Group
from dbpt.guesses.trust import Guesses
from dbpt.objectives import OBJECTIVES
from dbpt.report.verdicts import AuditedFactor, Verdict
from dbpt.settings.sections import AUDIT_SETTINGS, GUESS_SETTINGS

ADVICE: dict[StepKind, str] = {
    "untrusted": "Audit again with words that name what can be seen in the images, or give the attribute as a column "
    "of the data.",
    "no evidence": "To look further, audit other suspected attributes, or more images.",
    "one attribute": "Add images of each class with another attribute: without them, neither this audit nor training "
    "can tell the class from the attribute.",
    "no errors": "Audit other images, which the classifier hasn't seen: only where it errs can an attribute be the "
    "reason of errors.",
    "whole classes": "Find out why the classifier gets whole classes wrong (the report shows which classes it takes "
    "them for), and audit again.",
    "lower confidence": "Audit again with a lower --min-confidence, so that more images have an attribute.",
    "label more": "Label the attribute of more images by hand, and audit again.",
}
TRAINING_SETTINGS = AUDIT_SETTINGS | {"group_template"}
"""What the next commands, which may train, take over from the audit or from its run."""
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
    worse: Group | None = None,
) -> NextStep:
    """Return the advice that follows from the verdict, and the commands that it needs.

    ``by_guesses`` says that the groups are those of the ``guesses``. Of several ``factors`` the commands have those
    with a bias. ``association`` is Cramér's V of class and attribute in the training images, None if it is unknown, and
    ``worse`` the worse group that the verdict names.
    """
    untrusted = by_guesses and verdict.kind == "untrusted"
    if untrusted and not guesses.by_probe and (fewer := _fewer_names(subject, guesses)):
        return fewer
    if verdict.kind != "bias":
        kind: StepKind = verdict.why_nothing or verdict.kind
        if by_guesses and kind == "one attribute" and guesses.n_unknown and not guesses.from_file:
            kind = "lower confidence"
        kind = "label more" if untrusted and guesses.by_probe else kind
        return NextStep(kind, ADVICE[kind])
    is_trained = subject.by == "run" and OBJECTIVES[subject.config.trained_objective].uses_groups
    if association is not None and association < UNRELATED and not is_trained:
        step = _without_weights(subject, association, worse, factors)
    else:
        step = _against_bias(subject, guesses, by_guesses=by_guesses, factors=factors)
    if doubted := [each.name for each in factors if each.verdict.kind == "untrusted"]:
        called, its, columns = " and ".join(doubted), "its", "a column"
        if doubted[1:]:
            its, columns = "their", "columns"
        first = (
            f"First find out whether {called} is the reason: audit again with other words for {its} values, or with "
            f"{its} values as {columns} of the data. What follows leaves {called} out."
        )
        step = replace(step, sentence=f"{first} {step.sentence}")
    return step


def _fewer_names(subject: Subject, guesses: Guesses) -> NextStep | None:
    """Return advice and command for an audit without the names to leave out; None if there are none."""
    words = subject.dataset.words
    left_out = {each.name: each.leave_out for each in guesses.by_suspect}
    suspects = [_without_values(each, left_out[each.name]) for each in words.suspects]
    said = [
        f"{in_quotes(left_out[each.name])}: {in_quotes(each.values)} alone raise no doubt"
        for each in suspects
        if left_out[each.name]
    ]
    if not said:
        return None
    step = NextStep("fewer names", f"Audit again without {'; and without '.join(said)}.")
    if subject.by == "file" and "--predictions" not in subject.which:  # an array
        return step
    flag = "--factors" if words.factors else "--attributes"
    try:
        entries = factor_entries(suspects) if words.factors else _short_entries(suspects[0].values)
    except InputError:  # names from the data that options can't have
        return step
    given = subject.asked.options(subject.read - {flag.removeprefix("--")})
    options = [*given, flag, *entries, *subject.which]
    out = ["--out", f"audits/{subject.dataset.name}-fewer-names"]
    return replace(step, commands=[shlex.join(["dbpt", "audit", subject.source, *options, *out])])


def _without_values(factor: Factor, names: Collection[str]) -> Factor:
    """Return the factor without some of its values."""
    return replace(
        factor,
        values={name: wordings for name, wordings in factor.values.items() if name not in names},
        shared=tuple(name for name in factor.shared if name not in names),
        of_class={key: tuple(each for each in own if each not in names) for key, own in factor.of_class.items()},
    )


def _short_entries(values: Vocabulary) -> list[str]:
    """Return the entries of ``--attributes``, those of names that are their only wording without it."""
    entries = zip(entries_of(values, "--attributes"), values.items(), strict=True)
    return [name if (name,) == wordings else entry for entry, (name, wordings) in entries]


def _without_weights(
    subject: Subject, association: float, worse: Group | None, factors: Sequence[AuditedFactor]
) -> NextStep:
    """Return advice and commands against a bias that the training images can't teach, so that weights can't help."""
    left_out = [each.name for each in factors if each.verdict.kind != "bias"]
    options, name = _options(subject, left_out, TRAINING_SETTINGS - {"seed"}), subject.dataset.name
    methods = ["--methods", "zero-shot", "group-prompts", "erm", "--heads", "linear"]
    compare = shlex.join(["dbpt", "compare", subject.source, *methods, "--out", f"runs/{name}-compare", *options])
    divided = bool((subject.dataset.splits != SPLITS.index("train")).any())
    images = "the training images" if divided else "these images"
    failing = f"of {worse.class_name!r} with {worse.attribute!r}" if worse else "of the groups that fail"
    advice = (
        f"Class and attribute are almost unrelated in {images} (Cramér's V {association:.2f}), so training on them "
        "doesn't make the attribute a shortcut to the class, and group weights have nothing to correct."
    )
    if subject.by == "file":
        learnt = "If the classifier learnt the shortcut from other images, train it again on images like these; or"
        advice += f" {learnt} add more or clearer images {failing}, or compare it with CLIP:"
        return NextStep("compare", advice, [compare])
    others = (
        f"add more or clearer images {failing}, take a larger backbone (--model) or other wordings of the classes, or "
        "try prompts that name the attribute too (group-prompts):"
    )
    if subject.by != "zero-shot":
        return NextStep("compare", f"{advice} Instead, {others}", [compare])
    fit = ["dbpt", "fit", subject.source, "--out", f"runs/{name}", "--objective", "erm", *options]
    advice += f" Ordinary training on them can lessen the bias of zero-shot CLIP; or {others}"
    return NextStep("train without weights", advice, [shlex.join(fit), compare])


def _against_bias(
    subject: Subject, guesses: Guesses, *, by_guesses: bool, factors: Sequence[AuditedFactor]
) -> NextStep:
    """Return advice and commands to train against a bias. They leave out the factors without one."""
    data, run = subject.source, f"runs/{subject.dataset.name}"
    left_out = [each.name for each in factors if each.verdict.kind != "bias"]
    options = _options(subject, left_out, TRAINING_SETTINGS)
    fit = shlex.join(["dbpt", "fit", data, "--out", run, *options])
    if subject.by == "run" and OBJECTIVES[subject.config.trained_objective].uses_groups:
        config = ["--config", f"{subject.title}/config.toml"]
        if left_out:
            config += _options(subject, left_out, {"factors", "columns"})
        compare = shlex.join(["dbpt", "compare", data, *config, "--out", f"{subject.title}-compare"])
        by_hand, commands = "Label a sample by hand, to correct wrong guesses; try other", [compare]
        if guesses.by_clusters:  # which nobody can label
            by_hand = "Use"
        else:
            label = ["dbpt", "label", subject.title, "--split", "train", "--out", f"{subject.title}-labels"]
            commands = [shlex.join(label), compare]
        advice = (
            f"This run was trained against such a bias already, with the objective {subject.config.method}; to do "
            f"the same again changes little. {by_hand} words for the attribute; add images of the groups that fail; or "
            "compare methods and heads on the same data:"
        )
        return NextStep("compare", advice, commands)
    commands = [fit]
    if subject.by != "file":
        advice = "Train a classifier that relies less on the attribute:"
    else:
        advice = (
            "Let dbpt train a classifier that relies less on the attribute, or train your own again with group weights "
            "or a sampler: dbpt.GroupSampler draws each group "
        )
        if not by_guesses or guesses.from_file:
            advice += "of class and attribute, which are known, equally often."
        else:
            guess = ["dbpt", "guess", data, "--out", f"{subject.dataset.name}-guesses.csv"]
            guess += _options(subject, left_out, GUESS_SETTINGS)
            advice, commands = f"{advice}that dbpt guess writes equally often.", [fit, shlex.join(guess)]
    return NextStep("train", advice, commands)


def _options(subject: Subject, left_out: Collection[str], settings: Collection[str]) -> list[str]:
    """Return the options of these settings, without the entries of the factors that are left out."""

    def kept(entries: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return tuple(each for each in entries or () if re.split(r"[\[:=]", each)[0].strip() not in left_out) or None

    asked = subject.asked
    return replace(asked, factors=kept(asked.factors), columns=kept(asked.columns)).options(settings)
