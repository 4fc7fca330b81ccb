"""The few pieces of SVG that both charts are made of: text, labels that are cut to fit, grid lines, the frame.

No scripts and no fixed colours: shapes carry classes, and the page's style sheet colours them, light or dark.
"""

from collections.abc import Sequence
from math import ceil

from markupsafe import Markup

WIDTH = 920
LETTER = 6.7
"""Assumed width of a letter at 12 px; it decides how much room labels get."""


def grid_x(x: float, top: float, bottom: float, text: str) -> Markup:
    """Draw a vertical grid line with its tick text above."""
    line = Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(f"{x:.1f}", top, f"{bottom:.1f}")
    return line + text_at(x, top - 8, text, "note middle")


def grid_y(left: float, right: float, y: float, text: str) -> Markup:
    """Draw a horizontal grid line with its tick text at the left."""
    line = Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(left, f"{right:.1f}", f"{y:.1f}")
    return line + text_at(left - 8, y + 4, text, "note end")


def text_at(x: float, y: float, text: str, style: str) -> Markup:
    """Draw an escaped text whose baseline is at y."""
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(style, f"{x:.1f}", f"{y:.1f}", text)


def label_at(x: float, y: float, text: str, whole: str, style: str) -> Markup:
    """Draw a text that may have been shortened; the whole of it shows on hovering."""
    template = '<text class="{}" x="{}" y="{}"><title>{}</title>{}</text>'
    return Markup(template).format(style, f"{x:.1f}", f"{y:.1f}", whole, text)


def svg(parts: Sequence[Markup], height: float, description: str) -> Markup:
    """Frame the parts as one picture with a description for those who cannot see it."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, ceil(height), description)
    return head + Markup("").join(parts) + Markup("</svg>")
