"""How far a whole comparison is: one bar of its cells on a terminal, elsewhere a line for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dbpt.experiments.comparison.cells import CellResult
from dbpt.experiments.comparison.plan import Cell
from dbpt.experiments.stages import Log


class plan_progress:
    """Context manager that gives a function to call with each finished cell and its result, or why it has none.

    ``total`` cells there are, of which those of ``waiting`` are to be run. The time left is guessed from the trainings
    so far, so it is rough until each method has had its turn.
    """

    def __init__(self, total: int, waiting: Sequence[Cell], log: Log) -> None:
        from tqdm import tqdm

        done = total - len(waiting)
        self._bar = tqdm(total=total, initial=done, desc="comparison", unit="cell", disable=None, leave=False)
        self._total, self._done, self._log = total, done, log
        self._trainings, self._trained = sum(cell.head is not None for cell in waiting), 0
        self._started = time.perf_counter()

    def __enter__(self) -> Callable[[Cell, CellResult | str], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _show(self, cell: Cell, outcome: CellResult | str) -> None:
        self._done += 1
        self._trained += cell.head is not None
        line = f"{_in_words(cell)}: {_found(outcome)}"
        if self._bar.disable:
            self._log(f"[{self._done}/{self._total}] {line}{self._time_left()}")
        else:
            self._bar.set_postfix_str(line, refresh=False)
            self._bar.update()

    def _time_left(self) -> str:
        left = self._trainings - self._trained
        if not left or not self._trained:
            return ""
        seconds = (time.perf_counter() - self._started) / self._trained * left
        return f"; about {self._bar.format_interval(seconds)} left"


def _in_words(cell: Cell) -> str:
    head = "" if cell.head is None else f", {cell.head}"
    return f"{cell.method.name}{head}, seed {cell.config.seed}"


def _found(outcome: CellResult | str) -> str:
    if isinstance(outcome, str):
        return f"failed: {outcome}"
    worst = outcome.metrics["worst_group_accuracy"]
    found = f"average {100 * outcome.metrics['average']:.1f} %" if worst is None else f"worst group {100 * worst:.1f} %"
    return f"{found}, {outcome.seconds:.1f} s"
