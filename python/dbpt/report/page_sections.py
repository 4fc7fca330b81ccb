"""Pages as lists of sections: each is a template of templates/sections/, and a function that gives it its values.

The commands choose the sections of their pages. What these say about a verdict is in ``audit_sentences.py`` and
``results_verdict.py``.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from numpy.typing import ArrayLike

from dbpt._core import __version__
from dbpt.guesses.base import BY_VALUES, GroupKind
from dbpt.guesses.figures import Guesses
from dbpt.report.group_pictures import GuessSheets
from dbpt.report.page_size import MOST_GROUPS_TABLED
from dbpt.report.result_rows import Row
from dbpt.report.tables import confusions
from dbpt.report.text import guesser, render, sentence

Wordings = Sequence[tuple[str, Sequence[str]]]
"""The words for classes and attributes, by name."""
Templates = Sequence[Sequence[str]]
"""The sentences of classes, of attributes, and of groups if the classifier tells them apart."""


@dataclass(frozen=True)
class Section:
    """A part of a page: the name of its ``template`` and the ``values`` in it. A box has no ``title``."""

    template: str
    values: Mapping[str, object]
    title: str
    id: str

    def __html__(self) -> Markup:
        return Markup(render(f"sections/{self.template}.html.j2", **self.values))


def section(template: str, title: str = "", id: str = "", /, **values: object) -> Section:
    """Return the section of a template; ``id`` is by default the template's name."""
    return Section(template, values, title, id or template)


def render_page(
    title: str,
    headline: Section,
    sections: Sequence[Section | None],
    how: Section | None = None,
    version: str = __version__,
) -> str:
    """Return a page, one self-contained HTML file without scripts.

    Args:
        title: of the window.
        headline: the head, see `headline`.
        sections: the parts of the page in their order, without those that are None.
        how: how the page was computed.
        version: of dbpt, which made the figures.
    """
    return render("page.html.j2", title=title, headline=headline, sections=sections, how=how, version=version)


def headline(
    eyebrow: str, badge: tuple[str, str] | None, text: str, below: Section, leads: Sequence[str | Section] = ()
) -> Section:
    """Return the head of a page.

    Args:
        eyebrow: the small line above it.
        badge: a style and a few words; None for none.
        text: the headline.
        below: the section below the leads.
        leads: the paragraphs below the headline.
    """
    return section("headline", eyebrow=eyebrow, badge=badge, text=text, leads=leads, below=below)


def doubts(guesses: Guesses, group_kind: GroupKind, *, is_untrusted: bool, is_trained: bool = False) -> Section | None:
    """Return the box of the doubts about the guesses, which training used if ``is_trained``; None without any."""
    if not guesses.doubts:
        return None
    values = {"group_kind": group_kind, "is_untrusted": is_untrusted, "is_trained": is_trained}
    return section("doubts", guesses=guesses, **values)


def warnings(found: Sequence[object]) -> Section | None:
    """Return the box of the warnings, each once; None without any."""
    return section("warnings", texts=list(dict.fromkeys(sentence(str(each)) for each in found))) if found else None


def tabled(row: Row) -> list[int]:
    """Return the groups that tables show, in their order: those in which the ``row`` has the lowest accuracy."""
    return sorted(row.worst_first[:MOST_GROUPS_TABLED])


def taken_for(counts: Sequence[ArrayLike], names: Sequence[str], classes: Sequence[str]) -> Section:
    """Return the confusions of the classifiers ``names``, whose ``counts`` are (C, C)."""
    tables = [confusions(confusion, classes) for confusion in counts]
    return section("confusions", "What is taken for what", tables=tables, names=names)


def guessed(
    shown: GuessSheets,
    *,
    use: str = "",
    file: str = "",
    known_factors: Sequence[str] = (),
    of_splits: bool = True,
    seed: int | None = None,
    quality: Section | None = None,
) -> Section:
    """Return how the attribute was guessed, with contact sheets.

    Args:
        shown: the guesses and their sheets.
        use: "figures" if figures of the page are over the guesses, "compare" if they are shown beside true ones.
        file: the file of the attributes, if the page names it.
        known_factors: factors whose figures are over true values in spite of ``use``.
        of_splits: whether they are those of the training and validation images.
        seed: the seed of a comparison of several.
        quality: how many of them are right, if that is known.
    """
    guesses = shown.guesses
    titles = {"clusters": "The clusters", "file": "The attributes from a file"}
    titles |= dict.fromkeys(BY_VALUES, f"The groups by {guesses.method}")
    title = titles.get(guesses.provenance, f"How {guesser(guesses.provenance)} guessed the attribute")
    values = {"file": file, "known_factors": known_factors, "of_splits": of_splits, "seed": seed, "quality": quality}
    return section("guesses", title, shown=shown, use=use, **values)


def made_by(
    kind: str, command: str, words: Wordings, templates: Templates, settings: Mapping[str, str], **values: object
) -> Section:
    """Return what made a page: its command, with data, backbone, words and settings.

    Args:
        kind: the name of the command.
        command: the whole command line.
        words: the words for classes and attributes, by name.
        templates: the sentences.
        settings: by name, as texts.
        values: the ``figures`` or the ``metrics``.
    """
    shared = {"kind": kind, "command": command, "words": words, "templates": templates, "settings": settings}
    plugins = os.environ.get("DBPT_PLUGINS")
    return section("made_by", "Settings", **{"figures": None} | shared | {"plugins": plugins} | values)


def how(kind: str, guesses: Guesses | None = None, average: str = "", **values: object) -> Section:
    """Return how a page of the command ``kind`` was computed; ``values`` are those of its own paragraphs."""
    shared = {"has_attributes": True, "has_factors": False, "has_adjusted": False, "keeps_known": False}
    return section("how", kind=kind, guesses=guesses, average=average, **shared | values)
