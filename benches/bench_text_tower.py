"""A prompt-tuning step, forward and backward, against CoOp's step.

The peers are open_clip's ``encode_text`` on all 77 positions, through `GeneralTower`; the same in chunks that compute
activations twice, where a thousand classes would not fit into memory; and the frozen image tower, which CoOp also runs
at every step. ViT-B-32 with random weights, float32, 16 context tokens. Run by hand:

    python benches/bench_text_tower.py [--cpu-time] [--memory]

``--cpu-time`` measures processor time on one thread, for a busy machine. ``--memory`` only measures the peak memory of
steps with ImageNet's thousand names.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable

import open_clip
import torch
from torch.nn import functional as F

from dbpt import load_backbone
from dbpt.clip.chunked_text_tower import fit_text_tower
from dbpt.clip.prompt_tokens import prompt_token_ids
from dbpt.clip.shared_prefix_tower import build_text_tower
from dbpt.heads import PromptHead

NAMES = ["landbird", "waterbird", "dog", "cat", "elephant", "giraffe", "guitar", "house", "person", "goldfish"]
N_CTX, BATCH_SIZE, PLAIN_CHUNK = 16, 32, 50
CLOCK = time.process_time if "--cpu-time" in sys.argv else time.perf_counter


def class_names(count: int) -> list[str]:
    return [f"{NAMES[i % 10]} {NAMES[i // 10 % 10]}" if count > 10 else NAMES[i] for i in range(count)]


def seconds(work: Callable[[], object], repetitions: int) -> float:
    times = []
    for _ in range(repetitions + 1):
        start = CLOCK()
        work()
        times.append(CLOCK() - start)
    return statistics.median(times[1:] or times)


def step(tower: torch.nn.Module) -> Callable[[], None]:
    context = torch.randn(N_CTX, 512, requires_grad=True)
    return lambda: tower(context).sum().backward()


def text_side(model: torch.nn.Module, tokenizer: Callable, names: list[str], repetitions: int) -> tuple[float, float]:
    """Print the seconds of each path for ``names``; return those of the plain tower and of the fast path."""
    layout = prompt_token_ids(tokenizer, names, N_CTX)
    towers = {path: build_text_tower(model, layout, path) for path in ("general", "shared-prefix")}
    context = torch.randn(N_CTX, 512) * 0.02
    towers["bf16"] = fit_text_tower(model, layout, context, precision="bf16", memory_mb=10_000)
    found = {path: seconds(step(tower), repetitions) for path, tower in towers.items()}
    with torch.no_grad():
        difference = (towers["shared-prefix"](context) - towers["general"](context)).abs().max().item()
    print(
        f"{len(names)} classes: "
        + ", ".join(f"{path} {1000 * value:.0f} ms" for path, value in found.items())
        + f"; {found['general'] / found['shared-prefix']:.1f}x, bf16 {found['general'] / found['bf16']:.1f}x, "
        f"largest difference {difference:.1e}",
        flush=True,
    )
    return found["general"], found["shared-prefix"]


def coop_step(model: torch.nn.Module, plain: float, ours: float) -> None:
    """Time CoOp's step: the images of the batch through the frozen tower, then the plain text tower."""
    pixels = torch.randn(BATCH_SIZE, 3, 224, 224)
    with torch.no_grad():
        images = seconds(lambda: model.encode_image(pixels), 3)
    print(
        f"CoOp's step, batch {BATCH_SIZE}, 2 classes: images {1000 * images:.0f} ms + text {1000 * plain:.0f} ms, "
        f"against {1000 * ours:.0f} ms: {(images + plain) / ours:.1f}x",
        flush=True,
    )


def thousand_names(model: torch.nn.Module, tokenizer: Callable) -> None:
    """Time ImageNet's names. The chunks of the plain tower cost the same, so only one is timed."""
    names = list(open_clip.IMAGENET_CLASSNAMES)
    tower = build_text_tower(model, prompt_token_ids(tokenizer, names, N_CTX))
    ours = seconds(step(tower), 2)
    chunk = build_text_tower(model, prompt_token_ids(tokenizer, names[:PLAIN_CHUNK], N_CTX), "general")
    with torch.no_grad():
        again = seconds(lambda: chunk(torch.randn(N_CTX, 512)), 1)
    plain = len(names) / PLAIN_CHUNK * (again + seconds(step(chunk), 1))
    print(f"{len(names)} classes: plain {plain:.0f} s, ours {ours:.2f} s: {plain / ours:.1f}x", flush=True)


def memory() -> None:
    """Print the peak memory of two steps with ImageNet's names on features, batch 32."""
    backbone = load_backbone("ViT-B-32", "random", image_precision="float32")
    print(f"model loaded: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    classes = {f"{number} {name}": (name,) for number, name in enumerate(open_clip.IMAGENET_CLASSNAMES)}
    head = PromptHead(backbone, classes, n_ctx=N_CTX, seed=0)
    features = F.normalize(torch.randn(BATCH_SIZE, 512), dim=-1)
    for _ in range(2):
        F.cross_entropy(head(features), torch.arange(BATCH_SIZE)).backward()
    print(f"two steps of 1,000 names: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def main() -> None:
    torch.manual_seed(0)
    if "--cpu-time" in sys.argv:
        torch.set_num_threads(1)
    if "--memory" in sys.argv:
        return memory()
    model = open_clip.create_model("ViT-B-32").eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    print(f"{torch.get_num_threads()} threads, {'processor' if '--cpu-time' in sys.argv else 'wall'} time")
    plain, ours = text_side(model, tokenizer, class_names(2), 9)
    coop_step(model, plain, ours)
    text_side(model, tokenizer, class_names(100), 1)
    return thousand_names(model, tokenizer)


if __name__ == "__main__":
    main()
