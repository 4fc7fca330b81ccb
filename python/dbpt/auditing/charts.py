"""The charts of an audit: accuracy by group, over all attributes and of each of several factors."""

from collections.abc import Sequence

from dbpt.auditing.figures import AuditFigures
from dbpt.groups import Group
from dbpt.groups.accuracy import worst_first
from dbpt.report.charts import BAR_LETTERS, MOST_BARS, WIDTH, Bar, BarGroup, Chart, Legend, bar_chart
from dbpt.report.text import count, shorten_group


def audit_figures(figures: AuditFigures) -> dict[str, Chart | None]:
    """Return the charts of an audit, by name; those of factors have their number. Page and files show them."""
    groups, named = worst_first(figures.groups), figures.named_group
    found = {"accuracy": group_chart(groups, named, BAR_LETTERS, WIDTH, _legend(named))}
    for number, factor in enumerate(figures.factors, 1):
        groups = worst_first(factor.groups)
        marked = groups[0] if factor.verdict.kind == "bias" else None
        chart = group_chart(groups, marked, BAR_LETTERS, WIDTH, _legend(marked), of=f"{factor.name}: ")
        found[f"accuracy_factor-{number}"] = chart
    return found


def _legend(marked: Group | None) -> Legend:
    return [("erm", "the group that the verdict is about"), ("chosen", "other groups")] if marked else ()


def group_chart(
    groups: Sequence[Group],
    marked: Group | None,
    letters: int,
    width: int,
    legend: Legend | None = None,
    of: str = "",
) -> Chart | None:
    """Draw the groups, the worst ones if they are many; ``of`` names the factor."""
    bars = []
    for group in groups[:MOST_BARS]:
        color, names = "erm" if group == marked else "chosen", (group.class_name, group.attribute)
        bar = Bar(color, "accuracy", group.accuracy, group.low, group.high)
        bars.append(BarGroup(" · ".join(names), shorten_group(*names, letters), f"n = {count(group.n)}", [bar]))
    what = f"{of}Accuracy of each group in per cent, with its interval, worst group first"
    return bar_chart(bars, what, width, legend=legend) if bars else None
