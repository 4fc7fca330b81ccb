"""What is observed of groups is added up exactly: in any order, over batches, threads, forks and failures."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from observed_rows import COUNTS, RULES, content, observe, rows

import dbpt
from dbpt.errors import InputError


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**32), batches=st.integers(1, 9))
@settings(max_examples=30)
def test_neither_order_nor_batches_change_a_bit(rule, seed, batches):
    arrays = rows(seed, dtype=np.float64)
    whole, parts = rule(), rule()
    observe(whole, *arrays)
    order = np.random.default_rng(seed).permutation(60)
    for part in np.array_split(order, batches):
        observe(parts, *(array[part] for array in arrays))
    assert content(parts) == content(whole)
    for weights in (whole, parts):
        weights.step()
    assert content(parts) == content(whole)


@pytest.mark.parametrize("device", ["host", "device"])
def test_threads_lose_nothing(device, monkeypatch):
    if device == "device":
        monkeypatch.setattr("dbpt.group_weights.tensors.HOST_DEVICES", ())
    convert = torch.from_numpy if device == "device" else np.asarray
    shared, alone = RULES[0](), RULES[0]()
    batches = [rows(seed, 500) for seed in range(8)]
    for batch in batches * 25:
        observe(alone, *batch)

    def work(batch):
        for _ in range(25):
            observe(shared, *batch, convert)
            assert shared.sample_weights([0]) == shared.group_weights[0]

    threads = [threading.Thread(target=work, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(shared) == content(alone)


def test_steps_and_states_of_other_threads_see_whole_observations():
    """Every sample has p = 1, so each mean is 1 and each sum is its count, whenever somebody looks."""
    weights, stop = dbpt.GroupWeights([5, 5], 1.0, 0.0), threading.Event()

    def work():
        while not stop.is_set():
            weights.observe([0, 1, 1], [1.0, 1.0, 1.0])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            (values, members), others = reference.whole_numbers(weights.state()["observed"])
            assert values == members * 2**32
            assert others == (2 * values, 2 * members)
            weights.step()
            assert set(weights.mean_p_true) <= {1.0}
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_ten_million_rows_of_a_thousand_groups():
    rng = np.random.default_rng(0)
    groups, p_true = rng.integers(0, 1000, 10**7), rng.random(10**7, dtype=np.float32)
    weights = dbpt.GroupWeights(np.bincount(groups), 1.0, 0.5)
    weights.observe(groups, p_true)
    weights.step()
    expected = np.bincount(groups, p_true) / np.bincount(groups)
    np.testing.assert_allclose(weights.mean_p_true, expected, rtol=1e-9)


# --- forks, failures ------------------------------------------------------------------------------


def in_a_fork(work):
    """Whether ``work`` ends well in a forked child within some seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        ended_well = False
        try:
            ended_well = bool(work())
        finally:
            os._exit(0 if ended_well else 1)
    return os.waitpid(child, 0)[1] == 0


def uses(weights, expected):
    """Everything that a child may do with them; the state is that before whatever was going on at the fork."""
    assert content(weights) == expected
    weights.sample_weights([0, 1])
    weights.observe([0], [0.5])
    weights.step()
    return weights.mean_p_true[0] == 0.5


forks = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_while_a_thread_observes_goes_on():
    weights = RULES[0]()
    expected, many = content(weights), np.zeros(2 * 10**7, np.int64)
    values, finished = np.zeros(len(many)), threading.Event()

    def work():
        weights.observe(many, values)
        finished.set()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.01)
    try:
        went_well = in_a_fork(lambda: uses(weights, expected))
        assert went_well
    finally:
        thread.join()


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_during_the_exchange_of_a_step_goes_on(exchange):
    weights = RULES[0]()
    expected = content(weights)
    entered, leave = threading.Event(), threading.Event()
    exchange(lambda: entered.set() or leave.wait())
    thread = threading.Thread(target=lambda: weights.step(process_group=object()))
    thread.start()
    entered.wait()
    try:
        assert in_a_fork(lambda: uses(weights, expected))
    finally:
        leave.set()
        thread.join()


@pytest.fixture
def exchange(monkeypatch):
    """Calls what it is given in the middle of an exchange with ranks, of which there are none."""

    def replace(work):
        def sum_over_ranks(digits, problem, process_group):
            work()
            return digits, problem

        monkeypatch.setattr("dbpt.group_weights.ranks.check_process_group", lambda process_group: None)
        monkeypatch.setattr("dbpt.group_weights.ranks.sum_over_ranks", sum_over_ranks)

    return replace


@pytest.mark.parametrize("rule", RULES)
def test_what_is_observed_during_the_exchange_counts_for_the_next_step(rule, exchange):
    weights, expected, batches = rule(), rule(), [rows(0), rows(1)]
    observe(weights, *batches[0])
    exchange(lambda: observe(weights, *batches[1]))
    weights.step(process_group=object())
    for batch in batches:
        observe(expected, *batch)
        if batch is batches[0]:
            expected.step()
    assert content(weights) == content(expected)


@pytest.mark.parametrize("rule", RULES)
def test_an_exchange_that_fails_changes_nothing(rule, exchange):
    weights, expected = rule(), rule()
    for each in (weights, expected):
        observe(each, *rows(0))
    exchange(lambda: (_ for _ in ()).throw(RuntimeError("a rank is gone")))
    with pytest.raises(RuntimeError, match="a rank is gone"):
        weights.step(process_group=object())
    assert content(weights) == content(expected)
    for each in (weights, expected):
        each.step()
    assert content(weights) == content(expected)


def test_a_problem_outlives_an_exchange_that_fails(exchange, monkeypatch):
    monkeypatch.setattr("dbpt.group_weights.tensors.HOST_DEVICES", ())
    weights = RULES[0]()
    start = content(weights)
    weights.observe(torch.tensor([0]), [1.5])
    exchange(lambda: (_ for _ in ()).throw(RuntimeError("a rank is gone")))
    with pytest.raises(RuntimeError):
        weights.step(process_group=object())
    with pytest.raises(InputError, match="^p_true of 1 rows observed on cpu"):
        weights.step()
    assert content(weights) == start


def test_a_rule_that_fails_to_move_keeps_what_was_observed(monkeypatch):
    weights = RULES[0]()
    observe(weights, *rows(0))
    before = content(weights)
    with monkeypatch.context() as patch:
        patch.setattr(weights, "move", lambda means: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            weights.step()
    assert content(weights) == before


def test_weights_that_move_while_samples_are_weighed_are_not_kept_back(monkeypatch):
    """Another thread steps just after the old weights were read."""
    weights = dbpt.GroupDRO(COUNTS, 1.0)
    weights.observe([0], [3.0])
    found = []
    with monkeypatch.context() as patch:
        read = type(weights).group_weights.fget

        def late(self):
            old = read(self)
            if not found:
                found.append(old)
                self.step()
            return old

        patch.setattr(type(weights), "group_weights", property(late))
        assert weights.sample_weights([0]).tolist() == found[0][:1].tolist()
    assert weights.sample_weights([0]).tolist() == weights.group_weights[:1].tolist() != found[0][:1].tolist()
