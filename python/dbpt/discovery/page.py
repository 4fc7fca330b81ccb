"""The HTML page of a search for attributes. It is for readers who know neither dbpt nor statistics."""

from collections.abc import Mapping, Sequence

from dbpt.discovery.figures import ClassWords, DiscoveryFigures, TriedFamily
from dbpt.discovery.findings import FINDINGS
from dbpt.discovery.result import worst_and_best
from dbpt.report.contact_sheets import ContactSheet
from dbpt.report.made_by import Entries, made_by_entries
from dbpt.report.templates import render, sentence
from dbpt.report.text import count

MOST_SHOWN = 3
"""Families with pictures."""
MOST_ROWS = 12
MOST_WORDS = 12


def render_discovery(figures: DiscoveryFigures, sheets: Mapping[str, list[ContactSheet]] | None) -> str:
    """Return the page, one self-contained HTML file without scripts.

    ``sheets`` are the contact sheets of the first proposed families, by name; None if there are no images.
    """
    others = sorted((family for family in figures.families if family.finding != "proposed"), key=_evidence)
    return render(
        "discovery/discover.html.j2",
        figures=figures,
        proposed=[(family, worst_and_best(family)) for family in figures.proposed[:MOST_ROWS]],
        left_out=len(figures.proposed[MOST_ROWS:]),
        sheets=sheets,
        others=[(family, FINDINGS[family.finding], _because(family)) for family in others],
        words=[(each, _shown(each)) for each in figures.words if each.nearer],
        warnings=[sentence(text) for text in figures.warnings],
        entries=_entries(figures),
    )


def _evidence(family: TriedFamily) -> tuple[float, float]:
    """Return the key to sort by: the smallest p-value first, then the largest share of the errors."""
    explained = family.explained
    if explained is None or explained.p_value is None:
        return 2.0, 0.0
    return explained.p_value, -(explained.share or 0.0)


def _because(family: TriedFamily) -> str:
    return "; ".join(family.doubts)


def _shown(found: ClassWords) -> Sequence[tuple[str, float]]:
    return [(word.word, word.score) for word in found.nearer[:MOST_WORDS]]


def _entries(figures: DiscoveryFigures) -> Entries:
    """Return the data, backbone, catalogue and settings."""
    failed, backbone = figures.data.failed_images, figures.backbone
    more = f"; {count(failed)} more could not be read" if failed else ""
    return [
        ("Data", figures.data.root),
        ("Images", f"{count(figures.data.n)}, split: {figures.data.split}{more}"),
        ("Backbone", f"{backbone.model}, {backbone.pretrained or 'no pretrained tag'}, {backbone.embed_dim} features"),
        ("Catalogue", figures.catalogue or "dbpt's own"),
        *made_by_entries((), (), (), figures.settings),
    ]
