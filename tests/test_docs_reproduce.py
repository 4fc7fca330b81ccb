"""The commands of docs/how_to/reproduce.md run to their end on small data sets in the published layouts.

Bash expands the page's loops. The images are drawn, and the backbones random and small, but of the width of the named
ones. All methods and heads stay; epochs and draws are few.
"""

import json
import shlex
import subprocess
from itertools import product

import numpy as np
import open_clip
import pytest
from documentation import blocks

import dbpt.data.demo
from dbpt.cli import main

DATA = ("waterbirds", "celeba", "metashift")
OPENAI = ("RN50-quickgelu", "ViT-B-32-quickgelu", "ViT-L-14-quickgelu")
MODELS = (*OPENAI, "ViT-B-32", "ViT-L-14")
SIZES = (64, 24, 24)
TOWERS = {
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
PRINT = 'dbpt() { printf "%q " "$@"; echo; }\n'


def commands() -> list[list[str]]:
    """The arguments of dbpt in each command of the page."""
    script = PRINT + "".join(text for _, text in blocks("docs/how_to/reproduce.md", "bash"))
    printed = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    return [shlex.split(line) for line in printed.splitlines()]


def replaced(command: list[str], **values: str) -> list[str]:
    """The command with other values of some of its options."""
    changed = list(command)
    for name, value in values.items():
        changed[changed.index(f"--{name}") + 1] = value
    return changed


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the data sets in ``data/``, and a small backbone and random features for each model."""
    folder, random = tmp_path_factory.mktemp("reproduce"), np.random.default_rng(0)
    for name in DATA:
        dbpt.data.demo._write(f"demo-{name}", folder / "data" / name, 0, SIZES)
    for name in MODELS:
        width = open_clip.get_model_config(name)["embed_dim"]
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": width, **TOWERS}))
        np.save(folder / f"{name}.npy", random.standard_normal((sum(SIZES), width), dtype=np.float32))
    return folder


def test_the_page_has_each_data_set_and_backbone_with_published_weights():
    named = [(command[1], value(command, "--model"), "coop" in command) for command in commands()]
    assert named == [*product(DATA, MODELS, [False]), *product(DATA, OPENAI, [True])]
    for command in commands():
        assert open_clip.is_pretrained_cfg(value(command, "--model"), value(command, "--pretrained"))


COMMANDS = range(len(DATA) * len(MODELS + OPENAI))
FEW = (0, 15)
"""A backbone that embeds images, and CoOp's settings; the others differ in names alone."""


@pytest.mark.parametrize("number", [n if n in FEW else pytest.param(n, marks=pytest.mark.full) for n in COMMANDS])
def test_each_command_runs_to_its_end(workplace, monkeypatch, number):
    """Those with CoOp's settings take random features, the others embed the images."""
    command = commands()[number]
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("DBPT_CACHE", str(workplace / "cache"))
    model, out = workplace / value(command, "--model"), workplace / value(command, "--out")
    small = replaced(command, model=f"{model}.json", pretrained="random", resample="2")
    small += ["--epochs", "2", "--device", "cpu"]
    main(small if "coop" not in command else [*small, "--embeddings", f"{model}.npy"])
    compared = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    methods, heads = value(command, "--methods").split(","), value(command, "--heads").split(",")
    assert {row["method"] for row in compared["rows"]} == set(methods)
    assert {row["head"] for row in compared["rows"]} == {*heads, None}
    assert all(len(row["repeats"]) == 1 + 2 for row in compared["rows"])
    assert compared["failed"] == []
