"""KgCoOp and ProGrad against plain loops, written here from the authors' formulas."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import Tiny

from dbpt.commands.trained_methods import build_head, training_rows
from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.settings.config import FitConfig
from dbpt.study.stages import prepare
from dbpt.study.study import Study
from dbpt.training import train
from dbpt.training.loop import build_optimizer, learning_rate

EPOCHS, LR = 15, 0.03


@pytest.fixture(scope="module")
def study(tiny: Tiny) -> Study:
    choice = {"epochs": EPOCHS, "optimizer": "adamw", "lr": LR, "batch_size": 0, "model_selection": "last"}
    return prepare(FitConfig(data=str(tiny.table), **tiny.settings | choice))


def ours(study: Study, name: str) -> torch.Tensor:
    rows, head = training_rows(study, OBJECTIVES[name]), build_head(study)
    groups = TrainingGroups(rows[0].groups, rows[0].labels, 2, 4)
    train(head, OBJECTIVES[name](groups), *rows, study.config)
    return head.context.detach()


def plain(study: Study, name: str, weight: float = 8.0) -> tuple[torch.Tensor, list[bool]]:
    """The context after whole-batch steps, and in which steps ProGrad changed the gradient."""
    head, (rows, _), settings = (build_head(study), training_rows(study, OBJECTIVES[name]), study.config)
    z = torch.from_numpy(study.embedded.zero_shot.weights)
    x, y = torch.from_numpy(rows.features[:]), torch.from_numpy(rows.labels)
    optimizer, opposed = build_optimizer(head.parameters(), settings), []
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch, lr=LR, epochs=EPOCHS, warmup_epochs=settings.warmup_epochs)
        w = head.weights()
        logits = head.logit_scale * x @ w.T
        loss = F.cross_entropy(logits, y)
        if name == "kgcoop":
            (g,) = torch.autograd.grad(loss + weight * (1 - F.cosine_similarity(w, z).mean()), [head.context])
        else:
            teacher = (head.logit_scale * x @ z.T).softmax(1)
            (h,) = torch.autograd.grad(
                -(teacher * logits.log_softmax(1)).sum(1).mean(), [head.context], retain_graph=True
            )
            (g,) = torch.autograd.grad(loss, [head.context])
            along = torch.dot(g.flatten(), h.flatten() / h.norm())
            opposed.append(bool(along < 0))
            if opposed[-1]:
                g = g - along * h / h.norm()
        head.context.grad = g
        optimizer.step()
    return head.context.detach(), opposed


def test_kgcoop_pulls_the_class_weights_to_zero_shot(study):
    found = ours(study, "kgcoop")
    torch.testing.assert_close(found, plain(study, "kgcoop")[0], rtol=1e-3, atol=1e-4)
    assert (found - plain(study, "kgcoop", weight=0.0)[0]).abs().max() > 1e-3


def test_prograd_takes_out_what_opposes_zero_shot(study):
    expected, opposed = plain(study, "prograd")
    found = ours(study, "prograd")
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert any(opposed)
    assert (found - ours(study, "erm")).abs().max() > 1e-3


def test_a_gradient_that_opposes_nothing_stays():
    objective = OBJECTIVES["prograd"](TrainingGroups(np.zeros(2, np.int64), np.zeros(2, np.int64), 2, 2))
    parameters = [torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)]
    gradients = [torch.tensor([1.0, 1.0]), torch.tensor([-2.0, 1.0])]
    for parameter, gradient in zip(parameters, copy.deepcopy(gradients), strict=True):
        parameter.grad = gradient
    objective.change_gradients(parameters, [torch.tensor([3.0, 0.0])] * 2)
    assert parameters[0].grad.tolist() == [1, 1]
    assert parameters[1].grad.tolist() == [0, 1]
