"""Grouped horizontal bars with intervals, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dbpt.report.svg import LETTER, WIDTH, grid_x, label_at, svg, text_at

LETTERS = 42
"""The longest label there is room for."""


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
    """Bars that share a label (the name, shortened to LETTERS), with a second line below it."""

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
        parts.append(label_at(left - 14, y + block / 2 - 3, group.label, group.name, "label end"))
        parts.append(text_at(left - 14, y + block / 2 + 12, group.note, "note end"))
        offset = (block - step * len(group.bars)) / 2
        if all(bar.value is None for bar in group.bars):
            parts.append(text_at(left + 6, y + block / 2 + 4, "no images", "note"))
        for i, bar in enumerate(group.bars):
            parts.append(_bar(bar, group, left, right, y + offset + i * step))
        y += block + space
    bottom = y - space / 2
    grid = [grid_x(left + (right - left) * tick / 100, top, bottom, f"{tick}") for tick in (0, 25, 50, 75, 100)]
    return svg([*grid, *parts], bottom + 4, description)


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
        text_at(WIDTH - 2, y + 11.5, f"{100 * bar.value:.1f}", "value end"),
    )
