"""Pictures of demo-celeba: portraits of women and men with dark or blond hair.

A `Face` has the annotations; `draw_face` draws it.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from dbpt.data.demo.canvas import Canvas, Colour, Palette, Pose, mix, pick, vary

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
