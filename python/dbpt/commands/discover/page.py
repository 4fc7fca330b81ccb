"""The page of a search: the findings with their evidence, and a table of all families."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dbpt.cautions import short_of
from dbpt.commands.discover.result import DiscoveryFigures
from dbpt.evaluation import Group
from dbpt.evaluation.discovery_fields import TriedFamily
from dbpt.evaluation.explained_by_attribute import Distribution
from dbpt.features.image_properties import NUMBERS
from dbpt.guesses.doubts import LOWEST_SEPARATION, LOWEST_SPREAD, MOST_NEARER_WORDS
from dbpt.guesses.linear_probe import LOWEST_AGREEMENT
from dbpt.report import page_sections as sections
from dbpt.report.charts import DENSITY_LEGEND, Chart, density_chart
from dbpt.report.discovery_sentences import evidence_of, finding_in_words, label_of, values_of
from dbpt.report.group_pictures import GroupExamples
from dbpt.report.page_sections import section
from dbpt.report.page_size import MOST_FAMILIES_TABLED
from dbpt.report.text import shorten

MOST_SHOWN = 3
"""Findings with evidence and pictures."""
MOST_ROWS_SHOWN = 12
MOST_CHARTS = 4  # of a finding
MOST_VALUES = 8
"""Columns of a table of groups."""
TRUST = {"agreement": LOWEST_AGREEMENT, "spread": LOWEST_SPREAD, "separation": LOWEST_SEPARATION}
TRUST |= {"nearer_words": MOST_NEARER_WORDS}
"""Figures of `Trust`, each with the limit from which the guesses are trusted: the last one is an upper limit."""
UNTESTED = ("doubted", "no test", "too few images")
"""Findings of families whose figures say nothing."""


def render_discovery(figures: DiscoveryFigures, examples: Sequence[Sequence[GroupExamples]] | None) -> str:
    """Return the page, one self-contained HTML file without scripts.

    ``examples`` are pictures of the worst and the best group of each of the first families that are shown; None if
    there are no images.
    """
    shown, data = figures.shown, figures.data
    words = {"label_of": label_of, "values_of": values_of, "finding_of": finding_in_words, "shorten": shorten}
    title = "What the errors go with" if figures.distinct else "What the errors may go with: look at the pictures"
    findings = [
        {
            "family": family,
            "evidence": evidence_of(family, figures.families, data.n),
            "positions": _first_values(family),
            "heads": [family.names[position] for position in _first_values(family)],
            "classes": _by_class(family),
            "charts": _charts(family, figures.families),
            "examples": examples[position] if examples else [],
        }
        for position, family in enumerate(shown[:MOST_SHOWN])
    ]
    pictures = [picture for pair in examples or () for group in pair for picture in group.examples]
    of_findings: dict[str, Any] = {"figures": figures, "families": shown, "findings": findings}
    of_findings |= {"has_images": examples is not None, "has_probabilities": any(each.probability for each in pictures)}
    tabled = sorted(figures.families, key=_order)
    of_words = [family for family in tabled if family.source == "words"]
    of_tables: dict[str, Any] = {"tabled": tabled, "of_words": of_words, "trust": TRUST, "short_of": short_of}
    parts = [
        sections.warnings(figures.warnings),
        section("findings", title, most_rows=MOST_ROWS_SHOWN, legend=DENSITY_LEGEND, **of_findings, **words)
        if shown
        else None,
        section("next", "Next step", kind="discover", figures=figures),
        section("tried", "All families", untested=UNTESTED, most_rows=MOST_FAMILIES_TABLED, **of_tables, **words),
        sections.made_by("discover", figures.command, [], ([], []), figures.settings, figures=figures),
    ]
    eyebrow = f"{data.name} · search for attributes that explain errors"
    below = section("searched", figures=figures, numbers=Counter(family.source for family in figures.families), **words)
    head = sections.headline(eyebrow, _badge(figures), figures.verdict, below)
    kind, how = "Attribute found" if figures.proposed else "Nothing proposed", sections.how("discover")
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


def _first_values(family: TriedFamily) -> list[int]:
    """Return the positions of the values that a table of groups shows: the worst one, the best one, and others."""
    names = family.names
    pair = [names.index(group.attribute) for group in family.worst_and_best or ()]
    return sorted(list(dict.fromkeys([*pair, *range(len(names))]))[:MOST_VALUES])


def _by_class(family: TriedFamily) -> list[tuple[str, list[Group]]]:
    """Return the groups of each class, those whose accuracies differ most first."""

    def gap(groups: list[Group]) -> float:
        accuracies = [group.accuracy for group in groups if group.accuracy is not None]
        return max(accuracies, default=0.0) - min(accuracies, default=0.0)

    classes = [(y, list(groups)) for y, groups in groupby(family.groups, lambda group: group.class_name)]
    return sorted(classes, key=lambda item: -gap(item[1]))


def _charts(family: TriedFamily, families: Sequence[TriedFamily]) -> list[Chart]:
    """Return charts of the measured numbers of a finding: its own, those of a pair, and those that split alike."""
    own = [other for other in families if other == family or other.key in family.parts]
    alike = [other for other in families if other.like == family.key]
    charts = [_chart(other.name, other.distribution) for other in (*own, *alike) if other.distribution is not None]
    return [chart for chart in charts if chart is not None][:MOST_CHARTS]


def _chart(name: str, distribution: Distribution) -> Chart | None:
    unit = NUMBERS.get(name, "").split(",")[0]
    return density_chart(distribution, f"{name} ({unit})" if unit else name)


def _order(family: TriedFamily) -> tuple[bool, float, float, str]:
    """Sort by the q-value, then by the share of the errors; families whose figures say nothing come last."""
    share = family.explained.share if family.explained else None
    q_value = 2.0 if family.q_value is None else family.q_value
    return family.finding in UNTESTED, q_value, -(share or 0.0), family.name
