"""The rules for group weights as users type them: the formulas, what they take, refuse, keep and give to samples."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import reference
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from observed_rows import content

import dbpt
from dbpt.errors import InputError

COUNTS, GROUPS, VALUES = [90, 8, 2], [0, 1, 2, -1, 1], [0.75, 0.25, 0.125, 0.5, 0.5]
FREE = {"min_group_count": 0, "max_weight": np.inf}  # the formulas alone; bounds are in test_group_weight_bounds.py
RULES = [lambda counts: dbpt.GroupWeights(counts, 1.5, 0.25, **FREE), lambda counts: dbpt.GroupDRO(counts, 0.5, **FREE)]

count_lists = st.lists(st.integers(0, 5000), min_size=1, max_size=6).filter(any)


def half_way(rule):
    weights = rule(COUNTS)
    weights.observe(GROUPS, VALUES)
    weights.step()
    weights.observe([1, 0], [0.1, 0.7])
    return weights


@given(count_lists, st.floats(0, 5), st.floats(0, 1), st.integers(0, 2**32))
@settings(max_examples=60)
def test_group_weights_equal_the_reference_and_keep_their_total(counts, eta, momentum, seed):
    ours, plain = dbpt.GroupWeights(counts, eta, momentum, **FREE), reference.GroupWeights(counts, eta, momentum)
    run_both(ours, plain, counts, seed, lambda rng: rng.random(7))
    np.testing.assert_allclose(ours.mean_p_true, plain.mean_p_true, atol=2.0**-31)  # values are rounded to 2**-30


@pytest.mark.filterwarnings("ignore:all losses are negative")
@given(count_lists, st.floats(0, 0.05), st.integers(0, 2**32))
@settings(max_examples=60)
def test_group_dro_equals_the_reference_and_keeps_its_total(counts, step_size, seed):
    ours = dbpt.GroupDRO(counts, step_size, **FREE)
    plain = reference.GroupDRO(counts, step_size)
    run_both(ours, plain, counts, seed, lambda rng: rng.normal(1, 3, 7), rtol=1e-5)
    np.testing.assert_allclose(ours.q, plain.q, rtol=1e-5)
    assert ours.q.sum() == pytest.approx(1)


def run_both(ours, plain, counts, seed, draw, rtol=1e-6):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        for _ in range(rng.integers(0, 3)):
            groups, values = rng.integers(-1, len(counts), 7), draw(rng)
            ours.observe(groups, values)
            plain.observe(groups, values)
        ours.step()
        plain.step()
        np.testing.assert_allclose(ours.group_weights, plain.group_weights, rtol=rtol)
        assert np.dot(counts, ours.group_weights) == pytest.approx(sum(counts), rel=1e-10)
    assert (ours.group_weights[np.array(counts) == 0] == 0).all()


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=9).filter(any), st.floats(0, 1), st.integers(0, 2**32))
def test_a_rule_without_strength_never_moves_a_bit(counts, other, seed):
    rng = np.random.default_rng(seed)
    for weights in (dbpt.GroupWeights(counts, 0, other), dbpt.GroupDRO(counts, 0)):
        start = weights.group_weights.tobytes()
        for _ in range(3):
            weights.observe(rng.integers(-1, len(counts), 5), rng.random(5))
            weights.step()
        assert weights.group_weights.tobytes() == start


@pytest.mark.parametrize("shares", ["balanced", [1, 1, 1]])
def test_group_dro_is_the_authors_code_in_batches_with_as_many_of_each_group(shares):
    """Theirs multiplies every q by exp(step_size * mean loss)."""
    dro, theirs = dbpt.GroupDRO([50, 30, 20], step_size=0.3, shares=shares), torch.ones(3, dtype=torch.float64) / 3
    rng = np.random.default_rng(0)
    for _ in range(20):
        groups, losses = torch.arange(12) % 3, torch.from_numpy(rng.exponential(2.0, 12))
        one_hot = (groups == torch.arange(3)[:, None]).double()
        theirs = theirs * torch.exp(0.3 * (one_hot @ losses / one_hot.sum(1).clamp(min=1)))
        theirs /= theirs.sum()
        dro.observe(groups, losses)
        dro.step()
        np.testing.assert_allclose(dro.q, theirs, rtol=1e-6)


@pytest.mark.parametrize("step_size", [1.0, 1e305])
def test_group_dro_bears_huge_losses_and_steps_beyond_the_largest_float(step_size):
    dro = dbpt.GroupDRO([5, 5], step_size=step_size)
    for losses, q in [([1e9, -1e9], [1, 0]), ([-1e9, 1e9], [0.5, 0.5]), ([-1e9, 1e9], [0, 1])]:
        dro.observe([0, 1], losses)
        dro.step()
        assert dro.q.tolist() == q
        assert np.isfinite(dro.log_q).all()


@pytest.mark.parametrize("rule", RULES)
def test_samples_of_a_group_without_training_samples_move_nothing(rule):
    weights, expected = rule([90, 0, 10]), rule([90, 0, 10])
    weights.observe([0, 1, 2], [0.5, 0.5, 0.125])
    expected.observe([0, 2], [0.5, 0.125])
    for each in (weights, expected):
        each.step()
    assert content(weights) == content(expected)
    assert np.isfinite(weights.group_weights).all() and weights.group_weights[1] == 0


@pytest.mark.parametrize("rule", RULES)
def test_an_empty_batch_and_a_step_without_observations_change_nothing(rule):
    weights = rule(np.array(COUNTS, np.float32))
    weights.observe([], [])
    weights.step()
    assert content(weights) == content(rule(COUNTS))


@pytest.mark.parametrize("rule", RULES)
def test_goes_on_exactly_from_any_form_of_its_state(rule, tmp_path):
    ours = half_way(rule)
    state = ours.state()
    as_json = json.loads(json.dumps({name: values.tolist() for name, values in state.items()}))
    safetensors.numpy.save_file(state, tmp_path / "state")
    as_tensors = {name: torch.tensor(values) for name, values in state.items()}
    copies = [pickle.loads(pickle.dumps(ours))]
    for saved in (state, as_json, safetensors.numpy.load_file(tmp_path / "state"), as_tensors):
        copies.append(rule(COUNTS))
        copies[-1].load_state(saved)
    for copy in copies:
        assert content(copy) == {name: values.tobytes() for name, values in state.items()}
    for weights in (ours, *copies):
        weights.observe([2, 0], [0.5, 0.9])
        weights.step()
        assert content(weights) == content(ours)
    assert not ours.state()["observed"].any()


def test_the_state_has_integer_sums_and_says_whose_it_is():
    state = half_way(RULES[0]).state()
    assert list(state) == ["group_weights", "mean_p_true", "observed", "counts", "settings"]
    units = [round(0.7 * 2**30), round(0.1 * 2**30), 0]
    assert state["observed"].tolist() == [[0, units, bool(units) * 2**30] for units in units]
    assert (state["counts"].tolist(), state["settings"].tolist()) == (COUNTS, [1.5, 0.25, 0.0, np.inf])
    assert list(half_way(RULES[1]).state()) == ["log_q", "mean_loss", "observed", "counts", "settings"]


def test_repr_and_what_the_caller_does_with_the_counts_later():
    counts = np.array(COUNTS, np.float64)
    weights = dbpt.GroupWeights(counts, 1.5, 0.25)
    counts[:] = 0
    assert pickle.loads(pickle.dumps(weights)).group_weights.tolist() == weights.group_weights.tolist()
    assert len(repr(dbpt.GroupDRO(np.ones(5000)))) < 200
    bounds = "min_group_count=5.0, max_weight=100.0)"
    assert repr(weights) == f"GroupWeights([90.0, 8.0, 2.0], eta=1.5, momentum=0.25, {bounds}"
    assert repr(dbpt.GroupDRO([1, 2])) == f"GroupDRO([1.0, 2.0], step_size=0.01, {bounds}"
    with pytest.raises(ValueError, match="read-only"):
        weights.counts[0] = 1


def test_a_sample_weighs_its_group_or_the_mean_of_its_class_or_of_all():
    weights = dbpt.GroupWeights([3, 1, 0, 0], 0.0, 0.0, **FREE)
    assert weights.sample_weights([0, 1, -1]).tolist() == pytest.approx([2 / 3, 2.0, 1.0], rel=1e-15)
    found = weights.sample_weights([0, -1, -1], [0, 0, 1], num_classes=2)
    assert found.tolist() == pytest.approx([2 / 3, (3 * (2 / 3) + 2) / 4, 1.0], rel=1e-15)


def loads(weights, entries):
    weights.load_state(weights.state() | entries)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda w: w.observe([0], 0.5), "^p_true is 0.5, of type float"),
        (lambda w: w.observe([0], torch.ones(1, dtype=torch.complex64)), "^p_true has .* expected .* numbers"),
        (lambda w: w.observe([0, [1]], [0.5, 0.5]), "^groups is ragged"),
        (lambda w: w.observe(torch.ones(3).split(2), [0.5, 0.5]), "^groups is ragged.* torch.cat or numpy.concatenate"),
        (lambda w: w.observe([[0, 1], [1, 0]], [0.5, 0.5]), r"^groups has shape \(2, 2\).* torch.cat or numpy.conc"),
        (lambda w: w.observe([0], torch.ones(1, device="meta")), "^p_true is a tensor that cannot be copied"),
        (lambda w: w.observe([2**64 - 1], [0.5]), "^groups holds 18446744073709551615; expected integers up to 2"),
        (lambda w: w.observe([0], torch.tensor(0.5)), "^p_true is tensor.*, with a value for each row"),
        (lambda w: w.observe([0], [1.5]), r"^p_true\[0\] is 1.5; expected a number from 0 to 1"),
        (lambda w: w.observe(*map(torch.tensor, ([0, 3], [0.5, 0.5]))), r"^groups\[1\] is 3"),
        (lambda w: w.observe(*map(torch.tensor, ([-2, 0], [0.5, 0.5]))), r"^groups\[0\] is -2"),
        (lambda w: w.observe(*map(torch.tensor, ([0, -1], [0.5, np.nan]))), r"^p_true\[1\] is NaN"),
        (lambda w: w.observe(*map(torch.tensor, ([0, 1], [0.5]))), r"^p_true has shape \(1,\) .* expected \(2,\)"),
        (lambda w: w.observe(*map(torch.tensor, ([0.0, 1.0], [0.5, 0.5]))), r"^groups has .* dtype float"),
        (lambda w: w.observe(*map(torch.tensor, ([0, 1], [True, True]))), r"^p_true has .* dtype bool"),
        (lambda w: w.observe(*map(torch.tensor, ([[0, 1]], [[0.5, 0.5]]))), r"^groups has shape \(1, 2\)"),
        (lambda w: w.sample_weights([3]), r"^groups\[0\] is 3"),
        (lambda w: w.sample_weights([-1], [0]), "^sample_weights: labels and num_classes are needed together"),
        (lambda w: w.sample_weights([-1], [1], num_classes=1), r"^labels\[0\] is 1"),
        (lambda w: w.sample_weights([-1], [0, 0], num_classes=1), r"^labels has shape \(2,\) .* expected \(1,\)"),
        (lambda w: w.sample_weights([-1], [0], num_classes=2), "^num_classes is 2; expected a divisor of 3"),
        (lambda w: w.sample_weights([-1], [0], num_classes=-1), "^num_classes is -1"),
        (lambda w: w.step(process_group="gloo"), "^process_group is 'gloo'; expected a torch.distributed"),
        (lambda w: loads(w, {"observed": "x"}), r'^state\["observed"\] is .x., of type str'),
        (lambda w: loads(w, {"observed": np.zeros((3, 3))}), r'^state\["observed"\] has .* integers'),
        (lambda w: loads(w, {"observed": np.full((3, 3), 2**64 - 1)}), r'observed"\] holds 18446744073709551615'),
        (lambda w: loads(w, {"counts": [90, 2]}), r'^state\["counts"\] is \[90.0, 2.0\]; expected'),
        (lambda w: w.load_state(dbpt.GroupDRO(COUNTS).state()), r'^state\["group_weights"\] .* GroupWeights.state'),
        (lambda w: dbpt.GroupWeights([-1], 1, 0.5), r"^counts\[0\] is -1"),
        (lambda w: dbpt.GroupWeights([0, 0], 1, 0.5), "^the sum of counts is 0"),
        (
            lambda w: dbpt.GroupWeights(pd.Series([1, 1, 0, 1]).value_counts(), 1, 0.5),
            r"^counts: its index has integers out of order; sort value_counts\(\) by sort_index\(\)",
        ),
        (lambda w: dbpt.GroupWeights([0.75, 0.25], 1, 0.5), "^counts sum to 1, as shares do; expected the numbers of"),
        (
            lambda w: dbpt.GroupWeights([0, 3], 1, 0.5).sample_weights([1, 0]),
            r"^groups\[1\] is 0; expected a group that has members by counts",
        ),
        (lambda w: dbpt.GroupWeights([1e10, 0, 1e-300], 1, 0.5), r"^counts\[2\] is 1e-300; expected .* 1e-10"),
        (lambda w: dbpt.GroupDRO([1e308, 1e308]), r"^counts\[0\] is 1e\+308; expected 0, or"),
        (lambda w: dbpt.GroupWeights([1], "1", 0.5), "^eta is '1'; expected a number"),
        (lambda w: dbpt.GroupWeights([1], 1, 1.5), "^momentum is 1.5"),
        (lambda w: dbpt.GroupDRO([1], -1), "^step_size is -1"),
        (lambda w: dbpt.GroupDRO([3, 4], shares="uniform"), "^shares is 'uniform'; expected"),
        (lambda w: dbpt.GroupDRO([3, 4], shares=[1.0, 0.0]), r"^shares\[1\] is 0.0"),
        (lambda w: dbpt.GroupDRO([3, 4], shares=[1.0]), r"^shares has shape \(1,\)"),
        (lambda w: dbpt.GroupDRO([1]).observe([0], [np.inf]), r"^losses\[0\] is inf; expected .* -1000"),
    ],
)
def test_refuses_in_one_line_and_changes_nothing(use, message):
    weights = half_way(lambda counts: dbpt.GroupWeights(counts, 1.0, 0.5))
    before = content(weights)
    with pytest.raises(InputError, match=message):
        use(weights)
    assert content(weights) == before


def test_groups_of_rows_in_place_of_counts_are_noticed():
    with pytest.warns(UserWarning, match="^counts has 40 values from 0 to 3, .*; expected .*bincount"):
        dbpt.GroupWeights([0, 1, 2, 3] * 10, 1.0, 0.5)
    dbpt.GroupWeights([0] + [1] * 15, 1.0, 0.5)


def test_log_likelihoods_in_place_of_losses_are_noticed():
    with pytest.warns(UserWarning, match="^all losses are negative"):
        dbpt.GroupDRO([3, 3]).observe([0, 1], [-1.0, -0.5])
