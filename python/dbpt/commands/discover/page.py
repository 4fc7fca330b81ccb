"""The HTML page of a search, for readers who know neither dbpt nor statistics."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from dbpt.cautions import short_of
from dbpt.commands.discover.result import DiscoveryFigures
from dbpt.evaluation import Group
from dbpt.evaluation.discovery import TriedFamily
from dbpt.guesses.doubts import LOWEST_AGREEMENT
from dbpt.guesses.trust import LOWEST_SEPARATION, LOWEST_SPREAD, MOST_NEARER_WORDS
from dbpt.report import sections
from dbpt.report.pictures import GroupExamples
from dbpt.report.sections import section

MOST_SHOWN = 3
"""Families with pictures."""
MOST_ROWS_SHOWN = 12
TRUST = {"agreement": LOWEST_AGREEMENT, "spread": LOWEST_SPREAD, "separation": LOWEST_SEPARATION}
TRUST |= {"nearer_words": MOST_NEARER_WORDS}
"""Figures of `Trust`, each with the limit from which the guesses are trusted: the last one is an upper limit."""
REASONS = {
    "Errors go with them, but CLIP may confuse the names with the classes": ("may be the class",),
    "Tested: errors depend on the guesses no more than by chance, or little": ("may be chance", "explains little"),
    "Not told apart from the classes": ("describes the classes",),
    "Not judged: the guesses can’t be trusted, so their figures say nothing": ("doubted",),
    "Not tested: no class has right and wrong images of two of the names": ("no test", "too few images"),
}
"""The findings of the families that are not proposed, under their headings."""


def render_discovery(figures: DiscoveryFigures, examples: Mapping[str, list[GroupExamples]] | None) -> str:
    """Return the page, one self-contained HTML file without scripts.

    ``examples`` are pictures of the groups of the first distinct families, by name; None if there are no images.
    """
    proposed, data = figures.distinct, figures.data
    shown, reasons = proposed or figures.to_look_at, _others(figures.families)
    title = f"What the errors go with{', strongest first' if len(proposed) > 1 else ''}"
    pictured = [(family, _by_class(family)) for family in shown[:MOST_SHOWN]]
    values = {"most_rows": MOST_ROWS_SHOWN}
    look = section("families", "Look before you believe it", "pictures", families=pictured, examples=examples, **values)
    values_of_others = {"reasons": reasons, "trust": TRUST, "short_of": short_of}
    parts = [
        sections.warnings(figures.warnings),
        section("proposed", title, figures=figures, families=proposed, **values) if proposed else None,
        look if shown else None,
        sections.next_step_section("discover", figures=figures),
        section("others", "Families that are not proposed", proposed=proposed, **values_of_others),
        sections.made_by("discover", figures.command, [], ([], []), figures.settings, figures=figures),
    ]
    example = proposed[0] if proposed else next(iter(reasons.values()))[0]
    eyebrow = f"{data.name} · search for attributes that explain errors"
    below = section("searched", figures=figures, example=example)
    head = sections.headline(eyebrow, _badge(figures), figures.verdict, below)
    kind = "Attribute found" if figures.proposed else "Nothing proposed"
    how = sections.how("discover")
    return sections.render_page(f"{kind}: {data.name} · dbpt discover", head, parts, how, figures.dbpt_version)


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

    def gap(groups: list[Group]) -> float:
        accuracies = [group.accuracy for group in groups if group.accuracy is not None]
        return max(accuracies, default=0.0) - min(accuracies, default=0.0)

    classes = [(y, list(groups)) for y, groups in groupby(family.groups, lambda group: group.class_name)]
    return sorted(classes, key=lambda item: -gap(item[1]))


def _others(families: Sequence[TriedFamily]) -> dict[str, list[TriedFamily]]:
    """Return the families that are not proposed by the reason.

    Families that could be tested are sorted by the p-value, then by the share of the errors; others by the number of
    doubts, then by name.
    """
    by_reason = {why: [each for each in families if each.finding in findings] for why, findings in REASONS.items()}
    return {why: sorted(some, key=_order) for why, some in by_reason.items() if some}


def _order(family: TriedFamily) -> tuple[float, float, str]:
    explained = family.explained
    if family.finding in ("doubted", "no test", "too few images") or explained is None:
        return len(family.doubts), 0.0, family.name
    return 2.0 if explained.p_value is None else explained.p_value, -(explained.share or 0.0), family.name
