"""Pictures of demo-metashift: a dog or a cat, outdoors or indoors."""

import math

import numpy as np
from PIL import Image

from dbpt.data.demo.canvas import Canvas, Palette, Pose, mix, pick, vary

# Difficulty: breeds of a kind differ in build, both kinds have the same coats, and haze reduces contrast.
SIZE = (0.46, 0.62)
BUILD_SPREAD = 0.20
HAZE = (0.0, 0.25)
# Some places are verandas with this open share, so only the label tells whether they are indoors or outdoors.
VERANDAS = 0.12
OPEN = {False: (0.35, 0.85), True: (0.15, 0.65)}

SKY: Palette = ((150, 190, 230), (200, 210, 220), (120, 160, 210), (225, 215, 205))
GRASS: Palette = ((95, 140, 65), (120, 130, 70), (80, 115, 60), (165, 150, 110))
LEAVES: Palette = ((50, 95, 45), (80, 120, 50), (35, 75, 50))
WALLS: Palette = ((215, 205, 185), (180, 195, 205), (205, 175, 160), (160, 165, 150), (225, 225, 225))
FLOORS: Palette = ((150, 105, 70), (120, 85, 60), (170, 160, 150), (140, 60, 60), (95, 95, 105))
FURNITURE: Palette = ((130, 60, 55), (70, 85, 120), (110, 85, 60), (120, 120, 115), (80, 110, 90))
COATS: Palette = ((200, 130, 65), (120, 115, 110), (45, 42, 42), (225, 220, 210), (125, 85, 55), (195, 170, 130))


def draw_pet(rng: np.random.Generator, cat: bool, indoor: bool) -> Image.Image:
    """Draw one picture: a cat or a dog, in a room or outdoors."""
    canvas = Canvas()
    edge = float(rng.uniform(0.42, 0.62))
    if rng.random() < VERANDAS:
        _veranda(canvas, rng, edge, float(rng.uniform(*OPEN[indoor])))
    elif indoor:
        _room(canvas, rng, edge)
    else:
        _garden(canvas, rng, edge)
    canvas.pose = Pose.draw(rng, (0.34, 0.66), (0.52, 0.68), SIZE, 0.08)
    _animal(canvas, rng, cat)
    return canvas.finish(rng, noise=9.0)


