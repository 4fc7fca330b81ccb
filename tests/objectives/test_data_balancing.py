"""The data balancing of Idrissi et al. (2022): RWY, SUBY and SUBG, against references written here from the paper."""

import numpy as np
import pytest
from plain_training import train_epoch
from test_papers import SETTINGS, TRAIN, alike, assert_same_layer, batches, lr_of, ours, start

from dbpt.errors import InputError
from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.objectives.other_losses import balanced_subsets
from dbpt.training.loop import draws_of_epoch

CLASS_SIZES = np.bincount(TRAIN.labels)


@pytest.mark.parametrize("apply", ["loss", "sampling"])
def test_class_balanced_weighs_each_class_alike(apply):
    trained, objective = ours("class-balanced", apply=apply)
    weights, model = len(TRAIN.labels) / 2 / CLASS_SIZES, start()
    weigh = alike if apply == "sampling" else lambda rows, p: weights[TRAIN.labels[rows]]
    for epoch in range(SETTINGS.epochs):
        visited = batches(objective, epoch)
        if apply == "sampling":
            drawn = np.bincount(TRAIN.labels[np.concatenate(visited)])
            np.testing.assert_allclose(drawn, len(TRAIN.labels) / 2, atol=1)
        train_epoch(model, visited, TRAIN.features, TRAIN.labels, lr_of(epoch), weigh)
    assert_same_layer(trained, model)


def test_class_balanced_has_the_bounds_of_the_group_weights():
    labels = np.repeat([0, 1], [97, 3])
    training = TrainingGroups(np.full(100, -1), labels, 2, 4)
    for bounds in ({"min_group_count": 30.0}, {"max_weight": 2.0}):
        groups = TrainingGroups(labels, labels, 2, 2)  # `balanced` over classes as groups
        expected = OBJECTIVES["balanced"](groups, **bounds).group_weights
        weights = OBJECTIVES["class-balanced"](training, **bounds)._rule.group_weights
        assert weights.tolist() == expected.tolist()
        assert weights[1] < 100 / 2 / 3


@pytest.mark.parametrize("name", ["suby", "subg"])
def test_a_subsample_is_plain_erm_on_one_random_subset_that_is_drawn_once(name):
    trained, objective = ours(name)
    parts = TRAIN.labels if name == "suby" else TRAIN.groups
    sizes, model = np.bincount(parts[parts >= 0]), start()
    subset = set(objective.subset(SETTINGS.seed).tolist())
    assert np.bincount(parts[list(subset)]).tolist() == [sizes.min()] * len(sizes)  # none of unknown group in SUBG
    for epoch in range(SETTINGS.epochs):
        visited = batches(objective, epoch)
        rows = np.concatenate(visited)
        assert len(rows) == len(subset) and set(rows.tolist()) == subset  # each once, the same ones in all epochs
        train_epoch(model, visited, TRAIN.features, TRAIN.labels, lr_of(epoch), alike)
    assert_same_layer(trained, model)
    each = "class" if name == "suby" else "group"
    assert objective.note == f"trained on {len(subset)} of 130 rows, {sizes.min()} of each {each}"


@pytest.mark.parametrize("name", ["suby", "subg"])
def test_the_subset_depends_on_the_seed_and_leaves_no_row_out_for_ever(name):
    training = TrainingGroups(TRAIN.groups, TRAIN.labels, 2, 4)
    subsets = [OBJECTIVES[name](training).subset(seed) for seed in range(200)]
    assert subsets[7].tolist() == OBJECTIVES[name](training).subset(7).tolist()
    assert len({frozenset(subset.tolist()) for subset in subsets}) == 200
    drawn = np.bincount(np.concatenate(subsets), minlength=130)
    parts = TRAIN.labels if name == "suby" else TRAIN.groups
    for part in range(parts.max() + 1):
        share = np.bincount(parts[parts >= 0]).min() / (parts == part).sum()
        deviations = (drawn[parts == part] - 200 * share) / np.sqrt(200 * share * (1 - share) + 1e-9)
        assert abs(deviations).max() < 5
    assert not drawn[parts < 0].any()


def test_an_empty_group_does_not_count_and_a_group_of_one_row_is_one_of_each():
    groups = np.array([0, 0, 0, 2, 2, 2, 3, -1])
    training = TrainingGroups(groups, np.array([0, 0, 0, 1, 1, 1, 1, 1]), 2, 4)
    objective = OBJECTIVES["subg"](training)
    for seed in range(5):
        assert np.bincount(groups[objective.subset(seed)], minlength=4).tolist() == [1, 0, 1, 1]
    draws = draws_of_epoch(objective, 3, 9)
    assert len(draws) == 3
    assert sorted(draws.indices(0, 3)) == sorted(objective.subset(3))


def test_subsets_of_no_group_are_refused():
    with pytest.raises(InputError):
        next(balanced_subsets(np.full(3, -1), 0, 1))
