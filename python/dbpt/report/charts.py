"""Charts by matplotlib: what all have, curves over epochs with labels at their ends, and densities.

A `Chart` is a figure whose points are the pixels of a page. Pages show it as SVG with the reader's font and the colours
of the style sheet; files have the colours of light pages. Drawing is slow: a page and its file share that of the SVG.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from warnings import catch_warnings, filterwarnings

import numpy as np
from markupsafe import Markup

from dbpt.errors import InputError
from dbpt.evaluation.explained_by_attribute import Distribution
from dbpt.report.text import COLORS, shorten
from dbpt.runs.output_folder import FIGURES
from dbpt.storage.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 920
LETTER = 6.7  # assumed width of a letter at 12 px
BAR_LETTERS, CURVE_LETTERS = 42, 30
"""The longest labels of bars and of curves."""
MOST_BARS = 40
"""With more groups, a chart of bars shows the worst ones."""
CURVE_LABELS = 250
"""Width of the labels to the right of curves; the same in all charts, so that epochs are aligned."""
PIXEL_RATIO = 2
"""Pixels of a PNG per pixel of a page."""
DENSITY_WIDTH, DENSITY_HEIGHT = 440.0, 110.0
RIGHT, WRONG = "chosen", "erm"
DENSITY_LEGEND = ((RIGHT, "predicted right"), (WRONG, "predicted wrong"))
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (7, 4)), (0, (2, 3)), (0, (9, 3, 2, 3)))
LOOKS = {
    "figure.dpi": 72,
    "savefig.dpi": 72,
    "figure.facecolor": COLORS["page"],
    "font.size": 12,
    "text.color": COLORS["ink"],
    "text.parse_math": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.bottom": False,
    "grid.color": COLORS["rule"],
    "grid.linewidth": 1,
    "lines.scale_dashes": False,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "dbpt",
}
NOT_XML = re.compile("[^ -\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, and bytes of file names that are not UTF-8."""
FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", Arial, sans-serif'
HOVER = "hover: "
"""Begins the gid of an artist that shows the rest on hover."""
CAPTION_AND_LEGEND = re.compile(rf'\n  <g id="{HOVER}.*?(?=\n </g>)', re.DOTALL)
"""The artists of a figure from its caption on; those of the axes are indented by more spaces."""
Looks = dict[str, Any]
Box = tuple[float, float, float, float]
NOTE: Looks = {"fontsize": 11, "color": COLORS["muted"]}


@dataclass(frozen=True)
class Chart:
    """A figure, with a ``description`` for screen readers.

    Pages show the part ``on_page`` (x, y, width, height), which is all below caption and legend.
    """

    figure: "Figure"
    description: str
    on_page: Box
    is_wide: ClassVar = True
    """Whether pages let it scroll on narrow screens."""

    @property
    def axes(self) -> "Axes":
        """The axes with the bars or curves."""
        return self.figure.axes[0]

    def __html__(self) -> Markup:
        """Return the inline SVG for a page with the style sheet; jinja2 calls this."""
        names = {color: name for name, color in COLORS.items()}
        svg = _without_ids(CAPTION_AND_LEGEND.sub("", self._svg)).replace("xlink:href", "href")  # needs no namespace
        svg = re.sub(r"#[0-9a-f]{6}\b", lambda color: f"var(--{names[color[0]]})", svg)
        head = Markup('<svg viewBox="{:g} {:g} {:g} {:g}" role="img" aria-label="{}">')
        return head.format(*self.on_page, self.description) + Markup(svg)

    def svg_file(self) -> str:
        """Return an SVG file that needs no style sheet."""
        width, height = 72 * self.figure.get_size_inches()
        head = Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            'viewBox="0 0 {w:g} {h:g}" width="{w:g}" height="{h:g}" font-family="{}" role="img"><title>{}</title>'
            '<rect width="{w:g}" height="{h:g}" fill="{}"/>'
        )
        svg = Markup(_without_ids(self._svg))
        return head.format(FAMILY, self.description, COLORS["page"], w=width, h=height) + svg

    def png_file(self) -> bytes:
        """Return a PNG of `PIXEL_RATIO` pixels per pixel of a page."""
        return _rendered(self.figure, format="png", dpi=72 * PIXEL_RATIO, pil_kwargs={"compress_level": 3})

    @cached_property
    def _svg(self) -> str:
        """The content of the SVG, without a background, and with the font of its surroundings."""
        svg = _rendered(self.figure, format="svg", transparent=True, metadata={"Date": None}).decode()
        svg = svg[svg.index("</metadata>") + len("</metadata>") :]
        svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
        svg = re.sub(r"font-family: [^;]*; ?", "", svg)
        return re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)


