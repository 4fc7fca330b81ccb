"""Targets: a user's predictions and catalogue."""

from functools import partial
from pathlib import Path

import numpy as np
from fuzz_target import Parse, Workplace, target
from layouts import touch

from dbpt.data import load_dataset
from dbpt.evaluation.audited_predictions import user_predictions
from dbpt.guesses.catalogue import read_catalogue

AUDITED = np.array([1, 2])


@target()
def catalogue(workplace: Workplace) -> Parse:
    def read(path: Path) -> None:
        for family in read_catalogue(path):
            assert len(family.names) > 1 and len(family.wordings) >= len(family.names) and family.templates

    return workplace.parser_of("mine.toml", read)


def predictions(workplace: Workplace, name: str) -> Parse:
    touch(workplace.folder, "a.jpg", "b.jpg", "c.jpg")
    table = workplace.folder / "pets.csv"
    table.write_text("path,label,split\na.jpg,dog,train\nb.jpg,dog,test\nc.jpg,cat,test\n")
    dataset = load_dataset(table, check=False)

    def read(path: Path) -> None:
        found = user_predictions(path, dataset, AUDITED)
        assert found.predictions.shape == (2,) and set(found.predictions.tolist()) <= {0, 1}
        if found.probabilities is not None:
            assert found.probabilities.shape == (2, 2) and found.probabilities.min() >= 0
            np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)

    return workplace.parser_of(name, read)


for ending in ("csv", "parquet", "npy"):
    target(name=f"predictions_{ending}")(partial(predictions, name=f"mine.{ending}"))
