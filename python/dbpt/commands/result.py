"""`Result`: the return value of `fit`, `evaluate` and `compare`, and the content of their folders."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dbpt import arguments
from dbpt.data.loading import import_pandas
from dbpt.errors import InputError, per_cent_hint
from dbpt.evaluation import Group, results
from dbpt.evaluation.repeats import Evaluated, difference_of, rows_named
from dbpt.evaluation.results import FailedTraining, Metrics, read_metrics
from dbpt.evaluation.row_differences import Difference
from dbpt.report.paper_table import PaperTable, paper_table
from dbpt.report.result_rows import AVERAGES, FactorFigures, Row, Summary
from dbpt.report.results_verdict import outcome_of
from dbpt.report.tables import WIDEST, Shown, results_table, table_lines
from dbpt.report.text import wrapped
from dbpt.runs.run_folder import finished_run, load

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from dbpt.runs.classifier import Classifier


@dataclass(frozen=True, repr=False, eq=False)
class Result(Shown):
    """Accuracy by group of a run, of its classifier on other data, or of a comparison. ``str()`` of it is the table.

    Figures are fractions over the split that the table shows; None means missing.

    Attributes:
        folder: the folder of the run or comparison.
        metrics: the content of ``metrics.json`` or ``compare.json``.
    """

    folder: Path
    metrics: Metrics
    _loaded: "Classifier | None" = None
    _place: Path = field(init=False)

    def __post_init__(self) -> None:
        """Keep the place of a relative folder, if the program changes its own."""
        object.__setattr__(self, "_place", self.folder.absolute())

    @classmethod
    def read(cls, folder: str | Path) -> "Result":
        """Read the result of a finished `fit` or `compare`.

        Args:
            folder: the folder of the run or comparison.

        Returns:
            The result.

        Raises:
            InputError: if it isn't there or was changed.
        """
        path = arguments.path("folder", folder) / "compare.json"
        if not os.path.lexists(path):
            finished_run(path.parent)
            path = path.with_name("metrics.json")
        result = cls(path.parent, read_metrics(path))
        try:
            result.table()
        except InputError:  # not about the file, such as a plugin that can't be imported
            raise
        except (LookupError, TypeError, ValueError):
            raise InputError(f"{path}: its entries don't fit together; the file was changed, run it again") from None
        return result

    @cached_property
    def _summary(self) -> Summary:
        return Summary(self.metrics)

    @property
    def rows(self) -> Sequence[Row]:
        """All rows of the table."""
        return self._summary.rows

    @property
    def chosen(self) -> Row:
        """The row of the figures below.

        For a run, its own objective; for a comparison, the one with the highest worst-group accuracy. Of rows that
        differ in settings alone, only the best on validation counts there.
        """
        return self._summary.chosen

    @property
    def worst_group_accuracy(self) -> float | None:
        """Worst-group accuracy of the `chosen` row."""
        return self.chosen.worst_group_accuracy

    @property
    def average_accuracy(self) -> float | None:
        """Average accuracy of the `chosen` row, plain or adjusted as in the table."""
        return self.chosen.average_accuracy

    @property
    def gap(self) -> float | None:
        """`average_accuracy` minus `worst_group_accuracy`."""
        return self.chosen.gap

    @property
    def groups(self) -> Sequence[Group]:
        """The groups of the `chosen` row; ``pandas.DataFrame(result.groups)`` is a table of them."""
        return self.chosen.groups

    @property
    def factors(self) -> list[FactorFigures]:
        """Accuracy of the `chosen` row by each of several attributes alone; none for one attribute."""
        return self.chosen.factors

    @property
    def warnings(self) -> list[str]:
        """All warnings that the table shows."""
        return self._summary.warnings

    @property
    def failed(self) -> list[FailedTraining]:
        """The trainings of a comparison that failed; `fit` raises instead."""
        return self.metrics.failed

    @cached_property
    def classifier(self) -> "Classifier":
        """The finished classifier, loaded on first use as by `dbpt.load`. Raises `InputError` for a comparison."""
        if self.metrics.saved is None:
            raise InputError(f"{self.folder}: a comparison has no single classifier; run dbpt.fit for one of its rows")
        return self._loaded or load(self.folder)

    def table(self, width: int = WIDEST, *, warnings: bool = True) -> str:
        """Return the table as text.

        Args:
            width: the most characters in a line of a comparison if names are short; a run has at most 80.
            warnings: whether the warnings follow.

        Returns:
            Lines without a final newline. The last ones of a comparison name its best row and what can't be told from
            it, unless it has factors.
        """
        table = results_table(self.metrics, width, warnings=warnings)
        if not self.metrics.leaders or self.metrics.dataset.factors:  # a page judges some factors alone
            return table
        outcome = outcome_of(self._summary)
        return "\n".join([table, "", *wrapped([f"{outcome.title}: {outcome.sentence}"], width)])

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``metrics.json`` or ``compare.json``."""
        return json.loads(json.dumps(asdict(self.metrics)))  # type: ignore[no-any-return]

    def difference(self, row: str | Row, other: str | Row, *, confidence: float = 0.95) -> Difference:
        """Return a row of a comparison minus another one, paired by seed, draw and image.

        Args:
            row, other: each a row of `rows`, or its name: ``METHOD`` as in ``methods``, or one of several heads and
                settings as ``METHOD,HEAD,SETTING=VALUE``, such as ``"dbpt,linear,eta=5"``.
            confidence: that of each interval, above 0 and below 1.

        Returns:
            ``figures`` of ``"worst_group_accuracy"``, ``"average_accuracy"`` and ``"gap"``, which are those of `Row`
            and of the table, each with the mean and its interval over draws or seeds; ``over_images`` is that of
            worst-group accuracy over other images. It is wider than needed, also for a row and itself. What isn't known
            is None.

        Raises:
            InputError: for a name that no row or that several rows have, and a confidence out of range.
        """
        if isinstance(confidence, str) or not 0 < confidence < 1:
            hint = per_cent_hint(confidence)
            raise InputError(f"confidence: found {confidence!r}; expected a number between 0 and 1{hint}")
        records = list[results.Row]()
        for argument, each in (("row", row), ("other", other)):
            name = each.record.full_name if isinstance(each, Row) else each
            found = rows_named(argument, self.metrics.rows, name)
            if len(found) > 1:
                names = " or ".join(record.full_name for record in found)
                raise InputError(f"{argument} {name}: several rows have this name; write {names}")
            records += found
        between, (average, gap) = self._difference(records[0], records[1], confidence), AVERAGES[self.metrics.average]
        shown = {"worst_group_accuracy": "worst_group_accuracy", "average_accuracy": average, "gap": gap}
        return replace(between, figures={name: between.figures[figure] for name, figure in shown.items()})

    def _difference(self, row: results.Row, other: results.Row, confidence: float) -> Difference:
        answers = self._answers(row), self._answers(other)
        return difference_of(row, other, answers, self.metrics.dataset.smallest_group, confidence)

    def _answers(self, row: results.Row) -> Sequence[Evaluated]:
        """Return the answers to images, which the folder of a comparison has."""
        from dbpt.commands.compare.cell_files import stored_answers  # imports the heads

        return stored_answers(self._place, row) if self.metrics.saved is None else ()

    def to_pandas(self, style: Literal["full", "paper"] = "full") -> "pandas.DataFrame":
        """Return the table as a data frame, whose ``to_markdown()`` writes it as text.

        Args:
            style: ``"full"`` for all figures as numbers; ``"paper"`` for the columns of papers as texts.

        Returns:
            A line for each row. In full it has the columns of ``compare.csv``: figures, deviations, the numbers of
            seeds and draws, the differences to ERM or ``against`` with their intervals, and the accuracy of each group.
            For papers it has the method and cells such as ``80.0 ± 6.4`` in per cent. After ± is the standard deviation
            (n - 1) over the n draws or else seeds. ``**80.0 ± 6.4**`` is the best of a column, and ``79.1 ± 5.0 †``
            can't be told from it: some interval of the paired difference contains 0, at 95 % for all rows of the column
            at once. ``frame.attrs["notes"]`` says so with n.

        Raises:
            InputError: for another style, and if pandas, an extra of dbpt, is not installed.
        """
        if style not in ("full", "paper"):
            raise InputError(f"style: found {style!r}; expected 'full' or 'paper'")
        paper = self._paper if style == "paper" else None
        frame: pandas.DataFrame = import_pandas().DataFrame(paper.lines() if paper else self.lines())
        frame.attrs |= {"notes": paper.notes} if paper else {}
        return frame

    def to_latex(self, caption: str = "", label: str = "tab:comparison") -> str:
        """Return the table of `to_pandas` for papers as a ``table`` of LaTeX with the package booktabs.

        Args:
            caption: a text before the notes in the caption, which say what ± and the marks are; escaped as all names.
            label: the label, of letters, digits and : . _ / + -

        Returns:
            The lines. The best of a column is in bold, and a dagger marks what can't be told from it. pdflatex can't
            print names in other than Latin and Greek letters; XeLaTeX and LuaLaTeX can.

        Raises:
            InputError: for a caption that is no text, and for other letters in the label.
        """
        return self._paper.latex(caption, label)

    @cached_property
    def _paper(self) -> PaperTable:
        return paper_table(self.metrics, self._difference)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of `to_pandas` as dicts."""
        return table_lines(self.metrics)

    def plot(self) -> "Axes":
        """Draw the accuracy of each group; for a comparison, the worst-group accuracy of each row.

        Notebooks and ``pyplot.show()`` show the chart, and ``plot().figure.savefig(path)`` saves it.

        Returns:
            The ``matplotlib.axes.Axes``, to restyle the chart.

        Raises:
            InputError: for a comparison without results.
        """
        from dbpt.report.charts import show
        from dbpt.report.result_charts import result_charts

        return show(next(iter(result_charts(self.metrics).values())))

    def _brief(self) -> str:
        return f"{self.metrics.dataset.name!r}, {self.chosen!r}, folder={self.folder and str(self.folder)!r}"
