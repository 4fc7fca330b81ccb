"""GroupBatchSampler in training loops: states, DataLoader workers, threads, Ctrl-C, frameworks."""

import itertools
import json
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
COUNTS = np.bincount(GROUPS)


def compositions(batches, groups=GROUPS, num_groups=4):
    """(batches, G) how many members of each group every batch has."""
    return np.array([np.bincount(groups[batch], minlength=num_groups) for batch in batches])


def test_ranks_have_equal_lengths_by_default():
    for world in (1, 3, 7):
        lengths = {len(GroupBatchSampler(GROUPS, 25, rank=r, num_replicas=world)) for r in range(world)}
        assert lengths == {-(-1000 // (25 * world))}


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_resuming_at_any_position_continues_as_if_uninterrupted(first, second):
    def run(sampler, batches):
        """Draw as a loop without set_epoch does: pass after pass."""
        return list(itertools.islice(itertools.chain.from_iterable(iter(sampler.__iter__, None)), batches))

    plain = GroupBatchSampler(GROUPS, 6, num_batches=20, seed=3)
    expected = []
    for epoch in range(6):
        plain.set_epoch(epoch)
        expected += plain.indices().tolist()
    sampler = GroupBatchSampler(GROUPS, 6, num_batches=20, seed=3)
    found = run(sampler, first)
    resumed = GroupBatchSampler(GROUPS, 6, num_batches=20, seed=99)
    resumed.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    assert resumed.state_dict() == sampler.state_dict()
    assert found + run(resumed, second) == expected[: first + second]


def test_a_loader_that_draws_ahead_says_how_many_batches_it_has_consumed():
    sampler = GroupBatchSampler(GROUPS, 10, seed=4)
    dataset = torch.utils.data.TensorDataset(torch.arange(1000))
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=sampler, num_workers=1, multiprocessing_context="fork")
    batches = iter(loader)
    seen = [next(batches)[0].tolist() for _ in range(7)]
    assert sampler.state_dict()["position"] > 7
    resumed = GroupBatchSampler(GROUPS, 10)
    resumed.load_state_dict(sampler.state_dict(consumed=7))
    assert seen + list(resumed) == resumed.indices().tolist()


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


@pytest.mark.parametrize(("num_workers", "context"), [(0, None), (2, "fork"), (1, "spawn")])
def test_a_dataloader_with_workers_gets_the_same_batches(num_workers, context):
    dataset = torch.utils.data.TensorDataset(torch.arange(1000))
    sampler = GroupBatchSampler(GROUPS, 25, seed=4)
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=sampler, num_workers=num_workers, multiprocessing_context=context
    )
    order = sampler.indices().tolist()
    assert len(loader) == 40
    assert [batch.tolist() for (batch,) in loader] == order
    assert [batch.tolist() for (batch,) in loader] != order


class DrawingDataset(torch.utils.data.Dataset):
    """Draws inside the worker, with threads."""

    def __len__(self):
        return 4

    def __getitem__(self, epoch):
        sampler = GroupBatchSampler(np.arange(1000) % 3, 100, num_batches=2000)
        sampler.set_epoch(epoch)
        return int(sampler.indices()[-1, -1])


def test_threads_work_inside_a_forked_worker():
    dataset = DrawingDataset()
    expected = [dataset[epoch] for epoch in range(4)]  # threads in the parent first
    loader = torch.utils.data.DataLoader(dataset, num_workers=2, multiprocessing_context="fork", timeout=600)
    assert [int(row) for row in loader] == expected


def test_several_python_threads_read_one_stream():
    sampler = GroupBatchSampler(GROUPS, 50, num_batches=400)
    expected = sampler.indices()
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: sampler.indices(start, start + 20), range(0, 400, 20)))
    assert np.array_equal(np.concatenate(parts), expected)


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


def test_pickling_and_repr():
    sampler = GroupBatchSampler(GROUPS, 10, seed=2, rank=1, num_replicas=4)
    list(itertools.islice(sampler, 7))
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy.state_dict() == sampler.state_dict()
    assert list(copy) == list(sampler)
    assert repr(sampler) == (
        "GroupBatchSampler(num_groups=4, batch_size=10, num_batches=100, quotas=[250, 250, 250, 250], seed=2, "
        "epoch=1, rank=1, num_replicas=4)"
    )
    assert repr(GroupBatchSampler(GROUPS, 10)).endswith("seed=0, epoch=0)")
