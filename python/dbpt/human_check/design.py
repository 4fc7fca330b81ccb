"""The design of a drawn sample: what judging must know of it, as ``design.json`` and ``sample.csv``.

``design.json`` holds the names, and of each stratum how large it is and what all its images have in common.
``sample.csv`` has a line for each drawn image, in the order of the page. Neither is for the person who labels.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dbpt.data.tables import read_columns
from dbpt.errors import InputError
from dbpt.files.csv import csv_text, unmarked
from dbpt.files.disk import write_atomically, write_json
from dbpt.files.typed_json import Count, Limits, Share, check_version, read_json, typed

SCHEMA_VERSION = 1
WAY_OUT = "draw a new sample"


@dataclass(frozen=True)
class Stratum:
    """Images of one class and one pseudo attribute (-1: none) that the classifier gets all right or all wrong.

    ``size`` of them are in the split, ``drawn`` in the sample; their confidence is from ``low`` to ``high``.
    """

    label: Count
    pseudo_attribute: Annotated[int, Limits(-1)]
    right: bool
    low: Share
    high: Share
    size: Annotated[int, Limits(1)]
    drawn: Count


@dataclass(frozen=True, eq=False)
class Design:
    """A sample of n images of one split. ``wordings`` are those of the attributes; ``stratum`` is (n,) int64."""

    run: str
    dataset: str
    split: str
    seed: int
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    wordings: tuple[tuple[str, ...], ...]
    strata: tuple[Stratum, ...]
    paths: tuple[str, ...]
    stratum: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Images in the split."""
        return sum(stratum.size for stratum in self.strata)

    @property
    def sample(self) -> str:
        """16 letters by which the labels of this sample are told from those of another.

        Letters alone, because spreadsheets read some digests as numbers. How the run's folder is written is no part.
        """
        described = {**self._described(), "run": None}
        content = json.dumps([described, self.paths, self.stratum.tolist()], ensure_ascii=False)
        digest = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return digest.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))

    @property
    def holds_together(self) -> bool:
        """Whether what it says of strata, names and images agrees."""
        drawn = np.bincount(self.stratum, minlength=len(self.strata))
        return drawn.tolist() == [stratum.drawn for stratum in self.strata] and all(
            stratum.drawn <= stratum.size
            and stratum.label < len(self.class_names)
            and stratum.pseudo_attribute < len(self.attribute_names)
            for stratum in self.strata
        )

    def __str__(self) -> str:
        return f"{self.dataset}: {len(self.paths)} of {self.size} {self.split} images, from {len(self.strata)} strata"

    def _described(self) -> dict[str, Any]:
        """What ``design.json`` holds besides version and sample."""
        return {
            "run": self.run,
            "dataset": self.dataset,
            "split": self.split,
            "seed": self.seed,
            "classes": list(self.class_names),
            "attributes": dict(zip(self.attribute_names, map(list, self.wordings), strict=True)),
            "strata": [asdict(stratum) for stratum in self.strata],
        }


@dataclass(frozen=True)
class _Record:
    """What ``design.json`` holds."""

    schema_version: int
    sample: str
    run: str
    dataset: str
    split: Literal["train", "val", "test"]
    seed: Count
    classes: list[str]
    attributes: dict[str, tuple[str, ...]]
    strata: tuple[Stratum, ...]


def write_design(folder: Path, design: Design) -> None:
    """Write both files."""
    table: list[Sequence[object]] = [["path", "class", "pseudo_attribute", "right", "stratum", "inclusion_probability"]]
    for path, number in zip(design.paths, design.stratum.tolist(), strict=True):
        stratum = design.strata[number]
        attribute = "" if stratum.pseudo_attribute < 0 else design.attribute_names[stratum.pseudo_attribute]
        right = "yes" if stratum.right else "no"
        probability = stratum.drawn / stratum.size
        table.append([path, design.class_names[stratum.label], attribute, right, number, probability])
    write_atomically(folder / "sample.csv", csv_text(table))
    description = {"schema_version": SCHEMA_VERSION, "sample": design.sample, **design._described()}
    write_json(folder / "design.json", description)


def read_design(folder: Path) -> Design:
    """Read what `write_design` wrote.

    Raises:
        InputError: not such a folder, another schema version, or files that were changed since.
    """
    path, rows = folder / "design.json", folder / "sample.csv"
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder}: not a drawn sample (no design.json); give the folder named by --out in dbpt label"
        ) from None
    except (OSError, ValueError):  # what reading it will say
        pass
    value = read_json(path, "design of a sample")
    check_version(path, value.get("schema_version"), SCHEMA_VERSION)
    record = typed(value, _Record, path, WAY_OUT)
    columns = read_columns(rows, ("path", "stratum")).values
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in columns["stratum"]):
        raise InputError(f"{rows}: stratum: expected numbers; the file was changed, {WAY_OUT}")
    design = Design(
        run=record.run,
        dataset=record.dataset,
        split=record.split,
        seed=record.seed,
        class_names=tuple(record.classes),
        attribute_names=tuple(record.attributes),
        wordings=tuple(record.attributes.values()),
        strata=record.strata,
        paths=tuple(map(unmarked, columns["path"])),
        stratum=np.array([int(number) for number in columns["stratum"]], dtype=np.int64),
    )
    if design.sample != record.sample or not design.holds_together:
        raise InputError(f"{folder}: design.json or sample.csv was changed since it was drawn; {WAY_OUT}")
    return design
