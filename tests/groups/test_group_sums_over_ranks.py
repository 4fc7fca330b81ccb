"""Steps of several ranks: the weights of one process, bit for bit."""

from datetime import timedelta

import numpy as np
import torch
import torch.multiprocessing
from observed_rows import RULES, content, rows


def work_on_a_rank(rank, world_size, path):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{path}/rendezvous",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(minutes=5),  # on a busy machine the other one may start late
    )
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
    torch.multiprocessing.start_processes(work_on_a_rank, (2, tmp_path), nprocs=2, start_method="spawn")
    for number, rule in enumerate(RULES):
        alone = rule()
        for epoch in range(3):
            alone.observe(*rows(epoch, 61))
            alone.step()
        alone.observe(*rows(9))
        for rank in range(2):
            with np.load(tmp_path / f"rule{number}-rank{rank}.npz") as found:
                assert {name: found[name].tobytes() for name in found} == content(alone)
