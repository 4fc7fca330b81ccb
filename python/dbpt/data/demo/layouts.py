"""Writes the demo data sets in the layouts, file names and columns of the real ones."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from dbpt.data.demo.birds import draw_bird
from dbpt.data.demo.faces import Face, draw_face, sample_face
from dbpt.data.demo.plan import Row, generator
from dbpt.data.demo.rooms import draw_pet

QUALITY = 90
METASHIFT_FOLDER = "MetaShift-Cat-Dog-indoor-outdoor"
CELEBA_ATTRIBUTES = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)

Writer = Callable[[Path, Path, list[Row], int], None]


def write_waterbirds(folder: Path, final: Path, rows: list[Row], seed: int) -> None:
    """Write `metadata.csv` and one folder of images per species."""
    table = []
    for row in rows:
        species = ("001.Drawn_landbird", "002.Drawn_waterbird")[row.label]
        place = ("land", "water")[row.attribute]
        name = f"{species}/{species[4:]}_{row.index:04d}.jpg"
        _save(
            draw_bird(generator("demo-waterbirds", seed, row.index), row.label == 1, row.attribute == 1), folder / name
        )
        table.append((row.index, name, row.label, row.split, row.attribute, f"/d/drawn_{place}/{row.index:08d}.jpg"))
    _write_csv(folder / "metadata.csv", "img_id,img_filename,y,split,place,place_filename", table)


def write_celeba(folder: Path, final: Path, rows: list[Row], seed: int) -> None:
    """Write `list_attr_celeba.txt`, `list_eval_partition.txt` and `img_align_celeba/`."""
    attributes, partition = [str(len(rows)), " ".join(CELEBA_ATTRIBUTES) + " "], []
    for row in rows:
        name = f"{row.index:06d}.jpg"
        rng = generator("demo-celeba", seed, row.index)
        face = sample_face(rng, row.label == 1, row.attribute == 1)
        _save(draw_face(rng, face), folder / "img_align_celeba" / name)
        present = _celeba_attributes(face)
        values = " ".join(" 1" if attribute in present else "-1" for attribute in CELEBA_ATTRIBUTES)
        attributes.append(f"{name} {values}")
        partition.append(f"{name} {row.split}")
    _write_lines(folder / "list_attr_celeba.txt", attributes)
    _write_lines(folder / "list_eval_partition.txt", partition)


def _celeba_attributes(face: Face) -> set[str]:
    """Name what a face shows, out of CelebA's forty attributes; what is never drawn stays -1."""
    shown = {
        "Blond_Hair": face.blond,
        "Black_Hair": not face.blond and face.lightness < 0.22,
        "Brown_Hair": not face.blond and face.lightness >= 0.22,
        "Male": face.male,
        "Goatee": face.beard,
        "No_Beard": not face.beard,
        "Wearing_Lipstick": face.lipstick,
        "Wearing_Necktie": face.necktie,
        "Wearing_Hat": face.hat,
        "Eyeglasses": face.glasses,
        "Smiling": face.smiling,
        "Straight_Hair": True,
        "Young": True,
    }
    return {name for name, present in shown.items() if present}


def write_metashift(folder: Path, final: Path, rows: list[Row], seed: int) -> None:
    """Write SubpopBench's folders and its `metadata_metashift.csv`, whose file names are absolute, as there.

    The folder of an image says its class and attribute; its split stands in the table only.
    """
    table = []
    for row in rows:
        kind, place = ("dog", "cat")[row.label], ("outdoor", "indoor")[row.attribute]
        usual = "train" if row.label == row.attribute else "test"
        name = f"{METASHIFT_FOLDER}/{usual}/{kind}/{kind}({place})/{row.index:07d}.jpg"
        rng = generator("demo-metashift", seed, row.index)
        _save(draw_pet(rng, row.label == 1, row.attribute == 1), folder / name)
        table.append((row.index, (final.absolute() / name).as_posix(), row.split, row.label, row.attribute))
    _write_csv(folder / METASHIFT_FOLDER / "metadata_metashift.csv", "id,filename,split,y,a", table)


WRITERS: dict[str, Writer] = {
    "demo-waterbirds": write_waterbirds,
    "demo-celeba": write_celeba,
    "demo-metashift": write_metashift,
}


def _save(image: Image.Image, path: Path) -> None:
    try:
        image.save(path, quality=QUALITY)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        image.save(path, quality=QUALITY)


def _write_csv(path: Path, header: str, rows: Iterable[tuple[int | str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
