"""The samplers under torchdata's StatefulDataLoader: killed anywhere and resumed, they go on as if nothing had been."""

import copy
import itertools

import numpy as np
import pytest
import torch

from dbpt.sampling import GroupBatchSampler, GroupSampler, WeightedSampler

torchdata = pytest.importorskip("torchdata.stateful_dataloader")

GROUPS = np.random.default_rng(0).choice(4, 100, p=[0.7, 0.05, 0.02, 0.23])
EPOCHS, BATCHES = 3, 7
EVERYWHERE = [(0, 0), (0, 3), (0, BATCHES - 1), (0, "end"), (1, 2), (1, "end")]
SAMPLERS = {
    "groups": lambda: GroupSampler(GROUPS, seed=3, num_samples=53),
    "batches": lambda: GroupBatchSampler(GROUPS, 8, seed=3, num_batches=7),
    "weights": lambda: WeightedSampler(GROUPS, 53, seed=3),
}


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(GROUPS)

    def __getitem__(self, row):
        return row


def train(make_sampler, num_workers, sets_epochs, *, first_epoch=0, state=None, kill=None):
    """Rows by epoch, and if the loop was killed, after a batch or after an epoch, what its checkpoint held."""
    sampler = make_sampler()
    makes_batches = isinstance(sampler, GroupBatchSampler)
    loader = torchdata.StatefulDataLoader(
        Rows(),
        **({"batch_sampler": sampler} if makes_batches else {"batch_size": 8, "sampler": sampler}),
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,
    )
    if state is not None:
        loader.load_state_dict(state)
    rows = {}
    for epoch in range(first_epoch, EPOCHS):
        if sets_epochs:
            sampler.set_epoch(epoch)
        of_epoch = rows.setdefault(epoch, [])
        for number, batch in enumerate(loader):
            of_epoch += batch.tolist()
            if kill == (epoch, number):
                return rows, (epoch, copy.deepcopy(loader.state_dict()))
        if kill == (epoch, "end"):
            return rows, (epoch + 1, copy.deepcopy(loader.state_dict()))
    return rows, None


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize(("name", "sets_epochs"), [*itertools.product(SAMPLERS, [False, True])])
def test_a_killed_loop_resumes_exactly(name, sets_epochs):
    num_workers = 2 if (name, sets_epochs) == ("batches", False) else 0
    make_sampler, kills = SAMPLERS[name], [(0, 3), (1, "end")] if num_workers else EVERYWHERE
    expected, _ = train(make_sampler, num_workers, sets_epochs)
    order = make_sampler().indices().ravel()
    assert [len(rows) for rows in expected.values()] == [len(order)] * EPOCHS
    assert expected[0] == order.tolist()
    for kill in kills:
        before, (epoch, state) = train(make_sampler, num_workers, sets_epochs, kill=kill)
        after, _ = train(make_sampler, num_workers, sets_epochs, first_epoch=epoch, state=state)
        assert {e: before.get(e, []) + after.get(e, []) for e in range(EPOCHS)} == expected, kill
