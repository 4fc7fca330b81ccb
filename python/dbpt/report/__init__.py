"""Present a run or a comparison: tables as text, and `render_report` for one self-contained HTML file of a run."""

from dbpt.report.gallery import Mistake
from dbpt.report.page import RunPage, render_report
from dbpt.report.table import run_table

__all__ = ["Mistake", "RunPage", "render_report", "run_table"]
