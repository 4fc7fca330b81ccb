"""The HTML page of a search for attributes. It is for readers who know neither dbpt nor statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dbpt.discovery.figures import ClassWords, DiscoveryFigures, TriedFamily
from dbpt.groups import Group
from dbpt.guesses.doubts import LOWEST_AGREEMENT, short_of
from dbpt.guesses.trust import LARGEST_OUTRANKED, LOWEST_SEPARATION, LOWEST_SPREAD
from dbpt.report.guesses import Entries, audited_entries, made_by_entries
from dbpt.report.pictures import GroupExamples
from dbpt.report.text import percent, render, sentence

MOST_SHOWN = 3
"""Families with pictures."""
MOST_ROWS = 12
MOST_WORDS = 12
TRUST = (
    ("agreement", LOWEST_AGREEMENT, "at least"),
    ("spread", LOWEST_SPREAD, "at least"),
    ("separation", LOWEST_SEPARATION, "at least"),
    ("outranked", LARGEST_OUTRANKED, "at most"),
)
"""Figures of `Trust`, each with the limit from which the guesses are trusted."""
REASONS = {
    "Errors go with them, but CLIP may confuse the names with the classes": ("may be the class",),
    "Tested: errors depend on the guesses no more than by chance, or little": ("may be chance", "explains little"),
    "Not told apart from the classes": ("describes the classes",),
    "Not judged: the guesses can’t be trusted, so their figures say nothing": ("doubted",),
    "Not tested: no class has right and wrong images of two of the names": ("no test", "too few images"),
}
"""The findings of the families that are not proposed, under their headings."""


@dataclass(frozen=True)
class Cell:
    """A condition, which ``holds`` or not, None if it was not asked; ``text`` beside the mark, figures to hover for."""

    holds: bool | None
    figures: str = ""
    text: str = ""


def render_discovery(figures: DiscoveryFigures, examples: Mapping[str, list[GroupExamples]] | None) -> str:
    """Return the page, one self-contained HTML file without scripts.

    ``examples`` are pictures of the groups of the first distinct families, by name; None if there are no images.
    """
    distinct = figures.distinct
    shown = distinct or figures.to_look_at
    return render(
        "discover.html.j2",
        figures=figures,
        badge=_badge(figures),
        proposed=[(family, family.worst_and_best) for family in distinct[:MOST_ROWS]],
        left_out=len(distinct[MOST_ROWS:]),
        alike=[(family, figures.split_alike(family)) for family in distinct[:MOST_ROWS] if figures.split_alike(family)],
        shown=[(family, _by_class(family), family.worst_and_best) for family in shown[:MOST_SHOWN]],
        most_classes=MOST_ROWS,
        examples=examples,
        others=_others(figures.families),
        words=[(each, _shown(each)) for each in figures.words if each.nearer],
        warnings=[sentence(text) for text in figures.warnings],
        entries=_entries(figures),
    )


def _badge(figures: DiscoveryFigures) -> tuple[str, str]:
    """Return the class and text of the badge. It is an all-clear only if half of the families could be judged."""
    if figures.proposed:
        return "bias", "Attribute found"
    if figures.to_look_at:
        return "untrusted", "Look at the pictures"
    tested = sum(family.is_judged for family in figures.families)
    if figures.errors < figures.data.n and (not figures.errors or 2 * tested >= len(figures.families)):
        return "no-evidence", "Nothing proposed"
    return "untrusted", f"Nothing proposed: {tested} of {len(figures.families)} could be judged"


def _by_class(family: TriedFamily) -> list[tuple[str, list[Group]]]:
    """Return the groups of each class, those whose accuracies differ most first."""
    classes: dict[str, list[Group]] = {}
    for group in family.groups:
        classes.setdefault(group.class_name, []).append(group)

    def gap(groups: list[Group]) -> float:
        accuracies = [group.accuracy for group in groups if group.accuracy is not None]
        return max(accuracies, default=0.0) - min(accuracies, default=0.0)

    return sorted(classes.items(), key=lambda each: -gap(each[1]))


def _others(families: Sequence[TriedFamily]) -> list[tuple[str, list[tuple[TriedFamily, list[Cell]]]]]:
    """Return the families that are not proposed, with the cells of each, by the reason.

    Families that could be tested are sorted by the p-value, then by the share of the errors; others by the number of
    doubts, then by name.
    """
    found = []
    for heading, findings in REASONS.items():
        chosen = sorted((family for family in families if family.finding in findings), key=_order)
        if chosen:
            found.append((heading, [(family, _cells(family)) for family in chosen]))
    return found


def _order(family: TriedFamily) -> tuple[float, float, str]:
    explained = family.explained
    if family.finding in ("doubted", "no test", "too few images") or explained is None:
        return len(family.doubts), 0.0, family.name
    return 2.0 if explained.p_value is None else explained.p_value, -(explained.share or 0.0), family.name


def _cells(family: TriedFamily) -> list[Cell]:
    """Return the conditions on a family: the four of `TRUST`, that it explains errors, and more than the classes."""
    if family.spread is None:
        return [Cell(None)] * (len(TRUST) + 2)
    cells = []
    for name, limit, bound in TRUST:
        value = getattr(family, name)
        holds = value >= limit if bound == "at least" else value <= limit
        cells.append(Cell(holds, f"{name} {short_of(value, limit)}; {bound} {limit}"))
    if family.finding == "doubted" or family.explained is None:
        return [*cells, Cell(None), Cell(None)]
    figures = f"p {family.p_text}, q {family.q_text}"
    share = "" if family.explained.share is None else f"{percent(family.explained.share)}\u00a0%"
    of_classes = family.finding in ("describes the classes", "may be the class")
    cells.append(Cell(of_classes, figures, share))
    return [*cells, Cell(False, "; ".join(family.doubts)) if of_classes else Cell(None)]


def _shown(found: ClassWords) -> Sequence[tuple[str, float]]:
    return [(word.word, word.score) for word in found.nearer[:MOST_WORDS]]


def _entries(figures: DiscoveryFigures) -> Entries:
    """Return the data, backbone, catalogue and settings."""
    return [
        *audited_entries(figures.data, figures.backbone),
        ("Catalogue", figures.catalogue or "dbpt's own"),
        *made_by_entries((), (), (), figures.settings),
    ]
