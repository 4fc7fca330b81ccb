"""GroupBatchSampler in training loops: bad states, threads, Ctrl-C, frameworks, bad input."""

import itertools
import signal

import numpy as np
import pytest
import torch

from dbpt._core import BatchStream, GroupIndex
from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, r"^state\['version'\] is 1; expected 2"),
        ({"groups_digest": 1}, "saved with other groups"),
        ({"groups_per_batch": 5}, r"^state\['groups_per_batch'\] is 5; expected 0, as here"),
        ({"batch_size": 5}, r"^state\['batch_size'\] is 5; expected 10, as here"),
        ({"batch_size": "10"}, r"^state\['batch_size'\] is '10'; expected 10, as here"),
        ({"position": 101}, r"^state\['position'\] is 101; expected an integer from 0 to 100"),
        ({"quotas": [1, 2]}, r"^state\['quotas'\] has shape \(2,\)"),
        ({"quotas": [250, 250, 250, 251]}, "^the sum of quotas is 1001; expected a multiple of batch_size"),
        ({"next_quotas": [10, 0, 0, 0]}, r"^state\['next_quotas'\] add up to 10; expected 1000"),
        ({"extra": 1}, "^state is not that of a GroupBatchSampler"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(change, message):
    sampler = GroupBatchSampler(GROUPS, 10)
    list(itertools.islice(sampler, 10))
    before = sampler.state_dict()
    with pytest.raises(InputError, match=message):
        sampler.load_state_dict({**before, **change})
    assert sampler.state_dict() == before


def test_ctrl_c_stops_a_long_call():
    sampler = GroupBatchSampler(GROUPS, 1000, num_batches=500_000)  # 4 GB, hardly any of it touched by then
    before = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            sampler.indices()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_group_dro_sees_every_group_in_every_step():
    """The loss of each group in each batch, without a guard against empty ones; the weakest group gets good."""
    torch.manual_seed(0)
    groups = torch.from_numpy(GROUPS)
    labels = (groups >= 2).float()
    features = torch.randn(1000, 2) * 0.5 + torch.stack([labels * 2 - 1, (groups % 2) * 6.0 - 3], dim=1)
    features[:, 1] += labels * 4  # a shortcut that is wrong for the small groups
    dataset = torch.utils.data.TensorDataset(features, labels, groups)
    model, q = torch.nn.Linear(2, 1), torch.ones(4) / 4
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=GroupBatchSampler(GROUPS, 16, shares="natural"))
    for _ in range(8):
        for x, y, g in loader:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], y, reduction="none")
            group_losses = torch.stack([losses[g == group].mean() for group in range(4)])
            q = q * (0.1 * group_losses.detach()).exp()
            q = q / q.sum()
            optimiser.zero_grad()
            (q * group_losses).sum().backward()
            optimiser.step()
    right = ((model(features)[:, 0] > 0) == (labels > 0)).float()
    assert min(right[groups == group].mean().item() for group in range(4)) > 0.9


def test_it_looks_like_a_batch_sampler_to_frameworks():
    sampler = GroupBatchSampler(GROUPS, 12)
    assert isinstance(sampler, torch.utils.data.Sampler)
    assert sampler.batch_size == 12  # Accelerate wants it
    assert sampler.sampler is sampler  # where Lightning and Accelerate look for set_epoch
    assert not hasattr(sampler, "generator")
    assert not hasattr(sampler, "drop_last")
    batch = next(iter(sampler))
    assert type(batch) is list
    assert type(batch[0]) is int


@pytest.mark.parametrize(
    ("groups", "batch_size", "keywords", "message"),
    [
        ([0, -1, -1], 2, {}, r"^groups\[1\] is -1, one of 2 rows without a group; .*leave those rows out"),
        ([0, 3], 2, {"num_groups": 3}, r"^groups\[1\] is 3; expected -1 \(outside\) or 0 to 2"),
        ([[0], [1, 2]], 2, {}, "^groups is ragged"),
        ([], 2, {}, r"^groups has shape \(0,\)"),
        ([0.5], 2, {}, "^groups has dtype float64; expected integers"),
        (GROUPS, 3, {}, "^batch_size is 3; expected 4 or above: min_per_group is 1 and 4 groups have a share"),
        (GROUPS, 8, {"min_per_group": 3}, "^batch_size is 8; expected 12 or above: min_per_group is 3"),
        (GROUPS, 0, {}, "^batch_size is 0; expected an integer from 1 to 4194304"),
        (GROUPS, 2.0, {}, "^batch_size is 2.0; expected an integer"),
        (GROUPS, 2**22 + 1, {}, "^batch_size is 4194305; expected an integer from 1"),
        (GROUPS, 8, {"min_per_group": -1}, "^min_per_group is -1"),
        (GROUPS, 8, {"num_batches": 0}, "^num_batches is 0"),
        (GROUPS, 8, {"num_batches": 2**46}, r"^batch_size \* num_batches is 562949953421312; expected an integer"),
        (GROUPS, 8, {"shares": "balance"}, r"^shares is 'balance'; .*did you mean 'balanced'\?"),
        (GROUPS, 8, {"shares": [1, 2]}, r"^shares has shape \(2,\) .*expected \(4,\)"),
        (GROUPS, 8, {"shares": [1, 2, np.nan, 1]}, r"^shares\[2\] is nan"),
        (GROUPS, 8, {"shares": [0, 0, 0, 0]}, "^the sum of shares is 0"),
        ([0, 2], 8, {"shares": [1, 1, 1]}, r"^shares\[1\] is 1, but group 1 has no members"),
        (GROUPS, 8, {"group_weights": [1, -2, 1, 1]}, r"^group_weights\[1\] is -2"),
        (GROUPS, 8, {"group_weights": [1, 1, 1, 1], "shares": "natural"}, "^shares and group_weights are both given"),
        (GROUPS, 8, {"seed": -1}, "^seed is -1; expected an integer from 0 to"),
        (GROUPS, 8, {"rank": 0}, "^rank is 0 and num_replicas is None; expected both or neither"),
    ],
)
def test_bad_arguments_are_named(groups, batch_size, keywords, message):
    with pytest.raises(InputError, match=message):
        GroupBatchSampler(groups, batch_size, **keywords)


def test_bad_calls_are_named():
    sampler = GroupBatchSampler(GROUPS, 10)
    with pytest.raises(InputError, match="^stop is 101; expected an integer from 0 to 100"):
        sampler.indices(0, 101)
    with pytest.raises(InputError, match="^consumed is 101"):
        sampler.state_dict(consumed=101)
    with pytest.raises(InputError, match=r"^group_weights has shape \(1,\)"):
        sampler.set_group_weights([1])


def test_arrays_that_do_not_fit_are_refused_by_the_core():
    index = GroupIndex(np.array([0, 1, 1]), 2)
    with pytest.raises(InputError, match="^quotas has length 1; expected 2"):
        BatchStream(index, np.array([4]), 2, 0, 0)
    with pytest.raises(InputError, match="^quotas is not C-contiguous"):
        BatchStream(index, np.array([2, 0, 2, 0])[::2], 2, 0, 0)
    with pytest.raises(TypeError):
        BatchStream(index, np.array([2.0, 2.0]), 2, 0, 0)
    with pytest.raises(InputError, match="^start and stop are 1 and 3"):
        BatchStream(index, np.array([2, 2]), 2, 0, 0).indices(1, 3)
    with pytest.raises(InputError, match="^step is 0"):
        BatchStream(index, np.array([2, 2]), 2, 0, 0).indices(0, 2, 0)
