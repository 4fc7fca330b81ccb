"""Pages as lists of sections: each is a template of templates/sections/, and a function that gives it its values.

The commands choose the sections of their pages; what they say about a verdict is in the files of the verdicts. The
charts are the accuracy by group of the rows of a run or comparison, and the curves of a run's training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from markupsafe import Markup
from numpy.typing import ArrayLike

from dbpt._core import __version__
from dbpt.evaluation.results import ComparisonMetrics, RunMetrics
from dbpt.groups import class_and_attribute, group_name
from dbpt.guesses.base import GroupKind
from dbpt.guesses.linear_probe import PPA_NAMES
from dbpt.guesses.trust import Guesses
from dbpt.report import charts
from dbpt.report.charts import Chart
from dbpt.report.pictures import GroupExamples, GuessSheets, Mistake
from dbpt.report.summary import SPLIT_NAMES, Row, ShownRow, Summary, group_size, selecting_figure, shown_rows, summarize
from dbpt.report.tables import confusions
from dbpt.report.text import guesser, render, sentence, shorten_group

Wordings = Sequence[tuple[str, Sequence[str]]]
"""The words for classes and attributes, by name."""
Templates = Sequence[Sequence[str]]
"""The sentences of classes, of attributes, and of groups if the classifier tells them apart."""
MOST_GROUPS_TABLED = 200
"""With more groups, the tables show the ones with the lowest accuracy."""
MOST_CELLS = 8000
"""With more figures, the table of the groups shows fewer groups, so that the page stays below 3 MB."""


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


def tabled(row: Row[Any]) -> list[int]:
    """Return the groups that tables show, in their order: those in which the ``row`` has the lowest accuracy."""
    return sorted(row.worst_first[:MOST_GROUPS_TABLED])


def groups(
    metrics: RunMetrics | ComparisonMetrics,
    rows: Sequence[ShownRow],
    chart: Chart | None,
    doubted: Sequence[str],
    *,
    split: str,
    file: str,
) -> Section:
    """Return the accuracy of the rows by group and by each of several factors, as a chart and as tables.

    Args:
        metrics: the figures of a run or a comparison.
        rows: its rows.
        chart: the `accuracy_chart`; None if there is nothing to draw.
        doubted: the factors whose guesses are doubted.
        split: the split of the figures.
        file: the file that has the figures of all groups.
    """
    chosen, num_groups = next(shown for shown in rows if shown.row.chosen), len(metrics.dataset.groups)
    return section(
        "groups",
        "Accuracy by group",
        metrics=metrics,
        rows=rows,
        charted=charted_rows(rows),
        num_charted=most_groups(rows),
        chart=chart,
        doubted=doubted,
        tabled=sorted(chosen.row.worst_first[: min(MOST_GROUPS_TABLED, MOST_CELLS // len(rows))]),
        sizes=[group_size([shown.row for shown in rows], g) for g in range(num_groups)],
        chosen=chosen.name,
        split_name=SPLIT_NAMES[split],
        file=file,
    )


def answers(
    examples: Sequence[GroupExamples], tabled: Sequence[int], names: Sequence[str], where: str, *, has_images: bool
) -> Section:
    """Return the answers of one or two classifiers to the same images.

    Args:
        examples: the images of each group.
        tabled: the groups that the table shows.
        names: those of the classifiers.
        where: which images they are, in words.
        has_images: False for features without images.
    """
    title = "The same images before and after" if len(names) > 1 else "Images right and wrong"
    values = {"tabled": tabled, "names": names, "where": where, "has_images": has_images}
    return section("answers", title, groups=examples, **values)


def taken_for(counts: Sequence[ArrayLike], names: Sequence[str], classes: Sequence[str]) -> Section:
    """Return the confusions of the classifiers ``names``, whose ``counts`` are (C, C)."""
    tables = [confusions(each, classes) for each in counts]
    return section("confusions", "What is taken for what", tables=tables, names=names)


def mistakes(shown: Sequence[Mistake] | None, group: str, whose: str = "") -> Section:
    """Return the surest mistakes in a ``group``; ``whose`` names the classifier."""
    return section("mistakes", f"Mistakes in {group}", mistakes=shown, whose=whose)


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
    title = titles.get(guesses.provenance, f"How {guesser(guesses.provenance)} guessed the attribute")
    values = {"file": file, "known_factors": known_factors, "of_splits": of_splits, "seed": seed, "quality": quality}
    return section("guesses", title, shown=shown, use=use, **values)


def next_step_section(kind: str, **values: object) -> Section:
    """Return what to do after a page of the command ``kind``."""
    return section("next", "Next step", kind=kind, **values)


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
    return section("made_by", "Settings", **{"figures": None} | shared | values)


def how(kind: str, guesses: Guesses | None = None, average: str = "", **values: object) -> Section:
    """Return how a page of the command ``kind`` was computed; ``values`` are those of its own paragraphs."""
    shared = {"has_attributes": True, "has_factors": False, "has_adjusted": False, "keeps_known": False}
    return section("how", kind=kind, guesses=guesses, average=average, **shared | values)


MOST_CURVES = 16
"""If there are more groups, the curves show the ones with the lowest accuracy."""
MOST_CHARTED = 5
"""The rows in the chart of the groups; more would make it long and repeat colours."""
MOST_BARS_BY_GROUP = 120
History = list[dict[str, Any]]


def run_figures(metrics: RunMetrics, history: History) -> dict[str, charts.Chart | None]:
    """Return the charts of a run, by name, None if there is nothing to draw. Page and files show them."""
    summary = summarize(metrics)
    rows, chosen = shown_rows(summary.rows), summary.chosen
    # Group prompts that are mixed with untrained ones have the training of the others.
    alike = [row for row in metrics.rows if row.epochs and row.prompts == chosen.record.prompts]
    trained = chosen.record.name if chosen.record.alpha is None or not alike else alike[-1].name
    of_chosen = [entry for entry in history if entry["row"] == trained]
    return {
        "accuracy": accuracy_chart(rows, summary.split_line),
        "weights": _curves_chart(summary, of_chosen, "group_weights"),
        "probability": _curves_chart(summary, of_chosen, "mean_p_true"),
        "validation": _validation_chart(summary, history, rows),
    }


def charted_rows(rows: Sequence[ShownRow]) -> list[ShownRow]:
    """Return the rows of the chart of groups: zero-shot, ERM and the chosen one, and those with the best worst group.

    They keep the order of the table.
    """
    known, fixed = [shown for shown in rows if shown.row.groups], ("zero-shot", "erm", "chosen")
    order = sorted(known, key=lambda shown: (shown.color not in fixed, -(shown.row.worst_group_accuracy or 0.0)))
    return [shown for shown in known if shown in order[:MOST_CHARTED]]


def most_groups(rows: Sequence[ShownRow]) -> int:
    """Return how many groups the chart of groups shows at most."""
    return max(1, min(charts.MOST_BARS, MOST_BARS_BY_GROUP // max(1, len(charted_rows(rows)))))


def accuracy_chart(rows: Sequence[ShownRow], where: str) -> charts.Chart | None:
    """Draw the accuracy of the `charted_rows` in the groups where the chosen one has the lowest, with intervals."""
    chosen, number = next(shown.row for shown in rows if shown.row.chosen), most_groups(rows)
    rows, blocks = charted_rows(rows), []
    for g in sorted(chosen.worst_first[:number]) if rows else ():
        entries = [(shown, shown.row.groups[g]) for shown in rows]
        bars = [charts.Bar(shown.color, shown.name, each.accuracy, each.low, each.high) for shown, each in entries]
        pair = chosen.metrics.dataset.groups[g]
        blocks.append(charts.BarGroup(pair, f"n = {group_size([shown.row for shown in rows], g)}", bars))
    what = f"Accuracy of each group in per cent, with 95 % intervals, {where}"
    return charts.bar_chart(blocks, what, [(shown.color, shown.name) for shown in rows])


CURVES: dict[str, tuple[str, Literal["relative", "fraction"]]] = {
    "group_weights": (
        "Weight of a sample of each group, relative to the first epoch; beside its name, that at the best epoch",
        "relative",
    ),
    "mean_p_true": ("Mean probability of the true class over epochs", "fraction"),
}
"""The figures of the history that have curves by group, each with the caption and the scale of its chart."""


def _curves_chart(summary: Summary, history: History, key: str) -> charts.Chart | None:
    """Draw a figure of each group over the epochs; None if it is not known."""
    lines, (what, scale) = _group_lines(summary, [entry for entry in history if entry[key]], key), CURVES[key]
    return charts.line_chart(lines, what, scale=scale, best=_best_epoch(history)) if lines else None


def _group_lines(summary: Summary, history: History, key: str) -> list[charts.Line]:
    """Return a curve for each group with a value: hue by class, dashes by attribute.

    Weights begin at 1, since absolute weights of rare groups would hide the changes.
    """
    lines, data = [], summary.metrics.dataset
    pairs = data.groups if summary.chosen.record.group_source == "true" else data.pseudo_groups
    if summary.chosen.record.group_source == "ppa":
        pairs = [(label, name) for label in data.classes for name in PPA_NAMES]
    if not history or len(history[0][key]) != len(pairs):  # true groups, where the figures are over clusters
        return []
    at_best = next((entry for entry in history if entry["best"]), history[-1])[key]
    for g, (y, a) in enumerate(pairs):
        prefix = f"{at_best[g] or 0.0:.3g} " if key == "group_weights" else ""
        label, attribute = class_and_attribute(g, len(pairs) // len(data.classes))
        curve = [(int(entry["epoch"]), _finite(entry[key][g])) for entry in history]
        if key == "group_weights":
            first = next((value for _, value in curve if value), None)
            curve = [(epoch, value / first if value and first else None) for epoch, value in curve]
        if any(value is not None for _, value in curve):
            short = prefix + shorten_group(y, a, charts.CURVE_LETTERS - len(prefix))
            # COLORS has six hues, and `charts.DASHES` four kinds of lines.
            lines.append((g, charts.Line(f"hue-{label % 6}", group_name(y, a), short, curve, dash=attribute % 4)))
    if len(lines) > MOST_CURVES:
        if pairs == data.groups:
            order = {g: rank for rank, g in enumerate(summary.chosen.worst_first)}
            lines.sort(key=lambda item: order.get(item[0], len(order)))
        lines = sorted(lines[:MOST_CURVES])
    return [line for _, line in lines]


def _finite(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)


def validation_title(metrics: RunMetrics) -> str:
    """Return the title of the chart of the figure that selects epochs."""
    figure, over, _ = selecting_figure(metrics)
    return f"{figure.capitalize()} on validation{over}"


def _validation_chart(summary: Summary, history: History, rows: Sequence[ShownRow]) -> charts.Chart | None:
    """Draw the figure that selects epochs, a curve for each row. Best epochs have a ring."""
    title, (_, _, key) = validation_title(summary.metrics), selecting_figure(summary.metrics)
    lines = []
    for shown in rows:
        mine = [entry for entry in history if entry["row"] == shown.row.method]
        curve = [(int(entry["epoch"]), _finite(entry[key])) for entry in mine]
        if any(value is not None for _, value in curve):
            lines.append(charts.Line(shown.color, shown.name, shown.name, curve, marked=_best_epoch(mine)))
    return charts.line_chart(lines, f"{title}, in per cent, by epoch", scale="percent") if lines else None


def _best_epoch(history: History) -> int | None:
    return next((int(entry["epoch"]) for entry in history if entry["best"]), None)
