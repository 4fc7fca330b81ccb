"""Sentences on searches, tried families and doubted guesses, and the advice after an audit."""

from collections import Counter
from collections.abc import Sequence

from dbpt.data.words import UNNAMED
from dbpt.errors import in_quotes
from dbpt.evaluation.accuracy_by_group import Group
from dbpt.evaluation.audit_fields import AuditFigures, PredictionsBy, Search, SearchedImages, StepKind
from dbpt.evaluation.discovery_fields import Confirmation, Finding, TriedFamily
from dbpt.features.image_properties import NUMBERS, TEXTS
from dbpt.guesses.base import BY_VALUES
from dbpt.guesses.figures import FactorGuesses
from dbpt.report import text
from dbpt.report.audit_sentences import SUBJECTS


def _explained_too(others: int) -> str:
    """Return in brackets how many ``others``, which split the images in another way, are proposed too, if any."""
    explain = "family that splits" if others == 1 else "families that split"
    verb = "explains" if others == 1 else "explain"
    return f" ({text.count(others)} other {explain} the images in another way {verb} errors too)" if others else ""


MOST_NAMES, MOST_ALIKE, MOST_LISTED = 4, 1, 6
"""Names of a family and families in a sentence, and families in a list."""
SOURCES = {"column": "the column {}", "measured": "the measured {}", "caption": "captions {}"}
LETTERS = 48
"""The longest name in a sentence."""


def name_of(family: TriedFamily) -> str:
    """Return how sentences call a family: "land / water", or "the column camera (nikon / canon)"."""
    values = values_of(family.names)
    if family.source == "words":
        return values
    if family.source == "pair":
        return f"the pair of {_both(family)}"
    name = SOURCES[family.source].format(text.shorten(family.name, LETTERS))
    return name if family.distribution else f"{name} ({values})"


def _both(pair: TriedFamily) -> str:
    return " and ".join(text.shorten(part, LETTERS) for part in pair.parts)


