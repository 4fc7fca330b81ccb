"""A large batch is read in blocks, once or twice a step, and takes the step of one that is read at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_training import RUNS, SETTINGS, TRAIN, VAL, build, head_for, run

from dbpt.data.stored_features import StoredFeatures
from dbpt.heads import PromptHead
from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.storage.row_files import RowsFile
from dbpt.training import Rows, train
from dbpt.training import gradients as large
from dbpt.training.gradients import Batch, Gradients
from dbpt.training.ranks import ALONE

WHOLE = replace(SETTINGS, batch_size=0, epochs=3, warmup_epochs=0)
CLASSES = {"disc": ("disc",), "box": ("box", "crate")}


class WorstInBatch(Objective):
    """A loss of its own, which no sum over blocks can give."""

    name = "worst-in-batch"

    def loss(self, per_sample_loss, groups, labels, rows):
        means = [per_sample_loss[groups == group].mean() for group in groups[groups >= 0].unique()]
        return max(means)


def set_blocks(monkeypatch):
    monkeypatch.setattr(large, "LARGE_BATCH", 20)
    monkeypatch.setattr(large, "BLOCK_ROWS", 7)


in_blocks = pytest.fixture(set_blocks)


def assert_same_step(blocked, whole, tolerance):
    """Compare the gradients and the losses that `gradients_of` gives."""
    for one, other in zip(blocked[0], whole[0], strict=True):
        assert (one - other).norm() <= tolerance * other.norm()
    assert blocked[1] == pytest.approx(whole[1], rel=tolerance / 10)


@pytest.mark.parametrize("choice", RUNS, ids=lambda choice: "-".join(choice.values()))
def test_a_training_in_blocks_is_that_at_once(choice, monkeypatch):
    at_once = run(WHOLE, **choice)
    set_blocks(monkeypatch)
    blocked = run(WHOLE, **choice)
    assert blocked.best_epoch == at_once.best_epoch
    for name, tensor in blocked.head_state.items():
        torch.testing.assert_close(tensor, at_once.head_state[name], rtol=1e-4, atol=1e-5)
    for one, other in zip(blocked.history, at_once.history, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.draws == other.draws
        for own, others in ((one.group_weights, other.group_weights), (one.mean_p_true, other.mean_p_true)):
            assert (own or []) == pytest.approx(others or [], rel=1e-5)


@pytest.mark.parametrize("name", ["erm", "dbpt", "groupdro"])
def test_no_step_sees_more_rows_at_once_than_a_block(name, in_blocks):
    head, sizes = head_for(name), []
    head.register_forward_pre_hook(lambda _, inputs: sizes.append((torch.is_grad_enabled(), len(inputs[0]))))
    train(head, build(name), TRAIN, VAL, replace(WHOLE, epochs=1))
    with_gradient = [size for is_training, size in sizes if is_training]
    assert sum(with_gradient) == 90 and max(with_gradient) == 7


def test_twice_the_same_bits(in_blocks):
    first, second = (run(WHOLE, objective="dbpt").head_state for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def gradients_of(head, objective, features, labels, groups):
    """The gradients and the loss of one step, and how often each row was read."""
    reads = np.zeros(len(labels), int)
    rows = torch.arange(len(labels))
    batch = Batch(rows, torch.from_numpy(labels), torch.from_numpy(groups))

    def read():
        for block in batch.blocks(slice(0, len(labels))):
            reads[block] += 1
            yield torch.from_numpy(features[block])

    def observe(losses, batch):
        objective.observe(losses, batch.groups, batch.labels)

    _, loss = Gradients(head, objective, ALONE, observe).set(batch, read)
    return [parameter.grad.clone() for parameter in head.parameters()], loss.item(), reads


@pytest.mark.parametrize(
    ("name", "times"), [("erm", 1), ("dbpt", 1), ("gla", 1), ("class-balanced", 1), ("groupdro", 2), ("worst", 2)]
)
def test_the_gradient_of_a_step_and_how_often_it_is_read(name, times, monkeypatch):
    found = {}
    for block in (None, 7):
        if block:
            set_blocks(monkeypatch)
        groups = TrainingGroups(TRAIN.groups, TRAIN.labels, 2, 4)
        objective = WorstInBatch(groups) if name == "worst" else build(name)
        head = head_for(name if name != "worst" else "erm")
        found[block] = gradients_of(head, objective, TRAIN.features, TRAIN.labels, TRAIN.groups)
    assert_same_step(found[7], found[None], 1e-5)
    assert set(found[7][2]) == {times} and set(found[None][2]) == {1}


def test_only_the_class_that_observes_says_whether_weights_wait():
    class Impatient(OBJECTIVES["dbpt"]):
        def observe(self, *observed):
            super().observe(*observed)
            self.rule.step()

    class Patient(Impatient):
        weights_wait = True
        observe = Impatient.observe

    waits = {kind: kind.depends_on_losses.fget(object.__new__(kind)) for kind in (Impatient, Patient)}
    assert waits == {Impatient: True, Patient: False}


@pytest.mark.parametrize("name", ["erm", "kgcoop", "prograd", "groupdro"])
def test_prompts_are_encoded_once_a_step(name, tiny_backbone, monkeypatch):
    rng, found, passes = np.random.default_rng(0), {}, []
    labels, groups = rng.integers(0, 2, 50), rng.integers(0, 4, 50)
    features = F.normalize(torch.from_numpy(rng.normal(size=(50, 16)).astype(np.float32)), dim=-1).numpy()
    for block in (None, 7):
        if block:
            set_blocks(monkeypatch)
        head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
        head.zero_shot = F.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
        head.text_tower.register_forward_hook(lambda *_: passes.append(1))
        objective = OBJECTIVES[name](TrainingGroups(groups // 2 * 2 + groups % 2, labels, 2, 4), **settings_of(name))
        found[block] = gradients_of(head, objective, features, labels, groups)
    assert len(passes) == 2
    assert_same_step(found[7], found[None], 1e-4)


def settings_of(name):
    return {"dro_step_size": 0.1, "min_group_count": 0.0, "max_weight": 9.0} if name == "groupdro" else {}


def test_features_in_a_file_train_as_those_in_memory(in_blocks, tmp_path):
    def in_file(rows, name):
        rows.features.tofile(tmp_path / name)
        part = RowsFile(tmp_path / name, rows.features.dtype, rows.features.shape, 0)
        return Rows(StoredFeatures([part], np.arange(len(rows.labels)), 6), rows.labels, rows.groups)

    states = []
    for training, validation in ((TRAIN, VAL), (in_file(TRAIN, "train"), in_file(VAL, "val"))):
        trained = train(head_for("jtt"), build("jtt", training), training, validation, WHOLE)
        states.append(trained.head_state)
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_an_objective_that_looks_at_all_features_says_when_they_are_too_many(monkeypatch):
    monkeypatch.setattr("dbpt.data.stored_features.MOST_BYTES", 100)
    with pytest.raises(ValueError, match="--objective contrastive-adapter: needs all 90 rows"):
        train(head_for("contrastive-adapter"), build("contrastive-adapter"), TRAIN, VAL, WHOLE)
