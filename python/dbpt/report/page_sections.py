"""Pages as lists of sections: each is a template of templates/sections/, and a function that gives it its values.

The commands choose the sections of their pages. What these say about a verdict is in ``audit_sentences.py`` and
``outcome.py``.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from numpy.typing import ArrayLike

from dbpt._core import __version__
from dbpt.evaluation.results import Metrics
from dbpt.guesses.base import BY_VALUES, GroupKind
from dbpt.guesses.trust import Guesses
from dbpt.report.charts import Chart
from dbpt.report.group_pictures import GroupExamples, GuessSheets
from dbpt.report.result_charts import charted_rows, most_groups
from dbpt.report.result_rows import SPLIT_NAMES, Row, group_size
from dbpt.report.tables import confusions
from dbpt.report.text import guesser, render, sentence

Wordings = Sequence[tuple[str, Sequence[str]]]
"""The words for classes and attributes, by name."""
Templates = Sequence[Sequence[str]]
"""The sentences of classes, of attributes, and of groups if the classifier tells them apart."""
MOST_GROUPS_TABLED = 200
"""With more groups, the tables show the ones with the lowest accuracy."""
MOST_CELLS = 8000
"""With more figures, the table of the groups shows fewer groups, so that the page stays below 8 MB."""


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


def groups(
    metrics: Metrics,
    rows: Sequence[Row],
    chart: Chart | None,
    doubted: Sequence[str],
    *,
    file: str,
) -> Section:
    """Return the accuracy of the rows by group and by each of several factors, as a chart and as tables.

    Args:
        metrics: the figures of a run or a comparison.
        rows: its rows.
        chart: the `accuracy_chart`; None if there is nothing to draw.
        doubted: the factors whose guesses are doubted.
        file: the file that has the figures of all groups.
    """
    chosen, num_groups = next(row for row in rows if row.chosen), len(metrics.dataset.groups)
    return section(
        "groups",
        "Accuracy by group",
        metrics=metrics,
        rows=rows,
        charted=charted_rows(rows),
        num_charted=most_groups(rows),
        chart=chart,
        doubted=doubted,
        tabled=sorted(chosen.worst_first[: min(MOST_GROUPS_TABLED, MOST_CELLS // len(rows))]),
        sizes=[group_size(rows, g) for g in range(num_groups)],
        chosen=chosen.name,
        split_name=SPLIT_NAMES[metrics.split],
        file=file,
    )


def answers(
    examples: Sequence[GroupExamples], tabled: Sequence[int], names: Sequence[str], where: str, *, has_images: bool
) -> Section:
    """Return the answers of one or two classifiers to the same images.

    Args:
        examples: the images of each group.
        tabled: the groups that the table shows.
        names: the names of the classifiers.
        where: which images they are, in words.
        has_images: False for features without images.
    """
    title = "The same images before and after" if len(names) > 1 else "Images right and wrong"
    values = {"tabled": tabled, "names": names, "where": where, "has_images": has_images}
    return section("answers", title, groups=examples, **values)


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
