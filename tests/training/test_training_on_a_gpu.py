"""Everything that computes on ``cuda``, without a GPU: no tensor is left on the CPU. See `pretended_gpu`."""

from dataclasses import replace

import pytest
import torch
from pretended_gpu import pretended_gpu

import dbpt
from dbpt import GroupDRO, GroupWeights
from dbpt.commands.trained_methods import trained_result
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig
from dbpt.study.stages import prepare
from dbpt.training import loop

TRAININGS = {
    "prompt": {"head": "prompt"},
    "adapter": {"head": "adapter"},
    "a context for each class": {"class_specific_context": True, "class_position": "middle"},
    "a context of words": {"ctx_init": "a photo of a", "n_ctx": None},
    "text tower in bf16, in chunks": {"text_precision": "bf16", "text_memory_mb": 1},
    "live": {"features": "live", "head": "linear"},
    "small batches, drawn by weight": {
        "apply": "sampling",
        "objective": "groupdro",
        "head": "linear",
        "batch_size": 32,
    },
}
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # copying a module does


@pytest.fixture(scope="module")
def on_gpu(tiny, tmp_path_factory):
    """Settings of the tiny task on the pretended GPU, with a cache of their own: features are no numbers of images."""
    own = {"cache": str(tmp_path_factory.mktemp("gpu") / "cache"), "device": "cuda", "epochs": 1, "batch_size": 0}
    return {**tiny.settings, **own}


@pytest.mark.parametrize(
    ("name", "free"), [*((name, 1 << 40) for name in TRAININGS), ("small batches, drawn by weight", 0)]
)
def test_a_training(name, free, tiny, on_gpu):
    """Words are embedded, a head is trained, except for gradients, and its classifier is copied to the CPU.

    Features that don't fit the memory are read in blocks.
    """
    config = FitConfig(data=str(tiny.table), **on_gpu | TRAININGS[name])
    with pretended_gpu(free) as gpu:
        trained_result(prepare(config), *config.trained[0], checkpoint_path=None, quiet=True)
    assert gpu.operations > 200 and gpu.losses > 0


def test_every_objective(tiny, on_gpu):
    with pretended_gpu() as gpu:
        study = prepare(FitConfig(data=str(tiny.table), **on_gpu))
        for name, objective in OBJECTIVES.items():
            chosen, before = {"objective": name, "head": (objective.heads or ("linear",))[0]}, gpu.losses
            chosen["prompts"] = prompts = objective.prompts[-1]
            trained_result(
                replace(study, config=replace(study.config, **chosen)), name, prompts, checkpoint_path=None, quiet=True
            )
            assert (gpu.losses > before) != objective.refits, name


def test_a_run_that_goes_on_from_a_checkpoint(tiny, on_gpu, tmp_path, monkeypatch):
    epoch, calls = loop._Run.epoch, []

    def interrupted(run):
        calls.append(run.objective.name)
        if calls.count("dbpt") == 2 and len(calls) == 4:  # ERM has ended
            raise KeyboardInterrupt
        return epoch(run)

    monkeypatch.setattr(loop._Run, "epoch", interrupted)
    settings = on_gpu | {"out": tmp_path / "run", "cache": str(tmp_path / "cache"), "head": "linear", "epochs": 2}
    with pretended_gpu() as gpu:
        with pytest.raises(KeyboardInterrupt):
            dbpt.fit(tiny.table, **settings)
        dbpt.fit(tiny.table, resume=True, **settings)
    assert calls == ["erm", "erm", "dbpt", "dbpt", "dbpt"] and gpu.losses


def test_a_finished_run_predicts_and_evaluates(tiny, tiny_run, on_gpu):
    with pretended_gpu() as gpu:
        classifier = dbpt.load(tiny_run, device="cuda")
        assert [each.prediction in ("disc", "box") for each in classifier.predict(tiny.images(3))] == [True] * 3
        before = gpu.operations
        dbpt.evaluate(tiny_run, tiny.table, device="cuda", cache=on_gpu["cache"])
        assert gpu.operations > before > 0


def test_group_weights():
    with pretended_gpu():
        groups, values = torch.tensor([0, 1, -1, 3]).to("cuda"), torch.rand(4, device="cuda")
        labels = torch.tensor([0, 0, 1, 1]).to("cuda")
        for rule in (GroupWeights([9, 3, 2, 8], 1.0, 0.5), GroupDRO([9, 3, 2, 8])):
            rule.observe(groups, values)
            rule.step()
            weights = [rule.sample_weights(groups), rule.sample_weights(groups, labels, num_classes=2)]
            assert [(each.device.type, each.dtype) for each in weights] == [("cuda", torch.float32)] * 2
