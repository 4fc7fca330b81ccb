"""The outcome for each family, with the reasons, and the verdict in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import entries_of
from dbpt.discovery.figures import FamilyGroup, Finding, TriedFamily
from dbpt.discovery.scoring import LARGEST_Q, SMALLEST_SHARE, Explained, Guessed, Images, Score
from dbpt.pseudo_attributes.cross_validation import LOWEST_AGREEMENT, kappa, short_of
from dbpt.report.text import count, count_of, in_words

ALIKE = 0.7
"""Cohen's kappa from which the guesses of two families count as the same split of the images."""


def tried_family(
    score: Score, images: Images, right: NDArray[np.bool_], class_names: Sequence[str], like: str | None
) -> TriedFamily:
    """Return the family of ``score`` with its finding and its groups of images; ``like`` is from `stronger_alike`."""
    guessed, explained, family = score.of.guessed, score.explained, score.of.family.family
    finding, doubts = _finding(score)
    trust = None if guessed is None else guessed.trust
    kept = family if guessed is None else family.only(guessed.kept.tolist())
    return TriedFamily(
        name=family.name,
        finding=finding,
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
        groups=[] if guessed is None else _groups(guessed.guesses, images.labels, right, class_names, kept.names),
        doubts=doubts,
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


def _finding(score: Score) -> tuple[Finding, list[str]]:
    """Return what becomes of the family, and the reasons not to propose it."""
    if score.of.guessed is None or score.explained is None:
        return "too few images", ["fewer than two of its names have images"]
    if score.of.guessed.trust.doubts:
        return "doubted", score.of.guessed.trust.doubts
    if not score.explained.is_much:
        is_chance = score.explained.q_value is None or score.explained.q_value > LARGEST_Q
        return "may be chance" if is_chance else "explains little", [_how_little(score.explained)]
    if not score.is_more_than_classes:
        return "describes the classes", [_of_the_classes(score)]
    return "proposed", []


def _how_little(explained: Explained) -> str:
    if explained.q_value is None:
        return "there are no errors, or nothing else, in each class"
    if explained.q_value > LARGEST_Q:
        q = short_of(explained.q_value, LARGEST_Q)
        return f"errors don't depend on it more than by chance (q = {q}, above {LARGEST_Q})"
    share = short_of(100 * (explained.errors.share or 0.0), 100 * SMALLEST_SHARE, 1)
    return f"it explains {share} % of the errors, below {100 * SMALLEST_SHARE:.0f} %"


def _of_the_classes(score: Score) -> str:
    of, start = score.of, "without what the class names say, "
    if of.class_words:
        return f"it has words of the classes: {', '.join(of.class_words)}"
    if of.beyond is None or score.beyond is None or of.beyond.trust.doubts:
        return f"{start}CLIP can't tell its names apart"
    if of.agreement < LOWEST_AGREEMENT:
        agreement = short_of(of.agreement, LOWEST_AGREEMENT)
        return f"{start}the guesses are others (agreement {agreement}; at least {LOWEST_AGREEMENT})"
    return f"{start}{_how_little(score.beyond)}"


def _groups(
    guesses: NDArray[np.integer[Any]],
    labels: NDArray[np.int64],
    right: NDArray[np.bool_],
    class_names: Sequence[str],
    names: Sequence[str],
) -> list[FamilyGroup]:
    groups, size = labels * len(names) + guesses, len(class_names) * len(names)
    n, correct = np.bincount(groups, minlength=size), np.bincount(groups[right], minlength=size)
    pairs = [(y, a) for y in class_names for a in names]
    return [
        FamilyGroup(class_name=y, attribute=a, n=total, correct=hits)
        for (y, a), total, hits in zip(pairs, n.tolist(), correct.tolist(), strict=True)
    ]


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
    if best.finding != "proposed" or best.explained is None:
        return f"Nothing proposed: {accuracy} {_tested(families)}"
    also = explained_too(sum(family.finding == "proposed" and family.like is None for family in families) - 1)
    return (
        f"{accuracy} The errors go with {' / '.join(best.names)}: CLIP's guesses of it explain "
        f"{in_words(best.explained.share)} of them{also}. Look at the pictures before you believe it."
    )


def _tested(families: Sequence[TriedFamily]) -> str:
    """Return how many of the families could be tested, and why the others could not."""
    tested = sum(family.is_tested for family in families)
    of_classes = sum(family.finding == "describes the classes" for family in families)
    unseen, total = len(families) - tested - of_classes, count_of(len(families), "family", "families")
    if tested:
        parts = [
            f"{count(tested)} of {total} of attributes could be tested and do{'es' * (tested == 1)}n't explain them"
        ]
    else:
        parts = [f"None of {total} of attributes could be tested"]
    if of_classes:
        parts.append(f"{count(of_classes)} say{'s' * (of_classes == 1)} little beyond the class names")
    if unseen:
        parts.append(f"{count(unseen)} could not be tested, since CLIP doesn't see their names in these images")
    return f"{'; '.join(parts)}."
