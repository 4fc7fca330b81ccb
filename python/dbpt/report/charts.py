"""Two kinds of charts as inline SVG: horizontal bars with intervals, and curves over epochs labelled at their ends.

No scripts and no fixed colours: shapes carry classes, and the page's style sheet colours them, light or dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

from markupsafe import Markup

WIDTH = 920
LETTER = 6.7
"""Assumed width of a letter at 12 px; it decides how much room labels get."""
BAR_LETTERS = 42
"""The longest label of bars there is room for."""
CURVE_LABELS = 250
"""Room for the labels at the right of curves; the same in all charts, so that their epochs are aligned."""
CURVE_LETTERS = 30
"""The longest label of a curve there is room for."""


@dataclass(frozen=True)
class Bar:
    """One bar: fractions in 0..1, None if missing; ``style`` is a class of the style sheet."""

    style: str
    title: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class BarGroup:
    """Bars that share a label (the name, shortened to BAR_LETTERS), with a second line below it."""

    name: str
    label: str
    note: str
    bars: Sequence[Bar]


def bar_chart(groups: Sequence[BarGroup], description: str) -> Markup:
    """Draw horizontal grouped bars from 0 to 100 % with interval whiskers and the value at the right."""
    left = 20 + max(len(group.label) for group in groups) * LETTER
    right, top, step, space = WIDTH - 52.0, 22.0, 17.0, 18.0
    parts, y = [], top + space / 2
    for group in groups:
        block = max(step * len(group.bars), 32.0)
        parts.append(_label_at(left - 14, y + block / 2 - 3, group.label, group.name, "label end"))
        parts.append(_text_at(left - 14, y + block / 2 + 12, group.note, "note end"))
        offset = (block - step * len(group.bars)) / 2
        if all(bar.value is None for bar in group.bars):
            parts.append(_text_at(left + 6, y + block / 2 + 4, "no images", "note"))
        for i, bar in enumerate(group.bars):
            parts.append(_bar(bar, group, left, right, y + offset + i * step))
        y += block + space
    bottom = y - space / 2
    grid = [_grid_x(left + (right - left) * tick / 100, top, bottom, f"{tick}") for tick in (0, 25, 50, 75, 100)]
    return _svg([*grid, *parts], bottom + 4, description)


def _bar(bar: Bar, group: BarGroup, left: float, right: float, y: float) -> Markup:
    if bar.value is None:
        return Markup("")
    scale, middle = right - left, y + 7.5
    text = f"{group.name}, {bar.title}: {100 * bar.value:.1f} %"
    whisker = Markup("")
    if bar.low is not None and bar.high is not None:
        text += f" [{100 * bar.low:.1f}, {100 * bar.high:.1f}], {group.note}"
        low, high = left + scale * bar.low, left + scale * bar.high
        path = f"M{low:.1f} {middle - 3.5:.1f}v7M{low:.1f} {middle:.1f}H{high:.1f}M{high:.1f} {middle - 3.5:.1f}v7"
        whisker = Markup('<path class="whisker" d="{}"/>').format(path)
    return Markup('<g><title>{}</title><rect class="bar {}" x="{}" y="{}" width="{}" height="13"/>{}{}</g>').format(
        text,
        bar.style,
        f"{left:.1f}",
        f"{y + 1:.1f}",
        f"{max(scale * bar.value, 0.5):.1f}",
        whisker,
        _text_at(WIDTH - 2, y + 11.5, f"{100 * bar.value:.1f}", "value end"),
    )


@dataclass(frozen=True)
class Line:
    """One curve over epochs; None breaks it. ``label`` is the name, cut to CURVE_LETTERS; ``marked`` gets a ring."""

    style: str
    name: str
    label: str
    points: Sequence[tuple[int, float | None]]
    marked: int | None = None


def line_chart(
    lines: Sequence[Line],
    description: str,
    *,
    ticks: Sequence[tuple[float, str]],
    best: int | None = None,
) -> Markup:
    """Draw curves over epochs, each labelled at its end; ``ticks`` span the axis, ``best`` is an epoch with a rule."""
    epochs = sorted({epoch for line in lines for epoch, _ in line.points})
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)
    left, right, top = 44.0, float(WIDTH - CURVE_LABELS), 26.0
    bottom = top + max(170.0, 15.0 * len(lines))
    low, high = ticks[0][0], ticks[-1][0]

    def x_of(epoch: float) -> float:
        return left + (right - left) * (epoch - first) / (last - first)

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * min(max((value - low) / (high - low), 0.0), 1.0)

    parts = [_grid_y(left, right, y_of(value), text) for value, text in ticks]
    parts += [_text_at(x_of(tick), bottom + 17, str(tick), "note middle") for tick in _epoch_ticks(first, epochs[-1])]
    parts.append(_text_at(right, bottom + 32, "epoch", "note end"))
    if best is not None:
        x = x_of(best)
        rule = Markup('<line class="best" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(f"{x:.1f}", top - 14, bottom)
        anchor, shift = ("end", -5.0) if x > (left + right) / 2 else ("", 5.0)
        parts += [rule, _text_at(x + shift, top - 7, f"best epoch: {best}", f"note {anchor}")]
    ends = [_curve_end(line) for line in lines]
    places = spread([y_of(end) if end is not None else bottom for end in ends], 14.0, top, bottom)
    for line, place, end in zip(lines, places, ends, strict=True):
        shown = [(x_of(epoch), None if value is None else y_of(value)) for epoch, value in line.points]
        ring = [(x, y) for (x, y), (epoch, _) in zip(shown, line.points, strict=True) if epoch == line.marked]
        parts.append(_curve(line, shown, ring))
        if end is not None:
            tail = f"M{right + 3:.1f} {y_of(end):.1f}L{right + 12:.1f} {place:.1f}"
            parts.append(Markup('<path class="tail" d="{}"/>').format(tail))
        sample = f"M{right + 15:.1f} {place:.1f}h24"
        parts.append(Markup('<path class="curve {}" d="{}"/>').format(line.style, sample))
        parts.append(_label_at(right + 45, place + 4, line.label, line.name, "label"))
    return _svg(parts, bottom + 38, description)


def linear_ticks(values: Sequence[float]) -> list[tuple[float, str]]:
    """Return at most nine round ticks that enclose all values."""
    low, high = min(values), max(values)
    steps = (m * 10.0**e for e in range(-3, 300) for m in (1, 2, 2.5, 5))
    step = next(step for step in steps if ceil(high / step) - floor(low / step) <= 8)
    first, last = floor(low / step), max(ceil(high / step), floor(low / step) + 1)
    return [(i * step, f"{i * step:g}") for i in range(first, last + 1)]


def spread(places: Sequence[float], distance: float, top: float, bottom: float) -> list[float]:
    """Move labels apart to the given distance, in their order, keeping them between top and bottom if they fit."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + distance)
    if moved and moved[-1] > bottom:
        moved[-1] = bottom
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - distance)
    result = [0.0] * len(places)
    for i, place in zip(order, moved, strict=True):
        result[i] = place
    return result


