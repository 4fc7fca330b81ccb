"""The figures of a run as rows, by factor too, and the sentences that say how they were made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, TypeVar

import numpy as np

from dbpt.evaluation import Group
from dbpt.evaluation.accuracy import merged_groups, worst_first
from dbpt.evaluation.factors import groups_of_factors
from dbpt.evaluation.results import ComparisonMetrics, ComparisonRow, FactorSummary, Metrics, RunMetrics, RunRow
from dbpt.guesses.label import METHOD
from dbpt.guesses.trust import Guesses
from dbpt.objectives import OBJECTIVES
from dbpt.report.findings import doubts_in_words
from dbpt.report.text import count, count_of, cross_validation_text, interval_text, percent
from dbpt.settings.fields import AUTO
from dbpt.settings.sections import DEFAULT_SELECTIONS, PSEUDO_SELECTIONS


@dataclass(frozen=True)
class FactorFigures:
    """Accuracy by class and value of one factor, whatever the values of the others.

    ``groups`` are those with images, and ``worst`` is the one with the lowest accuracy. ``gap`` is the row's average
    minus that accuracy.
    """

    name: str
    groups: list[Group]
    worst: Group | None
    gap: float | None


def factor_figures(metrics: Metrics, of_row: Sequence[Group], average: float | None = None) -> list[FactorFigures]:
    """Return the figures of each factor from the groups of all combinations in a row of ``metrics``.

    Empty without groups, and for one factor, which the groups show already.
    """
    data = metrics.dataset
    if len(data.factors) < 2 or not of_row:
        return []
    figures = []
    for i, factor in enumerate(data.factors):
        merged = groups_of_factors(np.arange(len(of_row)), data, [i])
        names = list(product(data.classes, factor.values))
        groups = [group for group in merged_groups(of_row, merged, names) if group.n]
        worst = next(iter(worst_first(groups)), None)
        gap = None if worst is None or average is None else average - (worst.accuracy or 0.0)
        figures.append(FactorFigures(factor.name, groups, worst, gap))
    return figures


def nothing_is_trusted(guesses: Guesses) -> bool:
    """Return True if the guesses of the attribute, or of each of several factors, are doubted."""
    return all(each.doubts for each in guesses.factors)


def doubted_factors(guesses: Guesses, metrics: Metrics) -> list[str]:
    """Return the names of the factors whose guesses are doubted; none if the groups are true ones."""
    return [] if metrics.group_kind == "true" else [factor.name for factor in guesses.named if factor.doubts]


def judged_factors(guesses: Guesses, metrics: Metrics) -> list[int]:
    """Return the indices of the factors by which a bias is judged: all but the doubted ones, or all if all are."""
    doubted, names = doubted_factors(guesses, metrics), [factor.name for factor in metrics.dataset.factors]
    return [i for i, name in enumerate(names) if name not in doubted] or list(range(len(names)))


def by_factor(factors: Sequence[FactorSummary], values: Sequence[float]) -> list[list[float]]:
    """Return the sums over the combinations (A,) that have each value, a list for each factor."""
    table, axes = np.reshape(values, [len(factor.values) for factor in factors]), range(len(factors))
    return [table.sum(axis=tuple(other for other in axes if other != i)).tolist() for i in axes]


def right_by_factor(factors: Sequence[FactorSummary], confusion: Sequence[Sequence[int]]) -> list[float | None]:
    """Return the fraction of right guesses of each factor, from the confusion (A, A) of their combinations."""
    confusion_AA = np.asarray(confusion)
    codes_FA = np.indices([len(factor.values) for factor in factors]).reshape(len(factors), -1)
    right = [confusion_AA[codes[:, None] == codes].sum() for codes in codes_FA]
    total = confusion_AA.sum()
    return [float(n / total) if total else None for n in right]


AVERAGES = {"plain": ("average", "gap"), "adjusted": ("adjusted_average", "adjusted_gap")}
"""Names of the two figures that tables show for each value of ``--average``."""
MINIMUM_NOTE = "a worst group is a minimum: its accuracy is biased downward, most if groups are small and similar"
WORST_OF = {"wgp": "probability of the true class", "wga": "accuracy"}
"""The figure of the worst group that model selection takes."""
SPLIT_NAMES = {"test": "test", "val": "validation", "train": "training"}


R = TypeVar("R", RunRow, ComparisonRow)


@dataclass(frozen=True, repr=False)
class Row(Generic[R]):
    """A row of the table of ``metrics``. Figures are fractions; in a comparison, means over the seeds."""

    record: R
    metrics: Metrics
    chosen: bool

    def __repr__(self) -> str:
        worst, average = percent(self.worst_group_accuracy), percent(self.average_accuracy)
        return f"Row({self.title}: worst group {worst} %, average {average} %)"

    @property
    def method(self) -> str:
        """An objective's name or ``zero-shot``; in a comparison also the group source, such as ``dbpt:true``."""
        return self.record.method

    @property
    def head(self) -> str | None:
        """The head that was trained."""
        return self.record.head

    @property
    def title(self) -> str:
        """The name in the table."""
        return self.record.title

    @property
    def worst_group_accuracy(self) -> float | None:
        """Worst-group accuracy, None if no group was evaluated."""
        return self.record.figure("worst_group_accuracy")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of worst-group accuracy, over the images."""
        low, high = self.record.figure("worst_group_low"), self.record.figure("worst_group_high")
        return None if low is None or high is None else (low, high)

    @property
    def average_accuracy(self) -> float | None:
        """The average that ``--average`` names."""
        return self.record.figure(AVERAGES[self.metrics.average][0])

    @property
    def gap(self) -> float | None:
        """The average minus worst-group accuracy."""
        return self.record.figure(AVERAGES[self.metrics.average][1])

    @property
    def groups(self) -> Sequence[Group]:
        """The groups in the order g = y*A + a, none if the row was not evaluated."""
        return self.record.groups

    @property
    def groups_differ(self) -> bool:
        """True if the seeds of a comparison disagree on the images of a group."""
        return isinstance(self.record, ComparisonRow) and self.record.groups_differ

    @property
    def worst_first(self) -> list[int]:
        """The groups that tables show, in the order of their accuracy, those without images last."""
        accuracies = [each.accuracy for each in self.groups] or [None] * len(self.metrics.dataset.groups)
        return sorted(self.metrics.dataset.shown_groups, key=lambda g: (accuracies[g] is None, accuracies[g] or 0.0))

    @property
    def worst(self) -> Group | None:
        """The group with the lowest accuracy; None if no group was evaluated."""
        return next(iter(worst_first(self.groups)), None)

    @property
    def factors(self) -> list[FactorFigures]:
        """Each of several factors alone; none for one attribute, and if the `groups_differ`."""
        return factor_figures(self.metrics, () if self.groups_differ else self.groups, self.average_accuracy)


@dataclass(frozen=True)
class ShownRow:
    """A row of a page, with its ``name`` and ``color`` in tables and charts."""

    row: Row[Any]
    name: str
    color: str


def shown_rows(rows: Sequence[Row[Any]], name: Callable[[Row[Any]], str] = lambda row: row.title) -> list[ShownRow]:
    """Return the rows with colours; zero-shot, ERM and the chosen row have the same ones on all pages."""
    fixed = {"zero-shot": "zero-shot", "erm": "erm"}
    shown, others = [], 0
    for row in rows:
        # Only the first of several rows of a method has its colour.
        color = "chosen" if row.chosen else fixed.pop(row.method, "")
        shown.append(ShownRow(row, name(row), color or f"other-{others % 4}"))  # COLORS has four of them
        others += not color
    return shown


def group_size(rows: Sequence[Row[Any]], group: int) -> str:
    """Return the number of evaluated images of a group, in words if the seeds of a comparison disagree."""
    row = next((row for row in rows if row.groups), None)
    return "0" if row is None else "differs by seed" if row.groups_differ else count(row.groups[group].n)


@dataclass(frozen=True)
class Summary:
    """The metrics of a run on one split: the first of test, validation and training that has rows."""

    metrics: RunMetrics
    split: str
    rows: tuple[Row[RunRow], ...]
    chosen: Row[RunRow]

    @property
    def split_line(self) -> str:
        """A line that names the split of the figures and its number of images."""
        shown = self.chosen.record.shown
        images = f", {count_of(shown.n, 'image')}" if shown else ""
        if self.split == "test":
            return f"test split{images}"
        if self.split == "train":
            flattery = "no other split; if the classifier was trained on it, the figures are too high"
            return f"training split{images} ({flattery})"
        selected = self.metrics.model_selection != "last" and any(row.record.best_epoch for row in self.rows)
        flattery = "; it also selected the epochs, so the figures are too high" if selected else ""
        return f"validation split{images} (no test split{flattery})"

    @property
    def heading(self) -> list[str]:
        """Return the lines above the table: which images, whose groups, what the figures are."""
        return [
            f"{self.metrics.dataset.name}: {self.split_line}{shots_text(self.metrics)}",
            f"{groups_line(self.metrics)}; figures in per cent",
        ]

    @property
    def warnings(self) -> list[str]:
        """All warnings, those about class words and guesses first."""
        about_words = map(str, self.metrics.class_doubts)
        return [*about_words, *map(doubts_in_words, self.metrics.doubted_guesses), *self.other_warnings]

    @property
    def other_warnings(self) -> list[str]:
        """The most important warning about the figures, those of the run and of training, then the rest."""
        of_training = [f"{row.title}: {text}" for row in self.rows for text in row.record.warnings]
        return [*self._worse_than_zero_shot, *map(str, self.metrics.warnings), *of_training, *self._figure_warnings]

    @property
    def others(self) -> list[Row[RunRow]]:
        """The rows besides the chosen one that have a worst-group accuracy, without those that it was chosen from."""
        candidates = self.metrics.choice.candidates if self.metrics.choice else ()
        rows = [row for row in self.rows if not row.chosen and row.record.name not in candidates]
        return [row for row in rows if row.worst_group_accuracy is not None]

    @property
    def baseline(self) -> Row[RunRow] | None:
        """The row to compare with: ERM, else the other one with the best worst group.

        Zero-shot is none if CLIP doesn't know the words of the classes.
        """
        rows = [row for row in self.others if row.method != "zero-shot" or not self.metrics.class_doubts]
        plain = next((row for row in rows if row.method == "erm"), None)
        return plain or max(rows, key=lambda row: row.worst_group_accuracy or 0.0, default=None)

    @property
    def zero_shot(self) -> Row[RunRow] | None:
        """The zero-shot row, unless it is the chosen one."""
        return next((row for row in self.others if row.record.name == "zero-shot"), None)

    @property
    def _worse_than_zero_shot(self) -> list[str]:
        row, chosen = self.zero_shot, self.chosen.worst_group_accuracy
        zero_shot = row.worst_group_accuracy if row else None
        if zero_shot is None or chosen is None or round(100 * zero_shot, 1) <= round(100 * chosen, 1):
            return []
        title = self.chosen.title
        return [f"zero-shot has a better worst group than {title} ({percent(zero_shot)} against {percent(chosen)} %)"]

    @property
    def _figure_warnings(self) -> list[str]:
        """Return what is said of the metrics, each once, with the titles of its rows unless it is about all of them."""
        titles: dict[str, list[str]] = {}
        for row in self.rows:
            for text in map(str, row.record.shown.warnings if row.record.shown else ()):
                titles.setdefault(text, []).append(row.title)
        shown = sum(row.record.shown is not None for row in self.rows)
        return [text if len(who) == shown else f"{', '.join(who)}: {text}" for text, who in titles.items()]


def summarize(metrics: RunMetrics) -> Summary:
    """Choose the split to show and the chosen row."""
    records = metrics.rows
    split = next((name for name in SPLIT_NAMES if any(getattr(record, name) for record in records)), "val")
    chosen = next((i for i, record in enumerate(records) if record.name == metrics.chosen), len(records) - 1)
    rows = tuple(Row(record, metrics, i == chosen) for i, record in enumerate(records))
    return Summary(metrics, split, rows, rows[chosen])


def groups_line(metrics: Metrics) -> str:
    """Return a line that tells whether groups are those of true or pseudo attributes."""
    if not metrics.dataset.has_attributes:
        return "groups: classes (no attribute named)"
    if metrics.group_kind == "true":
        return "groups: true attributes"
    if metrics.dataset.clusters:
        groups = "groups: clusters within each class (found by the model)"
    else:
        guessed = "by a probe" if metrics.cross_validated else "labelled by the model"
        groups = f"groups: pseudo attributes ({'from a file' if metrics.pseudo_method == METHOD else guessed})"
    if not metrics.pseudo_doubts:
        return groups
    factors = [each.name for each in metrics.dataset.factors]
    doubted = [name for name in factors if name in {doubt.of for doubt in metrics.pseudo_doubts}]
    return f"{groups}, {'which' if doubted == factors else ' and '.join(doubted)} can't be trusted here"


def shots_text(metrics: Metrics) -> str:
    """Return the part of a line that tells how many images of each class served for training; "" if all did."""
    shots = metrics.dataset.shots
    return "" if shots is None else f"; trained on {shots} image{'s' if shots > 1 else ''} of each class"


def selection_text(selection: str, *, by_class: bool) -> str:
    """Return the rule by which the best epoch was chosen; ``by_class`` says that its groups are the classes."""
    return f"{selection}, here of the worst class" if by_class else selection


def selected_by(metrics: RunMetrics | ComparisonMetrics) -> str:
    """Return the rule by which the best epochs of a run or a comparison were chosen, and the rows with another one."""
    selection, others = metrics.model_selection, list[str]()
    if isinstance(metrics, ComparisonMetrics) and selection == AUTO:  # its rows may have both defaults
        know = {OBJECTIVES[each.objective].uses_groups for each in metrics.rows if each.objective is not None}
        selection, others = DEFAULT_SELECTIONS[True in know], ["methods without groups"] if len(know) > 1 else []
    by_ppa = any(row.group_source == "ppa" for row in metrics.rows)
    by_class = selection in PSEUDO_SELECTIONS and not metrics.dataset.has_attributes and not by_ppa
    for row in metrics.rows:
        if isinstance(row, RunRow) and row.model_selection not in (None, selection):
            others.append(row.title)
    text = selection_text(selection, by_class=by_class)
    return f"{text} ({' and '.join(others)} by average)" if others else text


def selecting_figure(metrics: RunMetrics) -> tuple[str, str, str]:
    """Return the figure that selects the epoch, in words, the groups that it is over, and its key in the history."""
    groups, _, figure = metrics.model_selection.partition("-")
    if groups == "pseudo" and any(row.group_source == "ppa" for row in metrics.rows):
        groups = "ppa"
    if figure not in WORST_OF:
        return "average accuracy", "", "val_average"
    if groups == "pseudo" and not metrics.dataset.has_attributes:
        return f"worst-class {WORST_OF[figure]}", "", f"val_{figure}"
    return f"worst-group {WORST_OF[figure]}", f", over {groups} groups", f"val_{figure}"


def average_note(kind: str) -> str:
    """Return a note about the average and gap in a table."""
    weights = {"plain": "over all images", "adjusted": "each group weighted by its share of the training images"}
    return f"average and gap: {kind}, {weights[kind]}"


def pseudo_note(metrics: Metrics) -> str:
    """Describe the pseudo attributes: method, shares, and their accuracy if true attributes are known."""
    if not metrics.dataset.has_attributes:
        return "pseudo attributes: none, as no attribute is named"
    quality = metrics.pseudo_quality
    values = [factor.values for factor in metrics.dataset.factors] or [metrics.dataset.attributes]
    out_of_fold = map(cross_validation_text, metrics.cross_validated, values)
    text = "; ".join([f"pseudo attributes: {pseudo_text(metrics)}", *out_of_fold])
    if quality is None or quality.smallest_group is None:
        return text
    if len(factors := metrics.dataset.factors) > 1:
        shares = zip(factors, right_by_factor(factors, quality.confusion), strict=True)
        text += f"; right by factor: {', '.join(f'{each.name} {percent(share)}' for each, share in shares)}"
    smallest, name = quality.groups[quality.smallest_group], metrics.dataset.group_names[quality.smallest_group]
    interval = interval_text(smallest.precision_low, smallest.precision_high)
    right = f"{percent(quality.accuracy)} right{cluster_note(metrics)}"
    group = f"smallest pseudo-group ({name}, {count_of(smallest.n, 'image')})"
    return f"{text}; {right}; {group}: precision {percent(smallest.precision)} {interval}"


def cluster_note(metrics: Metrics) -> str:
    """Return how clusters are compared with true attributes, after a figure; "" without clusters."""
    return ", if each cluster is taken for its commonest true attribute" if metrics.dataset.clusters else ""


def pseudo_text(metrics: Metrics) -> str:
    """Return the method of the pseudo attributes and the share of each, or what is known of the clusters.

    With factors, the shares are those of each factor's values.
    """
    if not metrics.dataset.has_attributes:
        return "none"
    if metrics.dataset.clusters is not None:
        known = [value for value in metrics.dataset.clusters.separation if value is not None]
        distinct = f", separation at least {min(known):.2f}" if known else ""
        return f"{len(metrics.dataset.clusters.names[0])} clusters within each class{distinct}"
    shares = _named(metrics.dataset.attributes, metrics.pseudo_shares)
    if factors := metrics.dataset.factors:
        sums = by_factor(factors, metrics.pseudo_shares)
        shares = ", ".join(f"{each.name} {_named(each.values, of)}" for each, of in zip(factors, sums, strict=True))
    return f"{metrics.pseudo_method}, shares {shares}"


def _named(names: Sequence[str], shares: Sequence[float]) -> str:
    return " ".join(f"{name} {share:.2f}" for name, share in zip(names, shares, strict=True))