def show(chart: Chart | None) -> "Axes":
    """Give the figure to pyplot, so that notebooks and ``pyplot.show()`` show it, and return its axes.

    Raises `InputError` for None.
    """
    if chart is None:
        raise InputError("there is nothing to plot: no group has an accuracy")
    # pyplot shows only figures that it has made.
    plots("pyplot").figure(FigureClass=lambda **_: chart.figure)
    return chart.axes


def write_figures(out: Path, charts: Mapping[str, Chart | None]) -> None:
    """Write each chart as ``figures/NAME.svg`` and ``.png`` in ``out``, and remove the files of those that are None.

    Raises `InputError` if the disk refuses.
    """
    for name, chart in charts.items():
        for kind in ("svg", "png"):
            path = out / FIGURES / f"{name}.{kind}"
            if chart is None:
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, chart.svg_file() if kind == "svg" else chart.png_file())


Legend = Sequence[tuple[str, str]]
"""Names of colours, each with what it means."""


@dataclass(frozen=True)
class Line:
    """A curve over epochs; a value of None interrupts it. ``label`` is the short name; epoch ``marked`` gets a ring.

    ``dash`` is a number of `DASHES`.
    """

    color: str
    name: str
    label: str
    points: Sequence[tuple[int, float | None]]
    marked: int | None = None
    dash: int = 0


def line_chart(
    lines: Sequence[Line],
    description: str,
    *,
    scale: Literal["fraction", "percent", "relative"],
    best: int | None = None,
) -> Chart:
    """Draw curves over epochs with labels at their ends; epoch ``best`` gets a rule.

    The axis goes from 0 to 1, or to 100 per cent, or encloses all values, which are ``relative`` to 1.
    """
    epochs = sorted({epoch for line in lines for epoch, _ in line.points})
    height = max(170.0, 15.0 * len(lines))
    with drawing():
        axes, on_page = new_axes(description, (), height, (44, 26, CURVE_LABELS, 38))
        axes.set_xlim(epochs[0], max(epochs[-1], epochs[0] + 1))
        axes.grid(visible=False, axis="x")
        numbers = plots("ticker").MaxNLocator(12, integer=True).tick_values(epochs[0], epochs[-1])
        axes.set_xticks([epochs[0], *(number for number in numbers if epochs[0] < number <= epochs[-1])])
        axes.annotate("epoch", (1, 0), (0, -32), "axes fraction", "offset points", ha="right", **NOTE)
        ticks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
        if scale == "relative":
            shown = [0.8, 1.2, *(value for line in lines for _, value in line.points if value is not None)]
            ticks = plots("ticker").MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(min(shown), max(shown))
        factor = 100 if scale == "percent" else 1
        axes.set(ylim=(ticks[0], ticks[-1]), yticks=ticks, yticklabels=[f"{factor * tick:g}" for tick in ticks])
        if best is not None:
            rule: Looks = {"color": COLORS["muted"], "linewidth": 1, "linestyle": DASHES[2], "clip_on": False}
            axes.axvline(best, ymax=1 + 14 / height, **rule)
            side, shift = ("right", -5) if best > (epochs[0] + epochs[-1]) / 2 else ("left", 5)
            at = (axes.get_xaxis_transform(), "offset points")
            axes.annotate(f"best epoch: {best}", (best, 1), (shift, 7), *at, ha=side, **NOTE)
        low, high = axes.get_ylim()
        ends = [next(value for _, value in reversed(line.points) if value is not None) for line in lines]
        tops = [height * (1 - (min(max(end, low), high) - low) / (high - low)) for end in ends]
        for line, end, label in zip(lines, tops, moved_apart(tops, 14.0, height), strict=True):
            _curve(axes, line, 1 - end / height, 1 - label / height)
    return Chart(axes.figure, clean(description), on_page)  # type: ignore[arg-type]


