"""What several tests of commands share; read only."""

from pathlib import Path

import pytest
from runs import without
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="session")
def bare(tiny) -> Path:
    """The table of the tiny task without its column of attributes."""
    return tiny.write("bare", without(tiny.rows(), "attribute"))


@pytest.fixture(scope="session")
def other(tiny, tmp_path_factory) -> dict[str, str]:
    """Another model, which sees as much as nothing."""
    weights = tmp_path_factory.mktemp("other") / "other.safetensors"
    tensors = load_file(tiny.weights)
    save_file(tensors | {"visual.proj": tensors["visual.proj"].flip(0).contiguous()}, weights)
    return {"model": str(tiny.model), "pretrained": str(weights)}
