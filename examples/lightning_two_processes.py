"""Lightning on two processes. The sampler shards its draws.

Without `use_distributed_sampler=False` Lightning wraps the sampler, shuffles its draws again and shards them. In that
case give it no rank, and don't rely on its order or its state. Lightning calls `set_epoch` in both cases.
"""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from dbpt.sampling import GroupSampler

GROUPS = torch.arange(240) % 6 // 5  # 200 rows of group 0, 40 of group 1


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.seen = []

    def train_dataloader(self):
        rows = torch.arange(len(GROUPS))
        self.sampler = GroupSampler(
            GROUPS,
            num_samples=80,  # all of the small group and as many of the large one
            rank=self.trainer.global_rank,
            num_replicas=self.trainer.world_size,
        )
        return DataLoader(TensorDataset(rows, torch.randn(len(rows), 3), GROUPS), batch_size=4, sampler=self.sampler)

    def training_step(self, batch, _batch_number):
        rows, features, labels = batch
        self.seen.append(rows)
        return torch.nn.functional.cross_entropy(self.layer(features), labels)

    def on_train_epoch_end(self):
        seen = self.all_gather(torch.cat(self.seen))  # (processes, rows)
        self.seen.clear()
        if self.trainer.is_global_zero:
            for rank, rows in enumerate(seen):
                print(f"epoch {self.current_epoch} rank {rank} rows", *rows.tolist(), flush=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


if __name__ == "__main__":
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",  # on GPUs "ddp"
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(Classifier())
