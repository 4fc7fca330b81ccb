"""Making a run on the tiny task, and reading what stands in its folder."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from tiny import Tiny

import dbpt
from dbpt.cautions import Caution

RESULTS = ("prompt", "classifier", "pseudo_attributes")
FILES = {f"{name}.safetensors" for name in (*RESULTS, "checkpoints/erm", "checkpoints/dbpt")}
FILES |= {"run.json", "config.toml", "groups.csv", "guesses.html", "history.jsonl", "metrics.json"}
FILES |= {"predictions.csv", "README.md", "report.html"}
FIGURES = ("accuracy", "weights", "probability", "validation")
FILES |= {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}


def fit(tiny: Tiny, out: Path, data: Path | None = None, **settings: object) -> Path:
    return dbpt.fit(data or tiny.table, out=out, **{**tiny.settings, **settings}).folder


def interrupted(tiny: Tiny, out: Path, data: Path | None = None, **settings: object) -> Path:
    """Interrupt a run before it writes its results; the folder."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dbpt.commands.fit.fit.write_results", Mock(side_effect=KeyboardInterrupt))
        fit(tiny, out, data, **settings)
    return out


class StopAfter(dbpt.Callback):
    """Interrupts a command at the end of an epoch; those of all its trainings are counted."""

    def __init__(self, epoch: int) -> None:
        self.epochs_left = epoch

    def on_epoch_end(self, *_: object) -> None:
        self.epochs_left -= 1
        if self.epochs_left == 0:
            raise KeyboardInterrupt


def metrics_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def said(warnings: Iterable[Any]) -> list[str]:
    """Return the sentences of warnings, which may come from JSON."""
    return [str(Caution(**each) if isinstance(each, dict) else each) for each in warnings]


def result_bytes(run: Path) -> dict[str, bytes]:
    return {name: (run / f"{name}.safetensors").read_bytes() for name in RESULTS}


def contents(run: Path) -> dict[str, bytes]:
    """Return the files that training and the pseudo attributes determine to the byte."""
    names = ("history.jsonl", "groups.csv", "predictions.csv", *(f"{name}.safetensors" for name in RESULTS))
    return {name: (run / name).read_bytes() for name in names if (run / name).exists()}


def epochs_saved(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    with safe_open(checkpoint, framework="np") as file:
        return len(json.loads(file.metadata()["progress"])["history"])


def history_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def groups_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "groups.csv").read_text().splitlines()))


def best_epochs(run: Path) -> list[int | None]:
    return [row["repeats"][0]["best_epoch"] for row in metrics_of(run)["rows"]]


def without(rows: list[dict[str, str]], column: str) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != column} for row in rows]


def pseudo_attributes(run: Path) -> dict[str, int]:
    tensors = load_file(run / "pseudo_attributes.safetensors")
    paths = tensors["paths"].tobytes().decode().split("\0")
    return dict(zip(paths, tensors["pseudo_attributes"].tolist(), strict=True))
