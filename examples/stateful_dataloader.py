"""torchdata's StatefulDataLoader: after a kill at any batch, the next run continues with the next batch.

    python stateful_dataloader.py CHECKPOINT [BATCHES]

trains for two epochs, and with BATCHES kills itself after that many. The loader's state contains the sampler's, as of
the last batch that the loop received, however far the workers have prefetched.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.data import TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from dbpt.sampling import GroupSampler

GROUPS = torch.arange(60) % 6 // 5  # 50 rows of group 0, 10 of group 1
EPOCHS = 2


def main(checkpoint, batches=None):
    dataset = TensorDataset(torch.arange(len(GROUPS)), torch.randn(len(GROUPS), 3), GROUPS)
    loader = StatefulDataLoader(dataset, batch_size=6, sampler=GroupSampler(GROUPS), num_workers=2)
    model, step = torch.nn.Linear(3, 2), 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if checkpoint.exists():
        model.load_state_dict(load_file(checkpoint))
        with safe_open(checkpoint, framework="pt") as saved:
            position = json.loads(saved.metadata()["position"])
        loader.load_state_dict(position["loader"])
        step = position["step"]
    killed_at = None if batches is None else step + int(batches)
    while step < EPOCHS * len(loader):  # counts steps, not epochs: a state may be that of the very end of one
        for rows, features, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(features), labels).backward()
            optimizer.step()
            step += 1
            print(*rows.tolist(), flush=True)
            partial = checkpoint.with_suffix(".partial")
            position = {"step": step, "loader": loader.state_dict()}  # plain numbers: nothing needs to be pickled
            save_file(model.state_dict(), partial, metadata={"position": json.dumps(position)})
            partial.replace(checkpoint)
            if step == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
