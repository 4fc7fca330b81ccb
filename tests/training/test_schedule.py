"""The learning rate is CoOp's, epoch by epoch."""

import math
from itertools import pairwise

import pytest

from dbpt.training.loop import WARMUP_LR, learning_rate


def test_coops_schedule_with_its_defaults():
    """lr 0.002, 200 epochs, one at 1e-5, then 0.001 * (1 + cos(pi * (e - 1) / T)) (Zhou et al., 2022, their code)."""
    rates = [learning_rate(epoch, lr=0.002, epochs=200, warmup_epochs=1) for epoch in range(200)]
    assert rates[0] == 1e-5
    for epoch in range(1, 200):
        assert rates[epoch] == pytest.approx(0.001 * (1 + math.cos(math.pi * (epoch - 1) / 200)))
    assert rates[1] == 0.002
    assert all(later < earlier for earlier, later in pairwise(rates[1:]))
    assert rates[-1] > 0


@pytest.mark.parametrize("warmup_epochs", [0, 3])
def test_the_cosine_starts_at_the_full_rate_behind_any_warm_up(warmup_epochs):
    rates = [learning_rate(epoch, lr=0.5, epochs=10, warmup_epochs=warmup_epochs) for epoch in range(10)]
    assert rates[:warmup_epochs] == [WARMUP_LR] * warmup_epochs
    assert rates[warmup_epochs] == 0.5


def test_the_warm_up_does_not_raise_a_smaller_rate():
    assert learning_rate(0, lr=1e-6, epochs=10, warmup_epochs=1) == 1e-6
