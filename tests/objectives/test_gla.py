"""Group logit adjustment: its formula, what it leaves out, and that it fits equally frequent groups."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.objectives.base import EXCLUDED, Erm, class_logits, group_cross_entropy
from dbpt.objectives.weighting import Gla, group_shares

# C = 2 classes with A = 3 attributes; the second group of class 1 has no row, one row of each class is unknown
GROUPS = np.repeat([0, 1, 2, 3, 5, -1, -1], [40, 6, 2, 10, 30, 1, 1])
LABELS = np.repeat([0, 0, 0, 1, 1, 0, 1], [40, 6, 2, 10, 30, 1, 1])
TRAINING = TrainingGroups(GROUPS, LABELS, 2, 6)


def test_without_groups_it_is_torch_s_cross_entropy_bit_for_bit():
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).mul(30).requires_grad_()
    labels = torch.arange(50) % 3
    found = group_cross_entropy(logits, labels, labels.new_full((50,), -1), 3)
    expected = F.cross_entropy(logits, labels, reduction="none")
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(each.mean(), logits, retain_graph=True)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8)


def test_the_loss_of_a_row_is_that_of_its_group_or_of_all_groups_of_its_class():
    objective = Gla(TRAINING, tau=1.0, min_group_count=0)
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    labels, groups = torch.tensor([0, 1, 0, 1]), torch.tensor([2, 3, -1, -1])
    shares = np.array([*(49 * np.array([40, 6, 2]) / 48), *(41 * np.array([10, 0, 30]) / 40)]) / 90
    probabilities = torch.from_numpy(shares) * logits.double().exp()
    probabilities /= probabilities.sum(dim=1, keepdim=True)
    expected = [probabilities[0, 2], probabilities[1, 3], probabilities[2, :3].sum(), probabilities[3, 3:].sum()]
    found = objective.sample_losses(logits, labels, groups)
    torch.testing.assert_close(found.double(), -torch.stack(expected).log(), rtol=1e-5, atol=1e-6)


def test_small_groups_count_as_the_floor_and_shares_sum_to_1():
    shares = group_shares(TRAINING, 5)
    rows = np.array([*(49 * np.array([40, 6, 2]) / 48), *(41 * np.array([10, 0, 30]) / 40)])
    kept = [0, 1, 2, 3, 5]
    np.testing.assert_allclose(shares[kept], np.maximum(rows, 5)[kept] / np.maximum(rows, 5)[kept].sum())


def test_a_class_without_known_rows_shares_its_rows_equally():
    training = TrainingGroups(np.repeat([0, 1, -1], [30, 10, 60]), np.repeat([0, 0, 1], [30, 10, 60]), 2, 4)
    np.testing.assert_allclose(group_shares(training, 5), [0.3, 0.1, 0.3, 0.3])
    assert training.offsets.tolist() == [0, 0, 0, 0]


def test_impossible_groups_are_left_out_even_of_a_class_without_known_rows():
    impossible = np.array([False, False, True, False])
    training = TrainingGroups(np.repeat([0, -1], [30, 60]), np.repeat([0, 1], [30, 60]), 2, 4, impossible=impossible)
    assert training.offsets.tolist() == [0, EXCLUDED, EXCLUDED, 0]
    np.testing.assert_allclose(group_shares(training, 0)[[0, 3]], [1 / 3, 2 / 3])


@pytest.mark.parametrize("name", ["gla", "balanced", "dbpt", "groupdro", "erm", "subg"])
def test_groups_without_rows_keep_their_start(name):
    settings = {
        "gla": {"tau": 1.0, "min_group_count": 5},
        "dbpt": {"eta": 1.0, "ema_momentum": 0.9},
        "groupdro": {"dro_step_size": 0.1},
    }
    objective = OBJECTIVES[name](TRAINING, **settings.get(name, {}))
    logits = torch.randn(len(GROUPS), 6, requires_grad=True)
    groups, labels = torch.from_numpy(GROUPS), torch.from_numpy(LABELS)
    losses = objective.sample_losses(logits, labels, groups)
    objective.loss(losses, groups, labels, torch.arange(len(GROUPS))).backward()
    assert losses.isfinite().all()
    assert logits.grad[:, 4].abs().max() == 0
    assert (logits.grad[:, [0, 1, 2, 3, 5]].abs().amax(dim=0) > 0).all()


def test_weighted_objectives_have_the_loss_of_the_group_and_erm_that_of_the_class():
    logits, labels, groups = torch.randn(2, 6), torch.tensor([0, 1]), torch.tensor([1, 3])
    offsets = torch.tensor(TRAINING.offsets, dtype=torch.float32)
    of_class = F.cross_entropy(class_logits(logits + offsets, 2), labels, reduction="none")
    of_group = F.cross_entropy(logits + offsets, groups, reduction="none")
    for name, expected in (("erm", of_class), ("balanced", of_group)):
        found = OBJECTIVES[name](TRAINING).sample_losses(logits, labels, groups)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("tau", [0.0, 1.0, 1.7])
def test_with_one_attribute_it_is_the_published_logit_adjusted_loss(tau):
    """That of Menon et al. (2021), as in build_loss_fn of google-research's logit_adjustment/utils.py."""
    labels = np.repeat([0, 1, 2, 3], [200, 40, 9, 3])
    logits = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(3)).double()
    prior = np.bincount(labels) / len(labels)
    adjusted = logits.numpy() + np.log(prior**tau + 1e-12)
    expected = np.log(np.exp(adjusted).sum(axis=1)) - adjusted[np.arange(len(labels)), labels]
    objective, groups = Gla(TrainingGroups(labels, labels, 4, 4), tau=tau, min_group_count=0), torch.from_numpy(labels)
    np.testing.assert_allclose(objective.sample_losses(logits, groups, groups), expected, rtol=1e-6)


