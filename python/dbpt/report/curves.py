"""Curves over epochs, labelled at their ends, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

from markupsafe import Markup

from dbpt.report.svg import WIDTH, grid_y, label_at, svg, text_at

LABELS = 250
"""Room for the labels at the right; the same in all charts, so that their epochs lie below each other."""
LETTERS = 30
"""The longest label there is room for."""


@dataclass(frozen=True)
class Line:
    """One curve over epochs; None breaks it. ``label`` is the name, shortened to LETTERS; ``marked`` gets a ring."""

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
    kept: int | None = None,
) -> Markup:
    """Draw curves over epochs, each labelled at its end; ``ticks`` span the axis, ``kept`` is an epoch with a rule."""
    epochs = sorted({epoch for line in lines for epoch, _ in line.points})
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)
    left, right, top = 44.0, float(WIDTH - LABELS), 26.0
    bottom = top + max(170.0, 15.0 * len(lines))
    low, high = ticks[0][0], ticks[-1][0]

    def x_of(epoch: float) -> float:
        return left + (right - left) * (epoch - first) / (last - first)

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * min(max((value - low) / (high - low), 0.0), 1.0)

    parts = [grid_y(left, right, y_of(value), text) for value, text in ticks]
    parts += [text_at(x_of(tick), bottom + 17, str(tick), "note middle") for tick in _epoch_ticks(first, epochs[-1])]
    parts.append(text_at(right, bottom + 32, "epoch", "note end"))
    if kept is not None:
        parts.append(_kept_rule(x_of(kept), top, bottom, kept, near_end=x_of(kept) > (left + right) / 2))
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
        parts.append(label_at(right + 45, place + 4, line.label, line.name, "label"))
    return svg(parts, bottom + 38, description)


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


def _kept_rule(x: float, top: float, bottom: float, epoch: int, *, near_end: bool) -> Markup:
    anchor, shift = ("end", -5.0) if near_end else ("", 5.0)
    rule = Markup('<line class="kept" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(f"{x:.1f}", top - 14, bottom)
    return rule + text_at(x + shift, top - 7, f"kept: epoch {epoch}", f"note {anchor}")


def _epoch_ticks(first: int, last: int) -> list[int]:
    step = next(step for base in range(9) for m in (1, 2, 5) if (step := m * 10**base) * 12 >= last - first)
    ticks = [first, *(tick for tick in range(step, last, step) if tick > first), last]
    ticks = sorted(set(ticks))
    crowded = {a for a, b in pairwise(ticks) if b == last and b - a < 0.6 * step}
    crowded |= {b for a, b in pairwise(ticks) if a == first and b - a < 0.6 * step and b != last}
    return [tick for tick in ticks if tick not in crowded]
