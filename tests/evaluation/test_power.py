"""The smallest difference that images would have shown: its test finds it in about 80 % of samples."""

import numpy as np
import pytest

from dbpt.evaluation.audit_verdict import detectable_difference
from dbpt.evaluation.explained_by_attribute import explained_errors


@pytest.mark.parametrize(
    ("classes", "attributes", "share"), [(2, 2, 0.2), pytest.param(3, 4, 0.25, marks=pytest.mark.full)]
)
def test_the_test_finds_the_detectable_difference_in_about_four_of_five_samples(classes, attributes, share):
    rng, n = np.random.default_rng(0), 900
    labels, sizes = np.arange(n) % classes, {"num_classes": classes, "num_attributes": attributes}
    others = (1 - share) / (attributes - 1)
    found, tested = [], []
    for seed in range(150):
        codes = rng.choice(attributes, n, p=[share, *[others] * (attributes - 1)])
        base = detectable_difference(rng.random(n) < 0.7, labels, codes, **sizes)
        is_right = rng.random(n) < np.where(codes == 0, 0.7 - base * (1 - share), 0.7 + base * share)
        found.append(base)
        tested.append(explained_errors(is_right, labels, codes, permutations=199, seed=seed, **sizes).p_value <= 0.05)
    assert 0.68 < np.mean(tested) < 0.92 and np.std(found) < 0.02


def test_more_images_show_smaller_differences_and_few_none():
    sizes = {"num_classes": 2, "num_attributes": 2}
    labels, codes = np.indices((2, 2)).reshape(2, 4)
    right = np.array([True, False, False, True])
    many, more, few = (
        detectable_difference(np.tile(right, k), np.tile(labels, k), np.tile(codes, k), **sizes) for k in (100, 400, 2)
    )
    assert more == pytest.approx(many / 2) and few == 1
    for nothing in (np.ones(4, bool), np.zeros(4, bool)):
        assert detectable_difference(nothing, labels, codes, **sizes) is None
    assert detectable_difference(right, labels, labels, **sizes) is None
    unknown = detectable_difference(np.tile(right, 100), np.tile(labels, 100), np.full(400, -1), **sizes)
    assert unknown is None
