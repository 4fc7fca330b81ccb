"""The next step after an audit: its fields, and the sentence that is made of them."""

from dataclasses import dataclass, field
from typing import Literal

from dbpt.errors import in_quotes
from dbpt.groups import Group
from dbpt.report.verdicts import VerdictKind, WhyNothing
from dbpt.runs.metrics import PredictionsBy

StepKind = Literal[
    VerdictKind,
    WhyNothing,
    "lower confidence", "label more", "fewer names",
    "train", "train without weights", "compare",
]  # fmt: skip
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


@dataclass(frozen=True)
class FewerNames:
    """The names of an attribute to leave out, and those to keep, which raise no doubt."""

    leave_out: list[str]
    kept: list[str]


@dataclass(frozen=True)
class NextStep:
    """The advice that follows from a verdict, and the ``commands`` that it needs.

    Without a bias, ``kind`` is usually that of the verdict, or why there is nothing to compare. The ``sentence`` says
    it with the other fields: the ``fewer_names`` of each attribute that has too many, the factors ``doubted``, which
    may be the reason of errors, Cramér's V of class and attribute if it is too small for group weights to help, and the
    ``method`` by which a run was trained against such a bias already.
    """

    kind: StepKind
    sentence: str = ""
    commands: list[str] = field(default_factory=list)
    fewer_names: list[FewerNames] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    cramers_v: float | None = None
    method: str | None = None


def advice_of(
    step: NextStep, by: PredictionsBy, worse: Group | None, *, is_divided: bool, by_clusters: bool, is_known: bool
) -> str:
    """Return the sentence of a step.

    Args:
        step: kind and values.
        by: whose errors they are.
        worse: the worse group that the verdict names.
        is_divided: whether the data have splits.
        by_clusters: whether the groups are clusters, which nobody can label.
        is_known: whether the attributes are in the data or in a file.
    """
    if step.kind == "fewer names":
        parts = [
            f"{in_quotes(each.leave_out)}: {in_quotes(each.kept)} alone raise no doubt" for each in step.fewer_names
        ]
        return f"Audit again without {'; and without '.join(parts)}."
    if step.kind in ADVICE:
        return ADVICE[step.kind]
    if step.cramers_v is not None:
        sentence = _without_weights(step, by, worse, is_divided)
    elif step.method is not None:
        by_hand = "Use" if by_clusters else "Label a sample by hand, to correct wrong guesses; try other"
        sentence = (
            f"This run was trained against such a bias already, with the objective {step.method}; to do the same again "
            f"changes little. {by_hand} words for the attribute; add images of the groups that fail; or compare "
            "methods and heads on the same data:"
        )
    elif by != "file":
        sentence = "Train a classifier that relies less on the attribute:"
    else:
        groups = "of class and attribute, which are known," if is_known else "that dbpt guess writes"
        sentence = (
            "Let dbpt train a classifier that relies less on the attribute, or train your own again with group weights "
            f"or a sampler: dbpt.GroupSampler draws each group {groups} equally often."
        )
    return f"{_find_out_first(step.doubted)} {sentence}" if step.doubted else sentence


def _without_weights(step: NextStep, by: PredictionsBy, worse: Group | None, is_divided: bool) -> str:
    """Return advice against a bias that the training images can't teach, so that weights can't help."""
    images = "the training images" if is_divided else "these images"
    failing = f"of {worse.class_name!r} with {worse.attribute!r}" if worse else "of the groups that fail"
    advice = (
        f"Class and attribute are almost unrelated in {images} (Cramér's V {step.cramers_v:.2f}), so training on them "
        "doesn't make the attribute a shortcut to the class, and group weights have nothing to correct."
    )
    if by == "file":
        learnt = "If the classifier learnt the shortcut from other images, train it again on images like these; or"
        return f"{advice} {learnt} add more or clearer images {failing}, or compare it with CLIP:"
    others = (
        f"add more or clearer images {failing}, take a larger backbone (--model) or other wordings of the classes, or "
        "try prompts that name the attribute too (group-prompts):"
    )
    if by != "zero-shot":
        return f"{advice} Instead, {others}"
    return f"{advice} Ordinary training on them can lessen the bias of zero-shot CLIP; or {others}"


def _find_out_first(doubted: list[str]) -> str:
    """Return the advice to judge the ``doubted`` factors before a step that leaves them out."""
    called = " and ".join(doubted)
    its, columns = ("their", "columns") if doubted[1:] else ("its", "a column")
    return (
        f"First find out whether {called} is the reason: audit again with other words for {its} values, or with "
        f"{its} values as {columns} of the data. What follows leaves {called} out."
    )
