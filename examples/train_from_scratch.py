"""Train a small network from scratch and debias it with CLIP, which only labels the training images once.

The task is blond hair. Nearly all blond people of the demo are women. Prints the worst-group accuracy over the true
groups of the test split, with plain shuffling and with groups drawn equally often, for the same network, epochs and
seed.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dbpt
from dbpt.data.demo import mini_clip_paths
from dbpt.sampling import GroupSampler

EPOCHS, BATCH_SIZE, LEARNING_RATE = 10, 64, 3e-3


def pseudo_groups(data, cache_dir):
    """Return the groups (N,) of class and CLIP's pseudo attribute; no true attribute is used."""
    backbone = dbpt.load_backbone(*mini_clip_paths())  # for photographs: load_backbone("ViT-B-32-quickgelu", "openai")
    features = dbpt.embed_images(backbone, data.root, data.paths, cache_dir=cache_dir).features
    logits = dbpt.zero_shot_logits(backbone, features, *data.words.attribute_texts())
    return data.groups(dbpt.label_attributes(logits).pseudo_attributes)


def network(num_classes):
    layers, channels = [nn.AvgPool2d(2)], 3
    for width in (32, 64, 64):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def train(dataset, num_classes, seed, sampler=None):
    torch.manual_seed(seed)
    model = network(num_classes)
    loader = DataLoader(dataset, BATCH_SIZE, sampler=sampler, shuffle=sampler is None)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * len(loader))
    for _epoch in range(EPOCHS):  # after each pass the sampler goes on to its next epoch by itself
        for images, labels in loader:
            mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
            loss = nn.functional.cross_entropy(model(torch.where(mirrored, images.flip(3), images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with tempfile.TemporaryDirectory() as folder:
        data = dbpt.load_dataset("celeba", dbpt.write_demo("demo-celeba", Path(folder, "faces")))
        groups = pseudo_groups(data, Path(folder, "cache"))
        pixels = np.stack([np.asarray(Image.open(data.root / path)) for path in data.paths])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    train_rows, test_rows = (np.flatnonzero(data.splits == split) for split in (0, 2))
    dataset = TensorDataset(images[train_rows], torch.from_numpy(data.labels[train_rows]))
    for name, sampler in [("shuffled", None), ("groups balanced", GroupSampler(groups[train_rows], seed=seed))]:
        model = train(dataset, data.num_classes, seed, sampler)
        with torch.inference_mode():
            predictions = model(images[test_rows]).argmax(dim=1)
        metrics = dbpt.group_metrics(
            predictions, data.labels[test_rows], data.attributes[test_rows], num_classes=2, num_attributes=2
        )
        print(f"{name}: worst group {metrics.worst_group_accuracy:.1%}, average {metrics.average:.1%}", flush=True)


if __name__ == "__main__":
    main()
