"""The outcome for each family, with the reasons, and the verdict in words."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import entries_of
from dbpt.discovery.figures import Finding, TriedFamily
from dbpt.discovery.scoring import Guessed, Images, Rule, RuleKind, Score, group_tables
from dbpt.groups import Group
from dbpt.groups.accuracy import counted_groups
from dbpt.pseudo_attributes.cross_validation import kappa
from dbpt.pseudo_attributes.doubt import short_of
from dbpt.report.text import count, count_of, in_words, share_in_words

ALIKE = 0.7
"""Cohen's kappa from which the guesses of two families count as the same split of the images."""


def tried_family(
    score: Score, images: Images, right: NDArray[np.bool_], class_names: Sequence[str], like: str | None
) -> TriedFamily:
    """Return the family of ``score`` with its finding and its groups of images; ``like`` is from `stronger_alike`."""
    guessed, explained, family = score.of.guessed, score.explained, score.of.family.family
    rule = score.rule
    trust = None if guessed is None else guessed.trust
    kept = family if guessed is None else family.only(guessed.kept.tolist())
    return TriedFamily(
        name=family.name,
        finding=_finding(score, rule),
        names=kept.names,
        attributes=list(entries_of(kept.attributes, family.name)),
        attribute_template=list(family.templates),
        explained=None if explained is None else explained.errors,
        q_value=None if explained is None else explained.q_value,
        beyond=None if score.beyond is None else score.beyond.errors,
        agreement=None if trust is None else trust.agreement,
        spread=None if trust is None else trust.spread,
        separation=None if trust is None else max(trust.separation, 0.0),
        outranked=None if trust is None else trust.outranked,
        groups=[] if guessed is None else _groups(guessed, images, right, class_names, kept.names),
        difference=None if explained is None else explained.difference,
        rule=rule,
        doubts=[] if rule is None else _in_words(rule, score),
        like=like,
    )


def stronger_alike(scores: Sequence[Score]) -> list[str | None]:
    """Return for each score the name of a stronger proposed family that splits the images in much the same way.

    ``scores`` are in the order of `score_families`. None if there is no such family, or if it is not proposed itself.
    """
    distinct: list[tuple[str, Guessed]] = []
    found: list[str | None] = []
    for score in scores:
        guessed, like = score.of.guessed, None
        if score.is_proposed and guessed is not None:
            like = next((name for name, other in distinct if _likeness(guessed, other) >= ALIKE), None)
            if like is None:
                distinct.append((score.of.family.family.name, guessed))
        found.append(like)
    return found


def _likeness(one: Guessed, other: Guessed) -> float:
    """Return Cohen's kappa of two guesses, with each name of the one read as that of the other it mostly goes with.

    The larger figure of both directions, as the family with more names may split the groups of the other one further.
    """
    size = max(len(one.kept), len(other.kept))
    table_AA = np.zeros((size, size), np.int64)
    np.add.at(table_AA, (one.guesses, other.guesses), 1)
    pairs = ((table_AA, one, other), (table_AA.T, other, one))
    return max(kappa(table.argmax(axis=1)[a.guesses], b.guesses.astype(np.int64), size) for table, a, b in pairs)


FINDINGS: dict[RuleKind, Finding] = {
    "names without images": "too few images",
    "doubted": "doubted",
    "no test": "no test",
    "chance": "may be chance",
    "small difference": "explains little",
}
"""What becomes of a family that fails one of these conditions; the others are about the class names."""


def _finding(score: Score, rule: Rule | None) -> Finding:
    if rule is None or score.is_proposed:
        return "proposed"
    return FINDINGS.get(rule.kind, "may be the class" if score.may_be_class else "describes the classes")


