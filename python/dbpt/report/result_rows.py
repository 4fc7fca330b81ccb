"""The rows of a run or a comparison as tables and pages show them, by factor too, and their warnings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from dbpt.evaluation import Group, results
from dbpt.evaluation.accuracy_by_group import also_worst, merged_groups, worst_first
from dbpt.evaluation.repeats import groups_of_factors
from dbpt.evaluation.results import Metrics
from dbpt.evaluation.row_differences import LEAST_REPEATS
from dbpt.evaluation.short_repr import Brief
from dbpt.report.discovery_sentences import doubts_in_words
from dbpt.report.text import count, percent


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


AVERAGES = {"plain": ("average", "gap"), "adjusted": ("adjusted_average", "adjusted_gap")}
"""Names of the two figures that tables show for each value of ``--average``."""
SPLIT_NAMES = {"test": "test", "val": "validation", "train": "training"}


@dataclass(frozen=True, repr=False)
class Row(Brief):
    """A row of the table of ``metrics``, with its color on pages. Figures are fractions, means over the seeds."""

    record: results.Row
    metrics: Metrics
    chosen: bool
    color: str

    def _brief(self) -> str:
        shown = self.record.shown
        return f"{self.name}: {'no result' if shown is None else shown._brief(self.average_accuracy, self.gap)}"

    @property
    def method(self) -> str:
        """An objective's name or ``zero-shot``; in a comparison also the group source, such as ``dbpt:true``."""
        return self.record.method

    @property
    def head(self) -> str | None:
        """The head that was trained."""
        return self.record.head

    @property
    def seeds(self) -> list[int]:
        """The seeds whose results the figures are means of."""
        return [repeat.seed for repeat in self.record.seed_repeats]

    @property
    def title(self) -> str:
        """The name in the table, beside a column of heads."""
        return self.record.title

    @property
    def name(self) -> str:
        """The name in sentences, with the head if the table has several."""
        return named(self.title, self.head, self.metrics)

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
    def worst_first(self) -> list[int]:
        """The groups that tables show, in the order of their accuracy, those without images last."""
        accuracies = [group.accuracy for group in self.groups] or [None] * len(self.metrics.dataset.groups)
        return sorted(self.metrics.dataset.shown_groups, key=lambda g: (accuracies[g] is None, accuracies[g] or 0.0))

    @property
    def worst(self) -> Group | None:
        """The group with the lowest accuracy; None if no group was evaluated."""
        return next(iter(worst_first(self.groups)), None)

    @property
    def also_worst(self) -> int:
        """The number of other groups with the accuracy of the worst."""
        return also_worst(self.groups)

    @property
    def factors(self) -> list[FactorFigures]:
        """Each of several factors alone; none for one attribute, and if the seeds disagree on the groups."""
        return factor_figures(self.metrics, () if self.record.groups_differ else self.groups, self.average_accuracy)


def named(title: str, head: str | None, metrics: Metrics) -> str:
    """Return a title with the head, if the metrics have several."""
    return title if head is None or len(metrics.heads) < 2 else f"{title}, head {head}"


def group_size(rows: Sequence[Row], group: int) -> str:
    """Return the number of evaluated images of a group, in words if the seeds of a comparison disagree."""
    row = next((row for row in rows if row.groups), None)
    return "0" if row is None else "differs by seed" if row.record.groups_differ else count(row.groups[group].n)


@dataclass(frozen=True)
class Summary:
    """The rows of a run or a comparison, and what is said about them."""

    metrics: Metrics

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows, of which one is chosen; zero-shot, ERM and the chosen row have the same colors on all pages."""
        fixed = {"zero-shot": "zero-shot", "erm": "erm"}
        rows, others = list[Row](), 0
        for position, record in enumerate(self.metrics.rows):
            is_chosen = position == self.metrics.chosen
            # Only the first of several rows of a method has its color.
            color = "chosen" if is_chosen else fixed.pop(record.method, "")
            rows.append(Row(record, self.metrics, is_chosen, color or f"other-{others % 4}"))  # COLORS has four of them
            others += not color
        return tuple(rows)

    @property
    def chosen(self) -> Row:
        """The row that the sentences are about."""
        return self.rows[self.metrics.chosen]

    @property
    def warnings(self) -> list[str]:
        """All warnings, those about class words and guesses first."""
        about_words = map(str, self.metrics.class_doubts)
        return [*about_words, *map(doubts_in_words, self.metrics.doubted_guesses), *self.other_warnings]

    @property
    def other_warnings(self) -> list[str]:
        """The most important warning about the figures, those of the data and of training, then the rest.

        Of several seeds of a row only the first that warns is quoted: the others say much the same.
        """
        of_training = list[str]()
        for row in self.rows:
            seeds = row.record.seed_repeats
            warned = [repeat for repeat in seeds if repeat.warnings]
            of_all = f", seed {warned[0].seed} (seeds that warn: {len(warned)} of {len(seeds)})" if warned else ""
            name = f"{row.name}{of_all if len(seeds) > 1 else ''}"
            of_training += [f"{name}: {text}" for repeat in warned[:1] for text in repeat.warnings]
        return [*self._worse_than_zero_shot, *map(str, self.metrics.warnings), *of_training, *self._figure_warnings]

    @property
    def reference(self) -> Row | None:
        """The row to compare the chosen one with."""
        record = self.metrics.reference(self.chosen.record)
        return next((row for row in self.rows if row.record is record), None)

    @property
    def told_by(self) -> list[str]:
        """The sources of chance that differences must exceed: draws or else seeds, if enough, and images."""
        is_moved = any(row.record.is_moved for row in self.rows if row.head is not None)
        counts = is_moved and self.metrics.repeats >= LEAST_REPEATS
        return [*([f"{self.metrics.repeat}s"] if counts else []), "images"]

    @property
    def is_clear(self) -> bool:
        """Whether the chosen row differs from its reference beyond chance; the best of many rows must do so as such."""
        difference, leaders = self.chosen.record.difference, [self.rows[i] for i in self.metrics.leaders]
        return difference is not None and difference.is_clear and self.reference not in leaders

    @property
    def zero_shot(self) -> Row | None:
        """The zero-shot row, unless it is the chosen one or was a candidate for it."""
        others = [record.method for record in self.metrics.others(self.chosen.record)]
        rows = (row for row in self.rows if row.method == "zero-shot" and row.method in others)
        return next((row for row in rows if row.worst_group_accuracy is not None), None)

    @property
    def _worse_than_zero_shot(self) -> list[str]:
        row, chosen = self.zero_shot, self.chosen.worst_group_accuracy
        zero_shot = row.worst_group_accuracy if row and self.metrics.saved else None
        if zero_shot is None or chosen is None or round(100 * zero_shot, 1) <= round(100 * chosen, 1):
            return []
        title = self.chosen.title
        return [f"zero-shot has a better worst group than {title} ({percent(zero_shot)} against {percent(chosen)} %)"]

    @property
    def _figure_warnings(self) -> list[str]:
        """Return what is said of the metrics, each once, with the names of its rows unless it is about all of them."""
        names: dict[str, list[str]] = {}
        for row in self.rows:
            for text in map(str, row.record.shown.warnings if row.record.shown else ()):
                names.setdefault(text, []).append(row.name)
        shown = sum(row.record.shown is not None for row in self.rows)
        between = "; " if len(self.metrics.heads) > 1 else ", "  # names with a head have commas
        return [text if len(who) == shown else f"{between.join(who)}: {text}" for text, who in names.items()]
