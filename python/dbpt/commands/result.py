"""`Result`: the return value of `fit`, `evaluate` and `compare`, and the content of their folders."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.data.loading import import_pandas
from dbpt.errors import InputError
from dbpt.evaluation import Group
from dbpt.evaluation.results import FailedTraining, Metrics, read_metrics
from dbpt.objectives import OBJECTIVES
from dbpt.report.summary import FactorFigures, Row, Summary
from dbpt.report.tables import WIDEST, Shown, results_table, table_lines
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
        path = Path(folder) / "compare.json"
        if not os.path.lexists(path):
            finished_run(path.parent)
            path = path.with_name("metrics.json")
        result = cls(path.parent, read_metrics(path))
        for row in result.metrics.rows if result.metrics.saved is None else ():
            if row.objective is not None:
                OBJECTIVES.check(str(path), row.objective)
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

        For a run, its own objective; for a comparison, ``dbpt`` with the first head or, without it, the last row.
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
            Lines without a final newline.
        """
        return results_table(self.metrics, width, warnings=warnings)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``metrics.json`` or ``compare.json``."""
        return json.loads(json.dumps(asdict(self.metrics)))  # type: ignore[no-any-return]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as a data frame. ``frame.to_latex()`` and ``to_markdown()`` write it for papers.

        Returns:
            A line for each row, with the columns of ``compare.csv``: figures, deviations, the numbers of seeds and
            draws, the differences to ERM with their intervals, and the accuracy of each group.

        Raises:
            InputError: if pandas, an extra of dbpt, is not installed.
        """
        frame: pandas.DataFrame = import_pandas().DataFrame(self.lines())
        return frame

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

    def __repr__(self) -> str:
        return f"Result({self.metrics.dataset.name!r}, {self.chosen!r}, folder={self.folder and str(self.folder)!r})"
