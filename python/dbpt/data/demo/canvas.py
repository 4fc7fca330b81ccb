"""The drawing surface of the demos: filled shapes in unit coordinates, drawn at twice the size and reduced.

Coordinates go from (0, 0) at the top left to (1, 1) at the bottom right. Figures have few points, for which lists are
faster than arrays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Palette = tuple[Colour, ...]
Points = Sequence[tuple[float, float]]
Range = tuple[float, float]

SIDE = 64  # pixels of a finished drawing
OVERSAMPLING = 2  # drawn larger and reduced, which smooths the edges
_ANGLES = np.arange(20) * (2.0 * math.pi / 20)
_CIRCLE = list(zip(np.cos(_ANGLES).tolist(), np.sin(_ANGLES).tolist(), strict=True))
_RAMP = np.linspace(-1.0, 1.0, SIDE, dtype=np.float32)[:, None]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that is `share` of the way from `first` to `second`."""
    r, g, b = (round(p + (q - p) * share) for p, q in zip(first, second, strict=True))
    return r, g, b


def vary(rng: np.random.Generator, colour: Colour, spread: float = 14.0) -> Colour:
    """Return `colour` with independent normal noise on each channel, clipped to 0..255."""
    noise = rng.standard_normal(3).tolist()
    r, g, b = (min(255, max(0, round(c + spread * n))) for c, n in zip(colour, noise, strict=True))
    return r, g, b


def pick(rng: np.random.Generator, palette: Sequence[Colour], spread: float = 14.0) -> Colour:
    """Draw one colour of a palette and vary it."""
    return vary(rng, palette[int(rng.integers(len(palette)))], spread)


@dataclass(frozen=True)
class Pose:
    """Position of a figure: centre, size (canvas lengths per figure unit), tilt in radians, and direction."""

    x: float
    y: float
    size: float
    tilt: float = 0.0
    flip: bool = False

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Map figure coordinates to canvas coordinates."""
        cos, sin = math.cos(self.tilt) * self.size, math.sin(self.tilt) * self.size
        side = -1.0 if self.flip else 1.0
        return [(self.x + side * (x * cos - y * sin), self.y + (x * sin + y * cos)) for x, y in points]

    @classmethod
    def draw(cls, rng: np.random.Generator, x: Range, y: Range, size: Range, tilt: float) -> "Pose":
        """Draw a random pose: uniform x, y and size, a normal tilt with this deviation, and either direction."""
        centre_x, centre_y, scale = (float(rng.uniform(*limits)) for limits in (x, y, size))
        return cls(centre_x, centre_y, scale, float(rng.normal(0.0, tilt)), bool(rng.random() < 0.5))


class Canvas:
    """A square picture in progress. Shapes are in the figure coordinates of ``pose``, at first the whole picture."""

    def __init__(self) -> None:
        self.pose = Pose(0.0, 0.0, 1.0)
        self._side = SIDE * OVERSAMPLING
        self._image = Image.new("RGB", (self._side, self._side))
        self._draw = ImageDraw.Draw(self._image)

    def gradient(self, top: Colour, bottom: Colour, y0: float = 0.0, y1: float = 1.0) -> None:
        """Fill the band from y0 to y1 with a vertical gradient."""
        start, stop = round(y0 * self._side), round(y1 * self._side)
        shares = np.arange(stop - start)[:, None] / max(1, stop - start)
        band = np.rint(np.array(top) + (np.array(bottom) - np.array(top)) * shares).astype(np.uint8)
        if len(band):
            self._image.paste(Image.fromarray(np.repeat(band[:, None], self._side, axis=1)), (0, start))

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._pixels(points), fill=colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, tilt: float = 0.0) -> None:
        """Fill an ellipse, tilted by `tilt` radians in figure coordinates."""
        self.polygon(Pose(x, y, 1.0, tilt).place([(rx * cos, ry * sin) for cos, sin in _CIRCLE]), colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open line of the given width (in figure units)."""
        pixels = max(1, round(width * self.pose.size * self._side))
        self._draw.line(self._pixels(points), fill=colour, width=pixels, joint="curve")

    def _pixels(self, points: Points) -> list[tuple[float, float]]:
        return [(x * self._side, y * self._side) for x, y in self.pose.place(points)]

    def tone(self) -> Colour:
        """Return the mean colour around the pose, for figures that blend into the background."""
        half, side = self.pose.size * self._side / 2, self._side
        x, y = self.pose.x * side, self.pose.y * side
        box = (max(0, int(x - half)), max(0, int(y - half)), min(side, int(x + half)), min(side, int(y + half)))
        r, g, b = self._image.resize((1, 1), Image.Resampling.BOX, box=box).getpixel((0, 0))  # type: ignore[misc]
        return int(r), int(g), int(b)

    def finish(self, rng: np.random.Generator, noise: float = 8.0, light: float = 0.15) -> Image.Image:
        """Reduce to 64x64 and add the effects of a camera: exposure, tint, light from one side, sensor noise."""
        pixels = np.asarray(self._image.reduce(OVERSAMPLING), dtype=np.float32)
        exposure = np.exp(light * rng.standard_normal()) * (1.0 + 0.3 * light * rng.standard_normal(3))
        across, down = light * rng.standard_normal(2)
        shade = 1.0 + np.float32(across) * _RAMP + np.float32(down) * _RAMP[:, None]
        grain = rng.standard_normal((SIDE, SIDE, 3), dtype=np.float32) * np.float32(noise)
        pixels = pixels * shade * exposure.astype(np.float32) + grain
        return Image.fromarray(np.clip(pixels + 0.5, 0.0, 255.0).astype(np.uint8))