def fitted(
    objective: Callable[[TrainingGroups], Objective],
    means: np.ndarray,
    sizes: list[int],
    num_classes: int,
    unknown: float,
) -> torch.nn.Linear:
    """Fit a linear layer to Gaussian groups of unit covariance; classes differ in their share of ``unknown`` groups."""
    random, num_groups = np.random.default_rng(0), len(means)
    groups = np.repeat(np.arange(num_groups), sizes)
    features = torch.from_numpy(means[groups] + random.standard_normal((len(groups), means.shape[1]))).double()
    labels = groups // (num_groups // num_classes)
    known = np.where(random.random(len(groups)) < unknown * (1 + labels) / num_classes, -1, groups)
    trained = objective(TrainingGroups(known, labels, num_classes, num_groups))
    layer = torch.nn.Linear(means.shape[1], num_groups).double()
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=60, line_search_fn="strong_wolfe")
    rows = torch.from_numpy(labels), torch.from_numpy(known)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = trained.sample_losses(layer(features), *rows).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer


SIZES = (150, 400, 3000)


@pytest.mark.parametrize(
    ("num_classes", "num_attributes", "unknown", "sizes"),
    [
        pytest.param(2, 2, 0.0, SIZES, marks=pytest.mark.full),
        (3, 3, 0.0, SIZES),
        pytest.param(3, 3, 0.0, SIZES[::-1], marks=pytest.mark.full),
        (3, 3, 0.8, SIZES),
        pytest.param(5, 4, 0.4, SIZES, marks=pytest.mark.full),
    ],
)
def test_it_fits_the_bayes_classifier_of_equally_frequent_groups(num_classes, num_attributes, unknown, sizes):
    """Whatever the sizes of groups and classes are; plain cross-entropy of groups or of classes does not."""
    random, num_groups = np.random.default_rng(num_classes), num_classes * num_attributes
    shape = (-1, num_classes, num_attributes)
    means = 1.5 * random.standard_normal((num_groups, 6))
    rows = [sizes[(g + g // num_attributes) % 3] for g in range(num_groups)]
    fresh = torch.from_numpy(means.repeat(500, axis=0) + random.standard_normal((500 * num_groups, 6)))
    densities = (-0.5 * torch.cdist(fresh, torch.from_numpy(means)) ** 2).exp().reshape(shape).sum(dim=2)
    bayes = densities / densities.sum(dim=1, keepdim=True)
    distance, disagreement = {}, {}
    objectives = {"gla": partial(Gla, tau=1.0, min_group_count=0), "groups": partial(Gla, tau=0.0, min_group_count=0)}
    for name, objective in (objectives | {"classes": Erm}).items():
        layer = fitted(objective, means, rows, num_classes, unknown)
        found = layer(fresh).detach().softmax(dim=1).reshape(shape).sum(dim=2)
        distance[name] = (found - bayes).abs().sum(dim=1).mean().item() / 2
        disagreement[name] = (found.argmax(dim=1) != bayes.argmax(dim=1)).double().mean().item()
    assert disagreement["gla"] < 0.04
    assert distance["gla"] < 0.03
    assert disagreement["gla"] < 0.5 * min(disagreement["groups"], disagreement["classes"])
