"""Sentences on searches, tried families and doubted guesses, and the advice after an audit."""

from collections import Counter
from collections.abc import Sequence

from dbpt.data.words import UNNAMED
from dbpt.errors import in_quotes
from dbpt.evaluation.audit import AuditFigures, Search, SearchedImages, StepKind, TriedFamily
from dbpt.evaluation.results import PredictionsBy
from dbpt.guesses.base import BY_VALUES
from dbpt.guesses.trust import FactorGuesses
from dbpt.report import text
from dbpt.report.verdicts import SUBJECTS


def _explained_too(others: int) -> str:
    """Return in brackets how many ``others``, which split the images in another way, are proposed too, if any."""
    explain = "family that splits" if others == 1 else "families that split"
    verb = "explains" if others == 1 else "explain"
    return f" ({text.count(others)} other {explain} the images in another way {verb} errors too)" if others else ""


MOST_NAMES, MOST_ALIKE = 4, 2  # of a family, and families, in a sentence
SOURCES = {"column": "the column {}", "measured": "the measured {}", "caption": "captions {}", "pair": "the pair {}"}


def name_of(family: TriedFamily) -> str:
    """Return how sentences call a family: "land / water", or "the column camera (nikon / canon)"."""
    names = [*family.names[:MOST_NAMES], *(["…"] if family.names[MOST_NAMES:] else [])]
    values = " / ".join(names)
    return values if family.source == "words" else f"{SOURCES[family.source].format(family.name)} ({values})"


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
    others = [name_of(family) for family in families if family.like == best.name and family.finding == "proposed"]
    alike = f" (the same images are also told apart by {'; '.join(others[:MOST_ALIKE])})" if others else ""
    also = _explained_too(sum(family.is_distinct for family in families) - 1)
    confused = "" if best.rule is None else f" CLIP may confuse these names with the classes ({best.doubts[0]})."
    return (
        f"{accuracy} The errors go with {name_of(best)}{alike}: {explain}{also}.{confused} Look at the pictures before "
        "you believe it."
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
