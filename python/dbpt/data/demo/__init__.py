"""The demos: three drawn data sets in the layouts of real ones, and a small CLIP that comes with the package.

Nothing here imports torch, and code outside this folder treats a demo like any other data set.
"""

import csv
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dbpt._core import __version__
from dbpt.arguments import path
from dbpt.data.demo.drawings import Face, draw_bird, draw_face, draw_pet, sample_face
from dbpt.data.layouts.celeba import CLAUSES
from dbpt.data.layouts.metashift import FOLDER as METASHIFT
from dbpt.data.paths import NOT_PUBLISHED
from dbpt.environment import progress_bar
from dbpt.errors import InputError, nearest
from dbpt.storage.files import check_can_create, system_errors
from dbpt.storage.locks import whole_folder

logger = logging.getLogger(__name__)

QUALITY = 90
# Training rows of the originals, in the group order (y, a) = 00, 01, 10, 11.
TRAIN_COUNTS: dict[str, tuple[int, int, int, int]] = {
    "demo-waterbirds": (3498, 184, 56, 1057),
    "demo-celeba": (71629, 66874, 22880, 1387),
    "demo-metashift": (784, 507, 196, 789),
}
SPLIT_SIZES: tuple[int, int, int] = (2400, 600, 1200)


@dataclass(frozen=True)
class Drawing:
    """One drawing: its number (which seeds its generator), split (0 train, 1 val, 2 test), class, attribute."""

    index: int
    split: int
    label: int
    attribute: int


def planned_group_counts(name: str, split: int, size: int) -> tuple[int, ...]:
    """Return the number of rows of each group among `size`, by largest remainder."""
    train = np.array(TRAIN_COUNTS[name], dtype=np.float64)
    balanced = np.repeat((train[0::2] + train[1::2]) / 2.0, 2)
    exact = (train if split == 0 else balanced) / train.sum() * size
    counts = np.floor(exact).astype(np.int64)
    if split > 0:  # both groups of a class are equal; the larger class gets the rest
        counts[0:2] += (size - int(counts.sum())) // 2
        return tuple(counts.tolist())
    # The largest remainder first.
    for group in np.argsort(counts - exact, kind="stable")[: size - int(counts.sum())]:
        counts[group] += 1
    return tuple(counts.tolist())


