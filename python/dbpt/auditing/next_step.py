"""The next step after an audit: advice in a sentence, and commands."""

import re
import shlex
from collections.abc import Collection, Sequence

from dbpt.auditing.figures import AuditedFactor, Verdict, WhyNothing
from dbpt.auditing.subject import Subject
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.settings.sections import GUESS_SETTINGS

ADVICE = {
    "untrusted": "Audit again with words that name what can be seen in the images, or give the attribute as a column "
    "of the data.",
    "no evidence": "To look further, audit other suspected attributes, or more images.",
    "nothing to compare": "Add images of each class with another attribute: without them, neither this audit nor "
    "training can tell the class from the attribute.",
}
UNSEEN = (
    "Audit other images, which the classifier hasn't seen: only where it errs can an attribute be the reason of errors."
)
WHOLE_CLASSES = (
    "Find out why the classifier gets whole classes wrong (the report shows which classes it takes them for), and "
    "audit again."
)


def next_step(
    subject: Subject,
    verdict: Verdict,
    guesses: Guesses,
    *,
    by_guesses: bool,
    factors: Sequence[AuditedFactor] = (),
    why_nothing: WhyNothing | None = None,
) -> tuple[str, list[str]]:
    """Return the advice that follows from the verdict, and the commands that it needs.

    ``by_guesses`` says that the groups are those of the ``guesses``. Of several ``factors`` the commands have those
    with a bias. ``why_nothing`` says why there is nothing to compare.
    """
    if verdict.kind == "nothing to compare" and why_nothing in ("no errors", "whole classes"):
        return UNSEEN if why_nothing == "no errors" else WHOLE_CLASSES, []
    if verdict.kind == "nothing to compare" and by_guesses and guesses.n_unknown and not guesses.from_file:
        return "Audit again with a lower --min-confidence, so that more images have an attribute.", []
    if verdict.kind == "untrusted" and by_guesses and guesses.by_probe:
        return "Label the attribute of more images by hand, and audit again.", []
    if verdict.kind != "bias":
        return ADVICE[verdict.kind], []
    data, run = subject.source, f"runs/{subject.dataset.name}"
    options = _without_factors(subject.options, [each.name for each in factors if each.verdict.kind != "bias"])
    fit = shlex.join(["dbpt", "fit", data, "--out", run, *options])
    if subject.by == "run" and OBJECTIVES[subject.config.objective].uses_groups:
        label = shlex.join(["dbpt", "label", subject.title, "--split", "train", "--out", f"{subject.title}-labels"])
        config = ["--config", f"{subject.title}/config.toml"]
        compare = shlex.join(["dbpt", "compare", data, *config, "--out", f"{subject.title}-compare"])
        advice = (
            f"This run was trained against such a bias already, with the objective {subject.config.objective}; to do "
            "the same again changes little. Label a sample by hand, to correct wrong guesses; try other words for the "
            "attribute; add images of the groups that fail; or compare methods and heads on the same data:"
        )
        if guesses.by_clusters:  # which nobody can label
            return advice.replace(" Label a sample by hand, to correct wrong guesses; try other", " Use"), [compare]
        return advice, [label, compare]
    if subject.by != "file":
        return "Train a classifier that relies less on the attribute:", [fit]
    advice = (
        "Let dbpt train a classifier that relies less on the attribute, or train your own again with group weights or "
        "a sampler: dbpt.GroupSampler draws each group"
    )
    if not by_guesses or guesses.from_file:
        return f"{advice} of class and attribute, which are known, equally often.", [fit]
    guess = ["dbpt", "guess", data, "--out", f"{subject.dataset.name}-guesses.csv"]
    guess += subject.config.options(GUESS_SETTINGS)
    return f"{advice} that dbpt guess writes equally often.", [fit, shlex.join(guess)]


def _without_factors(options: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the options without the entries of those factors in ``--factors`` and ``--columns``."""
    kept, flag = [], ""
    for option in options:
        flag = option if option.startswith("--") else flag
        if flag not in ("--factors", "--columns") or re.split(r"[\[:=]", option)[0].strip() not in names:
            kept.append(option)
    return [
        option
        for option, after in zip(kept, [*kept[1:], "--"], strict=False)
        if option != "--columns" or not after.startswith("--")
    ]
