"""What a finished run needs to be used again: its files whole, its weights found, its classes its own."""

import json
import shutil

import numpy as np
import pytest
from folders import change_json
from runs import fit
from safetensors.numpy import load_file

import dbpt
from dbpt import InputError
from dbpt.storage.tensors import write_tensors


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda run: change_json(run / "run.json", status="training"),
            "this run is not finished; finish it with: dbpt fit --resume --out ",
        ),
        (lambda run: (run / "run.json").unlink(), "not a run folder"),
        (lambda run: (run / "run.json").write_text('{"schema_version": 0}'), "run.json: not of schema version 1"),
        (lambda run: change_json(run / "run.json", words={}), "missing required field `classes` - at `$.words`; the"),
        (lambda run: (run / "classifier.safetensors").unlink(), "cannot read the classifier: No such file"),
        (
            lambda run: (run / "prompt.safetensors").rename(run / "classifier.safetensors"),
            "has no 'weights'; fit again",
        ),
    ],
)
def test_damaged_or_unfinished_runs_are_refused_in_one_line(tiny, copied, refusal, damage, message):
    damage(copied)
    for arguments in (("predict", copied, tiny.images(1)[0]), ("evaluate", copied, tiny.table)):
        assert message in refusal(*arguments)


def test_moved_weights_can_be_named(tiny, tiny_run, tmp_path):
    moved = shutil.copy(tiny.weights, tmp_path / "moved.safetensors")
    assert dbpt.load(tiny_run, weights=moved).backbone.spec["weights"]["path"] == str(moved)


def test_classifier_of_other_classes_is_refused(copied):
    tensors = load_file(copied / "classifier.safetensors") | {"weights": np.zeros((3, 16), dtype=np.float32)}
    write_tensors(copied / "classifier.safetensors", tensors, version=1)
    with pytest.raises(InputError, match=r"weights of shape \(3, 16\), but the run has 2 classes, 2 attr"):
        dbpt.load(copied)


def test_a_model_with_a_logit_bias_goes_through(tiny, tmp_path):
    """The bias shifts all logits alike, so it must not change predictions."""
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file

    config = json.loads(tiny.model.read_text()) | {"init_logit_bias": 0.0}
    (tmp_path / "biased.json").write_text(json.dumps(config))
    state = load_torch(tiny.weights)
    save_file(state | {"logit_bias": state["logit_scale"] * 0 - 10}, tmp_path / "biased.safetensors")
    run = fit(tiny, tmp_path / "run", model=tmp_path / "biased.json", pretrained=tmp_path / "biased.safetensors")
    assert load_file(run / "classifier.safetensors")["logit_bias"] == -10
    prediction = next(dbpt.load(run).predict(tiny.images(1)))
    assert prediction.probabilities.sum() == pytest.approx(1)
