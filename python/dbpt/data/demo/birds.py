"""Pictures of demo-waterbirds: a landbird or a waterbird on land or on water."""

import numpy as np
from PIL import Image

from dbpt.data.demo.canvas import Canvas, Colour, Palette, Pose, mix, pick, vary

# Difficulty: species of a kind differ in build, both kinds share some plumages, and haze reduces contrast.
SIZE = (0.34, 0.50)
BUILD_SPREAD = 0.20
SHARED_PLUMAGE = 0.55
HAZE = (0.05, 0.35)
# Some places are shores with this share of water, so only the label tells whether it is land or water.
SHORES = 0.10
WET = {False: (0.15, 0.65), True: (0.35, 0.85)}

SKY: Palette = ((150, 190, 230), (200, 210, 220), (235, 205, 175), (120, 160, 210))
LEAVES: Palette = ((50, 95, 45), (80, 120, 50), (35, 75, 50), (120, 110, 50))
GROUND: Palette = ((105, 140, 70), (130, 120, 75), (90, 115, 60), (150, 140, 90))
WATER: Palette = ((50, 105, 150), (70, 125, 145), (95, 125, 140), (60, 110, 110))
BARK: Colour = (75, 55, 40)
PLUMAGE_LAND: Palette = ((150, 85, 45), (190, 150, 50), (170, 60, 45), (105, 110, 55), (75, 95, 160))
PLUMAGE_WATER: Palette = ((225, 225, 225), (165, 170, 175), (60, 65, 75), (190, 190, 180))
PLUMAGE_SHARED: Palette = ((120, 100, 80), (90, 85, 80), (160, 150, 135), (205, 195, 180), (45, 45, 50))


def draw_bird(rng: np.random.Generator, water_bird: bool, water: bool) -> Image.Image:
    """Draw one picture: a landbird or a waterbird, on land or on water."""
    canvas = Canvas()
    horizon = float(rng.uniform(0.25, 0.50))
    canvas.gradient(pick(rng, SKY), pick(rng, SKY), 0.0, horizon)
    if rng.random() < SHORES:
        _shore(canvas, rng, horizon, float(rng.uniform(*WET[water])))
    elif water:
        _water(canvas, rng, horizon)
    else:
        _land(canvas, rng, horizon)
    canvas.pose = Pose.draw(rng, (0.32, 0.68), (0.48, 0.72), SIZE, 0.12)
    _bird(canvas, rng, water_bird)
    return canvas.finish(rng)


def _land(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    ground = pick(rng, GROUND)
    canvas.gradient(ground, mix(ground, (40, 45, 25), 0.35), horizon, 1.0)
    forest = rng.random() < 0.6
    for _ in range(int(rng.integers(5, 10) if forest else rng.integers(1, 4))):
        x, top = float(rng.random()), horizon - float(rng.uniform(0.10, 0.35))
        foot, width = horizon + float(rng.uniform(0.02, 0.12)), float(rng.uniform(0.015, 0.035))
        canvas.box(x - width, top, x + width, foot, vary(rng, BARK))
        canvas.ellipse(x, top, float(rng.uniform(0.08, 0.17)), float(rng.uniform(0.10, 0.18)), pick(rng, LEAVES))
    for _ in range(6):
        x, y = float(rng.random()), float(rng.uniform(horizon, 1.0))
        canvas.line(((x, y), (x + float(rng.normal(0, 0.02)), y - 0.06)), 0.012, pick(rng, LEAVES))


def _water(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    deep = pick(rng, WATER)
    canvas.gradient(mix(deep, (225, 230, 235), 0.30), mix(deep, (15, 30, 50), 0.25), horizon, 1.0)
    if rng.random() < 0.4:
        x = float(rng.random())
        canvas.ellipse(x, horizon, float(rng.uniform(0.2, 0.6)), float(rng.uniform(0.04, 0.10)), pick(rng, LEAVES))
        canvas.gradient(mix(deep, (225, 230, 235), 0.25), deep, horizon, min(1.0, horizon + 0.15))
    for _ in range(int(rng.integers(6, 14))):
        x, y = float(rng.random()), float(rng.uniform(horizon, 1.0))
        half = float(rng.uniform(0.04, 0.16))
        canvas.line(((x - half, y), (x, y - 0.01), (x + half, y)), 0.012, mix(deep, (235, 240, 245), 0.45))


def _shore(canvas: Canvas, rng: np.random.Generator, horizon: float, wet: float) -> None:
    """Draw land and water; `wet` is the fraction of the ground under water."""
    _land(canvas, rng, horizon)
    edge, slope = 1.0 - wet * (1.0 - horizon), float(rng.normal(0.0, 0.06))
    water = pick(rng, WATER)
    canvas.polygon(((0.0, edge - slope), (1.0, edge + slope), (1.0, 1.0), (0.0, 1.0)), water)
    for _ in range(6):
        x, y, half = float(rng.random()), float(rng.uniform(edge + 0.05, 1.05)), float(rng.uniform(0.04, 0.14))
        canvas.line(((x - half, y), (x, y - 0.01), (x + half, y)), 0.012, mix(water, (235, 240, 245), 0.45))


def _bird(canvas: Canvas, rng: np.random.Generator, water_bird: bool) -> None:
    """Draw a bird that faces right; `build` runs from a perching songbird (0) to a long-necked swimmer (1)."""
    build = float(np.clip(rng.normal(0.85 if water_bird else 0.15, BUILD_SPREAD), 0.0, 1.0))
    own = PLUMAGE_WATER if water_bird else PLUMAGE_LAND
    haze, behind = float(rng.uniform(*HAZE)), canvas.tone()
    coat = mix(pick(rng, PLUMAGE_SHARED if rng.random() < SHARED_PLUMAGE else own), behind, haze)
    dark, pale = mix(coat, (20, 20, 25), 0.45), mix(coat, (245, 240, 230), 0.45)
    bill = mix(mix((70, 60, 50), (225, 160, 50), float(rng.random())), behind, haze)
    length, height = 0.36 + 0.18 * build, 0.29 - 0.08 * build
    neck = (length * 0.75, -0.12 - 0.10 * build)
    head, skull = (length * 0.80 + 0.05 * build, -0.27 - 0.27 * build), 0.18 - 0.055 * build
    if rng.random() < 0.95 - 0.75 * build:
        for foot in (-0.05, 0.10):
            canvas.line(((foot, height * 0.7), (foot + 0.05, height + 0.25)), 0.05, dark)
    tail = 0.42 - 0.28 * build
    canvas.polygon(((-length * 0.7, -0.10), (-length - tail, 0.10 - 0.25 * build), (-length * 0.7, 0.13)), dark)
    canvas.ellipse(0.0, 0.0, length, height, coat, tilt=-0.45 * (1.0 - build))
    canvas.line(((length * 0.55, 0.0), neck, head), 0.24 - 0.07 * build, coat)
    canvas.ellipse(0.12, 0.10, length * 0.55, height * 0.55, pale, tilt=-0.4 * (1.0 - build))
    canvas.ellipse(-0.10, -0.02, length * 0.62, height * 0.50, dark, tilt=-0.3)
    canvas.ellipse(*head, skull, skull, coat if rng.random() < 0.6 else dark)
    reach = skull + 0.12 + 0.16 * build
    x, y = head
    canvas.polygon(((x + skull * 0.7, y - 0.07), (x + reach, y + 0.02), (x + skull * 0.7, y + 0.07)), bill)
    canvas.ellipse(x + 0.05, y - 0.03, 0.035, 0.035, (10, 10, 10))
