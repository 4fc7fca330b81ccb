"""Train a ResNet of torchvision from scratch and debias it with CLIP, which only guesses an attribute of each image.

The task is blond hair. Nearly all blond people of the demo are women. Prints the worst-group accuracy over the true
groups of the test split, with plain shuffling and with all groups of class and guess drawn equally often, for the same
network, epochs and seed.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import dbpt
from dbpt.data.demo import mini_clip_paths
from dbpt.sampling import GroupSampler

EPOCHS, BATCH_SIZE, LEARNING_RATE, PIXELS = 4, 32, 3e-3, 32


def train(dataset, num_classes, seed, sampler=None):
    torch.manual_seed(seed)
    model = torchvision.models.resnet.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes)
    loader = DataLoader(dataset, BATCH_SIZE, sampler=sampler, shuffle=sampler is None)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * len(loader))
    for _epoch in range(EPOCHS):  # after each pass the sampler goes on to its next epoch by itself
        for images, labels in loader:
            mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
            loss = torch.nn.functional.cross_entropy(model(torch.where(mirrored, images.flip(3), images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with tempfile.TemporaryDirectory() as folder:
        root = dbpt.write_demo("demo-celeba", Path(folder, "faces"))
        model, pretrained = mini_clip_paths()  # for photographs leave both out: OpenAI's ViT-B-32 guesses
        guesses = dbpt.guess_attributes(
            "celeba", root=root, model=model, pretrained=pretrained, cache=Path(folder, "cache")
        )
        data = guesses.dataset
        images = [Image.open(data.root / path).resize((PIXELS, PIXELS)) for path in data.paths]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
    train_rows, test_rows = (np.flatnonzero(data.splits == split) for split in (0, 2))
    dataset = TensorDataset(images[train_rows], torch.from_numpy(data.labels[train_rows]))
    balanced = GroupSampler(guesses.groups[train_rows], seed=seed)
    for name, sampler in [("shuffled", None), ("groups balanced", balanced)]:
        network = train(dataset, data.num_classes, seed, sampler)
        with torch.inference_mode():
            predictions = network(images[test_rows]).argmax(dim=1)
        metrics = dbpt.group_metrics(
            predictions=predictions,
            labels=data.labels[test_rows],
            attributes=data.attributes[test_rows],
            num_classes=2,
            num_attributes=2,
        )
        print(f"{name}: worst group {metrics.worst_group_accuracy:.1%}, average {metrics.average:.1%}", flush=True)


if __name__ == "__main__":
    main()