def values_of(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Return the first names of a family: "spring / summer / autumn / winter"."""
    return " / ".join([*names[:most], *(["…"] if names[most:] else [])])


def label_of(family: TriedFamily, letters: int = LETTERS) -> str:
    """Return how tables call a family, with its source if it isn't words: "camera (column)"."""
    source = "" if family.source == "words" else f" ({family.source})"
    return f"{text.shorten(family.name, letters - len(source))}{source}"


def _listed(families: Sequence[TriedFamily]) -> str:
    """Return the first of some families as a list."""
    more = f" and {len(families) - MOST_LISTED} more" if len(families) > MOST_LISTED else ""
    return "; ".join(map(label_of, families[:MOST_LISTED])) + more


def origin_of(family: TriedFamily) -> str:
    """Return where the values of a family come from."""
    name, values = text.shorten(family.name, LETTERS), values_of(family.names)
    if family.source == "words":
        return f"CLIP guessed which of these names fits each image: {values}. Nobody labelled the images."
    if family.source == "measured":
        meaning = (NUMBERS | TEXTS).get(family.name, "")
        return f"{name}, measured in each image or its file: {meaning}. Ranges or values: {values}."
    if family.source == "caption":
        return f"Captions with and without “{name}”."
    if family.source == "pair":
        return f"Each combination of a value of {_both(family)}: {values}."
    return f"Those of the column {name} of the data: {values}."


def evidence_of(family: TriedFamily, families: Sequence[TriedFamily], n: int) -> list[tuple[str, str]]:
    """Return what speaks for and against a family that errors go with, each under its heading.

    Args:
        family: one whose errors are explained.
        families: all that were tried.
        n: the images that were searched.
    """
    explained, pair, difference = family.explained, family.worst_and_best, family.difference
    assert explained is not None and pair is not None and difference is not None
    unknown = f" {text.count_of(n - explained.n, 'image')} without a value don’t count." if n > explained.n else ""
    q = text.bound_text(family.q_value, explained)
    accuracies = [f"{group.class_name} · {group.attribute}, {_right(group)}" for group in pair]
    evidence = [
        ("Values", origin_of(family) + unknown),
        ("Errors explained", f"{text.share_in_words(explained)} of {text.count_of(explained.errors, 'error')}"),
        ("Chance", f"q {'' if q.startswith('≤') else '= '}{q}, corrected for {text.count(len(families))} families"),
        ("Worst group", accuracies[0]),
        (
            "Best of its class",
            f"{accuracies[1]}; {text.points(difference.value)} points more "
            f"{text.signed_interval((difference.low, difference.high))}",
        ),
    ]
    if family.finding == "proposed":
        evidence.append(("Other images", confirmation_in_words(family.confirmation)))
    if alike := [other for other in families if other.like == family.key]:
        same = "These split the images in much the same way: at most one of them is what the classifier relies on."
        evidence.append(("Told apart also by", f"{_listed(alike)}. {same}"))
    if through := [other for other in families if other.through == family.key]:
        no_more = "Among images with the same value of this family, errors hardly seem to depend on them."
        evidence.append(("Go with it", f"{_listed(through)}. {no_more}"))
    if family.finding == "seen dimly":
        doubts = "; ".join(doubt.sentence for doubt in family.doubts)
        degrees = "A graded attribute looks like this, and most of its guesses may still be right. The pictures decide."
        evidence.append(("Seen dimly", f"CLIP sees these names, but no clear limit between them: {doubts}. {degrees}"))
    elif family.doubts:
        evidence.append(("Like the classes?", text.sentence(family.doubts[0].sentence)))
    return evidence


def _right(group: Group) -> str:
    return f"{text.in_words(group.accuracy or 0.0)} of {text.count_of(group.n, 'image')} right"


def confirmation_in_words(found: Confirmation | None) -> str:
    """Return whether a finding holds in the images of another split, with its figures."""
    if found is None:
        return "Not tested: no other split is left, or dbpt can’t predict it by this classifier."
    explained = found.explained
    if found.p_value is None:
        return f"Not tested: in {found.split} no class has right and wrong images of two values."
    p = text.bound_text(found.p_value, explained)
    return (
        f"{'Holds' if found.holds else 'Not confirmed'} in the {text.count_of(explained.n, 'image')} of {found.split}: "
        f"{text.share_in_words(explained)} of {text.count_of(explained.errors, 'error')}, "
        f"p {'' if p.startswith('≤') else '= '}{p}"
        f"{'' if found.holds else '; so it may be chance, or peculiar to the searched images'}."
    )


FINDINGS: dict[Finding, str] = {
    "proposed": "proposed",
    "may be the class": "CLIP may confuse it with the classes",
    "seen dimly": "errors go with it, seen dimly",
    "describes the classes": "says little beyond the class names",
    "doubted": "not judged: CLIP doesn’t see the names",
    "may be chance": "may be chance",
    "explains little": "makes small differences",
    "no test": "not tested: nothing to compare",
    "too few images": "not tested: too few images",
}


def finding_in_words(family: TriedFamily) -> str:
    """Return the result for a family in a few words."""
    if family.like is not None or family.through is not None:
        other = text.shorten(family.like or family.through or "", LETTERS)
        return f"splits the images like {other}" if family.like else f"goes with {other}, little beside it"
    if family.rule is not None and family.rule.kind == "no more than one":
        return "explains no more than one of the two"
    is_like_classes = family.finding in ("may be the class", "describes the classes")
    return f"{FINDINGS[family.finding]}{f': {family.doubts[0].sentence}' if is_like_classes else ''}"


def families_in_words(families: Sequence[TriedFamily], title: str, errors: int, n: int) -> str:
    """Return the result in words; ``title`` says whose ``errors`` on ``n`` images they are."""
    if not errors or errors == n:
        return f"Nothing proposed: {title} is {'wrong' if errors else 'right'} on all {text.count(n)} images."
    be = "is" if errors == 1 else "are"
    accuracy = f"{text.count(errors)} of {text.count_of(n, 'image')} ({text.in_words(errors / n)}) "
    accuracy += f"{be} misclassified by {title}."
    best = families[0]
    if best.explained is None or best.finding not in ("proposed", "may be the class", "seen dimly"):
        return f"Nothing proposed: {accuracy} {_set_aside(families)}"
    whose = f"CLIP's guesses of {'it' if best.finding == 'proposed' else name_of(best)}"
    explain = f"{whose} explain {text.share_in_words(best.explained)} of them"
    if best.finding == "may be the class":
        return (
            f"Nothing proposed: {accuracy} {explain}, but CLIP may confuse these names with the classes: "
            f"{best.doubts[0]}. Look at the pictures."
        )
    if best.finding == "seen dimly":
        return (
            f"Nothing proposed: {accuracy} {explain}, but CLIP sees these names only dimly: "
            f"{'; '.join(doubt.sentence for doubt in best.doubts)}. Look at the pictures."
        )
    if best.source != "words":
        explain = f"it explains {text.share_in_words(best.explained)} of them"
    others = [name_of(family) for family in families if family.like == best.key and family.finding == "proposed"]
    alike = f" (the same images are also told apart by {'; '.join(others[:MOST_ALIKE])})" if others else ""
    also = _explained_too(sum(family.is_distinct and family.source != "pair" for family in families if family != best))
    confused = "" if best.rule is None else f" CLIP may confuse these names with the classes ({best.doubts[0]})."
    tested = best.confirmation
    holds = (
        ""
        if tested is None
        else f" This {'holds' if tested.holds else 'is not confirmed'} in the {tested.split} split."
    )
    return (
        f"{accuracy} The errors go with {name_of(best)}{alike}: {explain}{also}.{holds}{confused} Look at the pictures "
        "before you believe it."
    )


def _set_aside(families: Sequence[TriedFamily]) -> str:
    """Return how many of the families were set aside for each reason."""
    numbers = Counter(family.finding for family in families)
    untested = numbers["no test"] + numbers["too few images"]
    reasons = (
        (numbers["may be chance"], "explains no more errors than chance", "explain no more errors than chance"),
        (numbers["explains little"], "makes only small differences", "make only small differences"),
        (numbers["describes the classes"], "says little beyond the class names", "say little beyond the class names"),
        (numbers["seen dimly"], "is seen only dimly", "are seen only dimly"),
        (numbers["doubted"], *2 * ("can't be judged, since CLIP doesn't see the names in these images",)),
        (untested, *2 * ("could not be tested",)),
    )
    parts = [f"{text.count(n)} {one if n == 1 else several}" for n, one, several in reasons if n]
    return f"Of {text.count_of(len(families), 'family', 'families')} of attributes, {'; '.join(parts)}."


def searched_errors(by: PredictionsBy, n: int, images: SearchedImages) -> str:
    """Name the classifier and the images whose errors are searched: "zero-shot CLIP in 500 test images"."""
    is_audit = images in ("audited", "not audited")
    where = f"{text.count_of(n, 'image')} that are {images}" if is_audit else f"{text.count(n)} {images} images"
    return f"{SUBJECTS[by]} in {where}"


def search_in_words(search: Search) -> str:
    """Return the family that a search chose, and why."""
    errors = searched_errors(search.by, search.n, search.images)
    family = f"{search.family} ({' / '.join(search.names)})"
    explains = f"as CLIP guesses it, explains {text.share_in_words(search.explained)} of the errors of {errors}"
    confused = "; CLIP may confuse these names with the classes, so look at the pictures"
    too_small = "; since it was chosen on these images, its p-value is too small: test it on others"
    also = f"{_explained_too(search.others)}{confused if search.may_be_class else ''}"
    return f"{family}, {explains}{also}{too_small if search.on_audited else ''}"


def doubts_in_words(guesses: FactorGuesses) -> str:
    """Return the doubts about the guesses of one suspect as a warning."""
    doubts = "; ".join(doubt.sentence for doubt in guesses.doubts)
    if guesses.provenance == "clusters":
        advice = "name attributes (--attributes NAME NAME), or look at the clusters with dbpt audit"
        return f"the clusters can't be trusted: {doubts}; {advice}"
    by_probe = guesses.provenance == "probe"
    advice = "label more images, " if by_probe else "use other words, give each name more wordings, "
    return (
        f"{text.guesser(guesses.provenance)}'s guesses of {_called(guesses)} can't be trusted: {doubts}; "
        f"{'' if guesses.leave_out else advice}or look at the guesses with dbpt audit"
    )


def _called(guesses: FactorGuesses) -> str:
    """Return the values of an attribute, in brackets after its name if it has one."""
    values = " / ".join(guesses.values)
    return values if guesses.name == UNNAMED else f"{guesses.name} ({values})"


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


def advice_of(figures: AuditFigures) -> str:
    """Return the sentence of the next step."""
    step = figures.next_step
    by = figures.predictions_by
    by_values = figures.guesses.provenance in BY_VALUES
    if step.kind == "fewer names":
        parts = [
            f"{in_quotes(name.leave_out)}: {in_quotes(name.kept)} alone raise no doubt" for name in step.fewer_names
        ]
        return f"Audit again without {'; and without '.join(parts)}."
    if step.kind in ADVICE:
        return ADVICE[step.kind]
    if step.cramers_v is not None:
        sentence = _without_weights(figures)
    elif step.method is not None:
        by_hand = "Label a sample by hand, to correct wrong guesses; try other words for the attribute; add"
        by_hand = "Use words for the attribute; add" if figures.guesses.provenance == "clusters" else by_hand
        sentence = (
            f"This run was already trained against such a bias, with the objective {step.method}; repeating "
            f"that changes little. {'Add' if by_values else by_hand} images of the groups that fail; or compare "
            "methods and heads on the same data:"
        )
    elif by != "file":
        sentence = "Train a classifier that relies less on the attribute:"
    else:
        is_known = figures.group_kind == "true" or by_values or figures.guesses.provenance == "file"
        groups = "of class and attribute, which are known," if is_known else "that dbpt guess writes"
        sentence = (
            "Let dbpt train a classifier that relies less on the attribute, or train your own again with group weights "
            f"or a sampler: dbpt.GroupSampler draws each group {groups} equally often."
        )
    return f"{_find_out_first(step.doubted)} {sentence}" if step.doubted else sentence


def _without_weights(figures: AuditFigures) -> str:
    """Return advice against a bias that the training images can't teach, so that weights can't help."""
    worse, by = figures.named_group, figures.predictions_by
    images = "the training images" if figures.data.is_divided else "these images"
    failing = f"of {worse.class_name!r} with {worse.attribute!r}" if worse else "of the groups that fail"
    advice = (
        f"Class and attribute are almost unrelated in {images} (Cramér's V {figures.next_step.cramers_v:.2f}), so "
        "training on them doesn't make the attribute a shortcut to the class, and group weights have nothing to "
        "correct."
    )
    if by == "file":
        learnt = "If the classifier learnt the shortcut from other images, train it again on images like these; or"
        return f"{advice} {learnt} add more or clearer images {failing}, or compare it with CLIP:"
    others = (
        f"add more or clearer images {failing}, take a larger backbone (--model) or other wordings of the classes"
        f"{':' if figures.by_values else ', or try prompts that name the attribute too (group-prompts):'}"
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
