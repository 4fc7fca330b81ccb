"""`Audit`: figures, table, charts, and the HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbpt.commands.audit.gate import Bars, By, Gate, judged
from dbpt.commands.audit.next_step import UNRELATED
from dbpt.data.loading import import_pandas
from dbpt.data.writing import Column
from dbpt.evaluation import Group
from dbpt.evaluation.accuracy import also_worst, worst_first
from dbpt.evaluation.audit import AuditFigures, Verdict
from dbpt.groups import group_name
from dbpt.guesses.base import OWN_VALUES
from dbpt.report import sections, text
from dbpt.report.audit_sentences import after_doubts
from dbpt.report.bar_chart import Bar, BarGroup, bar_chart
from dbpt.report.charts import MOST_BARS, Chart
from dbpt.report.pictures import ContactSheet, GroupExamples, GuessSheets, Strip
from dbpt.report.sections import section
from dbpt.report.summary import AVERAGES, SPLIT_NAMES
from dbpt.report.tables import Shown, starred
from dbpt.report.text import in_words, sentence

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


def audit_figures(figures: AuditFigures) -> dict[str, Chart | None]:
    """Return the charts of an audit, by name; those of factors have their number. Page and files show them."""
    charts = {"accuracy": _group_chart(worst_first(figures.groups), figures.named_group)}
    for number, factor in enumerate(figures.factors, 1):
        groups = worst_first(factor.groups)
        marked = groups[0] if factor.verdict.kind == "bias" else None
        charts[f"accuracy_factor-{number}"] = _group_chart(groups, marked, of=f"{factor.name}: ")
    return charts


def _group_chart(groups: Sequence[Group], marked: Group | None, of: str = "") -> Chart | None:
    """Draw the groups, the worst ones if they are many; ``of`` names the factor."""
    bars = []
    for group in groups[:MOST_BARS]:
        bar = Bar("erm" if group == marked else "chosen", "accuracy", group.accuracy, group.low, group.high)
        bars.append(BarGroup((group.class_name, group.attribute), f"n = {text.count(group.n)}", [bar]))
    what = f"{of}Accuracy of each group in per cent, with its interval, worst group first"
    legend = [("erm", "the group that the verdict is about"), ("chosen", "other groups")] if marked else []
    return bar_chart(bars, what, legend)


MOST_GROUPS_PRINTED = 20
"""With more groups, the table shows the worst ones."""


@dataclass(frozen=True, repr=False, eq=False)
class Audit(Shown):
    """The audit of a classifier. ``str()`` of it is the table, ``verdict.sentence`` the result in one short sentence.

    Attributes:
        figures: the content of ``audit.json``.
        images: the content of ``images.csv``, by column.
        suspicious: the content of ``suspicious.csv``, by column: images whose label or prediction may be wrong.
        folder: where the files are; None without ``out``.
    """

    figures: AuditFigures
    images: dict[str, Column]
    suspicious: dict[str, Column]
    folder: Path | None

    @property
    def verdict(self) -> Verdict:
        """The kind ("bias", "no evidence", "nothing to compare" or "untrusted"), the sentence, its lead and more."""
        return self.figures.verdict

    @property
    def groups(self) -> list[Group]:
        """The groups that have images, in the order g = y*A + a."""
        return self.figures.groups

    @property
    def worst_group_accuracy(self) -> float | None:
        """The lowest accuracy of a group with images."""
        return self.figures.metrics.worst_group_accuracy

    @property
    def average_accuracy(self) -> float | None:
        """The average, plain or adjusted as in the table."""
        average: float | None = getattr(self.figures.metrics, AVERAGES[self.figures.average][0])
        return average

    @property
    def gap(self) -> float | None:
        """`average_accuracy` minus `worst_group_accuracy`."""
        gap: float | None = getattr(self.figures.metrics, AVERAGES[self.figures.average][1])
        return gap

    @property
    def warnings(self) -> list[str]:
        """All warnings, those of the figures last."""
        return list(map(str, (*self.figures.warnings, *self.figures.metrics.warnings)))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``audit.json``."""
        return json.loads(json.dumps(asdict(self.figures)))  # type: ignore[no-any-return]

    def group_rows(self) -> list[dict[str, Any]]:
        """Return a dict for each group: names, numbers of images, rates as fractions, bounds of the accuracy."""
        return [_row(group) for group in self.groups]

    def factor_rows(self) -> list[dict[str, Any]]:
        """Return a dict for each group of each single factor: the keys of `group_rows`, and ``factor``."""
        return [{"factor": factor.name, **_row(group)} for factor in self.figures.factors for group in factor.groups]

    def gate(
        self,
        *,
        min_worst_group: float | None = None,
        max_gap: float | None = None,
        baseline: "str | Path | None" = None,
        max_drop: float | None = None,
        by: By = "upper-bound",
    ) -> Gate:
        """Compare the classifier with bars that it must meet, as ``dbpt audit --min-worst-group`` does.

        Args:
            min_worst_group: the least worst-group accuracy, a fraction.
            max_gap: the largest gap, average minus worst-group accuracy, a fraction.
            baseline: the folder of an earlier audit of the same images. The bar is missed if the worst-group accuracy
                is surely lower by more than ``max_drop``: the whole 95 % interval of the paired difference is below.
            max_drop: 0 by default.
            by: "upper-bound": a bar is missed if the 95 % interval excludes it, so at most 5 % of classifiers that meet
                it fail by chance; "estimate": if the figure itself misses it; "lower-bound": unless the whole interval
                meets it.

        Returns:
            The gate, which is true if every bar is met. ``assert gate, str(gate)`` is a test.

        Raises:
            InputError: for bars that can't be meant, none at all, and a baseline that is damaged or has other images.
        """
        return judged(Bars(min_worst_group, max_gap, baseline, max_drop, by), self.figures, self.images)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return `group_rows` as a ``pandas.DataFrame``. Raises `InputError` if pandas is not installed."""
        return import_pandas().DataFrame(self.group_rows())

    def to_metric_frame_table(self) -> "pandas.DataFrame":
        """Return the audited images of known attribute as a ``pandas.DataFrame``, for fairlearn.

        Its columns ``label``, ``prediction`` and ``attribute`` are the arguments ``y_true``, ``y_pred`` and
        ``sensitive_features`` of ``fairlearn.metrics.MetricFrame``; ``control_features=table["label"]`` gives a line
        for each class. Raises `InputError` if pandas is not installed.
        """
        table = import_pandas().DataFrame(self.images)
        return table[table["attribute"] != ""].reset_index(drop=True)

    def plot(self) -> "Axes":
        """Draw the accuracy of each group, worst first, by matplotlib.

        Returns the ``matplotlib.axes.Axes``, to restyle the chart. Notebooks and ``pyplot.show()`` show it, and
        ``plot().figure.savefig(path)`` saves it.
        """
        from dbpt.report.charts import show

        return show(audit_figures(self.figures)["accuracy"])

    def table(self) -> str:
        """Return heading, table, figures and verdict as text, without a final newline."""
        figures, metrics = self.figures, self.figures.metrics
        data = figures.data
        split = "all splits" if data.split == "all" else f"{data.split} split"
        split = split if data.is_divided else "no splits"
        by = figures.guesses.provenance
        whose = "attributes from a file" if by == "file" else f"guessed by {text.guesser(by)}"
        if figures.group_kind == "true":
            whose = "true attributes"
        elif figures.by_clusters:
            whose = "clusters within each class"
        elif figures.by_values:
            whose = figures.guesses.method
        elif known := figures.known_factors:
            whose = f"true values of {' and '.join(known)}, others {whose}"
        whose += ", which can't be trusted here" if figures.verdict.kind == "untrusted" else ""
        heading = [f"{data.name}: {split}, {text.count_of(data.n, 'image')}; predictions: {figures.predictions_from}"]
        heading.append(f"groups: {whose}; figures in per cent")
        marked = None if figures.has_doubts else figures.worst_group
        interval = text.interval_text(metrics.worst_group_low, metrics.worst_group_high)
        lowest = f"worst group {text.percent(self.worst_group_accuracy)} ({interval} whichever group it is)"
        if figures.is_flawless:
            lowest = f"no errors in any group ({interval} for the worst group, whichever it is)"
        notes = []
        if not figures.has_doubts:
            notes = [
                f"{lowest}, {figures.average} average {text.percent(self.average_accuracy)}, "
                f"gap {text.points(self.gap)} {text.interval_text(figures.gap_low, figures.gap_high)}".rstrip(),
                *_association(figures),
            ]
        notes.append(
            f"{'' if marked is None else '* worst group; '}the intervals hold for all groups "
            f"{'of a table ' if figures.factors else ''}at once"
            f"{'; overconf.: mean confidence minus accuracy' if _have_confidence(self.groups) else ''}"
        )
        if figures.group_kind == "pseudo" and not figures.guesses.is_judged:
            notes.append("the attributes in the file are not checked; dbpt label RUN has you label a sample of a run's")
        elif figures.group_kind == "pseudo" and not (figures.guesses.doubts or by in OWN_VALUES):
            notes.append("the checks of the guesses found no reason for doubt; look at the pictures all the same")
        if wrong := figures.suspicious.wrong_labels:
            where = "in --out " if self.folder is None else ""
            looks = "look" if wrong > 1 else "looks"
            notes.append(f"{text.count_of(wrong, 'label')} {looks} wrong; suspicious.csv {where}ranks them")
        if data.search:
            notes.append(f"--attributes auto: {data.search.sentence}")
        lines = [*text.wrapped(heading), ""]
        for factor in figures.factors:
            lowest_group = None if factor.verdict.kind == "untrusted" else worst_first(factor.groups)[0]
            lines += [f"{factor.name}:", "", *_group_table(factor.groups, lowest_group, "factors.csv"), ""]
            lines += [*text.wrapped([str(factor.verdict)]), ""]
        if figures.factors:
            lines += [f"combinations of {' and '.join(factor.name for factor in figures.factors)}:", ""]
        if untrusted := [factor.name for factor in figures.factors if factor.verdict.kind == "untrusted"]:
            notes.append(f"combinations say nothing about {' and '.join(untrusted)}, whose values may be wrong")
        lines += [*_group_table(self.groups, marked, "groups.csv"), "", *text.wrapped(notes), ""]
        return "\n".join([*lines, *text.wrapped([str(figures.verdict)])])

    def _brief(self) -> str:
        return f"{self.figures._brief()}, folder={self.folder and str(self.folder)!r}"


def _row(group: Group) -> dict[str, Any]:
    return {
        "class": group.class_name,
        "attribute": group.attribute,
        "n": group.n,
        "correct": group.correct,
        "true_positive_rate": group.accuracy,
        "low": group.low,
        "high": group.high,
        "false_positive_rate": group.false_positive_rate,
        "confidence": group.confidence,
        "calibration_gap": group.calibration_gap,
    }


def _group_table(groups: Sequence[Group], worst: Group | None, file: str) -> list[str]:
    """Return the lines of the groups, or of the worst of many; all are in ``file``."""
    below = list[str]()
    if len(groups) > MOST_GROUPS_PRINTED:
        number = text.count(len(groups))
        below = [f"the {MOST_GROUPS_PRINTED} worst of {number} groups with images; {file} in --out has all of them"]
        groups = worst_first(groups)[:MOST_GROUPS_PRINTED]
    columns = [
        ["group", *(text.shorten_group(each.class_name, each.attribute, text.LONGEST_GROUP_NAME) for each in groups)],
        ["images", *(text.count(each.n) for each in groups)],
        ["right ", *(starred(each, worst) for each in groups)],
        ["95 % interval", *(text.interval_text(each.low, each.high) for each in groups)],
        ["false pos.", *(text.percent(each.false_positive_rate) for each in groups)],
    ]
    if _have_confidence(groups):
        columns.append(["overconf.", *(text.points(group.calibration_gap) for group in groups)])
    # render_columns expects three lines of titles.
    return [*text.render_columns([[title, "", "", *cells] for title, *cells in columns]), *below]


def _have_confidence(groups: Sequence[Group]) -> bool:
    return any(group.confidence is not None for group in groups)


def _association(figures: AuditFigures) -> list[str]:
    lines = []
    if figures.cramers_v is not None:
        lines.append(f"class and attribute in these images: Cramér's V {figures.cramers_v:.2f} (0 none, 1 complete)")
        if figures.training_cramers_v is not None and figures.data.split != "train":
            lines[-1] += f"; in the training images: {figures.training_cramers_v:.2f}"
    explained = figures.explained
    if explained and explained.p_value is not None and explained.share is not None:
        what = "clusters" if figures.by_clusters else "attribute"
        are = "is" if explained.errors == 1 else "are"
        lines.append(
            f"{text.share_in_words(explained)} of {text.count_of(explained.errors, 'error')} {are} explained by the "
            f"{what} within the classes; permutation test: {text.p_text(explained)}"
        )
        if figures.data.is_searched:
            lines[-1] += ", which is too small, since a search chose the attribute on these images"
    return lines


CLEAR = 0.3
"""From this association on, training can use the attribute instead of the class."""
KINDS = {
    "bias": "Bias found",
    "no evidence": "No evidence of bias",
    "nothing to compare": "Nothing to compare",
    "untrusted": "The guesses can’t be trusted",
}


def has_adjusted(figures: AuditFigures) -> bool:
    """Return whether the adjusted average is known, and is not that of the audited training images themselves."""
    adjusted, plain = figures.metrics.adjusted_average, figures.metrics.average
    of_training = figures.data.split == "train" and figures.data.is_divided
    return adjusted is not None and not (of_training and plain is not None and isclose(adjusted, plain))


def render_audit(
    figures: AuditFigures,
    sheets: list[ContactSheet] | None,
    examples: Sequence[GroupExamples] | None = None,
    charts: Mapping[str, Chart | None] | None = None,
    suspicious: Sequence[Strip] = (),
) -> str:
    """Return the page.

    Args:
        figures: the content of ``audit.json``.
        sheets: the contact sheets of the pseudo-groups; None without images.
        examples: images of every group with their predictions; None without images.
        charts: the `audit_figures`, if they are drawn already.
        suspicious: the `suspicious_strips`.
    """
    charts, data, guesses, factors = charts or audit_figures(figures), figures.data, figures.guesses, figures.factors
    kind, verdict, words = _kind(figures), figures.verdict, figures.words
    is_untrusted, is_pseudo = verdict.kind == "untrusted", figures.group_kind == "pseudo"
    confusion = np.array([[figures.confusion.get(y, {}).get(k, 0) for k in data.classes] for y in data.classes])
    adjusted = {"has_adjusted": has_adjusted(figures)}
    values = {"figures": figures, "right": int(confusion.trace()), **adjusted}
    values |= {
        "worst_first": worst_first,
        "also_worst": also_worst(figures.groups),
        "most_bars": MOST_BARS,
        "most_rows": sections.MOST_GROUPS_TABLED,
    }
    values |= {"unrelated": UNRELATED, "clear": CLEAR}
    title = f"{'Combinations' if factors else 'Groups'}, worst first"
    groups = section("audited_groups", title, "groups", chart=charts["accuracy"], factor=None, **values)
    title = "What the images of each group are taken for"
    shown = figures.named_group or figures.worst_group
    opened = group_name(shown.class_name, shown.attribute) if shown else ""
    pictures = section("examples", title, groups=examples, opened=opened) if examples else None
    meanings = section("numbers", "What the figures mean", shown=[False, True], **values)
    muted = section("numbers", shown=[True], **values)
    about_words = [each for each in figures.warnings if each.kind in ("class words", "class accuracy")]
    others = [each for each in figures.warnings if each not in about_words]
    parts = [
        None if factors and is_pseudo else sections.doubts(guesses, figures.group_kind, is_untrusted=is_untrusted),
        sections.warnings([*others, *figures.metrics.warnings]),
    ]
    for i, factor in enumerate(factors, 1):
        title, chart = f"By {factor.name} alone", charts[f"accuracy_factor-{i}"]
        parts.append(section("audited_groups", title, f"factor-{i}", chart=chart, factor=factor, **values))
    taken_for = sections.taken_for([confusion], ["the classifier"], data.classes)
    if is_untrusted:
        by = "group of the file" if guesses.provenance == "file" else "guessed group"
        summary = f"Figures by {'cluster' if figures.by_clusters else by}, which can’t be trusted"
        folded = section("folded", summary=summary, sections=[groups, muted])
        parts += [section("numbers", meanings.title, shown=[False], **values), taken_for, folded, pictures]
    else:
        parts += [groups, meanings, taken_for, pictures]
    if figures.suspicious.wrong_labels or figures.suspicious.rare_cases:
        parts.append(section("suspicious", "Wrong label or rare case?", counts=figures.suspicious, strips=suspicious))
    names = [f"{factor.name}: {value}" for factor in factors for value in factor.values] or data.attributes
    clusters = [(sheet.class_name, sheet.attribute, sheet.share or 0.0) for sheet in sheets or []]
    file, use = figures.settings.get("pseudo_attributes", ""), "figures" if is_pseudo else "compare"
    shown_guesses = GuessSheets(guesses, {name: words.get(name, [name]) for name in names}, sheets, clusters)
    known, templates = figures.known_factors, (figures.templates, figures.attribute_templates)
    parts += [
        sections.guessed(shown_guesses, use=use, file=file, known_factors=known, of_splits=False),
        section("next", "Next step", kind="audit", figures=figures),
        sections.made_by("audit", figures.command, list(words.items()), templates, figures.settings, figures=figures),
    ]
    suspects = ", ".join([factor.name for factor in factors] or data.attributes)
    suspects = guesses.method if figures.by_values else suspects
    eyebrow = f"{data.name} · audit of {'clusters within each class' if figures.by_clusters else suspects}"
    backbone = " · ".join(Path(name).name for name in (figures.backbone.model, figures.backbone.pretrained) if name)
    below = section("audited", figures=figures, backbone=backbone, split_names=SPLIT_NAMES)
    badge, leads = (verdict.kind.replace(" ", "-"), kind), [" ".join(verdict.lead)]
    head = sections.headline(eyebrow, badge, after_doubts(about_words, sentence(verdict.sentence)), below, leads)
    adjusted |= {"keeps_known": figures.keeps_known, "has_factors": bool(factors)}
    how = sections.how("audit", guesses, figures.average, **adjusted)
    return sections.render_page(f"{kind}: {data.name} · dbpt audit", head, parts, how, figures.dbpt_version)


def _kind(figures: AuditFigures) -> str:
    """Return the kind of the verdict and how large a bias is.

    A bias is only possible if another factor, in doubt, may be the reason.
    """
    others = [factor.verdict for factor in figures.factors if factor.verdict.kind == "untrusted"]
    if figures.verdict.kind == "bias" and any(verdict.doubts for verdict in others):
        return "Possible bias"
    size, explained = figures.verdict.size, figures.explained
    if size is None:
        return KINDS[figures.verdict.kind]
    share = None if explained is None or figures.factors else explained.share
    return f"{size.capitalize()} bias found" + ("" if share is None else f": {in_words(share)} of the errors")
