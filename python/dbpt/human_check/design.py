"""The design of a drawn sample, which is all that judging needs: ``design.json`` and ``sample.csv``.

``design.json`` has the names, and the size and common properties of each stratum. ``sample.csv`` has a line for each
drawn image, in the order of the page. The person who labels should not see either.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from dbpt.data.table_formats import read_columns
from dbpt.errors import InputError
from dbpt.files.csv import csv_text, unmarked
from dbpt.files.disk import is_missing, write_atomically, write_json
from dbpt.files.typed_json import Count, Limits, Share, check_version, read_json, typed

SCHEMA_VERSION = 2
WAY_OUT = "draw a new sample"


@dataclass(frozen=True)
class Stratum:
    """Images of one class and one pseudo attribute (-1: none), either all classified correctly or all incorrectly."""

    label: Count
    pseudo_attribute: Annotated[int, Limits(-1)]
    right: bool
    low: Share  # lowest confidence
    high: Share  # highest confidence
    size: Annotated[int, Limits(1)]  # images in the split
    drawn: Count  # images in the sample


@dataclass(frozen=True, repr=False)
class Design:
    """A sample of one split. Each image has a path in ``paths``, and in ``stratum`` an index into ``strata``.

    With ``factors`` (their values with wordings), the attributes are the combinations of their values.
    """

    run: str
    dataset: str
    split: str
    seed: Count
    classes: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]]
    strata: tuple[Stratum, ...]
    paths: tuple[str, ...]
    stratum: tuple[Count, ...]
    factors: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def questions(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The answers to each question about an image, with wordings, by its column in ``labels.csv``."""
        return self.factors or {"attribute": self.attributes}

    @property
    def size(self) -> int:
        """Number of images in the split."""
        return sum(stratum.size for stratum in self.strata)

    @property
    def sample(self) -> str:
        """16 letters that identify the sample, also if its run moves. A spreadsheet could take digits for a number."""
        content = json.dumps([{**self._described(), "run": None}, self.paths, self.stratum], ensure_ascii=False)
        digest = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return digest.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))

    def __str__(self) -> str:
        return f"{self.dataset}: {len(self.paths)} of {self.size} {self.split} images, from {len(self.strata)} strata"

    def __repr__(self) -> str:
        return f"<Design {self}>"

    def _described(self) -> dict[str, Any]:
        """Return the content of ``design.json`` except version and sample."""
        return {name: value for name, value in asdict(self).items() if name not in ("paths", "stratum")}


def write_design(folder: Path, design: Design) -> None:
    """Write ``design.json`` and ``sample.csv``."""
    attributes = [*design.attributes, ""]  # the last is index -1
    table: list[Sequence[object]] = [["path", "class", "pseudo_attribute", "right", "stratum", "inclusion_probability"]]
    for path, number in zip(design.paths, design.stratum, strict=True):
        stratum = design.strata[number]
        right = "yes" if stratum.right else "no"
        probability = stratum.drawn / stratum.size
        attribute = attributes[stratum.pseudo_attribute]
        table.append([path, design.classes[stratum.label], attribute, right, number, probability])
    write_atomically(folder / "sample.csv", csv_text(table))
    description = {"schema_version": SCHEMA_VERSION, "sample": design.sample, **design._described()}
    write_json(folder / "design.json", description)


def read_design(folder: Path) -> Design:
    """Read the files of `write_design`. Raises `InputError` if they are missing or were changed."""
    path, rows = folder / "design.json", folder / "sample.csv"
    if is_missing(path):
        raise InputError(f"{folder}: not a drawn sample (no design.json); give the folder named by --out in dbpt label")
    value = read_json(path, "design of a sample")
    check_version(path, value.pop("schema_version", None), SCHEMA_VERSION)
    sample = value.pop("sample", None)
    columns = read_columns(rows, ("path", "stratum")).values
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in columns["stratum"]):
        raise InputError(f"{rows}: stratum: expected numbers; the file was changed, {WAY_OUT}")
    value["paths"], value["stratum"] = list(map(unmarked, columns["path"])), list(map(int, columns["stratum"]))
    design = typed(value, Design, path, WAY_OUT)
    if design.sample != sample:
        raise InputError(f"{folder}: design.json or sample.csv was changed since it was drawn; {WAY_OUT}")
    return design
