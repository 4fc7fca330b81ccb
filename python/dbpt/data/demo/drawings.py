"""Pictures of the demos: birds on land and water, faces, and cats and dogs indoors and outdoors."""

import math
from dataclasses import dataclass

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


# Difficulty: hair lightness goes from black (0) to platinum (1), and the light of the picture varies.
LIGHTNESS_DARK = (0.27, 0.17)
LIGHTNESS_BLOND = (0.70, 0.11)
LIGHT = 0.22
HATS = 0.06

HAIR: Palette = ((22, 18, 18), (62, 42, 30), (112, 80, 52), (178, 142, 88), (232, 206, 145))
SKIN: Palette = ((235, 200, 175), (222, 180, 150), (190, 140, 110), (140, 95, 70), (240, 210, 190))
WALLS: Palette = ((90, 100, 120), (160, 150, 135), (60, 60, 70), (190, 195, 200), (130, 90, 80), (200, 180, 120))
CLOTHES: Palette = ((40, 45, 60), (180, 60, 70), (90, 120, 90), (225, 225, 220), (60, 90, 150), (150, 90, 140))


@dataclass(frozen=True)
class Face:
    """One person as CelebA's attributes would describe them."""

    blond: bool
    male: bool
    lightness: float
    long_hair: bool
    beard: bool
    lipstick: bool
    necktie: bool
    glasses: bool
    smiling: bool
    hat: bool


def sample_face(rng: np.random.Generator, blond: bool, male: bool) -> Face:
    """Draw the traits of a person. Long hair, lipstick, beard and tie usually depend on gender."""
    mean, spread = LIGHTNESS_BLOND if blond else LIGHTNESS_DARK
    return Face(
        blond=blond,
        male=male,
        lightness=float(np.clip(rng.normal(mean, spread), 0.0, 1.0)),
        long_hair=bool(rng.random() < (0.12 if male else 0.85)),
        beard=bool(male and rng.random() < 0.40),
        lipstick=bool(rng.random() < (0.02 if male else 0.65)),
        necktie=bool(rng.random() < (0.35 if male else 0.03)),
        glasses=bool(rng.random() < 0.10),
        smiling=bool(rng.random() < 0.50),
        hat=bool(rng.random() < HATS),
    )


def draw_face(rng: np.random.Generator, face: Face) -> Image.Image:
    """Draw the portrait of a face."""
    canvas = Canvas()
    canvas.gradient(pick(rng, WALLS, 20.0), pick(rng, WALLS, 20.0))
    canvas.pose = Pose.draw(rng, (0.42, 0.58), (0.42, 0.52), (0.70, 1.00), 0.08)
    position = face.lightness * (len(HAIR) - 1)
    lower = min(int(position), len(HAIR) - 2)
    hair = vary(rng, mix(HAIR[lower], HAIR[lower + 1], position - lower), 8.0)
    skin = pick(rng, SKIN, 10.0)
    width = 0.205 + (0.02 if face.male else 0.0) + float(rng.normal(0.0, 0.012))
    shade = mix(hair, (0, 0, 0), 0.20)
    canvas.ellipse(0.0, -0.06, width + 0.055, 0.28, shade)
    if face.long_hair:
        inner, outer = width + 0.05, width + 0.09
        canvas.polygon(((-inner, -0.1), (inner, -0.1), (outer, 0.42), (-outer, 0.42)), shade)
    _shoulders(canvas, rng, face, skin)
    canvas.ellipse(0.0, 0.0, width, 0.27, skin)
    if face.male:
        canvas.box(-width * 0.72, 0.06, width * 0.72, 0.22, skin)
    _features(canvas, rng, face, skin, hair)
    _top_hair(canvas, rng, face, hair, width)
    return canvas.finish(rng, noise=9.0, light=LIGHT)


def _shoulders(canvas: Canvas, rng: np.random.Generator, face: Face, skin: Colour) -> None:
    half = 0.46 if face.male else 0.38
    cloth = vary(rng, CLOTHES[0]) if face.necktie else pick(rng, CLOTHES, 20.0)
    canvas.polygon(((-half, 0.70), (-half * 0.8, 0.42), (half * 0.8, 0.42), (half, 0.70)), cloth)
    canvas.box(-0.09, 0.15, 0.09, 0.42, mix(skin, (60, 30, 20), 0.2))
    if face.necktie:
        canvas.polygon(((-0.12, 0.40), (0.12, 0.40), (0.0, 0.62)), (235, 235, 235))
        canvas.polygon(((-0.03, 0.42), (0.03, 0.42), (0.05, 0.70), (-0.05, 0.70)), pick(rng, CLOTHES[1:]))
    elif not face.male:
        canvas.polygon(((-0.16, 0.41), (0.16, 0.41), (0.0, 0.55)), skin)


def _features(canvas: Canvas, rng: np.random.Generator, face: Face, skin: Colour, hair: Colour) -> None:
    shade = mix(skin, (50, 20, 10), 0.45)
    if face.beard:
        canvas.ellipse(0.0, 0.15, 0.16, 0.13, mix(hair, skin, 0.30))
    for eye in (-0.09, 0.09):
        canvas.ellipse(eye, -0.03, 0.035, 0.022, (240, 240, 240))
        canvas.ellipse(eye, -0.03, 0.017, 0.020, (40, 40, 50))
        canvas.line(((eye - 0.05, -0.085), (eye + 0.05, -0.085)), 0.030 if face.male else 0.016, mix(hair, shade, 0.4))
        if face.glasses:
            left, right = eye - 0.06, eye + 0.06
            canvas.line(((left, 0.0), (right, 0.0), (right, -0.06), (left, -0.06)), 0.012, (20, 20, 20))
    canvas.line(((0.0, -0.02), (0.02, 0.06), (-0.01, 0.07)), 0.015, shade)
    lips = vary(rng, (190, 40, 60)) if face.lipstick else mix(skin, (150, 60, 50), 0.5)
    lift = 0.025 if face.smiling else 0.0
    thickness = 0.045 if face.lipstick else 0.028
    canvas.line(((-0.075, 0.15 - lift), (0.0, 0.155 + lift), (0.075, 0.15 - lift)), thickness, lips)


