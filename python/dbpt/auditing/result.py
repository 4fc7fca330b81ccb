"""`Audit`: figures, table and charts, with the differences between groups."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dbpt.auditing.figures import AuditFigures, BiasSize, Verdict
from dbpt.auditing.gate import Bars, Gate, judged
from dbpt.data.loading import import_pandas
from dbpt.groups import SMALL_GROUP, ExplainedErrors, Group
from dbpt.groups.accuracy import worst_first
from dbpt.guesses.trust import Guesses
from dbpt.report import text
from dbpt.report.charts import MOST_BARS, Bar, BarGroup, Chart, bar_chart
from dbpt.report.gate import By
from dbpt.report.summary import AVERAGES
from dbpt.storage.files import Column

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

SLIGHT, DIFFERENT, VERY_DIFFERENT = 0.02, 0.1, 0.3
"""Many images show differences that matter little: below two percentage points a bias is always small."""
SMALL_SHARE, LARGE_SHARE = 0.2, 0.5


def worst_group(groups: Sequence[Group]) -> Group:
    """Return the first of the groups with the lowest accuracy."""
    return worst_first(groups)[0]


def named_difference(groups: Sequence[Group], *, prefers_worst: bool = True) -> tuple[Group, Group]:
    """Return the two groups of one class that the verdict names, the worse one first.

    Pairs whose intervals are apart come first, and of these the ones with the worst group of all, unless
    ``prefers_worst`` is False. Of the pairs that are left, the chosen one differs most in accuracy, or in standard
    errors if the intervals of no pair are apart.
    """
    worst = worst_group(groups)

    def difference(pair: tuple[Group, Group]) -> tuple[bool, bool, float]:
        worse, better = pair
        pooled = (worse.correct + better.correct + 1) / (worse.n + better.n + 2)
        found = better.correct / better.n - worse.correct / worse.n
        if are_apart(worse, better):
            return True, prefers_worst and worse == worst, found
        return False, False, found / sqrt(pooled * (1 - pooled) * (1 / worse.n + 1 / better.n))

    return max(
        (pair for pair in combinations(worst_first(groups), 2) if pair[0].class_name == pair[1].class_name),
        key=difference,
    )


def are_apart(worse: Group, better: Group) -> bool:
    """Return whether the intervals of the two groups are apart."""
    return worse.high is not None and better.low is not None and worse.high < better.low


def enough_wrong_guesses(worse: Group, groups: Sequence[Group], guesses: Guesses) -> int | None:
    """Return the number of wrong guesses in the class of the ``worse`` group, if they alone can make it the worse one.

    CLIP often guesses the attribute wrongly where it errs in the class. Let errors not depend on the true attribute, m
    images be guessed into a group wrongly, and as many out of it. The group then has at most m errors more than its
    number of images at the error rate of the class, because all m can be errors. m is half the wrong guesses.
    """
    of_class = [each for each in groups if each.class_name == worse.class_name]
    n, errors = sum(each.n for each in of_class), sum(each.n - each.correct for each in of_class)
    right = guesses.accuracy if guesses.n_known >= SMALL_GROUP else guesses.mean_confidence
    wrong = (1 - cast(float, right)) * n
    return round(wrong) if worse.n - worse.correct - worse.n * errors / n <= wrong / 2 else None


def bias_size(worse: Group, better: Group, share: float) -> BiasSize:
    """Return how large a bias is, from the difference that it names and the ``share`` of errors that it explains.

    The share alone is small for a rare group that always fails, the difference alone is large by chance for a group
    of few images. So a bias is small only if both are, and strong only if the intervals are apart.
    """
    difference = better.correct / better.n - worse.correct / worse.n
    certain = difference if are_apart(worse, better) else 0.0
    if difference < SLIGHT or (share < SMALL_SHARE and difference < DIFFERENT):
        return "small"
    return "strong" if certain >= VERY_DIFFERENT or (certain >= DIFFERENT and share >= LARGE_SHARE) else "clear"


def difference_text(worse: Group, better: Group) -> str:
    """Return the accuracies of two groups of a class, with the counts of small ones."""
    return (
        f"of {worse.class_name!r} {_accuracy_text(worse)} right with {worse.attribute!r}, "
        f"{_accuracy_text(better)} with {better.attribute!r}"
    )


def also_different(named: Group, groups: Sequence[Group], guesses: Guesses | None) -> list[str]:
    """Return a sentence on another class than that of the ``named`` group: the one whose groups differ most.

    None if no intervals are apart, or wrong ``guesses`` alone can make the difference. They are None for given groups.
    """
    others = [each for each in groups if each.n and each.class_name != named.class_name]
    pairs = [pair for pair in combinations(others, 2) if pair[0].class_name == pair[1].class_name]
    if not pairs:
        return []
    worse, better = named_difference(others, prefers_worst=False)
    is_sure = guesses is None or not enough_wrong_guesses(worse, groups, guesses)
    return [f"Also {difference_text(worse, better)}."] if is_sure and are_apart(worse, better) else []


def uncertainties(worse: Group, better: Group, groups: Sequence[Group]) -> list[str]:
    """Return sentences that say how certain the named difference is, and which group is worst if it is another."""
    found, apart = [], are_apart(worse, better)
    fewest, worst = min((worse, better), key=lambda group: group.n), worst_group(groups)
    few = f"{fewest.attribute!r} has only {text.count_of(fewest.n, 'image')} of this class"
    if not apart:
        found.append("No two groups of a class have intervals that are apart.")
    if fewest.n < SMALL_GROUP:
        certain = "the difference is real; its size is uncertain" if apart else "its accuracy is uncertain"
        found.append(f"{few}: {certain}.")
    if worst.correct / worst.n < worse.correct / worse.n:
        found.append(
            f"The worst group is another: of {worst.class_name!r} with {worst.attribute!r}, "
            f"{text.count(worst.correct)} of {text.count(worst.n)} images are right."
        )
    return found


def _accuracy_text(group: Group) -> str:
    few = f" ({group.correct} of {group.n})" if group.n < SMALL_GROUP else ""
    return f"{text.in_words(group.accuracy)}{few}"


def audit_figures(figures: AuditFigures) -> dict[str, Chart | None]:
    """Return the charts of an audit, by name; those of factors have their number. Page and files show them."""
    groups, named = worst_first(figures.groups), figures.named_group
    found = {"accuracy": _group_chart(groups, named)}
    for number, factor in enumerate(figures.factors, 1):
        groups = worst_first(factor.groups)
        marked = groups[0] if factor.verdict.kind == "bias" else None
        found[f"accuracy_factor-{number}"] = _group_chart(groups, marked, of=f"{factor.name}: ")
    return found


def _group_chart(groups: Sequence[Group], marked: Group | None, of: str = "") -> Chart | None:
    """Draw the groups, the worst ones if they are many; ``of`` names the factor."""
    bars = []
    for group in groups[:MOST_BARS]:
        bar = Bar("erm" if group == marked else "chosen", "accuracy", group.accuracy, group.low, group.high)
        bars.append(BarGroup((group.class_name, group.attribute), f"n = {text.count(group.n)}", [bar]))
    what = f"{of}Accuracy of each group in per cent, with its interval, worst group first"
    legend = [("erm", "the group that the verdict is about"), ("chosen", "other groups")] if marked else []
    return bar_chart(bars, what, legend)


MOST_ROWS = 20
"""With more groups, the table shows the worst ones."""


@dataclass(frozen=True, repr=False, eq=False)
class Audit:
    """The audit of a classifier. ``str()`` of it is the table, ``verdict.sentence`` the result in one short sentence.

    Attributes:
        figures: the content of ``audit.json``.
        images: the content of ``images.csv``, by column.
        folder: where the files are; None without ``out``.
    """

    figures: AuditFigures
    images: dict[str, Column]
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
        return [*self.figures.warnings, *self.figures.metrics.warnings]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``audit.json``."""
        return json.loads(json.dumps(asdict(self.figures)))  # type: ignore[no-any-return]

    def group_rows(self) -> list[dict[str, Any]]:
        """Return a dict for each group: names, numbers of images, rates as fractions, bounds of the accuracy."""
        return [_row(each) for each in self.groups]

    def factor_rows(self) -> list[dict[str, Any]]:
        """Return the same for the groups of each factor by itself, with the key ``factor``; none without factors."""
        return [{"factor": factor.name, **_row(each)} for factor in self.figures.factors for each in factor.groups]

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
            The gate. ``assert gate.passed, gate`` is a test.

        Raises:
            InputError: for bars that can't be meant, none at all, and a baseline of other images.
        """
        bars = Bars(min_worst_group, max_gap, baseline, max_drop, by)
        return judged(bars, self.figures, self.images, bars.answers_of_baseline())

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
        guessed = "attributes from a file" if figures.guesses.from_file else f"guessed by {figures.guesses.guesser}"
        guessed = "clusters within each class" if figures.by_clusters else guessed
        whose = "true attributes" if figures.group_kind == "true" else guessed
        whose = f"true values of {' and '.join(known)}, others {guessed}" if (known := figures.known_factors) else whose
        whose += ", which can't be trusted here" if figures.verdict.kind == "untrusted" else ""
        heading = [f"{data.name}: {split}, {text.count_of(data.n, 'image')}; predictions: {figures.predictions_from}"]
        heading.append(f"groups: {whose}; figures in per cent")
        marked = None if figures.has_doubts else figures.worst_group
        worst = text.interval_text(metrics.worst_group_low, metrics.worst_group_high)
        lowest = f"worst group {text.percent(self.worst_group_accuracy)} ({worst} whichever group it is)"
        lowest = (
            f"no errors in any group ({worst} for the worst group, whichever it is)" if figures.is_flawless else lowest
        )
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
        if data.search:
            notes.append(f"--attributes auto: {data.search.sentence}")
        lines = [*text.wrapped(heading), ""]
        for factor in figures.factors:
            lowest_group = None if factor.verdict.kind == "untrusted" else worst_group(factor.groups)
            lines += [f"{factor.name}:", "", *_group_table(factor.groups, lowest_group, "factors.csv"), ""]
            lines += [*text.wrapped([str(factor.verdict)]), ""]
        if figures.factors:
            lines += [f"combinations of {' and '.join(factor.name for factor in figures.factors)}:", ""]
        if untrusted := [factor.name for factor in figures.factors if factor.verdict.kind == "untrusted"]:
            notes.append(f"combinations say nothing about {' and '.join(untrusted)}, whose values may be wrong")
        lines += [*_group_table(self.groups, marked, "groups.csv"), "", *text.wrapped(notes), ""]
        return "\n".join([*lines, *text.wrapped([str(figures.verdict)])])

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"Audit({self.figures.data.name!r}, {self.verdict.kind!r}, folder={self.folder and str(self.folder)!r})"


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
    many = list[str]()
    if len(groups) > MOST_ROWS:
        many = [
            f"the {MOST_ROWS} worst of {text.count(len(groups))} groups with images; {file} in --out has all of them"
        ]
        groups = worst_first(groups)[:MOST_ROWS]
    columns = [
        ["group", *(text.shorten_group(each.class_name, each.attribute, text.LONGEST_GROUP_NAME) for each in groups)],
        ["images", *(text.count(each.n) for each in groups)],
        ["right ", *(text.percent(each.accuracy) + ("*" if each == worst else " ") for each in groups)],
        ["95 % interval", *(text.interval_text(each.low, each.high) for each in groups)],
        ["false pos.", *(text.percent(each.false_positive_rate) for each in groups)],
    ]
    if _have_confidence(groups):
        columns.append(["overconf.", *(text.points(each.calibration_gap) for each in groups)])
    # render_columns expects three lines of titles.
    return [*text.render_columns([[title, "", "", *cells] for title, *cells in columns]), *many]


def _have_confidence(groups: Sequence[Group]) -> bool:
    return any(each.confidence is not None for each in groups)


def _association(figures: AuditFigures) -> list[str]:
    lines = []
    if figures.cramers_v is not None:
        lines.append(f"class and attribute in these images: Cramér's V {figures.cramers_v:.2f} (0 none, 1 complete)")
        if figures.training_cramers_v is not None and figures.data.split != "train":
            lines[-1] += f"; in the training images: {figures.training_cramers_v:.2f}"
    explained = figures.explained
    if explained and explained.p_value is not None and explained.share is not None:
        between = text.interval_text(explained.share_low, explained.share_high)
        share = f"{text.percent(explained.share)} % {between}".rstrip()
        what = "clusters" if figures.by_clusters else "attribute"
        are = "is" if explained.errors == 1 else "are"
        lines.append(
            f"{share} of {text.count_of(explained.errors, 'error')} {are} explained by the {what} within the classes; "
            f"permutation test: {p_text(explained)}"
        )
        if figures.data.is_searched:
            lines[-1] += ", which is too small, since a search chose the attribute on these images"
    return lines


def p_text(explained: ExplainedErrors) -> str:
    """Format a p-value that is not None; the smallest one that the permutations allow is an upper bound."""
    p = cast(float, explained.p_value)
    return f"p {'≤' if explained.p_is_bound else '='} {p:.{4 if p < 0.01 else 2}f}"
