"""Drawings of a few kinds of shapes, which a page shows as inline SVG and `dbpt.report.figures` writes as files.

Shapes have classes instead of colours: the style sheet colours them, for light and dark pages. Coordinates are pixels,
y downwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, TypeAlias

from markupsafe import Markup

Point: TypeAlias = tuple[float, float]


class Rect(NamedTuple):
    """A filled rectangle."""

    style: str
    x: float
    y: float
    width: float
    height: float


class Lines(NamedTuple):
    """Connected points, several times."""

    style: str
    lines: Sequence[Sequence[Point]]


class Circle(NamedTuple):
    """A circle."""

    style: str
    x: float
    y: float
    radius: float


class Text(NamedTuple):
    """A text with its baseline at y; a shortened one shows the ``whole`` on hover."""

    style: str
    x: float
    y: float
    text: str
    whole: str | None = None


class Titled(NamedTuple):
    """Shapes that show a title on hover."""

    title: str
    shapes: Sequence[Shape]


Shape: TypeAlias = Rect | Lines | Circle | Text | Titled
TAGS = {Rect: "rect", Lines: "path", Circle: "circle", Text: "text"}
Attributes: TypeAlias = Callable[[str, str], Markup]
"""The attributes of an element, from its tag and style, that say how it looks."""


@dataclass(frozen=True)
class Drawing:
    """Shapes in an area from (0, ``top``) to (``width``, ``bottom``), with a ``description`` for screen readers."""

    shapes: Sequence[Shape]
    description: str
    width: int
    bottom: float
    top: float = 0.0

    @property
    def height(self) -> int:
        """The height in whole pixels."""
        return ceil(self.bottom - self.top)

    def __html__(self) -> Markup:
        """Return the inline SVG for a page with the style sheet; jinja2 calls this."""
        head = Markup('<svg viewBox="0 {:g} {} {}" role="img" aria-label="{}">')
        body = markup(self.shapes, lambda _, style: Markup(' class="{}"').format(style))
        return head.format(self.top, self.width, self.height, self.description) + body + Markup("</svg>")


def markup(shapes: Sequence[Shape], attributes: Attributes) -> Markup:
    """Return the elements of SVG for some shapes."""
    return Markup("").join(_element(shape, attributes) for shape in shapes)


def _element(shape: Shape, attributes: Attributes) -> Markup:
    if isinstance(shape, Titled):
        return Markup("<g><title>{}</title>{}</g>").format(shape.title, markup(shape.shapes, attributes))
    looks = attributes(TAGS[type(shape)], shape.style)
    if isinstance(shape, Rect):
        template = Markup('<rect{} x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:g}"/>')
        return template.format(looks, shape.x, shape.y, shape.width, shape.height)
    if isinstance(shape, Circle):
        return Markup('<circle{} cx="{:.1f}" cy="{:.1f}" r="{:g}"/>').format(looks, shape.x, shape.y, shape.radius)
    if isinstance(shape, Lines):
        path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line) for line in shape.lines)
        return Markup('<path{} d="{}"/>').format(looks, path)
    title = Markup("") if shape.whole is None else Markup("<title>{}</title>").format(shape.whole)
    return Markup('<text{} x="{:.1f}" y="{:.1f}">{}{}</text>').format(looks, shape.x, shape.y, title, shape.text)