def _curve(axes: "Axes", line: Line, end: float, label: float) -> None:
    """Draw a curve, and its ``label`` beside its ``end``, both given as fractions of the height."""
    x, y = [epoch for epoch, _ in line.points], [nan if value is None else value for _, value in line.points]
    known = [False, *(value is not None for _, value in line.points), False]
    # Lines don't show a point without neighbours.
    alone = [i for i in range(len(x)) if known[i + 1] and not known[i] and not known[i + 2]]
    looks: Looks = {"color": COLORS[line.color], "linestyle": DASHES[line.dash], "linewidth": 2, "clip_on": False}
    (curve,) = axes.plot(x, y, solid_joinstyle="round", marker="o", markersize=5, markevery=alone, **looks)
    curve.set_gid(clean(HOVER + line.name))
    ring = [i for i, epoch in enumerate(x) if epoch == line.marked]
    axes.plot(
        [x[i] for i in ring], [y[i] for i in ring], "o", color=COLORS[line.color],
        markersize=10, markeredgewidth=2, markerfacecolor=COLORS["page"], clip_on=False, zorder=3,
    )  # fmt: skip
    pixel = 1 / (WIDTH - 44 - CURVE_LABELS)
    fixed: Looks = {"transform": axes.transAxes, "clip_on": False}
    axes.plot([1 + 3 * pixel, 1 + 12 * pixel], [end, label], color=COLORS["strong-rule"], linewidth=1, **fixed)
    axes.plot([1 + 15 * pixel, 1 + 39 * pixel], [label, label], **looks | fixed)
    low, high = axes.get_ylim()
    write_text(axes, (1, low + label * (high - low)), (45, -4), line.label, ha="left", hover=line.name)


def moved_apart(tops: Sequence[float], distance: float, bottom: float) -> list[float]:
    """Move labels apart to the given distance, in their order, keeping them above ``bottom``; all from the top."""
    moved, order = list(tops), sorted(range(len(tops)), key=lambda i: tops[i])
    for above, i in pairwise(order):
        moved[i] = max(moved[i], moved[above] + distance)
    if moved[order[-1]] > bottom:
        moved[order[-1]] = bottom
        for i, below in reversed(list(pairwise(order))):
            moved[i] = min(moved[i], moved[below] - distance)
    return moved


def density_chart(shown: Distribution, name: str) -> Chart | None:
    """Draw the densities of right and of wrong images, each with an area of 1; None if there are none of one kind.

    The wrong ones are a line, so that the kinds differ without colours, too.
    """
    if not (sum(shown.right) and sum(shown.wrong)):
        return None
    right, wrong = (_median(shown.edges, counts) for counts in (shown.right, shown.wrong))
    description = f"{name}: the median is {right:.3g} for images predicted right and {wrong:.3g} for those wrong"
    widths = np.diff(shown.edges)
    with drawing():
        axes, on_page = new_axes(description, DENSITY_LEGEND, DENSITY_HEIGHT, (16, 8, 16, 40), DENSITY_WIDTH)
        axes.stairs(shown.right / widths / sum(shown.right), shown.edges, fill=True, color=COLORS[RIGHT], alpha=0.35)
        axes.stairs(shown.wrong / widths / sum(shown.wrong), shown.edges, color=COLORS[WRONG], linewidth=2)
        axes.xaxis.set_major_locator(plots("ticker").MaxNLocator(5))
        axes.set(xlim=(shown.edges[0], shown.edges[-1]), ylim=(0, None), yticks=[])
        axes.set_xlabel(clean(name), color=COLORS["muted"], fontsize=11, loc="right")
    return Chart(axes.figure, clean(description), on_page)  # type: ignore[arg-type]


