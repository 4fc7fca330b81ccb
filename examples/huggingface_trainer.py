"""transformers' Trainer with a GroupSampler, on any number of processes.

    torchrun --nproc_per_node 2 huggingface_trainer.py OUTPUT_FOLDER

The Trainer lets Accelerate shard the batches, so the sampler gets no rank.
"""

import sys
from pathlib import Path

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from dbpt.sampling import GroupSampler

GROUPS = torch.arange(240) % 6 // 5  # 200 rows of group 0, 40 of group 1


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, features, labels):
        logits = self.layer(features)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


class GroupTrainer(Trainer):
    def _get_train_sampler(self, train_dataset=None):
        sampler = GroupSampler(GROUPS, num_samples=80, seed=self.args.seed)
        self.add_callback(SetEpoch(sampler))
        return sampler

    def training_step(self, model, inputs, *args):
        rows = self.accelerator.gather(inputs.pop("rows"))
        if self.is_world_process_zero():
            print("epoch", int(self.state.epoch), "rows", *rows.tolist(), flush=True)
        return super().training_step(model, inputs, *args)


class SetEpoch(TrainerCallback):
    """Set the epoch of the sampler, which a Trainer resumed in mid-epoch on several processes doesn't do."""

    def __init__(self, sampler):
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.sampler.set_epoch(int(state.epoch))


def main(folder):
    dataset = [{"rows": row, "features": torch.randn(3), "labels": group} for row, group in enumerate(GROUPS)]
    arguments = TrainingArguments(
        folder,
        num_train_epochs=2,
        per_device_train_batch_size=4,
        save_steps=12,
        seed=0,
        use_cpu=True,
        remove_unused_columns=False,  # keeps "rows", which the model doesn't take
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )
    trainer = GroupTrainer(Classifier(), arguments, train_dataset=dataset)
    trainer.train(resume_from_checkpoint=any(Path(folder).glob("checkpoint-*")))
    trainer.accelerator.end_training()  # ends the threads that talk to the other processes, before the process ends


if __name__ == "__main__":
    main(sys.argv[1])
