"""`Audit`: figures, gate, and the table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.arguments import path
from dbpt.commands.audit.gate import Bars, By, Gate, judged
from dbpt.data.loading import import_pandas
from dbpt.data.writing import Column
from dbpt.evaluation import Group
from dbpt.evaluation.accuracy_by_group import worst_first
from dbpt.evaluation.audit_fields import AuditFigures, Verdict
from dbpt.guesses.base import OWN_VALUES
from dbpt.report import text
from dbpt.report.result_rows import AVERAGES
from dbpt.report.tables import Shown, starred

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


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
        return judged(
            Bars(min_worst_group, max_gap, None if baseline is None else path("baseline", baseline), max_drop, by),
            self.figures,
            self.images,
        )

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
        from dbpt.commands.audit.page import audit_figures
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
