"""Accelerate on two processes. It shards the batches itself, so the sampler gets no rank.

Every process has the same sampler, and the loader gives each process every other batch. At the start of a pass the
loader calls `set_epoch` with its own count of passes, which begins at 0 in a resumed program, so tell it the epoch.
"""

import torch
from accelerate import Accelerator, debug_launcher
from torch.utils.data import DataLoader, TensorDataset

from dbpt.sampling import GroupSampler

GROUPS = torch.arange(240) % 6 // 5  # 200 rows of group 0, 40 of group 1
BATCH_SIZE = 4


def make_loader(accelerator):
    rows = torch.arange(len(GROUPS))
    sampler = GroupSampler(GROUPS, num_samples=80)  # all of the small group and as many of the large one
    dataset = TensorDataset(rows, torch.randn(len(rows), 3), GROUPS)
    return sampler, accelerator.prepare(DataLoader(dataset, BATCH_SIZE, sampler=sampler))


def train(accelerator, loader, model, optimizer, stop_after=None):
    """Train for a pass, or a few batches of it; return the rows that each process saw, (processes, batches, B)."""
    seen = []
    for rows, features, labels in loader:
        accelerator.backward(torch.nn.functional.cross_entropy(model(features), labels))
        optimizer.step()
        optimizer.zero_grad()
        seen.append(rows)
        if len(seen) == stop_after:
            break
    return accelerator.gather(torch.stack(seen)[None])


def report(accelerator, epoch, seen):
    if accelerator.is_main_process:
        for rank, rows in enumerate(seen):
            print(f"epoch {epoch} rank {rank} rows", *rows.flatten().tolist(), flush=True)


def main():
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Linear(3, 2)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    sampler, loader = make_loader(accelerator)
    for epoch in range(2):
        report(accelerator, epoch, train(accelerator, loader, model, optimizer))

    before = train(accelerator, loader, model, optimizer, stop_after=3)
    report(accelerator, sampler.epoch, before)
    state = sampler.state_dict(consumed=before.numel())  # of all processes, for the sampler has no rank
    resumed, loader = make_loader(accelerator)  # as in a new program
    resumed.load_state_dict(state)
    loader.set_epoch(state["epoch"])
    report(accelerator, resumed.epoch, train(accelerator, loader, model, optimizer))


if __name__ == "__main__":
    debug_launcher(main, num_processes=2)  # with `accelerate launch` call main() itself
