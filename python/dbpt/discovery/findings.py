"""The outcome for each family, with the reasons, and the verdict in one sentence."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import entries_of
from dbpt.discovery.figures import FamilyGroup, Finding, TriedFamily
from dbpt.discovery.scoring import LARGEST_Q, SMALLEST_SHARE, Explained, Images, Score
from dbpt.pseudo_attributes.cross_validation import LOWEST_AGREEMENT
from dbpt.report.text import count, count_of, percent

FINDINGS: dict[Finding, str] = {
    "doubted": "CLIP can't tell its names apart here",
    "describes the classes": "it tells little beyond the class names",
    "may be chance": "chance can explain as many errors",
    "explains little": "it explains few errors",
    "too few images": "fewer than two of its names have images",
}


def tried_family(score: Score, images: Images, right: NDArray[np.bool_], class_names: Sequence[str]) -> TriedFamily:
    """Return the family of ``score`` with its finding, and its groups of images."""
    guessed, explained, family = score.of.guessed, score.explained, score.of.family.family
    finding, doubts = _finding(score)
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
        spread=None if guessed is None else guessed.trust.spread,
        groups=[] if guessed is None else _groups(guessed.guesses, images.labels, right, class_names, kept.names),
        doubts=doubts,
    )


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
        return f"errors don't depend on it more than by chance (q = {explained.q_value:.2f}, above {LARGEST_Q})"
    return f"it explains {percent(explained.errors.share)} % of the errors, below {100 * SMALLEST_SHARE:.0f} %"


def _of_the_classes(score: Score) -> str:
    of, start = score.of, "without what the class names say, "
    if of.class_words:
        return f"it has words of the classes: {', '.join(of.class_words)}"
    if of.beyond is None or score.beyond is None or of.beyond.trust.doubts:
        return f"{start}CLIP can't tell its names apart"
    if of.agreement < LOWEST_AGREEMENT:
        return f"{start}the guesses are others (agreement {of.agreement:.2f}; at least {LOWEST_AGREEMENT})"
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
    """Return in brackets how many ``others`` are proposed besides the first family; nothing if there are none."""
    explain = "more family explains" if others == 1 else "more families explain"
    return f" ({count(others)} {explain} them too)" if others else ""


def verdict_of(families: Sequence[TriedFamily], title: str, errors: int, n: int) -> str:
    """Return the result in one sentence; ``title`` says whose ``errors`` on ``n`` images they are."""
    best = families[0]
    if best.finding == "proposed" and best.explained is not None:
        also = explained_too(sum(family.finding == "proposed" for family in families) - 1)
        return (
            f"The errors of {title} go with {' / '.join(best.names)}: these guesses explain "
            f"{percent(best.explained.share)} % of its {count_of(errors, 'error')} within the classes{also}; look at "
            "the pictures before you believe it."
        )
    if not errors or errors == n:
        return f"Nothing proposed: {title} is {'wrong' if errors else 'right'} on all {count(n)} images."
    found = Counter(family.finding for family in families)
    reasons = "; ".join(f"{count(n)} of them because {FINDINGS[finding]}" for finding, n in found.most_common())
    return f"Nothing proposed: no family of {count(len(families))} explains the errors of {title}; {reasons}."
