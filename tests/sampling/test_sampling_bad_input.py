"""Bad states, arguments and calls of the three samplers are named in one line and change nothing."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import TensorDataset
from weighted_draws import GROUPS

from dbpt.errors import InputError
from dbpt.guesses import PseudoAttributes
from dbpt.sampling import GroupBatchSampler, GroupSampler, WeightedSampler

SAMPLERS = {"weights": WeightedSampler, "rows": GroupSampler, "wheel": GroupSampler, "batches": GroupBatchSampler}
OF_KIND = {"weights": {"num_samples": 1000}, "rows": {}, "wheel": {"independent": True}, "batches": {"batch_size": 10}}
ALL, BY_GROUP = "weights rows batches", "rows batches"


def make(kind, rows=GROUPS, **keywords):
    """A sampler of ``rows``, the groups or weights, that draws 1,000 rows or 100 batches of 10."""
    return SAMPLERS[kind](rows, **OF_KIND[kind] | keywords)


def by_kind(cases):
    return [(kind, *case) for kinds, *case in cases for kind in kinds.split()]


STATES = [
    (ALL, {"version": 2}, r"^state\['version'\] is 2; expected 3"),
    (ALL, {"position": 1001}, r"^state\['position'\] is 1001; expected an integer from 0 to 1000?"),
    (ALL, {"epoch": -1}, r"^state\['epoch'\] is -1"),
    (ALL, {"seed": 0.5}, r"^state\['seed'\] is 0.5"),
    (ALL, {"extra": 1}, r"^state is not that of a \w+Sampler"),
    ("weights rows", {"num_samples": 0}, r"^state\['num_samples'\] is 0"),
    ("weights", {"weights_digest": 1}, r"^state\['weights_digest'\] differs: the state was saved with other weights"),
    ("weights", {"next_weights_digest": -1}, r"^state\['next_weights_digest'\] is -1"),
    (BY_GROUP, {"groups_digest": 1}, "saved with other groups"),
    (BY_GROUP, {"shares": [1, 2]}, r"^state\['shares'\] has shape \(2,\)"),
    (BY_GROUP, {"shares": [1000, -1, 0, 1]}, r"^state\['shares'\]\[1\] is -1"),
    (BY_GROUP, {"next_shares": [1, 1, 1, math.nan]}, r"^state\['next_shares'\]\[3\] is nan"),
    (BY_GROUP, {"next_shares": [0, 0, 0, 0]}, "^the sum of shares is 0"),
    ("rows", {"num_samples": 1.5}, r"^state\['num_samples'\] is 1.5; expected an integer"),
    ("rows", {"independent": True}, r"^state\['independent'\] is True; expected False"),
    ("wheel", {"independent": False}, r"^state\['independent'\] is False; expected True, as here"),
    ("batches", {"groups_per_batch": 5}, r"^state\['groups_per_batch'\] is 5; expected 0, as here"),
    ("batches", {"batch_size": 5}, r"^state\['batch_size'\] is 5; expected 10, as here"),
    ("batches", {"num_batches": 0}, r"^state\['num_batches'\] is 0; expected an integer from 1 to"),
    ("batches", {"num_batches": 2**46}, r"^state\['num_batches'\] is 70368744177664; expected an integer from 1 to"),
    ("batches", {"min_per_group": 0}, r"^state\['min_per_group'\] is 0; expected 1, as here"),
]


@pytest.mark.parametrize(("kind", "change", "message"), by_kind(STATES))
def test_a_bad_state_is_refused_and_changes_nothing(kind, change, message):
    sampler = make(kind)
    list(itertools.islice(sampler, 10))
    before = sampler.state_dict()
    with pytest.raises(InputError, match=message):
        sampler.load_state_dict({**before, **change})
    with pytest.raises(InputError, match="^state is not that"):
        sampler.load_state_dict([])
    assert sampler.state_dict() == before


ARGUMENTS = [
    (ALL, GROUPS, {"seed": -1}, "^seed is -1; expected an integer from 0 to"),
    (ALL, GROUPS, {"seed": None, "rank": 0, "num_replicas": 2}, "^seed is None with 2 processes; expected an integer"),
    (ALL, GROUPS, {"rank": 0}, "^rank is 0 and num_replicas is None; expected both or neither"),
    (ALL, GROUPS, {"rank": 2, "num_replicas": 2}, "^rank is 2; expected an integer from 0 to 1"),
    (ALL, GROUPS, {"num_threads": 0}, "^num_threads is 0"),
    (ALL, [[0], [1, 2]], {}, "^(groups|weights) is ragged"),
    (ALL, [], {}, r"^(groups|weights) has shape \(0,\)"),
    (ALL, [[1]], {}, r"^(groups|weights) has shape \(1, 1\)"),
    ("weights rows", GROUPS, {"num_samples": 0}, "^num_samples is 0; expected an integer from 1 to 281474976710656"),
    ("weights rows", GROUPS, {"num_samples": 2**49}, "^num_samples is 562949953421312; expected"),
    ("weights", GROUPS, {"num_samples": None}, "^num_samples is None; expected an integer"),
    ("weights", 3.0, {}, "^weights is 3.0, of type float"),
    ("weights", [1, -0.5], {}, r"^weights\[1\] is -0.5; expected a finite number, 0 or above"),
    ("weights", [1, math.nan], {}, r"^weights\[1\] is NaN; expected a finite number"),
    ("weights", [math.inf], {}, r"^weights\[0\] is inf"),
    ("weights", [0.0, 0.0], {}, "^the sum of weights is 0; expected above 0"),
    ("weights", ["a"], {}, "^weights has .* dtype <U1; expected .* numbers"),
    ("weights", torch.ones(3, device="meta"), {}, "^weights is a tensor that cannot be copied to the host"),
    (BY_GROUP, [0, -1, 1], {}, r"^groups\[1\] is -1, one of 1 rows without a group; .*leave those rows out"),
    (BY_GROUP, [0, 3], {"num_groups": 3}, r"^groups\[1\] is 3; expected -1 \(outside\) or 0 to 2"),
    (BY_GROUP, [2.0], {}, r"^groups has .* dtype float64; .*\(\.astype\(int\) makes them\)"),
    (BY_GROUP, np.eye(3, dtype=int), {}, r"^groups has .* integers \(\.argmax\(axis=1\) of one-hot rows\)$"),
    (BY_GROUP, [0.5], {}, r"^groups has .* dtype float64; expected \(N,\) integers$"),
    (BY_GROUP, ["sea", "land"], {}, r"^groups has .* dtype <U4; .* \(numpy.unique\(.*return_inverse=True\)"),
    (BY_GROUP, (group for group in [0, 1]), {}, "^groups is <generator object"),
    (BY_GROUP, TensorDataset(torch.ones(2, 3), torch.ones(2)), {}, "^groups is <.*>, of type TensorDataset; expected "),
    (BY_GROUP, PseudoAttributes(GROUPS, None, None, "argmax"), {}, r"^groups is .*; groups are labels \* A \+ "),
    (BY_GROUP, pd.DataFrame({"y": [0], "a": [1]}), {}, r"^groups \(a DataFrame\) .* \.groupby\(COLUMNS\).ngroup"),
    (BY_GROUP, [0, 2**40], {}, r"^groups\[1\] is 1099511627776; expected -1 \(outside\) or 0 to 2\^24 - 1"),
    (BY_GROUP, GROUPS, {"shares": "balance"}, r"^shares is 'balance'; .*did you mean 'balanced'\?"),
    (BY_GROUP, GROUPS, {"shares": [1, 2]}, r"^shares has shape \(2,\) .*expected \(4,\)"),
    (BY_GROUP, GROUPS, {"shares": [1, 2, np.nan, 1]}, r"^shares\[2\] is nan"),
    (BY_GROUP, GROUPS, {"shares": [0, 0, 0, 0]}, "^the sum of shares is 0"),
    (BY_GROUP, [0, 2], {"shares": [1, 1, 1]}, r"^shares\[1\] is 1, but group 1 has no members"),
    (BY_GROUP, GROUPS, {"group_weights": [1, -2, 1, 1]}, r"^group_weights\[1\] is -2"),
    (BY_GROUP, GROUPS, {"group_weights": [1e308] * 4}, r"^the sum of N_g \* group_weights\[g\] is inf; expected a fin"),
    (BY_GROUP, GROUPS, {"group_weights": [1] * 4, "shares": "natural"}, "^shares and group_weights are both given"),
    ("rows", [0, 0], {"rank": 4, "num_replicas": 5, "drop_last": True}, "^num_samples is 2; expected 5 or above, a dr"),
    ("rows", GROUPS, {"independent": "no"}, "^independent is 'no'; expected True or False"),
    ("batches", GROUPS, {"batch_size": 3}, "^batch_size is 3; .* 4 or above: min_per_group is 1 and 4 groups have a"),
    ("batches", GROUPS, {"min_per_group": 3}, "^batch_size is 10; expected 12 or above: min_per_group is 3"),
    ("batches", GROUPS, {"batch_size": 0}, "^batch_size is 0; expected an integer from 1 to 4194304"),
    ("batches", GROUPS, {"batch_size": 2**22 + 1}, "^batch_size is 4194305; expected an integer from 1"),
    ("batches", GROUPS, {"min_per_group": -1}, "^min_per_group is -1"),
    ("batches", GROUPS, {"min_per_group": 2**62}, "^min_per_group is 4611686018427387904; expected .* from 0 to 10$"),
    ("batches", GROUPS, {"num_batches": 0}, "^num_batches is 0"),
    ("batches", GROUPS, {"num_batches": 2**46}, r"^batch_size \* num_batches is 703687441776640; expected an integer"),
]


@pytest.mark.parametrize(("kind", "rows", "keywords", "message"), by_kind(ARGUMENTS))
def test_bad_arguments_are_named(kind, rows, keywords, message):
    with pytest.raises(InputError, match=message):
        make(kind, rows, **keywords)


CALLS = [
    (ALL, lambda sampler: sampler.set_epoch(-1), "^epoch is -1"),
    (ALL, lambda sampler: sampler.indices(0, 1001), "^stop is 1001; expected an integer from 0 to 1000?"),
    (ALL, lambda sampler: sampler.indices(5, 3), "^stop is 3; expected an integer from 5"),
    (ALL, lambda sampler: sampler.state_dict(consumed=1001), "^consumed is 1001"),
    ("weights", lambda sampler: sampler.set_weights([1, 2]), "^weights has length 2; expected 1000, as before"),
    ("weights", lambda sampler: sampler.set_weights(np.full(1000, -1)), r"^weights\[0\] is -1"),
    (BY_GROUP, lambda sampler: sampler.set_group_weights([1]), r"^group_weights has shape \(1,\)"),
    (BY_GROUP, lambda sampler: sampler.set_group_weights(None), "^group_weights is None, of type NoneType"),
]


@pytest.mark.parametrize(("kind", "call", "message"), by_kind(CALLS))
def test_bad_calls_are_named_and_change_nothing(kind, call, message):
    sampler = make(kind)
    before = sampler.state_dict()
    with pytest.raises(InputError, match=message):
        call(sampler)
    assert sampler.state_dict() == before


def test_weights_of_groups_in_place_of_rows_are_noticed():
    with pytest.warns(UserWarning, match=r"^num_samples is 1000, .* 4 rows .* weights\[groups\]"):
        WeightedSampler([0.1, 0.2, 0.3, 0.4], 1000)
    WeightedSampler([0.1, 0.2, 0.3, 0.4], 1000, dataset=range(4))


@pytest.mark.parametrize("kind", BY_GROUP.split())
def test_a_generator_is_refused_and_a_data_set_checked(kind):
    with pytest.raises(InputError, match="^generator is given, but .*; expected seed=, an integer, or seed=None"):
        make(kind, generator=torch.Generator())
    assert len(make(kind, dataset=range(1000)).indices().ravel()) == 1000
    with pytest.raises(InputError, match="^groups has length 1000; expected 999, one for each row of dataset"):
        make(kind, dataset=range(999))
    with pytest.raises(InputError, match="^dataset is a generator, which has no length"):
        make(kind, dataset=(row for row in range(3)))
