"""Label noise: the way from labelled to true groups and back, in counts, weights and accuracies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from dbpt.groups import GroupWeights, LabelNoise
from dbpt.groups.bounds import Bounds
from dbpt.groups.label_noise import nonnegative_least_squares
from dbpt.objectives import Balanced, Dbpt, GroupDro, TrainingGroups

NONE = Bounds(0, np.inf)
seeds = st.integers(0, 2**32)


def some_noise(random, num_classes, num_attributes, share=0.3):
    """At most ``share`` of each attribute is labelled as another one."""
    wrong = random.dirichlet(np.ones(num_attributes), (num_classes, num_attributes))
    return LabelNoise((1 - share) * np.eye(num_attributes) + share * wrong)


@given(seeds, st.integers(1, 7), st.integers(1, 9))
@settings(max_examples=200)
def test_least_squares_are_those_of_scipy(seed, unknowns, equations):
    random = np.random.default_rng(seed)
    matrix, target = random.normal(size=(equations, unknowns)), random.normal(size=equations)
    found, expected = nonnegative_least_squares(matrix, target), nnls(matrix, target)[0]
    assert (found >= 0).all()
    assert np.linalg.norm(matrix @ found - target) == pytest.approx(np.linalg.norm(matrix @ expected - target))


@given(seeds, st.integers(2, 4), st.integers(2, 4))
@settings(max_examples=100)
def test_true_counts_and_accuracies_come_back(seed, num_classes, num_attributes):
    random = np.random.default_rng(seed)
    noise = some_noise(random, num_classes, num_attributes)
    true_CA = random.integers(1, 1000, (num_classes, num_attributes)).astype(float)
    accuracies_CA = random.random(true_CA.shape)
    labelled_CKA = np.einsum("ca,cak->cka", true_CA, noise.rates)
    mixed = noise.among(labelled_CKA.sum(axis=2).reshape(-1))
    np.testing.assert_allclose(mixed.true_counts, true_CA.reshape(-1), atol=1e-3 * true_CA.sum())
    seen = np.einsum("cka,ca->ck", labelled_CKA, accuracies_CA) / labelled_CKA.sum(axis=2)
    if np.linalg.cond(mixed.mixtures).max() < 10:
        np.testing.assert_allclose(mixed.true_accuracies(seen.reshape(-1)), accuracies_CA.reshape(-1), atol=1e-3)


@given(seeds, st.integers(2, 4), st.integers(2, 4), st.sampled_from([NONE, Bounds(), Bounds(50, 3)]))
@settings(max_examples=200)
def test_the_laws_of_row_weights(seed, num_classes, num_attributes, bounds):
    random = np.random.default_rng(seed)
    counts = random.choice([0, 1, 3, 50, 1000], num_classes * num_attributes)
    if not counts.any():
        return
    mixed = some_noise(random, num_classes, num_attributes, random.random()).among(counts)
    assert mixed.true_counts.sum() == pytest.approx(counts.sum())
    weights = GroupWeights(
        mixed.true_counts, 0, 0, min_group_count=bounds.min_group_count, max_weight=bounds.max_weight
    )
    found = mixed.row_weights(weights.group_weights, bounds)
    assert counts @ found == pytest.approx(counts.sum())
    assert (found[counts == 0] == 0).all()
    assert (found[counts > 0] > 0).all()
    assert found.max() <= bounds.max_weight * (1 + 1e-9)


@pytest.mark.parametrize("flips", [0.05, 0.1, 0.2])
def test_the_true_groups_get_more_equal_weight(flips):
    true = np.array([1000.0, 50, 50, 1000]).reshape(2, 2)
    noise = LabelNoise(np.array([[[1 - flips, flips], [flips, 1 - flips]]] * 2))
    counts = np.einsum("ca,cak->ck", true, noise.rates).round().astype(int).reshape(-1)
    mixed = noise.among(counts)
    plain = mixed.true(counts * GroupWeights(counts, 0, 0).group_weights)
    rule = GroupWeights(mixed.true_counts, 0, 0)
    corrected = mixed.true(counts * mixed.row_weights(rule.group_weights, Bounds()))
    assert plain[1] < 0.5 * plain[0]
    assert corrected[1] / corrected[0] > 2 * plain[1] / plain[0]


def test_no_noise_changes_no_bit():
    random = np.random.default_rng(0)
    groups, labels = random.integers(-1, 3, 200), random.integers(0, 2, 200)
    groups = np.where(groups < 0, -1, labels * 3 + groups)
    plain = TrainingGroups(groups, labels, 2, 6)
    noisy = TrainingGroups(groups, labels, 2, 6, noise=LabelNoise(np.stack([np.eye(3)] * 2)))
    losses = torch.from_numpy(random.random(200)).float()
    arguments = (torch.from_numpy(groups), torch.from_numpy(labels))
    for kind, chosen in ((Balanced, {}), (Dbpt, {"eta": 1.0, "ema_momentum": 0.5}), (GroupDro, {"dro_step_size": 0.1})):
        for apply in ("loss", "sampling"):
            one, two = (kind(training, apply=apply, **chosen) for training in (plain, noisy))
            for objective in (one, two):
                objective.observe(losses, *arguments)
                objective.end_epoch()
            assert one.group_weights.tobytes() == two.group_weights.tobytes()
            assert one.loss(losses, *arguments, arguments[1]) == two.loss(losses, *arguments, arguments[1])
            assert {name: array.tobytes() for name, array in one.state().items()} == {
                name: array.astype(one.state()[name].dtype).tobytes() for name, array in two.state().items()
            }
    accuracies = np.array([0.1, np.nan, 0.3, 0.4, 0.5, 0.6])
    np.testing.assert_array_equal(noisy.mixed.true_accuracies(accuracies), accuracies)


def test_a_class_without_noise_keeps_its_weights_beside_one_with_noise():
    rates = np.array([np.eye(2), [[0.9, 0.1], [0.1, 0.9]]])
    mixed = LabelNoise(rates).among(np.array([90, 10, 30, 70]))
    weights = GroupWeights(mixed.true_counts, 0, 0).group_weights
    np.testing.assert_allclose(mixed.row_weights(weights, Bounds())[:2], weights[:2])


def test_labels_that_say_nothing_leave_what_was_seen():
    mixed = LabelNoise(np.full((1, 2, 2), 0.5)).among(np.array([60, 40]))
    np.testing.assert_allclose(mixed.true_accuracies(np.array([0.5, 1.0])), [0.75, 0.75], atol=0.05)
    found = mixed.row_weights(np.ones(2), Bounds())
    assert np.isfinite(found).all()
    assert found @ [60, 40] == pytest.approx(100)


def test_counts_that_the_rates_cannot_explain():
    mixed = LabelNoise(np.array([[[0.5, 0.5], [0.4, 0.6]]])).among(np.array([100, 0]))
    np.testing.assert_allclose(mixed.true_counts, [100, 0])  # the rates give at least 40 of the second label
    assert mixed.row_weights(np.array([1.0, 0.0]), Bounds()).tolist() == [1.0, 0.0]
    assert mixed.true_accuracies(np.array([0.5, np.nan]))[0] == 0.5


def test_a_group_that_is_all_wrong_has_no_rows():
    mixed = LabelNoise(np.array([[[0.8, 0.2], [0.0, 1.0]]])).among(np.array([80, 20]))
    np.testing.assert_allclose(mixed.true_counts, [100, 0], atol=1e-6)
    rule = GroupWeights(mixed.true_counts, 0, 0)
    rule.mixed = mixed
    np.testing.assert_allclose(rule.row_weights @ [80, 20], 100)
    weights = rule.sample_weights([0, 1, -1], [0, 0, 0], num_classes=1)
    assert weights[2] == pytest.approx(1.0)


@pytest.mark.parametrize("apply", ["loss", "sampling"])
@pytest.mark.parametrize("kind", [Balanced, Dbpt, GroupDro])
def test_objectives_weigh_or_draw_rows_by_the_corrected_weights(kind, apply):
    chosen = {Balanced: {}, Dbpt: {"eta": 1.0, "ema_momentum": 0.5}, GroupDro: {"dro_step_size": 0.1}}[kind]
    groups = np.repeat([0, 1, 2, 3], [900, 100, 100, 900])
    noise = LabelNoise(np.array([[[0.95, 0.05], [0.05, 0.95]]] * 2))
    training = TrainingGroups(groups, groups // 2, 2, 4, noise=noise)
    objective = kind(training, apply=apply, **chosen)
    assert objective.training.counts[1] == pytest.approx(55.6, abs=0.1)
    assert objective.training.row_counts.tolist() == [900, 100, 100, 900]
    weights = objective.group_weights
    assert weights @ [900, 100, 100, 900] == pytest.approx(2000)
    assert weights[1] > 1.5 * GroupWeights([900, 100, 100, 900], 0, 0).group_weights[1]
    if apply == "sampling":
        drawn = np.bincount(groups[list(objective.sampler(0))], minlength=4)
        np.testing.assert_allclose(drawn, objective.drawn_by.row_weights * [900, 100, 100, 900], atol=1)
