"""Horizontal bars with intervals: a chart of matplotlib in files, and a list in pages, which fits any width."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from markupsafe import Markup

from dbpt.groups import group_name
from dbpt.report.charts import (
    BAR_LETTERS,
    COLORS,
    HOVER,
    LETTER,
    NOTE,
    Chart,
    Legend,
    Looks,
    clean,
    drawing,
    new_axes,
    plots,
    write_text,
)
from dbpt.report.text import interval_text, percent, render, shorten_group

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Bar:
    """One bar: fractions in 0..1, None if missing; ``color`` is a name in `COLORS`.

    ``dots`` are single values behind ``value``, such as those of the seeds.
    """

    color: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    dots: Sequence[float] = ()


@dataclass(frozen=True)
class BarGroup:
    """Bars that share a label: ``names`` are class and attribute, and ``note`` is a second line below them."""

    names: tuple[str, str]
    note: str
    bars: Sequence[Bar]

    @property
    def name(self) -> str:
        """Class · attribute, or the class alone."""
        return group_name(*self.names)

    def in_words(self, bar: Bar) -> str:
        """Return one of the bars in words."""
        return f"{self.name}, {bar.title}: {percent(bar.value)} % {interval_text(bar.low, bar.high)}, {self.note}"


@dataclass(frozen=True)
class BarChart(Chart):
    """A chart of bars, which pages show as a list."""

    groups: Sequence[BarGroup]
    is_wide = False

    def __html__(self) -> Markup:
        """Return the list for a page with the style sheet; jinja2 calls this."""
        labels = [shorten_group(*group.names, BAR_LETTERS) for group in self.groups]
        return Markup(clean(render("bars.html.j2", groups=self.groups, labels=labels, description=self.description)))


def bar_chart(groups: Sequence[BarGroup], description: str, legend: Legend = ()) -> BarChart | None:
    """Draw horizontal grouped bars from 0 to 100 %, with intervals as whiskers and the value at the right.

    The description and the ``legend`` are above them, in files. Returns None without groups.
    """
    if not groups:
        return None
    labels = [shorten_group(*group.names, BAR_LETTERS) for group in groups]
    left, right, step, space = 20 + max(map(len, labels)) * LETTER, 52.0, 17.0, 18.0
    y, bars, tops = space / 2, list[tuple[float, BarGroup, Bar]](), list[tuple[float, BarGroup]]()
    for group in groups:
        block = max(step * len(group.bars), 32.0)
        tops.append((y + block / 2, group))
        first = y + (block - step * len(group.bars)) / 2 + 7.5
        bars += [(first + i * step, group, bar) for i, bar in enumerate(group.bars)]
        y += block + space
    height = y - space / 2
    with drawing():
        axes, on_page = new_axes(description, legend, height, (left, 22, right, 4))
        axes.set(xlim=(0, 1), ylim=(height, 0), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.tick_top()
        axes.set_xticklabels(["0", "25", "50", "75", "100 %"])
        for (middle, group), label in zip(tops, labels, strict=True):
            write_text(axes, (0, middle), (-14, 3), label, hover=group.name)
            write_text(axes, (0, middle), (-14, -12), group.note, **NOTE)
            if all(bar.value is None for bar in group.bars):
                write_text(axes, (0, middle), (6, -4), "no images", ha="left", **NOTE)
        _bars(axes, bars)
    return BarChart(axes.figure, clean(description), on_page, groups)  # type: ignore[arg-type]


def _bars(axes: "Axes", bars: Sequence[tuple[float, BarGroup, Bar]]) -> None:
    """Draw each bar at its y, with few artists: matplotlib takes a millisecond for each."""
    whiskers, dots, rectangle = list[tuple[float, float]](), list[tuple[float, float]](), plots("patches").Rectangle
    for y, group, bar in bars:
        if bar.value is None or bar.low is None or bar.high is None:
            continue
        # Even a bar of 0 is visible.
        patch = rectangle((0, y - 6.5), max(bar.value, 0.006), 13, color=COLORS[bar.color], zorder=2, linewidth=0)
        patch.set_gid(clean(HOVER + group.in_words(bar)))
        axes.add_patch(patch)
        whiskers += [(bar.low, y), (bar.high, y), (nan, nan)]  # a line breaks at nan
        dots += [(value, y) for value in bar.dots]
        write_text(axes, (1, y), (50, -4), f"{100 * bar.value:.1f}")
    fixed: Looks = {"color": COLORS["ink"], "clip_on": False}
    whisker = fixed | {"alpha": 0.75, "linewidth": 1.2, "markersize": 7, "zorder": 3}
    looks = fixed | {"linewidth": 0, "markersize": 5, "markerfacecolor": COLORS["page"], "zorder": 4}
    for points, marker, style in ((whiskers, "|", whisker), (dots, "o", looks)):
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, **style)