BEYOND = "without what the class names say, "
CHANCE = "errors don't depend on it more than by chance (q = {value}, above {limit})"
DIFFERENCE = "accuracies differ by {value} points within a class, below {limit}"
IN_WORDS: dict[RuleKind, str] = {
    "names without images": "fewer than two of its names have images",
    "no test": "no class has both right and wrong images and two of its names",
    "chance": CHANCE,
    "small difference": DIFFERENCE,
    "class words": "it has words of the classes: {words}",
    "other guesses": f"{BEYOND}CLIP guesses differently (agreement {{value}}; at least {{limit}})",
    "doubted beyond": f"{BEYOND}CLIP can't tell its names apart",
    "chance beyond": f"{BEYOND}{CHANCE}",
    "small difference beyond": f"{BEYOND}{DIFFERENCE}",
}


def _in_words(rule: Rule, score: Score) -> list[str]:
    """Return the reasons not to propose the family, or to doubt its names."""
    if rule.kind == "doubted":
        assert score.of.guessed is not None
        return [doubt.sentence for doubt in score.of.guessed.trust.doubts]
    scale, decimals = (100, 1) if rule.kind in ("small difference", "small difference beyond") else (1, 2)
    value, limit = scale * (rule.value or 0.0), scale * (rule.limit or 0.0)
    figures = {"value": short_of(value, limit, decimals), "limit": f"{limit:g}"}
    return [IN_WORDS[rule.kind].format(**figures, words=", ".join(score.of.class_words))]


def _groups(
    guessed: Guessed, images: Images, right: NDArray[np.bool_], class_names: Sequence[str], names: Sequence[str]
) -> list[Group]:
    correct_CA, counts_CA = group_tables(guessed, images, right)
    return list(counted_groups(list(product(class_names, names)), counts_CA.ravel(), correct_CA.ravel()))


def explained_too(others: int) -> str:
    """Return in brackets how many ``others``, which split the images in another way, are proposed too, if any."""
    explain = "family that splits" if others == 1 else "families that split"
    verb = "explains" if others == 1 else "explain"
    return f" ({count(others)} other {explain} the images in another way {verb} errors too)" if others else ""


def verdict_of(families: Sequence[TriedFamily], title: str, errors: int, n: int) -> str:
    """Return the result in words; ``title`` says whose ``errors`` on ``n`` images they are."""
    if not errors or errors == n:
        return f"Nothing proposed: {title} is {'wrong' if errors else 'right'} on all {count(n)} images."
    be = "is" if errors == 1 else "are"
    accuracy = f"{count(errors)} of {count_of(n, 'image')} ({in_words(errors / n)}) {be} misclassified by {title}."
    best = families[0]
    if best.explained is None or best.finding not in ("proposed", "may be the class"):
        return f"Nothing proposed: {accuracy} {_set_aside(families)}"
    names, explain = " / ".join(best.names), f"explain {share_in_words(best.explained)} of them"
    if best.finding == "may be the class":
        return (
            f"Nothing proposed: {accuracy} CLIP's guesses of {names} {explain}, but CLIP may confuse these names with "
            f"the classes: {best.doubts[0]}. Look at the pictures."
        )
    also = explained_too(sum(family.finding == "proposed" and family.like is None for family in families) - 1)
    confused = "" if best.rule is None else f" CLIP may confuse these names with the classes ({best.doubts[0]})."
    return (
        f"{accuracy} The errors go with {names}: CLIP's guesses of it {explain}{also}.{confused} Look at the pictures "
        "before you believe it."
    )


def _set_aside(families: Sequence[TriedFamily]) -> str:
    """Return how many of the families were set aside for each reason."""
    found = Counter(family.finding for family in families)
    untested = found["no test"] + found["too few images"]
    reasons = (
        (found["may be chance"], "explains no more errors than chance", "explain no more errors than chance"),
        (found["explains little"], "makes only small differences", "make only small differences"),
        (found["describes the classes"], "says little beyond the class names", "say little beyond the class names"),
        (found["doubted"], *2 * ("can't be judged, since CLIP doesn't see the names in these images",)),
        (untested, *2 * ("could not be tested",)),
    )
    parts = [f"{count(n)} {one if n == 1 else several}" for n, one, several in reasons if n]
    return f"Of {count_of(len(families), 'family', 'families')} of attributes, {'; '.join(parts)}."
