"""Whatever array comes to the samplers and group weights: what a plain copy of it gives, or one line of `InputError`.

Of the binding itself test_foreign_arrays_of_the_core.py says the same.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_foreign_arrays import foreign_arrays
from test_foreign_arrays_of_the_core import flat, nearly, plain

import dbpt
from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler, GroupSampler, WeightedSampler

GROUPS, LABELS = np.array([0, 1, 3, 2, 3, 1]), np.array([0, 0, 1, 1, 1, 0])
UNKNOWN = GROUPS * [1, 1, 1, 1, 0, 0] - [0, 0, 0, 0, 1, 1]
SHARES, COUNTS = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 2, 1, 2])
VALUES = np.array([0.5, 0.25, 1.0, 0.0, 0.125, 0.75])


def drawn(sampler, method=None, **arrays):
    if method is not None:
        getattr(sampler, method)(**arrays)
    return sampler.indices()


def weighed(rule, method=None, **arrays):
    if method is not None:
        getattr(rule, method)(**arrays)
    rule.step()
    return rule.group_weights


def resumed(make, **state):
    return weighed(make(), "load_state", state={**half_way(make), **state})


def half_way(make):
    rule = make()
    for values in (VALUES, VALUES / 2):
        rule.step()
        rule.observe(GROUPS, values)
    return rule.state()


def weights():
    return dbpt.GroupWeights(COUNTS, eta=1.0, momentum=0.5)


def dro():
    return dbpt.GroupDRO(COUNTS, step_size=1.0)


GROUPED, BY_WEIGHT = (
    {"groups": UNKNOWN, "labels": LABELS, "shares": SHARES},
    {"groups": GROUPS, "group_weights": SHARES},
)
CALLS = {
    "GroupSampler": (lambda **arrays: drawn(GroupSampler(unknown="class", **arrays)), GROUPED),
    "GroupSampler by weights": (lambda **arrays: drawn(GroupSampler(**arrays)), BY_WEIGHT),
    "GroupSampler.set_shares": (lambda **new: drawn(GroupSampler(GROUPS), "set_shares", **new), {"shares": SHARES}),
    "GroupSampler.set_group_weights": (
        lambda **new: drawn(GroupSampler(GROUPS), "set_group_weights", **new),
        {"group_weights": SHARES},
    ),
    "GroupBatchSampler": (lambda **arrays: drawn(GroupBatchSampler(batch_size=8, unknown="class", **arrays)), GROUPED),
    "GroupBatchSampler by weights": (lambda **arrays: drawn(GroupBatchSampler(batch_size=8, **arrays)), BY_WEIGHT),
    "WeightedSampler": (lambda weights: drawn(WeightedSampler(weights, 9)), {"weights": SHARES}),
    "WeightedSampler.set_weights": (
        lambda **new: drawn(WeightedSampler(COUNTS, 3), "set_weights", **new),
        {"weights": SHARES},
    ),
    "GroupWeights": (lambda counts: weighed(dbpt.GroupWeights(counts, 1.0, 0.5)), {"counts": COUNTS}),
    "GroupWeights.observe": (
        lambda **rows: weighed(weights(), "observe", **rows),
        {"groups": GROUPS, "p_true": VALUES},
    ),
    "GroupWeights.load_state": (lambda **state: resumed(weights, **state), half_way(weights)),
    "GroupWeights.sample_weights": (
        lambda **arrays: weights().sample_weights(**arrays, num_classes=2),
        {"groups": UNKNOWN, "labels": LABELS},
    ),
    "GroupDRO": (lambda counts: weighed(dbpt.GroupDRO(counts, 1.0)), {"counts": COUNTS}),
    "GroupDRO.observe": (lambda **arrays: weighed(dro(), "observe", **arrays), {"groups": GROUPS, "losses": VALUES}),
    "GroupDRO.load_state": (lambda **state: resumed(dro, **state), half_way(dro)),
}
TARGETS = [(name, argument) for name, (_, arrays) in CALLS.items() for argument in arrays]


@pytest.mark.parametrize(("name", "argument"), TARGETS, ids=map(".".join, TARGETS))
@given(st.data())
@settings(max_examples=60)
def test_arrays_are_used_as_they_are_or_refused(name, argument, data):
    call, arrays = CALLS[name]
    array = data.draw(st.just(arrays[argument]) | foreign_arrays() | nearly(arrays[argument]))
    copy = plain(array)
    try:
        found = call(**{**arrays, argument: array})
    except InputError as error:
        assert "\n" not in str(error)
        assert array is not arrays[argument]
    else:
        np.testing.assert_equal(flat(found), flat(call(**{**arrays, argument: copy})))
    np.testing.assert_array_equal(plain(array), copy)
