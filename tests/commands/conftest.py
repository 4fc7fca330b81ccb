"""What several tests of commands share; read only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_birds import SHORT
from runs import without
from safetensors.torch import load_file, save_file


@pytest.fixture
def settings(tiny) -> dict:
    """Those by which a command that trains nothing guesses the attributes of the tiny task."""
    return tiny.guessing


@pytest.fixture(scope="module")
def short_catalogue():
    """Let ``--attributes auto`` and `dbpt.discover` search three families."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbpt.commands.auto_attributes.read_catalogue", lambda: SHORT)
        patch.setattr("dbpt.commands.discover.discover.read_catalogue", lambda _: SHORT)
        yield


@pytest.fixture(scope="session")
def bare(tiny) -> Path:
    """The table of the tiny task without its column of attributes."""
    return tiny.write("bare", without(tiny.rows(), "attribute"))


@pytest.fixture(scope="session")
def with_light(tiny) -> Callable[..., Path]:
    """Write the tiny task with its attribute as ``ground``, and a ``light(row, draws)``."""

    def write(name: str, light: Callable[..., str]) -> Path:
        draws, rows = np.random.default_rng(0), tiny.rows()
        others = zip(rows, without(rows, "attribute"), strict=True)
        own = [other | {"ground": row["attribute"], "light": light(row, draws)} for row, other in others]
        return tiny.write(name, own)

    return write


@pytest.fixture(scope="session")
def annotated(tiny, bare) -> list[Path]:
    """The table of the tiny task, one with its true attributes shuffled, and one without any."""
    rows = tiny.rows()
    shuffled = np.random.default_rng(0).permutation([row["attribute"] for row in rows]).tolist()
    changed = [row | {"attribute": attribute} for row, attribute in zip(rows, shuffled, strict=True)]
    return [tiny.table, tiny.write("shuffled", changed), bare]


@pytest.fixture
def label_model(tiny) -> dict[str, str]:
    """The tiny model as the one that guesses the attributes."""
    return {"label_model": str(tiny.model), "label_pretrained": str(tiny.weights)}


@pytest.fixture(scope="session")
def other(tiny, tmp_path_factory) -> dict[str, str]:
    """Another model, which sees as much as nothing."""
    weights = tmp_path_factory.mktemp("other") / "other.safetensors"
    tensors = load_file(tiny.weights)
    save_file(tensors | {"visual.proj": tensors["visual.proj"].flip(0).contiguous()}, weights)
    return {"model": str(tiny.model), "pretrained": str(weights)}
