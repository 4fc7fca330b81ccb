"""Two kinds of charts as inline SVG: horizontal bars with intervals, and curves over epochs with labels at their ends.

No scripts and no fixed colours: shapes have classes, which the style sheet colours for light and dark pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

from markupsafe import Markup

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


def bar_chart(groups: Sequence[BarGroup], description: str, width: int = WIDTH) -> Markup:
    """Draw horizontal grouped bars from 0 to 100 %, with intervals as whiskers and the value at the right."""
    left = 20 + max(len(group.label) for group in groups) * LETTER
    right, top, step, space = width - 52.0, 22.0, 17.0, 18.0
    parts, y = [], top + space / 2
    for group in groups:
        block = max(step * len(group.bars), 32.0)
        parts.append(_text_at(left - 14, y + block / 2 - 3, group.label, "label end", group.name))
        parts.append(_text_at(left - 14, y + block / 2 + 12, group.note, "note end"))
        offset = (block - step * len(group.bars)) / 2
        if all(bar.value is None for bar in group.bars):
            parts.append(_text_at(left + 6, y + block / 2 + 4, "no images", "note"))
        for i, bar in enumerate(group.bars):
            parts.append(_bar(bar, group, left, right, y + offset + i * step))
        y += block + space
    bottom = y - space / 2
    grid = []
    for tick in (0, 25, 50, 75, 100):
        x = left + (right - left) * tick / 100
        grid += [_rule(x, x, top, bottom), _text_at(x, top - 8, f"{tick}", "note middle")]
    return _svg([*grid, *parts], bottom + 4, description, width)


def _bar(bar: Bar, group: BarGroup, left: float, right: float, y: float) -> Markup:
    if bar.value is None or bar.low is None or bar.high is None:
        return Markup("")
    scale, middle = right - left, y + 7.5
    interval = f"[{100 * bar.low:.1f}, {100 * bar.high:.1f}]"
    text = f"{group.name}, {bar.title}: {100 * bar.value:.1f} % {interval}, {group.note}"
    low, high = left + scale * bar.low, left + scale * bar.high
    path = f"M{low:.1f} {middle - 3.5:.1f}v7M{low:.1f} {middle:.1f}H{high:.1f}M{high:.1f} {middle - 3.5:.1f}v7"
    whisker = Markup('<path class="whisker" d="{}"/>').format(path)
    dot = Markup('<circle class="seed" cx="{:.1f}" cy="{:.1f}" r="2.5"/>')
    dots = Markup("").join(dot.format(left + scale * value, middle) for value in bar.dots)
    value = _text_at(right + 50, y + 11.5, f"{100 * bar.value:.1f}", "value end")
    template = '<g><title>{}</title><rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="13"/>{}{}{}</g>'
    return Markup(template).format(text, bar.style, left, y + 1, max(scale * bar.value, 0.5), whisker, dots, value)


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
) -> Markup:
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

    parts = []
    for value, text in ticks:
        parts += [_rule(left, right, y_of(value), y_of(value)), _text_at(left - 8, y_of(value) + 4, text, "note end")]
    parts += [_text_at(x_of(tick), bottom + 17, str(tick), "note middle") for tick in _epoch_ticks(first, epochs[-1])]
    parts.append(_text_at(right, bottom + 32, "epoch", "note end"))
    if best is not None:
        x = x_of(best)
        anchor, shift = ("end", -5.0) if x > (left + right) / 2 else ("", 5.0)
        text = _text_at(x + shift, top - 7, f"best epoch: {best}", f"note {anchor}")
        parts += [_rule(x, x, top - 14, bottom, "best"), text]
    ends = [y_of(next(value for _, value in reversed(line.points) if value is not None)) for line in lines]
    for line, place, end in zip(lines, spread(ends, 14.0, bottom), ends, strict=True):
        parts.append(_curve(line, [(x_of(epoch), None if v is None else y_of(v)) for epoch, v in line.points]))
        tail = Markup('<path class="tail" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(right + 3, end, right + 12, place)
        sample = Markup('<path class="curve {}" d="M{:.1f} {:.1f}h24"/>').format(line.style, right + 15, place)
        parts += [tail, sample, _text_at(right + 45, place + 4, line.label, "label", line.name)]
    return _svg(parts, bottom + 38, description)


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


def _curve(line: Line, shown: Sequence[tuple[float, float | None]]) -> Markup:
    path, pen_down = "", False
    for x, y in shown:
        if y is not None:
            path += f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}"
        pen_down = y is not None
    ys = [None, *(y for _, y in shown), None]
    # A path doesn't show a point without neighbours.
    dots = [("dot", x, y, 2.5) for i, (x, y) in enumerate(shown) if ys[i] is None and ys[i + 2] is None]
    dots += [("ring", *at, 5.0) for at, (epoch, _) in zip(shown, line.points, strict=True) if epoch == line.marked]
    circles = [
        Markup('<circle class="{} {}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, line.style, x, y, radius)
        for kind, x, y, radius in dots
        if y is not None
    ]
    curve = Markup('<path class="curve {}" d="{}"/>').format(line.style, path)
    return Markup("<g><title>{}</title>{}{}</g>").format(line.name, curve, Markup("").join(circles))


def _epoch_ticks(first: int, last: int) -> list[int]:
    step = next(step for base in range(9) for m in (1, 2, 5) if (step := m * 10**base) * 12 >= last - first)
    ticks = sorted({first, *(tick for tick in range(step, last, step) if tick > first), last})
    crowded = {a for a, b in pairwise(ticks) if b == last and b - a < 0.6 * step}
    crowded |= {b for a, b in pairwise(ticks) if a == first and b - a < 0.6 * step and b != last}
    return [tick for tick in ticks if tick not in crowded]


def _rule(x1: float, x2: float, y1: float, y2: float, style: str = "grid") -> Markup:
    template = '<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
    return Markup(template).format(style, x1, x2, y1, y2)


def _text_at(x: float, y: float, text: str, style: str, whole: str | None = None) -> Markup:
    """Draw a text with its baseline at y. A shortened text shows the ``whole`` on hover."""
    title = Markup("") if whole is None else Markup("<title>{}</title>").format(whole)
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}{}</text>').format(style, x, y, title, text)


def _svg(parts: Sequence[Markup], height: float, description: str, width: int = WIDTH) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, ceil(height), description)
    return head + Markup("").join(parts) + Markup("</svg>")
