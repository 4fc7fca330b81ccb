"""An epoch of 4,795 images (the size of Waterbirds) in batches of 32, on cached features, against CoOp.

The peer is CoOp's step: the batch goes through the frozen image tower, and two prompts go through all 77 positions of
the text tower. All 150 steps cost the same, so the median of a few stands for each. dbpt runs `dbpt.training.train` for
one epoch of `erm` with validation. ViT-B-32 with random weights, 16 context tokens, random pixels and features. Also
measures a step for several batch sizes. Run by hand:

    python benches/bench_epoch.py [--cpu-time]

``--cpu-time`` measures processor time on one thread, for a busy machine.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from dbpt import load_backbone
from dbpt.clip import Backbone
from dbpt.clip.prompt_tokens import prompt_token_ids
from dbpt.clip.shared_prefix_tower import build_text_tower
from dbpt.heads import PromptHead
from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.settings.config import FitConfig
from dbpt.training import Rows, train

CLASSES = {"landbird": ("landbird",), "waterbird": ("waterbird",)}
TRAINING, VALIDATION, BATCH_SIZE, N_CTX = 4795, 1199, 32, 16
STEPS = math.ceil(TRAINING / BATCH_SIZE)
SAMPLED_STEPS, MEASURED_STEPS = 3, 9
CLOCK = time.process_time if "--cpu-time" in sys.argv else time.perf_counter


def seconds(work: Callable[[], object]) -> float:
    start = CLOCK()
    work()
    return CLOCK() - start


def coop_step(backbone: Backbone) -> Callable[[], None]:
    """Return CoOp's step: both towers, the gradient of the loss, and a step of SGD."""
    tower = build_text_tower(backbone.model, prompt_token_ids(backbone.tokenizer, list(CLASSES), N_CTX), "general")
    context = torch.nn.Parameter(torch.randn(N_CTX, 512) * 0.02)
    optimizer = torch.optim.SGD([context], lr=0.002, momentum=0.9)
    pixels, labels = torch.randn(BATCH_SIZE, 3, 224, 224), torch.arange(BATCH_SIZE) % 2

    def step() -> None:
        with torch.no_grad():
            features = F.normalize(backbone.model.encode_image(pixels), dim=-1)
        loss = F.cross_entropy(100 * features @ tower(context).T, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def random_rows(count: int) -> Rows:
    generator = np.random.default_rng(count)
    features = generator.standard_normal((count, 512), dtype=np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Rows(features, generator.integers(0, 2, count), generator.integers(0, 4, count))


def our_epoch(backbone: Backbone, precision: str) -> Callable[[], object]:
    """Return a function that trains one epoch as `fit` does, with validation."""
    training, validation = random_rows(TRAINING), random_rows(VALIDATION)
    head = PromptHead(backbone, CLASSES, n_ctx=N_CTX, seed=0, text_precision=precision)
    objective = OBJECTIVES["erm"](TrainingGroups(training.groups, training.labels, 2, 4))
    of_optimizer = {"optimizer": "sgd", "lr": 0.002, "warmup_epochs": 0}
    settings = FitConfig(epochs=1, batch_size=BATCH_SIZE, model_selection="last", **of_optimizer)
    return lambda: train(head, objective, training, validation, settings)


def our_step(head: PromptHead, features: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    return lambda: F.cross_entropy(head(features), labels).backward()


def step_by_batch(backbone: Backbone) -> None:
    head = PromptHead(backbone, CLASSES, n_ctx=N_CTX, seed=0)
    for size in (32, 512, TRAINING):
        rows = random_rows(size)
        step = our_step(head, torch.from_numpy(rows.features), torch.from_numpy(rows.labels))
        times = [seconds(step) for _ in range(MEASURED_STEPS)]
        print(f"a step of {size} rows: {1000 * statistics.median(times):.1f} ms, least {1000 * min(times):.1f} ms")


def main() -> None:
    torch.manual_seed(0)
    if "--cpu-time" in sys.argv:
        torch.set_num_threads(1)
    print(f"{torch.get_num_threads()} threads, {'processor' if '--cpu-time' in sys.argv else 'wall'} time")
    backbone = load_backbone("ViT-B-32", "random", image_precision="float32")
    step = coop_step(backbone)
    step()  # the first one also allocates
    sampled = [seconds(step) for _ in range(SAMPLED_STEPS)]
    coop = STEPS * statistics.median(sampled)
    print(f"CoOp's way: {coop:.0f} s, {STEPS} steps of {', '.join(f'{1000 * one:.0f}' for one in sampled)} ms")
    for precision in ("float32", "bf16"):
        ours = seconds(our_epoch(backbone, precision))
        print(f"ours, text tower held in {precision}: {ours:.1f} s, {coop / ours:.1f}x", flush=True)
    step_by_batch(backbone)


if __name__ == "__main__":
    main()
