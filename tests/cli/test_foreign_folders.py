"""The folder of another library's model stays as it is, whichever command is told to write there."""

import json
from pathlib import Path

import numpy as np
import pytest
from folders import files_in
from safetensors.numpy import save_file

import dbpt
from dbpt import InputError


@pytest.fixture
def foreign(tmp_path) -> Path:
    """A model as transformers saves it, with files that have names of ours."""
    folder = tmp_path / "me/bert"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    save_file({"weights": np.ones(9)}, folder / "model.safetensors")
    for name in ("README.md", "vocab.txt", "metrics.json", "classifier.safetensors", "checkpoints/erm.safetensors"):
        (folder / name).write_text("precious")
    return folder


VERBS = {
    "fit": "TABLE SETTINGS --out FOLDER",
    "compare": "TABLE SETTINGS --methods erm --out FOLDER",
    "audit": "TABLE MODEL --attributes meadow lake --out FOLDER",
    "discover": "TABLE MODEL --out FOLDER",
    "guess": "TABLE MODEL --attributes meadow lake --out FOLDER",
    "embed": "TABLE MODEL --failures FOLDER",
    "label": "RUN --out FOLDER",
    "predict": "RUN IMAGE --out FOLDER",
    "export": "RUN --onnx FOLDER",
    "demo": "demo-waterbirds FOLDER",
}


@pytest.mark.parametrize("inside", ["", "/config.json"])
@pytest.mark.parametrize(("verb", "line"), VERBS.items(), ids=VERBS)
def test_no_command_touches_it(tiny, tiny_run, foreign, command, verb, line, inside):
    before, model = files_in(foreign), ["--model", str(tiny.model), "--pretrained", str(tiny.weights)]
    words = {"SETTINGS": tiny.arguments, "MODEL": [*model, "--cache", str(tiny.cache)], "TABLE": [str(tiny.table)]}
    words |= {"RUN": [str(tiny_run)], "IMAGE": [str(tiny.images(1)[0])], "FOLDER": [str(foreign) + inside]}
    for flag in ["-q"] if inside else ["-q", "--overwrite", "--resume"]:  # a file named with --overwrite is replaced
        code, _, _ = command(verb, *(part for word in line.split() for part in words.get(word, [word])), flag)
        assert code == 2
    assert files_in(foreign) == before


@pytest.mark.parametrize("config", ["{", '{"library_name": "timm"}', '{"model_type": "bert"}'])
def test_no_save_touches_it(tiny_run, foreign, config):
    (foreign / "config.json").write_text(config)
    before, classifier = files_in(foreign), dbpt.load(tiny_run)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="dbpt did not write"):
            classifier.save_pretrained(foreign, overwrite=overwrite)
    assert files_in(foreign) == before
