"""Present a run: `comparison_table` for the terminal, `render_report` for one self-contained HTML file."""

from dbpt.report.page import Mistake, render_report
from dbpt.report.table import comparison_table

__all__ = ["Mistake", "comparison_table", "render_report"]