def _median(edges: Sequence[float], counts: Sequence[int]) -> float:
    """Return the median of values in bins."""
    below = np.cumsum([0, *counts])
    return float(np.interp(below[-1] / 2, below, edges))


def new_axes(description: str, legend: Legend, height: float, margins: Box, wide: float = WIDTH) -> tuple["Axes", Box]:
    """Return axes with margins at the left, top, right and bottom, and the part below legend and description."""
    left, top, right, bottom = margins
    lines, width = _in_lines(legend), wide + 14
    above = 46.0 + 20 * len(lines)
    whole = above + top + height + bottom
    figure = plots("figure").Figure((width / 72, whole / 72))
    axes = figure.add_axes((left / width, bottom / whole, (wide - left - right) / width, height / whole))
    caption = figure.text(14 / width, 1 - 22 / whole, clean(shorten(description, int((width - 42) / LETTER))))
    caption.set(gid=clean(HOVER + description), zorder=0.5)  # before the legend
    for row, entries in enumerate(lines):
        for x, color, name in entries:
            y = whole - 46 - 20 * row
            box = plots("patches").Rectangle((x / width, (y - 1) / whole), 11 / width, 11 / whole, color=COLORS[color])
            figure.add_artist(box).set_transform(figure.transFigure)
            figure.text((x + 18) / width, y / whole, clean(shorten(name, BAR_LETTERS)))
    return axes, (0.0, above, wide, whole - above)


def _in_lines(legend: Legend) -> list[list[tuple[float, str, str]]]:
    """Return the entries of a legend by line, each with its place."""
    lines, x = list[list[tuple[float, str, str]]](), float(WIDTH)
    for color, name in legend:
        needed = 42 + LETTER * min(len(name), BAR_LETTERS)
        if not lines or (x > 14 and x + needed > WIDTH):
            lines, x = [*lines, []], 14.0
        lines[-1].append((x, color, name))
        x += needed
    return lines


def write_text(
    axes: "Axes", at: tuple[float, float], offset: tuple[float, float], text: str, *, hover: str = "", **looks: Any
) -> None:
    """Write at a fraction of the width and a value of y, some pixels to the right and up, to the left of there."""
    coordinates = (axes.get_yaxis_transform(), "offset points")
    written = axes.annotate(clean(text), at, offset, *coordinates, annotation_clip=False, **{"ha": "right"} | looks)
    if hover and hover != text:
        written.set_gid(clean(HOVER + hover))


def clean(text: str) -> str:
    """Return the text in one line, without characters that make an XML file unreadable."""
    return NOT_XML.sub("\ufffd", re.sub(r"\s", " ", text))


def plots(part: str) -> Any:
    """Return a module of matplotlib, which nothing but drawing needs."""
    return import_module(f"matplotlib.{part}")


@contextmanager
def drawing() -> Iterator[None]:
    """Draw as `LOOKS` says, whatever the user's own style."""
    with plots("style").context(["default", LOOKS]), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def _rendered(figure: "Figure", **options: Any) -> bytes:
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def _without_ids(svg: str) -> str:
    """Return the SVG without the ids of artists; those that show something on hover have it as a title."""
    svg = re.sub(rf'<g id="{HOVER}([^"]*)">', r"<g><title>\1</title>", svg)
    return re.sub(r'<g id="[^"]*"', "<g", svg)