def _curve_end(line: Line) -> float | None:
    return next((value for _, value in reversed(line.points) if value is not None), None)


def _curve(
    line: Line, shown: Sequence[tuple[float, float | None]], ring: Sequence[tuple[float, float | None]]
) -> Markup:
    path, pen_down = "", False
    for x, y in shown:
        if y is not None:
            path += f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}"
        pen_down = y is not None
    dots = [(x, y, 2.5) for i, (x, y) in enumerate(shown) if y is not None and _alone(shown, i)]
    dots += [(x, y, 5.0) for x, y in ring if y is not None]
    circles = [
        Markup('<circle class="{} {}" cx="{}" cy="{}" r="{}"/>').format(
            "dot" if radius < 5 else "ring", line.style, f"{x:.1f}", f"{y:.1f}", radius
        )
        for x, y, radius in dots
    ]
    curve = Markup('<path class="curve {}" d="{}"/>').format(line.style, path) if path else Markup("")
    return Markup("<g><title>{}</title>{}{}</g>").format(line.name, curve, Markup("").join(circles))


def _alone(shown: Sequence[tuple[float, float | None]], i: int) -> bool:
    """Whether a point has no neighbour to be joined to, so that a path alone would not show it."""
    return all(not (0 <= j < len(shown)) or shown[j][1] is None for j in (i - 1, i + 1))


def _epoch_ticks(first: int, last: int) -> list[int]:
    step = next(step for base in range(9) for m in (1, 2, 5) if (step := m * 10**base) * 12 >= last - first)
    ticks = [first, *(tick for tick in range(step, last, step) if tick > first), last]
    ticks = sorted(set(ticks))
    crowded = {a for a, b in pairwise(ticks) if b == last and b - a < 0.6 * step}
    crowded |= {b for a, b in pairwise(ticks) if a == first and b - a < 0.6 * step and b != last}
    return [tick for tick in ticks if tick not in crowded]


def _grid_x(x: float, top: float, bottom: float, text: str) -> Markup:
    """Draw a vertical grid line with its tick text above."""
    line = Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(f"{x:.1f}", top, f"{bottom:.1f}")
    return line + _text_at(x, top - 8, text, "note middle")


def _grid_y(left: float, right: float, y: float, text: str) -> Markup:
    """Draw a horizontal grid line with its tick text at the left."""
    line = Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(left, f"{right:.1f}", f"{y:.1f}")
    return line + _text_at(left - 8, y + 4, text, "note end")


def _text_at(x: float, y: float, text: str, style: str) -> Markup:
    """Draw an escaped text whose baseline is at y."""
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(style, f"{x:.1f}", f"{y:.1f}", text)


def _label_at(x: float, y: float, text: str, whole: str, style: str) -> Markup:
    """Draw a text that may have been shortened; the whole of it shows on hovering."""
    template = '<text class="{}" x="{}" y="{}"><title>{}</title>{}</text>'
    return Markup(template).format(style, f"{x:.1f}", f"{y:.1f}", whole, text)


def _svg(parts: Sequence[Markup], height: float, description: str) -> Markup:
    """Frame the parts as one picture with a description for those who cannot see it."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, ceil(height), description)
    return head + Markup("").join(parts) + Markup("</svg>")