def _room(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    wall = pick(rng, WALLS)
    canvas.gradient(wall, mix(wall, (90, 80, 70), 0.2), 0.0, edge)
    floor = pick(rng, FLOORS)
    canvas.gradient(floor, mix(floor, (0, 0, 0), 0.3), edge, 1.0)
    if rng.random() < 0.5:
        for board in rng.random(5).tolist():
            canvas.line(((board, edge), (board + 0.8 * (board - 0.5), 1.0)), 0.008, mix(floor, (0, 0, 0), 0.3))
    if rng.random() < 0.6:
        _window(canvas, rng)
    if rng.random() < 0.7:
        _sofa(canvas, rng, edge)
    if rng.random() < 0.3:
        canvas.ellipse(float(rng.random()), float(rng.uniform(0.8, 0.95)), 0.4, 0.10, pick(rng, FURNITURE))


def _window(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a window with the garden in it; a large one makes a room look like outdoors."""
    half = float(rng.uniform(0.12, 0.28))
    x, y, frame = float(rng.uniform(0.2, 0.8)), 0.22, pick(rng, ((235, 235, 235), (110, 80, 60)))
    canvas.box(x - half - 0.03, y - 0.19, x + half + 0.03, y + 0.19, frame)
    canvas.box(x - half, y - 0.16, x + half, y + 0.16, pick(rng, SKY))
    canvas.box(x - half, y + 0.04, x + half, y + 0.16, pick(rng, LEAVES))
    canvas.box(x - 0.01, y - 0.16, x + 0.01, y + 0.16, frame)


def _sofa(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    x, half, cloth = float(rng.random()), float(rng.uniform(0.2, 0.35)), pick(rng, FURNITURE)
    canvas.box(x - half, edge - 0.18, x + half, edge + 0.10, cloth)
    canvas.box(x - half, edge, x + half, edge + 0.12, mix(cloth, (255, 255, 255), 0.15))
    canvas.box(x - half - 0.05, edge - 0.06, x - half, edge + 0.13, mix(cloth, (0, 0, 0), 0.2))
    canvas.box(x + half, edge - 0.06, x + half + 0.05, edge + 0.13, mix(cloth, (0, 0, 0), 0.2))


def _garden(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    canvas.gradient(pick(rng, SKY), pick(rng, SKY), 0.0, edge)
    grass = pick(rng, GRASS)
    for _ in range(int(rng.integers(1, 6))):
        x, top = float(rng.random()), edge - float(rng.uniform(0.10, 0.35))
        canvas.box(x - 0.02, top, x + 0.02, edge + 0.03, vary(rng, (80, 60, 45)))
        canvas.ellipse(x, top, float(rng.uniform(0.08, 0.18)), float(rng.uniform(0.08, 0.18)), pick(rng, LEAVES))
    canvas.gradient(grass, mix(grass, (30, 40, 15), 0.35), edge, 1.0)
    if rng.random() < 0.3:
        for post in np.arange(0.05, 1.0, 0.12).tolist():
            canvas.box(post, edge - 0.12, post + 0.04, edge + 0.04, (170, 150, 125))
    for _ in range(6):
        x, y = float(rng.random()), float(rng.uniform(edge, 1.0))
        canvas.line(((x, y), (x + 0.02, y - 0.05)), 0.012, mix(grass, (40, 70, 25), 0.5))


def _veranda(canvas: Canvas, rng: np.random.Generator, edge: float, openness: float) -> None:
    """Draw a paved place by a house: a wall and furniture on one side, the garden on the other."""
    _garden(canvas, rng, edge)
    wall, floor = pick(rng, WALLS), pick(rng, FLOORS)
    left, right = (0.0, 1.0 - openness) if rng.random() < 0.5 else (openness, 1.0)
    canvas.box(left, 0.0, right, edge, wall)
    canvas.polygon(((left, edge), (right, edge), (right + 0.15, 1.0), (left - 0.15, 1.0)), floor)
    if rng.random() < 0.4:
        middle, cloth = (left + right) / 2, pick(rng, FURNITURE)
        canvas.box(middle - 0.15, edge - 0.14, middle + 0.15, edge + 0.10, cloth)


def _animal(canvas: Canvas, rng: np.random.Generator, cat: bool) -> None:
    """Draw an animal that faces right; `build` runs from a heavy dog (0) to a slender cat (1)."""
    build = float(np.clip(rng.normal(0.85 if cat else 0.15, BUILD_SPREAD), 0.0, 1.0))
    coat = mix(pick(rng, COATS), canvas.tone(), float(rng.uniform(*HAZE)))
    dark, pale = mix(coat, (20, 15, 15), 0.45), mix(coat, (250, 245, 235), 0.45)
    sitting = rng.random() < 0.45
    lean = -0.9 if sitting else 0.0
    width, height = (0.36, 0.24 - 0.04 * build) if sitting else (0.46, 0.22 - 0.05 * build)
    for leg in (0.05, 0.20) if sitting else (-0.34, -0.22, 0.20, 0.32):
        canvas.line(((leg, 0.05), (leg + 0.02, 0.46)), 0.12 - 0.04 * build, dark if leg in (-0.22, 0.20) else coat)
    rise = 0.20 + 0.35 * build
    tail = [(-0.38 - 0.22 * math.sin(t * 1.9), 0.05 - rise * t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    canvas.line(tail, 0.10 - 0.04 * build, coat)
    canvas.ellipse(0.0, 0.05 if sitting else 0.0, width, height, coat, tilt=lean)
    if sitting:
        canvas.ellipse(-0.14, 0.28, 0.24, 0.18, coat)
    if rng.random() < 0.4:
        canvas.ellipse(0.12, 0.10, 0.16, 0.12, pale)
    x, y, skull = (0.22, -0.38, 0.19) if sitting else (0.48, -0.26, 0.18)
    canvas.line(((x - 0.18, -0.05), (x, y)), 0.22 - 0.06 * build, coat)
    _head(canvas, (x, y, skull), build, (coat, dark, pale))


def _head(canvas: Canvas, skull: tuple[float, float, float], build: float, coats: Palette) -> None:
    """Draw a head between hanging ears with a muzzle (`build` 0) and pointed ears with a flat face (1)."""
    (x, y, r), (coat, dark, pale) = skull, coats
    if build > 0.5:
        for ear in (-0.11, 0.09):
            tip = 0.16 + 0.16 * build
            canvas.polygon(((x + ear - 0.08, y - 0.09), (x + ear, y - tip), (x + ear + 0.08, y - 0.09)), dark)
    canvas.ellipse(x, y, r, r * 0.95, coat)
    muzzle = 0.26 * (1.0 - build) + 0.05
    canvas.ellipse(x + r * 0.6 + muzzle * 0.4, y + 0.06, muzzle * 0.75, 0.09, mix(coat, pale, 0.5))
    canvas.ellipse(x + r * 0.6 + muzzle * 1.0, y + 0.03, 0.035, 0.035, (20, 15, 15))
    if build <= 0.5:
        canvas.ellipse(x - 0.09, y + 0.05, 0.08, 0.20 - 0.06 * build, dark, tilt=0.25)
    canvas.ellipse(x + 0.07, y - 0.04, 0.032, 0.036, (15, 15, 15) if build < 0.5 else (60, 110, 50))
