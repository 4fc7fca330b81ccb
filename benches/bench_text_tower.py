"""A prompt-tuning step's text side, forward and backward, against open_clip's own ``encode_text`` on all 77 positions.

Peer: open_clip, called through `GeneralTower`, which is ``encode_text`` with the context in place of placeholders (what
CoOp computes at every step). ViT-B-32's text tower at random initialisation, float32. Run by hand:

    python benches/bench_text_tower.py
"""

import statistics
import time

import open_clip
import torch

from dbpt.text_tower import build_text_tower, prompt_token_ids

NAMES = ["landbird", "waterbird", "dog", "cat", "elephant", "giraffe", "guitar", "house", "person", "goldfish"]
N_CTX = 16


def class_names(count: int) -> list[str]:
    return [f"{NAMES[i % 10]} {NAMES[i // 10 % 10]}" if count > 10 else NAMES[i] for i in range(count)]


def step_seconds(tower: torch.nn.Module, repetitions: int) -> float:
    context = torch.randn(N_CTX, 512, requires_grad=True)
    times = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        tower(context).sum().backward()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32").eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    for count, repetitions in ((2, 15), (100, 3)):
        layout = prompt_token_ids(tokenizer, class_names(count), N_CTX)
        towers = {path: build_text_tower(model, layout, path) for path in ("general", "truncated", "shared-prefix")}
        seconds = {path: step_seconds(tower, repetitions) for path, tower in towers.items()}
        context = torch.randn(N_CTX, 512) * 0.02
        with torch.no_grad():
            difference = (towers["shared-prefix"](context) - towers["general"](context)).abs().max().item()
        print(
            f"{count} classes, {torch.get_num_threads()} threads: "
            + ", ".join(f"{path} {1000 * value:.0f} ms" for path, value in seconds.items())
            + f"; {seconds['general'] / seconds['shared-prefix']:.1f}x, largest difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
