"""Making a comparison on the tiny task, and reading what stands in its folder."""

import copy
import json
from pathlib import Path

from safetensors import safe_open
from tiny import Tiny

import dbpt

METHODS = ("zero-shot", "erm", "dbpt", "groupdro:true")
EPOCHS = 12
TABLES = ("compare.csv",)
PAGES = ("compare.html", "guesses.html")


def compare(tiny: Tiny, out: Path, data: Path | None = None, **choices: object) -> dbpt.Result:
    """Few epochs, the quick head, two seeds, unless ``choices`` say otherwise."""
    defaults = {"methods": METHODS, "heads": "linear", "seeds": 2, "epochs": 3}
    return dbpt.compare(data or tiny.table, out=out, **{**tiny.settings, **defaults, **choices})


def cell(folder: Path, name: str) -> tuple[dict, dict]:
    """The tensors and the figures of a cell."""
    with safe_open(folder / "cells" / f"{name}.safetensors", framework="numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["row"])  # noqa: SIM118


def contents(folder: Path) -> dict[str, object]:
    """All that a comparison has found, but for the seconds."""
    numbers = copy.deepcopy(json.loads((folder / "compare.json").read_text()))
    for row in numbers["rows"]:
        for repeat in row["repeats"]:
            del repeat["seconds"]
    found: dict[str, object] = {"numbers": numbers}
    found |= {name: (folder / name).read_text() for name in TABLES}
    found |= {name: (folder / name).read_text().replace(str(folder), "") for name in PAGES}
    for path in sorted((folder / "cells").iterdir()):
        tensors, figures = cell(folder, path.stem)
        del figures["repeats"][0]["seconds"]
        found[path.name] = {name: tensor.tobytes() for name, tensor in tensors.items()}, figures
    return found
