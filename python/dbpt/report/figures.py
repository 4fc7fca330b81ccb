"""Charts as SVG and PNG files for slides and papers, in the colours of light pages."""

import io
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from math import dist
from pathlib import Path
from unicodedata import normalize

from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from dbpt.files.disk import write_atomically
from dbpt.report.drawing import TAGS, Circle, Drawing, Lines, Point, Rect, Shape, Text, Titled, markup
from dbpt.report.looks import Looks, looks_of, variables
from dbpt.runs.output_folder import FIGURES

SCALE = 2
"""Pixels of a PNG per pixel of a page."""
FINE = 2
"""Lines are drawn this much larger yet, and made smaller, so that their edges are smooth."""
FONT_SIZE = 12.0
FONTS = ("DejaVuSans.ttf", "Arial.ttf", "Helvetica.ttc", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf")
"""The first that is installed draws the texts of PNGs; Pillow's own font has no accents."""
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that make an XML file unreadable; names may have control characters, and bytes that are not UTF-8."""
FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", Arial, sans-serif'


def write_figures(out: Path, drawings: Mapping[str, Drawing | None]) -> None:
    """Write each drawing as ``figures/NAME.svg`` and ``.png`` in ``out``, and remove the files of those that are None.

    Raises `InputError` if the disk refuses.
    """
    for name, drawing in drawings.items():
        for kind, render in (("svg", svg_file), ("png", png_file)):
            path = out / FIGURES / f"{name}.{kind}"
            if drawing is None:
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, render(drawing))


def svg_file(drawing: Drawing) -> str:
    """Return an SVG file that needs no style sheet."""
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {:g} {w} {h}" width="{w}" height="{h}" font-family="{}" '
        'font-size="{:g}" role="img"><title>{}</title><rect y="{:g}" width="{w}" height="{h}" fill="{}"/>'
    )
    size = {"w": drawing.width, "h": drawing.height}
    page = variables()["--page"]
    begin = head.format(drawing.top, FAMILY, FONT_SIZE, drawing.description, drawing.top, page, **size)
    return NOT_XML.sub("\ufffd", begin + markup(drawing.shapes, _attributes) + Markup("</svg>\n"))


def png_file(drawing: Drawing) -> bytes:
    """Return a PNG of SCALE pixels per pixel of a page."""
    fine, size = SCALE * FINE, (drawing.width, drawing.height)
    image = Image.new("RGB", (fine * size[0], fine * size[1]), variables()["--page"])
    pen, texts = _Pen(ImageDraw.Draw(image, "RGBA"), fine, drawing.top), list[Text]()
    _draw(drawing.shapes, pen, texts)
    image = image.reduce(FINE)
    canvas = ImageDraw.Draw(image)
    for text in texts:
        looks = looks_of("text", text.style)
        font, is_plain = _font(float(looks.get("font-size", f"{FONT_SIZE}px").removesuffix("px")) * SCALE)
        anchor = {"middle": "ms", "end": "rs"}.get(looks.get("text-anchor", ""), "ls")
        place = (SCALE * text.x, SCALE * (text.y - drawing.top))
        words = re.sub(r"\s", " ", text.text)  # Pillow draws lines without an anchor
        canvas.text(place, _plain(words) if is_plain else words, looks["fill"], font, anchor)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", dpi=(96 * SCALE, 96 * SCALE))
    return buffer.getvalue()


class _Pen:
    """Draws scaled shapes with the looks of the style sheet."""

    def __init__(self, canvas: ImageDraw.ImageDraw, scale: int, top: float) -> None:
        self.canvas, self.scale, self.top = canvas, scale, top

    def at(self, x: float, y: float) -> Point:
        return self.scale * x, self.scale * (y - self.top)

    def rect(self, shape: Rect, looks: Looks) -> None:
        corner = self.at(shape.x + shape.width, shape.y + shape.height)
        self.canvas.rectangle([self.at(shape.x, shape.y), (corner[0] - 1, corner[1] - 1)], fill=_color(looks, "fill"))

    def circle(self, shape: Circle, looks: Looks) -> None:
        width = self._width(looks) if _color(looks, "stroke") else 0
        radius = shape.radius + width / self.scale / 2
        box = [self.at(shape.x - radius, shape.y - radius), self.at(shape.x + radius, shape.y + radius)]
        self.canvas.ellipse(box, _color(looks, "fill"), _color(looks, "stroke"), width)

    def lines(self, shape: Lines, looks: Looks) -> None:
        dashes = [float(length) for length in re.findall(r"[\d.]+", looks.get("stroke-dasharray", ""))]
        for line in shape.lines:
            for piece in _dashed(line, dashes) if dashes else [line]:
                points = [self.at(*point) for point in piece]
                self.canvas.line(points, _color(looks, "stroke"), self._width(looks), joint="curve")

    def _width(self, looks: Looks) -> int:
        return round(float(looks.get("stroke-width", 1)) * self.scale)


def _draw(shapes: Sequence[Shape], pen: _Pen, texts: list[Text]) -> None:
    """Draw shapes; collect the texts, which come last and at their final size."""
    for shape in shapes:
        if isinstance(shape, Titled):
            _draw(shape.shapes, pen, texts)
        elif isinstance(shape, Text):
            texts.append(shape)
        else:
            looks = looks_of(TAGS[type(shape)], shape.style)
            {Rect: pen.rect, Lines: pen.lines, Circle: pen.circle}[type(shape)](shape, looks)  # type: ignore[operator]


def _dashed(line: Sequence[Point], dashes: Sequence[float]) -> list[list[Point]]:
    """Return the pieces of a line that its dashes show."""
    pieces: list[list[Point]] = [[line[0]]]
    number, left = 0, dashes[0]
    for (x0, y0), (x1, y1) in pairwise(line):
        length, gone = dist((x0, y0), (x1, y1)), 0.0
        while length - gone > left:
            gone += left
            place = (x0 + (x1 - x0) * gone / length, y0 + (y1 - y0) * gone / length)
            if number % 2 == 0:
                pieces[-1].append(place)
            else:
                pieces.append([place])
            number += 1
            left = dashes[number % len(dashes)]
        left -= length - gone
        if number % 2 == 0:
            pieces[-1].append((x1, y1))
    return [piece for piece in pieces if len(piece) > 1]


def _attributes(tag: str, style: str) -> Markup:
    return Markup("").join(Markup(' {}="{}"').format(*look) for look in looks_of(tag, style).items())


def _color(looks: Looks, name: str) -> tuple[int, int, int, int] | None:
    text = looks.get(name, "none")
    if text == "none":
        return None
    red, green, blue = (int(text[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue, round(255 * float(looks.get("opacity", 1)))


@cache
def _font(size: float) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
    """Return the font for PNGs, and whether it has plain letters only."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size), False
        except OSError:  # not installed
            continue
    return ImageFont.load_default(size), True


def _plain(text: str) -> str:
    """Replace what Pillow's own font doesn't have."""
    letters = normalize("NFKD", text.replace("−", "-"))
    return "".join(letter if letter.isascii() or letter in "·…±" else "" for letter in letters)
