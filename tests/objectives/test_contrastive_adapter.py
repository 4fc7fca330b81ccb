"""The contrastive adapter against plain loops, written here from the formulas, and the draws of its steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_training import SETTINGS, VAL, head_for

from dbpt.heads import AdapterHead
from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.objectives import other_losses as contrastive_adapter
from dbpt.training import Rows, train

NAME, NUM_CLASSES, STEPS, LR = "contrastive-adapter", 2, 6, 0.05


def made_up(n: int = 60) -> Rows:
    """Class 1 has fewer rows, and a second direction that misleads zero-shot."""
    draws = np.random.default_rng(3)
    labels = (draws.random(n) < 0.4).astype(np.int64)
    features = draws.normal(0, 0.7, (n, 6)) + np.eye(6)[labels]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Rows(features.astype(np.float32), labels, np.full(n, -1))


ROWS = made_up()
WHOLE = replace(SETTINGS, epochs=STEPS, batch_size=0, lr=LR, warmup_epochs=0, weight_decay=0.0, sgd_momentum=0.0)


def built(rows: Rows = ROWS, **bounds: float):
    groups = TrainingGroups(rows.groups, rows.labels, NUM_CLASSES, 4)
    return OBJECTIVES[NAME](groups, **{"min_group_count": 0, "max_weight": float("inf")} | bounds)


def started(rows: Rows = ROWS, seed: int = 0):
    objective = built(rows)
    objective.start(head_for(NAME), torch.from_numpy(rows.features), seed)
    return objective


def moved(head: AdapterHead, x: torch.Tensor) -> torch.Tensor:
    return 0.2 * torch.relu(head.up @ torch.relu(head.down @ x)) + 0.8 * x


def plain_loss(head: AdapterHead, rows: Rows, with_contrast: bool = True) -> torch.Tensor:
    x, y = torch.from_numpy(rows.features), rows.labels
    predicted = [int(np.argmax([F.cosine_similarity(each, w, dim=0) for w in torch.eye(2, 6)])) for each in x]
    cells = list(zip(y.tolist(), predicted, strict=True))
    z = [moved(head, each) for each in x]

    def cos(i: int, j: int) -> torch.Tensor:
        return F.cosine_similarity(z[i], z[j], dim=0)

    loss = torch.zeros(())
    for i, cell in enumerate(cells):
        logits = 10 * torch.stack([F.cosine_similarity(z[i], w, dim=0) for w in torch.eye(2, 6)])
        loss = loss + F.cross_entropy(logits, torch.tensor(y[i])) / len(set(cells)) / cells.count(cell)
    anchors = [i for i, cell in enumerate(cells) if cell[0] != cell[1]]
    for a in anchors if with_contrast else []:
        positives = [p for p, cell in enumerate(cells) if cell == (y[a], y[a])]
        negatives = sum(torch.exp(cos(a, n) / 0.1) for n in range(len(y)) if y[n] != y[a])
        for p in positives:
            e = torch.exp(cos(a, p) / 0.1)
            loss = loss - torch.log(e / (e + negatives)) / len(positives) / len(anchors)
    return loss


def plain(with_contrast: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    head = head_for(NAME)
    for step in range(STEPS):
        gradients = torch.autograd.grad(plain_loss(head, ROWS, with_contrast), [head.down, head.up])
        with torch.no_grad():
            for parameter, gradient in zip((head.down, head.up), gradients, strict=True):
                parameter -= 0.5 * LR * (1 + np.cos(np.pi * step / STEPS)) * gradient
    return head.down.detach(), head.up.detach()


def test_a_training_equals_plain_loops():
    head = head_for(NAME)
    train(head, built(), ROWS, VAL, replace(WHOLE, model_selection="last"))
    for found, expected, without in zip((head.down, head.up), plain(), plain(with_contrast=False), strict=True):
        torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-6)
        assert (found - without).abs().max() > 1e-3


@pytest.fixture
def few(monkeypatch):
    for name, value in {"ANCHORS": 4, "POSITIVES": 5, "NEIGHBOURS": 12, "NEGATIVES": 6}.items():
        monkeypatch.setattr(contrastive_adapter, name, value)


def test_the_pairs_of_a_step(few):
    objective, x, y = started(), torch.from_numpy(ROWS.features), ROWS.labels
    predicted = x[:, :2].argmax(1).numpy()
    for step in range(5):
        anchors, others, positive, negative = (each.numpy() for each in objective._pairs(step))
        assert 0 < len(anchors) <= 4 and (predicted[anchors] != y[anchors]).all()
        for a, is_positive, is_negative in zip(anchors, positive, negative, strict=True):
            assert (predicted[others[is_positive]] == y[a]).all() and (y[others[is_positive]] == y[a]).all()
            assert is_positive.sum() == min(5, ((predicted == y) & (y == y[a])).sum())
            nearest = np.argsort(-(ROWS.features @ ROWS.features[a]))[1:13]
            assert set(others[is_negative]) <= set(nearest[y[nearest] != y[a]]) and is_negative.sum() <= 6
    assert any(each.any() for each in negative)


def test_a_pass_takes_each_anchor_once_and_the_next_one_another_order(few):
    objective, x = started(), ROWS.features
    wrong = np.flatnonzero(x[:, :2].argmax(1) != ROWS.labels)
    steps = -(-len(wrong) // 4)
    passes = [np.concatenate([objective._anchors_of(k * steps + i) for i in range(steps)]) for k in range(2)]
    assert [sorted(each) for each in passes] == [wrong.tolist()] * 2
    assert passes[0].tolist() != passes[1].tolist() != started(seed=1)._anchors_of(0).tolist()


def test_an_anchor_without_negatives_has_no_loss_and_no_gradient():
    cosine = torch.tensor([[0.3, 0.5]], requires_grad=True)
    loss = contrastive_adapter.contrastive_loss(cosine, torch.tensor([[True, True]]), torch.zeros(1, 2, dtype=bool))
    loss.backward()
    assert (loss.item(), cosine.grad.tolist()) == (0, [[0, 0]])


def test_rows_that_zero_shot_gets_right_leave_the_balance_of_classes():
    right = replace(ROWS, labels=ROWS.features[:, :2].argmax(1))
    objective, rows = started(right), torch.arange(60)
    assert objective.penalty(head_for(NAME)) is None
    assert objective.note.startswith("0 of 60 training rows")
    groups, labels = torch.from_numpy(right.groups), torch.from_numpy(right.labels)
    by_class = OBJECTIVES["class-balanced"](TrainingGroups(right.groups, right.labels, 2, 4), min_group_count=0)
    torch.testing.assert_close(objective.row_weights(groups, labels, rows), by_class.row_weights(groups, labels, rows))


def test_a_class_that_zero_shot_never_gets_right_has_no_anchors():
    objective = started(replace(ROWS, labels=np.ones(60, np.int64)))
    right = ROWS.features[:, :2].argmax(1) == 1
    assert len(objective._anchors) == (~right).sum()
    never = ROWS.features[:, :2].argmax(1) == 0
    assert (
        len(started(replace(ROWS, features=ROWS.features[never], labels=np.ones(never.sum(), np.int64)))._anchors) == 0
    )
