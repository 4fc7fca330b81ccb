"""Two kinds of charts: horizontal bars with intervals, and curves over epochs with labels at their ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, floor

from dbpt.report.drawing import Circle, Drawing, Lines, Rect, Shape, Text, Titled
from dbpt.report.text import shorten

WIDTH, NARROW = 920, 400
LETTER = 6.7  # assumed width of a letter at 12 px
BAR_LETTERS, NARROW_LETTERS, CURVE_LETTERS = 42, 22, 30
"""The longest labels of bars, of those in narrow charts, and of curves."""
MOST_BARS = 40
"""With more groups, a chart of bars shows the worst ones."""
CURVE_LABELS = 250
"""Width of the labels to the right of curves; the same in all charts, so that epochs are aligned."""


@dataclass(frozen=True)
class Bar:
    """One bar: fractions in 0..1, None if missing; ``style`` is a class of the style sheet.

    ``dots`` are single values behind ``value``, such as those of the seeds.
    """

    style: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    dots: Sequence[float] = ()


@dataclass(frozen=True)
class BarGroup:
    """Bars that share a label (the name, shortened to BAR_LETTERS), with a second line below it."""

    name: str
    label: str
    note: str
    bars: Sequence[Bar]


def bar_chart(groups: Sequence[BarGroup], description: str, width: int = WIDTH) -> Drawing:
    """Draw horizontal grouped bars from 0 to 100 %, with intervals as whiskers and the value at the right."""
    left = 20 + max(len(group.label) for group in groups) * LETTER
    right, top, step, space = width - 52.0, 22.0, 17.0, 18.0
    parts, y = list[Shape](), top + space / 2
    for group in groups:
        block = max(step * len(group.bars), 32.0)
        parts.append(Text("label end", left - 14, y + block / 2 - 3, group.label, group.name))
        parts.append(Text("note end", left - 14, y + block / 2 + 12, group.note))
        offset = (block - step * len(group.bars)) / 2
        if all(bar.value is None for bar in group.bars):
            parts.append(Text("note", left + 6, y + block / 2 + 4, "no images"))
        for i, bar in enumerate(group.bars):
            parts += _bar(bar, group, left, right, y + offset + i * step)
        y += block + space
    bottom = y - space / 2
    grid = list[Shape]()
    for tick in (0, 25, 50, 75, 100):
        x = left + (right - left) * tick / 100
        grid += [_rule(x, x, top, bottom), Text("note middle", x, top - 8, "100 %" if tick == 100 else f"{tick}")]
    return Drawing([*grid, *parts], description, width, bottom + 4)


def captioned(drawing: Drawing, legend: Sequence[tuple[str, str]] = ()) -> Drawing:
    """Return the drawing with its description and a ``legend`` of styles and names above it, as a file needs them."""
    places, x, row = list[tuple[float, int]](), 14.0, 0
    for _, name in legend:
        width = 42 + LETTER * min(len(name), BAR_LETTERS)
        if x > 14 and x + width > drawing.width:
            x, row = 14.0, row + 1
        places.append((x, row))
        x += width
    top = -46.0 - 20 * (row + 1 if legend else 0)
    letters = int((drawing.width - 28) / LETTER)
    shapes: list[Shape] = [Text("label", 14, top + 22, shorten(drawing.description, letters), drawing.description)]
    for (style, name), (x, row) in zip(legend, places, strict=True):
        y = top + 46 + 20 * row
        shapes += [Rect(f"bar {style}", x, y - 10, 11, 11), Text("label", x + 18, y, shorten(name, BAR_LETTERS), name)]
    return replace(drawing, shapes=[*shapes, *drawing.shapes], width=drawing.width + 14, top=top)


def _bar(bar: Bar, group: BarGroup, left: float, right: float, y: float) -> list[Shape]:
    if bar.value is None or bar.low is None or bar.high is None:
        return []
    scale, middle = right - left, y + 7.5
    interval = f"[{100 * bar.low:.1f}, {100 * bar.high:.1f}]"
    text = f"{group.name}, {bar.title}: {100 * bar.value:.1f} % {interval}, {group.note}"
    low, high = left + scale * bar.low, left + scale * bar.high
    ends = [[(x, middle - 3.5), (x, middle + 3.5)] for x in (low, high)]
    shapes: list[Shape] = [
        Rect(f"bar {bar.style}", left, y + 1, max(scale * bar.value, 4.0), 13),
        Lines("whisker", [*ends, [(low, middle), (high, middle)]]),
        *(Circle("seed", left + scale * value, middle, 2.5) for value in bar.dots),
        Text("value end", right + 50, y + 11.5, f"{100 * bar.value:.1f}"),
    ]
    return [Titled(text, shapes)]


@dataclass(frozen=True)
class Line:
    """A curve over epochs; a value of None interrupts it. ``label`` is the short name; epoch ``marked`` gets a ring."""

    style: str
    name: str
    label: str
    points: Sequence[tuple[int, float | None]]
    marked: int | None = None


def line_chart(
    lines: Sequence[Line], description: str, *, ticks: Sequence[tuple[float, str]], best: int | None = None
) -> Drawing:
    """Draw curves over epochs with labels at their ends. ``ticks`` span the axis; epoch ``best`` gets a rule."""
    epochs = sorted({epoch for line in lines for epoch, _ in line.points})
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)
    left, right, top = 44.0, float(WIDTH - CURVE_LABELS), 26.0
    bottom = top + max(170.0, 15.0 * len(lines))
    low, high = ticks[0][0], ticks[-1][0]

    def x_of(epoch: float) -> float:
        return left + (right - left) * (epoch - first) / (last - first)

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * min(max((value - low) / (high - low), 0.0), 1.0)

    parts = list[Shape]()
    for value, text in ticks:
        y = y_of(value)
        parts += [_rule(left, right, y, y), Text("note end", left - 8, y + 4, text)]
    parts += [Text("note middle", x_of(tick), bottom + 17, str(tick)) for tick in _epoch_ticks(first, epochs[-1])]
    parts.append(Text("note end", right, bottom + 32, "epoch"))
    if best is not None:
        x = x_of(best)
        anchor, shift = ("end", -5.0) if x > (left + right) / 2 else ("", 5.0)
        parts.append(_rule(x, x, top - 14, bottom, "best"))
        parts.append(Text(f"note {anchor}".strip(), x + shift, top - 7, f"best epoch: {best}"))
    ends = [y_of(next(value for _, value in reversed(line.points) if value is not None)) for line in lines]
    for line, place, end in zip(lines, spread(ends, 14.0, bottom), ends, strict=True):
        parts.append(_curve(line, [(x_of(epoch), None if v is None else y_of(v)) for epoch, v in line.points]))
        parts.append(Lines("tail", [[(right + 3, end), (right + 12, place)]]))
        parts.append(Lines(f"curve {line.style}", [[(right + 15, place), (right + 39, place)]]))
        parts.append(Text("label", right + 45, place + 4, line.label, line.name))
    return Drawing(parts, description, WIDTH, bottom + 38)


def linear_ticks(values: Sequence[float]) -> list[tuple[float, str]]:
    """Return at most nine round ticks that enclose all values, each with its text."""
    low, high = min(values), max(values)
    steps = (m * 10.0**e for e in range(-3, 300) for m in (1, 2, 2.5, 5))
    step = next(step for step in steps if ceil(high / step) - floor(low / step) <= 8)
    first, last = floor(low / step), max(ceil(high / step), floor(low / step) + 1)
    return [(i * step, f"{i * step:g}") for i in range(first, last + 1)]


def spread(places: Sequence[float], distance: float, bottom: float) -> list[float]:
    """Move labels apart to the given distance, in their order, keeping them above ``bottom``."""
    moved, order = list(places), sorted(range(len(places)), key=lambda i: places[i])
    for above, i in pairwise(order):
        moved[i] = max(moved[i], moved[above] + distance)
    if moved[order[-1]] > bottom:
        moved[order[-1]] = bottom
        for i, below in reversed(list(pairwise(order))):
            moved[i] = min(moved[i], moved[below] - distance)
    return moved


def _curve(line: Line, shown: Sequence[tuple[float, float | None]]) -> Titled:
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in shown:
        if y is not None:
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    # Lines don't show a point without neighbours.
    dots = [Circle(f"dot {line.style}", *piece[0], 2.5) for piece in pieces if len(piece) == 1]
    marked = [at for at, (epoch, _) in zip(shown, line.points, strict=True) if epoch == line.marked]
    rings = [Circle(f"ring {line.style}", x, y, 5) for x, y in marked if y is not None]
    curve = Lines(f"curve {line.style}", [piece for piece in pieces if len(piece) > 1])
    return Titled(line.name, [curve, *dots, *rings])


def _epoch_ticks(first: int, last: int) -> list[int]:
    step = next(step for base in range(9) for m in (1, 2, 5) if (step := m * 10**base) * 12 >= last - first)
    ticks = sorted({first, *(tick for tick in range(step, last, step) if tick > first), last})
    crowded = {a for a, b in pairwise(ticks) if b == last and b - a < 0.6 * step}
    crowded |= {b for a, b in pairwise(ticks) if a == first and b - a < 0.6 * step and b != last}
    return [tick for tick in ticks if tick not in crowded]


def _rule(x1: float, x2: float, y1: float, y2: float, style: str = "grid") -> Lines:
    return Lines(style, [[(x1, y1), (x2, y2)]])
