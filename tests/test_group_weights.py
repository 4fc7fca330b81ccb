"""The public `GroupWeights`: the core's numbers, from whatever holds them."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

import dbpt
from dbpt import _core, arguments
from dbpt.errors import InputError

COUNTS, GROUPS, P_TRUE = [90, 8, 2], [0, 1, 2, -1, 1], [0.75, 0.25, 0.125, 0.5, 0.5]


def expected():
    weights = _core.GroupWeights(np.array(COUNTS, np.float64), 1.5, 0.25)
    weights.observe(np.array(GROUPS), np.array(P_TRUE))
    weights.step()
    return weights


def strided(values):
    return np.repeat(np.asarray(values), 2)[::2]


@pytest.mark.parametrize(
    ("integers", "numbers"),
    [
        (list, list),
        (tuple, tuple),
        (np.array, np.array),
        (lambda v: np.array(v, np.int16), lambda v: np.array(v, np.float32)),
        (torch.tensor, torch.tensor),
        (torch.tensor, lambda v: torch.tensor(v, dtype=torch.float64)),
        (strided, strided),
    ],
)
def test_takes_lists_arrays_and_tensors(integers, numbers):
    weights = dbpt.GroupWeights(integers(COUNTS), eta=np.float32(1.5), momentum=0.25)
    weights.observe(integers(GROUPS), numbers(P_TRUE))
    weights.step()
    assert weights.group_weights.tolist() == expected().group_weights.tolist()
    assert weights.mean_p_true.tolist() == expected().mean_p_true.tolist()


def test_an_empty_batch_and_float_counts_are_fine():
    weights = dbpt.GroupWeights(np.array(COUNTS, np.float32), 1, 0)
    weights.observe([], [])
    weights.step()
    assert weights.group_weights.tolist() == dbpt.GroupWeights(COUNTS, 0, 0).group_weights.tolist()


def half_way():
    weights = dbpt.GroupWeights(COUNTS, 1.5, 0.25)
    weights.observe(GROUPS, P_TRUE)
    weights.step()
    weights.observe([1, 0], [0.125, 0.5])
    return weights


def test_pickles_in_the_middle_of_an_epoch():
    ours = half_way()
    copy = pickle.loads(pickle.dumps(ours))
    for weights in (ours, copy):
        weights.observe([2], [0.5])
        weights.step()
    assert copy.group_weights.tolist() == ours.group_weights.tolist()
    assert repr(copy) == repr(ours) == "GroupWeights([90.0, 8.0, 2.0], eta=1.5, momentum=0.25)"


def test_what_the_caller_does_with_the_counts_later_does_not_matter():
    counts = np.array(COUNTS, np.float64)
    weights = dbpt.GroupWeights(counts, 1.5, 0.25)
    counts[:] = 0
    assert pickle.loads(pickle.dumps(weights)).group_weights.tolist() == weights.group_weights.tolist()


def test_goes_on_from_a_state_even_by_way_of_json():
    ours = half_way()
    copy = dbpt.GroupWeights(COUNTS, 1.5, 0.25)
    copy.load_state(json.loads(json.dumps({name: values.tolist() for name, values in ours.state().items()})))
    assert {k: v.tobytes() for k, v in copy.state().items()} == {k: v.tobytes() for k, v in ours.state().items()}


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda w: w.observe([0.0, 1.0], [0.5, 0.5]),
            r"^groups has shape \(2,\) and dtype float64; expected .* integers",
        ),
        (lambda w: w.observe([[0]], [0.5]), r"^groups has shape \(1, 1\)"),
        (lambda w: w.observe([0], 0.5), r"^p_true has shape \(\)"),
        (lambda w: w.observe([0], ["x"]), "^p_true has .* expected .* numbers"),
        (lambda w: w.observe([0, [1]], [0.5, 0.5]), "^groups is ragged"),
        (lambda w: w.observe([0], torch.ones(1, requires_grad=True)), r"^p_true is a Tensor .* \.detach\(\)\.cpu\(\)"),
        (lambda w: w.observe([0], torch.ones(1, device="meta")), r"^p_true is a Tensor .* \.detach\(\)\.cpu\(\)"),
        (lambda w: w.observe([3], [0.5]), r"^groups\[0\] is 3"),
        (lambda w: w.observe([0], [1.5]), r"^p_true\[0\] is 1.5"),
        (lambda w: w.load_state(w.state() | {"sums": "x"}), r'^state\["sums"\] has shape'),
        (lambda w: w.load_state({}), r"^state\[.*\] is missing"),
        (lambda w: dbpt.GroupWeights([-1], 1, 0.5), r"^counts\[0\] is -1"),
        (lambda w: dbpt.GroupWeights([1], "1", 0.5), "^eta is '1'; expected a number"),
        (lambda w: dbpt.GroupWeights([1], 1, None), "^momentum is None; expected a number"),
    ],
)
def test_refuses_in_one_line(use, message):
    with pytest.raises(InputError, match=message) as caught:
        use(dbpt.GroupWeights(COUNTS, 1.0, 0.5))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no processor affinity on this system")
def test_threads_are_as_many_as_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 8})
    assert arguments.num_threads() == arguments.available_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert arguments.num_threads() == 1
    assert arguments.num_threads(7) == 7
