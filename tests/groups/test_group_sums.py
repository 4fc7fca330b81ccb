"""Sums over the rows of a group are exact: in any order, over batches and failures."""

from datetime import timedelta

import launched
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from observed_rows import RULES, content, rows


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**32), batches=st.integers(1, 9))
@settings(max_examples=30)
def test_neither_order_nor_batches_change_a_bit(rule, seed, batches):
    groups, values = rows(seed, dtype=np.float64)
    whole, parts = rule(), rule()
    whole.observe(groups, values)
    order = np.random.default_rng(seed).permutation(60)
    for part in np.array_split(order, batches):
        parts.observe(groups[part], values[part])
    assert content(parts) == content(whole)
    for weights in (whole, parts):
        weights.step()
    assert content(parts) == content(whole)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_add_up_and_weigh_as_arrays_do(rule, dtype):
    """With gradients and without, and in inference mode."""
    of_tensors, of_arrays = rule(), rule()
    for seed, mode in enumerate([torch.enable_grad, torch.no_grad, torch.inference_mode]):
        groups, values = (torch.from_numpy(array) for array in rows(seed, dtype=np.float64))
        values = values.to(dtype)
        of_arrays.observe(groups.numpy(), values.double().numpy())
        with mode():
            of_tensors.observe(groups, values.requires_grad_() * 1)
        for weights in (of_tensors, of_arrays)[: 2 * (seed % 2)]:
            weights.step()
    assert content(of_tensors) == content(of_arrays)
    groups = torch.where(torch.tensor(of_arrays.counts)[groups] > 0, groups, -1)
    labels = np.arange(len(groups)) % 3
    found = of_tensors.sample_weights(groups.int(), labels.tolist(), num_classes=3)
    expected = of_arrays.sample_weights(groups.numpy(), labels, num_classes=3)
    assert found.dtype == torch.float32
    assert found.tolist() == expected.astype(np.float32).tolist()


@pytest.mark.parametrize("rule", RULES)
def test_an_exchange_that_fails_changes_nothing(rule, monkeypatch):
    def is_gone(digits, process_group):
        raise RuntimeError("a rank is gone")

    weights, expected = rule(), rule()
    for each in (weights, expected):
        each.observe(*rows(0))
    with monkeypatch.context() as patch:
        patch.setattr("dbpt.groups.weights.sum_over_ranks", is_gone)
        with pytest.raises(RuntimeError, match="a rank is gone"):
            weights.step(process_group=object())
    assert content(weights) == content(expected)
    for each in (weights, expected):
        each.step()
    assert content(weights) == content(expected)


def test_a_rule_that_fails_to_move_keeps_what_was_observed(monkeypatch):
    weights = RULES[0]()
    weights.observe(*rows(0))
    before = content(weights)
    with monkeypatch.context() as patch:
        patch.setattr(weights, "move", lambda means, members: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            weights.step()
    assert content(weights) == before


def work_on_a_rank(rank, world_size, path):
    minutes = timedelta(minutes=5)  # on a busy machine the other one may start late
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size, timeout=minutes)
    group = torch.distributed.group.WORLD
    for number, rule in enumerate(RULES):
        weights = rule()
        for epoch in range(3):
            groups, values = (torch.from_numpy(array[rank::world_size]) for array in rows(epoch, 61))
            weights.observe(groups, values)
            weights.step(process_group=group)
        weights.observe(*rows(9))
        np.savez(path / f"rule{number}-rank{rank}.npz", **weights.state())
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_get_the_weights_of_one_process_bit_for_bit(tmp_path):
    assert launched.launch(tmp_path / "ranks", 2, work_on_a_rank, 2, tmp_path).codes() == [0, 0]
    for number, rule in enumerate(RULES):
        alone = rule()
        for epoch in range(3):
            alone.observe(*rows(epoch, 61))
            alone.step()
        alone.observe(*rows(9))
        for rank in range(2):
            with np.load(tmp_path / f"rule{number}-rank{rank}.npz") as found:
                assert {name: found[name].tobytes() for name in found} == content(alone)
