"""Present a run or a comparison: tables as text, and `render_report` for one self-contained HTML file of a run."""

from dbpt.report.page import Mistake, render_report
from dbpt.report.table import comparison_table

__all__ = ["Mistake", "comparison_table", "render_report"]