def _top_hair(canvas: Canvas, rng: np.random.Generator, face: Face, hair: Colour, width: float) -> None:
    if face.hat:
        cloth = pick(rng, CLOTHES, 20.0)
        canvas.ellipse(0.0, -0.22, width + 0.04, 0.13, cloth)
        canvas.box(-width - 0.09, -0.20, width + 0.09, -0.15, mix(cloth, (0, 0, 0), 0.3))
        return
    parting = float(rng.uniform(-0.12, 0.12))
    fringe = -0.17 if face.male else -0.14
    crown = [(-width - 0.03, -0.02), (-width - 0.02, -0.18), (-0.12, -0.33), (0.0, -0.35), (0.12, -0.33)]
    crown += [(width + 0.02, -0.18), (width + 0.03, -0.02), (width - 0.03, fringe + 0.02), (parting, fringe - 0.05)]
    canvas.polygon([*crown, (-width + 0.03, fringe + 0.02)], hair)
    canvas.line(((parting, -0.33), (parting * 0.8, -0.22)), 0.015, mix(hair, (0, 0, 0), 0.35))
    if face.long_hair:
        for side in (-1.0, 1.0):
            canvas.line(((side * (width + 0.02), -0.10), (side * (width + 0.045), 0.40)), 0.085, hair)


# Difficulty: breeds of a kind differ in build, both kinds have the same coats, and haze reduces contrast.
PET_SIZE = (0.46, 0.62)
PET_BUILD_SPREAD = 0.20
PET_HAZE = (0.0, 0.25)
# Some places are verandas with this open share, so only the label tells whether they are indoors or outdoors.
VERANDAS = 0.12
OPEN = {False: (0.35, 0.85), True: (0.15, 0.65)}

PET_SKY: Palette = ((150, 190, 230), (200, 210, 220), (120, 160, 210), (225, 215, 205))
GRASS: Palette = ((95, 140, 65), (120, 130, 70), (80, 115, 60), (165, 150, 110))
PET_LEAVES: Palette = ((50, 95, 45), (80, 120, 50), (35, 75, 50))
ROOM_WALLS: Palette = ((215, 205, 185), (180, 195, 205), (205, 175, 160), (160, 165, 150), (225, 225, 225))
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
    canvas.pose = Pose.draw(rng, (0.34, 0.66), (0.52, 0.68), PET_SIZE, 0.08)
    _animal(canvas, rng, cat)
    return canvas.finish(rng, noise=9.0)


def _room(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    wall = pick(rng, ROOM_WALLS)
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
    canvas.box(x - half, y - 0.16, x + half, y + 0.16, pick(rng, PET_SKY))
    canvas.box(x - half, y + 0.04, x + half, y + 0.16, pick(rng, PET_LEAVES))
    canvas.box(x - 0.01, y - 0.16, x + 0.01, y + 0.16, frame)


def _sofa(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    x, half, cloth = float(rng.random()), float(rng.uniform(0.2, 0.35)), pick(rng, FURNITURE)
    canvas.box(x - half, edge - 0.18, x + half, edge + 0.10, cloth)
    canvas.box(x - half, edge, x + half, edge + 0.12, mix(cloth, (255, 255, 255), 0.15))
    canvas.box(x - half - 0.05, edge - 0.06, x - half, edge + 0.13, mix(cloth, (0, 0, 0), 0.2))
    canvas.box(x + half, edge - 0.06, x + half + 0.05, edge + 0.13, mix(cloth, (0, 0, 0), 0.2))


def _garden(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    canvas.gradient(pick(rng, PET_SKY), pick(rng, PET_SKY), 0.0, edge)
    grass = pick(rng, GRASS)
    for _ in range(int(rng.integers(1, 6))):
        x, top = float(rng.random()), edge - float(rng.uniform(0.10, 0.35))
        canvas.box(x - 0.02, top, x + 0.02, edge + 0.03, vary(rng, (80, 60, 45)))
        canvas.ellipse(x, top, float(rng.uniform(0.08, 0.18)), float(rng.uniform(0.08, 0.18)), pick(rng, PET_LEAVES))
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
    wall, floor = pick(rng, ROOM_WALLS), pick(rng, FLOORS)
    left, right = (0.0, 1.0 - openness) if rng.random() < 0.5 else (openness, 1.0)
    canvas.box(left, 0.0, right, edge, wall)
    canvas.polygon(((left, edge), (right, edge), (right + 0.15, 1.0), (left - 0.15, 1.0)), floor)
    if rng.random() < 0.4:
        middle, cloth = (left + right) / 2, pick(rng, FURNITURE)
        canvas.box(middle - 0.15, edge - 0.14, middle + 0.15, edge + 0.10, cloth)


def _animal(canvas: Canvas, rng: np.random.Generator, cat: bool) -> None:
    """Draw an animal that faces right; `build` runs from a heavy dog (0) to a slender cat (1)."""
    build = float(np.clip(rng.normal(0.85 if cat else 0.15, PET_BUILD_SPREAD), 0.0, 1.0))
    coat = mix(pick(rng, COATS), canvas.tone(), float(rng.uniform(*PET_HAZE)))
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