def plan_rows(name: str, seed: int, sizes: tuple[int, int, int] = SPLIT_SIZES) -> list[Drawing]:
    """Return the drawings of a data set, with splits in order and groups shuffled within each."""
    rng = generator(name, seed, 0)
    rows: list[Drawing] = []
    for split, size in enumerate(sizes):
        groups = np.repeat(np.arange(4), planned_group_counts(name, split, size))
        for group in rng.permutation(groups).tolist():
            rows.append(Drawing(len(rows) + 1, split, group // 2, group % 2))
    return rows


def generator(name: str, seed: int, index: int) -> np.random.Generator:
    """Return the generator of drawing `index`, PCG64 of (seed, data set, index): any order of drawing is the same."""
    return np.random.Generator(np.random.PCG64([seed, list(TRAIN_COUNTS).index(name), index]))


@dataclass(frozen=True)
class Layout:
    """The name of each picture, below the folder of the data set; how it is drawn; and the tables beside them.

    ``write_tables`` takes the folder, its final name, the rows and the seed.
    """

    path: Callable[[Drawing], str]
    draw: Callable[[np.random.Generator, Drawing], Image.Image]
    write_tables: Callable[[Path, Path, Sequence[Drawing], int], None]


def _bird_path(row: Drawing) -> str:
    species = ("001.Drawn_landbird", "002.Drawn_waterbird")[row.label]
    return f"{species}/{species[4:]}_{row.index:04d}.jpg"


def _write_birds_table(folder: Path, final: Path, rows: Sequence[Drawing], seed: int) -> None:
    """Write `metadata.csv`."""
    table = []
    for row in rows:
        background = f"/d/drawn_{('land', 'water')[row.attribute]}/{row.index:08d}.jpg"
        table.append((row.index, _bird_path(row), row.label, row.split, row.attribute, background))
    _write_csv(folder / "metadata.csv", "img_id,img_filename,y,split,place,place_filename", table)


def _face_of(rng: np.random.Generator, row: Drawing) -> Face:
    return sample_face(rng, row.label == 1, row.attribute == 1)


def _write_faces_tables(folder: Path, final: Path, rows: Sequence[Drawing], seed: int) -> None:
    """Write `list_attr_celeba.txt` and `list_eval_partition.txt`."""
    attributes, partition = [str(len(rows)), " ".join(CLAUSES) + " "], []
    for row in rows:
        present = _celeba_attributes(_face_of(generator("demo-celeba", seed, row.index), row))
        values = " ".join(" 1" if attribute in present else "-1" for attribute in CLAUSES)
        attributes.append(f"{row.index:06d}.jpg {values}")
        partition.append(f"{row.index:06d}.jpg {row.split}")
    for name, lines in (("list_attr_celeba.txt", attributes), ("list_eval_partition.txt", partition)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _celeba_attributes(face: Face) -> set[str]:
    """Return the CelebA attributes that a face has; attributes that are never drawn are always -1."""
    hair = "Blond_Hair" if face.blond else "Black_Hair" if face.lightness < 0.22 else "Brown_Hair"
    traits = {
        "Male": face.male,
        "Wearing_Lipstick": face.lipstick,
        "Wearing_Necktie": face.necktie,
        "Wearing_Hat": face.hat,
        "Eyeglasses": face.glasses,
        "Smiling": face.smiling,
    }
    shown = {name for name, present in traits.items() if present}
    return shown | {hair, "Goatee" if face.beard else "No_Beard", "Straight_Hair", "Young"}


def _pet_path(row: Drawing) -> str:
    kind, place = ("dog", "cat")[row.label], ("outdoor", "indoor")[row.attribute]
    usual = "train" if row.label == row.attribute else "test"
    return f"{METASHIFT}/{usual}/{kind}/{kind}({place})/{row.index:07d}.jpg"


def _write_pets_table(folder: Path, final: Path, rows: Sequence[Drawing], seed: int) -> None:
    """Write SubpopBench's `metadata_metashift.csv`, with absolute file names."""
    names = [(final.absolute() / _pet_path(row)).as_posix() for row in rows]
    table = [(row.index, name, row.split, row.label, row.attribute) for row, name in zip(rows, names, strict=True)]
    _write_csv(folder / METASHIFT / "metadata_metashift.csv", "id,filename,split,y,a", table)


LAYOUTS: dict[str, Layout] = {
    "demo-waterbirds": Layout(
        _bird_path, lambda rng, row: draw_bird(rng, row.label == 1, row.attribute == 1), _write_birds_table
    ),
    "demo-celeba": Layout(
        lambda row: f"img_align_celeba/{row.index:06d}.jpg",
        lambda rng, row: draw_face(rng, _face_of(rng, row)),
        _write_faces_tables,
    ),
    "demo-metashift": Layout(
        _pet_path, lambda rng, row: draw_pet(rng, row.label == 1, row.attribute == 1), _write_pets_table
    ),
}


def _write_csv(path: Path, header: str, rows: Iterable[tuple[int | str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


DEMO_NAMES: tuple[str, ...] = tuple(LAYOUTS)


def mini_clip_paths() -> tuple[Path, Path]:
    """Return the paths of the small CLIP's open_clip config (JSON) and its float16 weights (safetensors)."""
    folder = Path(__file__).parent
    return folder / "mini_clip.json", folder / "mini_clip.safetensors"


def write_demo(name: str, directory: str | Path, *, seed: int = 0) -> Path:
    """Draw a demo data set into a new folder, in the layout of the data set it is named after.

    It has 2,400 training, 600 validation and 1,200 test images of 64x64 pixels.

    Args:
        name: "demo-waterbirds", "demo-celeba" or "demo-metashift".
        directory: must not exist, or be empty; it never contains a partial data set.
        seed: the same seed draws the same bytes (with one version of Pillow).

    Returns:
        The folder.

    Raises:
        InputError: for another name, a bad seed, and a folder that can't be created or isn't empty.
    """
    return _write(name, path("directory", directory), seed, SPLIT_SIZES)


def draw_into_cache(data: str, root: "str | Path | None", cache: Path) -> tuple[str, Path] | None:
    """Draw the demo that ``data`` names into ``cache``, unless it is there, and return its layout and its folder.

    Returns None if ``data`` names no demo. Raises `InputError` for an unknown demo, or one with a ``root``.
    """
    misspelt = data.startswith("demo-") and not Path(data).suffix and not os.path.exists(data)  # noqa: PTH110 (long names)
    if data not in ("demo", *DEMO_NAMES) and not misspelt:  # a table or a folder may be called demo-x
        return None
    if root is not None:
        raise InputError(f"--root {root}: {data} is drawn into --cache; leave --root out")
    name = "demo-waterbirds" if data == "demo" else data
    folder = cache / "demo" / f"{name}-{__version__}"
    if not folder.exists():
        if name in DEMO_NAMES:
            logger.info(f"drawing {name} into {folder}")
        try:
            write_demo(name, folder)
        except InputError:
            if not folder.exists():  # another run may have drawn it meanwhile
                raise
    return name.removeprefix("demo-"), folder


def _write(name: str, final: Path, seed: int, sizes: tuple[int, int, int]) -> Path:
    if name not in LAYOUTS:
        hint = nearest(name, list(DEMO_NAMES))
        raise InputError(f"demo name: unknown value {name!r}{hint}; valid are {', '.join(DEMO_NAMES)}")
    if seed < 0:
        raise InputError(f"--seed is {seed}; expected an integer, 0 or above")
    _check_folder(final)
    final = final.absolute()
    with system_errors(f"{final}: cannot write the demo data set"), whole_folder(final) as folder:
        layout, rows = LAYOUTS[name], plan_rows(name, seed, sizes)
        (folder / NOT_PUBLISHED).write_text(f"Drawn by `dbpt demo {name}`, in the layout of the published data.\n")
        for row in progress_bar(f"drawing {name}", "img", rows):
            picture = folder / layout.path(row)
            picture.parent.mkdir(parents=True, exist_ok=True)
            layout.draw(generator(name, seed, row.index), row).save(picture, quality=QUALITY)
        layout.write_tables(folder, final, rows, seed)
        if os.path.lexists(final):
            final.rmdir()
    return final


def _check_folder(folder: Path) -> None:
    """Refuse everything except a new or empty folder; also links to one."""
    if not os.path.lexists(folder):
        check_can_create(folder, option="folder")
        return
    with system_errors(f"{folder}: cannot be read", "name a new folder"):
        is_free = not folder.is_symlink() and folder.is_dir() and not any(folder.iterdir())
    if not is_free:
        raise InputError(f"{folder}: exists and is not an empty folder; name a new one or remove it first")
