"""Train the small CLIP of the demos on captioned drawings with a web-like bias.

    python tools/train_mini_clip.py | tee tools/train_mini_clip.log

Or another model on the same drawings, by open_clip's JSON: `--config tools/vit.json --name vit --out FOLDER`.

Draws (or takes from the cache) pictures of the three demo worlds, in which the background usually goes with the
object, and trains an open_clip CLIP with the contrastive loss. Writes the config and the float16 weights.
"""

import argparse
import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from captions import CAPTIONS
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from dbpt.data.demo import QUALITY
from dbpt.data.demo.drawings import draw_bird, draw_face, draw_pet, sample_face

# Shares of (y, a) = 00, 01, 10, 11 among the training drawings: what goes together on the web goes together here.
WEB_SHARES = {
    "waterbirds": (0.445, 0.055, 0.055, 0.445),
    "celeba": (0.27, 0.38, 0.32, 0.03),
    "metashift": (0.38, 0.12, 0.12, 0.38),
}
DRAW: dict[str, Callable[[np.random.Generator, bool, bool], Image.Image]] = {
    "waterbirds": draw_bird,
    "celeba": lambda rng, y, a: draw_face(rng, sample_face(rng, y, a)),
    "metashift": draw_pet,
}
CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"layers": [1, 1, 2, 1], "width": 16, "head_width": 32, "image_size": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}
DATA_SEED = 1_000_003  # far from the seeds of the demos: no demo image is a training drawing
TEXT_LENGTH = 24  # captions are shorter; a causal tower doesn't see what comes after EOS


@dataclass
class Drawings:
    """Pictures (N, 64, 64, 3) uint8 with their world (N,) and group g = 2 y + a (N,)."""

    pixels: np.ndarray
    worlds: np.ndarray
    groups: np.ndarray


def draw_all(count: int, cache: Path) -> Drawings:
    """Draw `count` pictures, a third of each world, through the same JPEG compression as the demos."""
    if cache.exists():
        stored = np.load(cache)
        return Drawings(stored["pixels"], stored["worlds"], stored["groups"])
    pixels = np.empty((count, 64, 64, 3), dtype=np.uint8)
    worlds, groups = np.arange(count) % 3, np.empty(count, dtype=np.int64)
    for i in range(count):
        world = list(DRAW)[worlds[i]]
        rng = np.random.Generator(np.random.PCG64([DATA_SEED, worlds[i], i]))
        groups[i] = rng.choice(4, p=WEB_SHARES[world])
        buffer = io.BytesIO()
        DRAW[world](rng, bool(groups[i] // 2), bool(groups[i] % 2)).save(buffer, "JPEG", quality=QUALITY)
        pixels[i] = np.asarray(Image.open(buffer))
    np.savez(cache, pixels=pixels, worlds=worlds, groups=groups)
    return Drawings(pixels, worlds, groups)


def normalise(pixels: np.ndarray) -> torch.Tensor:
    """Turn uint8 (B, 64, 64, 3) into float32 (B, 3, 64, 64) as open_clip's preprocessing does."""
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    return ((torch.from_numpy(pixels).float() / 255.0 - mean) / std).permute(0, 3, 1, 2).contiguous()


def encode_short_text(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """Encode captions (U, TEXT_LENGTH) as `model.encode_text` does at 77 positions, but in the time of 24."""
    x = model.token_embedding(tokens) + model.positional_embedding[:TEXT_LENGTH]
    x = model.transformer(x, attn_mask=model.attn_mask[:TEXT_LENGTH, :TEXT_LENGTH])
    x = model.ln_final(x)[torch.arange(len(tokens)), tokens.argmax(dim=1)]
    return F.normalize(x @ model.text_projection, dim=-1)


def contrastive_loss(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return CLIP's symmetric loss for images (B, D) that share captions (U, D); `own` (B,) is the caption of each."""
    logits = scale * images @ texts.T
    share = F.one_hot(own, len(texts)).to(logits)
    to_images = -(F.log_softmax(logits, dim=0) * share).sum(0) / share.sum(0)
    return 0.5 * (F.cross_entropy(logits, own) + (to_images * share.sum(0)).sum() / len(images))


def caption_batch(rng: np.random.Generator, data: Drawings, rows: np.ndarray) -> list[str]:
    """Draw a caption for each picture: about the object, its surroundings, or both."""
    captions = []
    for row in rows.tolist():
        choices = CAPTIONS[list(DRAW)[data.worlds[row]]]
        y, a = divmod(int(data.groups[row]), 2)
        kind = ("object", "place", "both")[int(rng.integers(3))]
        names, places, sentences = choices.names[y], choices.places[a], choices.sentences[kind]
        sentence = sentences[int(rng.integers(len(sentences)))]
        name, place = names[int(rng.integers(len(names)))], places[int(rng.integers(len(places)))]
        captions.append(sentence.format(name=name, place=place))
    return captions


def train(
    model: open_clip.CLIP,
    data: Drawings,
    steps: int,
    lr: float,
    batch: int,
    rng: np.random.Generator,
) -> None:
    """Train in place with AdamW, 50 warm-up steps and a cosine to zero at `steps`."""
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    tokenized: dict[str, torch.Tensor] = {}
    decay = [p for p in model.parameters() if p.ndim >= 2 and p is not model.token_embedding.weight]
    chosen = {id(p) for p in decay}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    start, order = time.time(), np.empty(0, dtype=np.int64)
    for step in range(steps):
        rate = lr * min(1.0, (step + 1) / 50) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        if len(order) < batch:
            order = rng.permutation(len(data.groups))
        rows, order = order[:batch], order[batch:]
        unique, own = np.unique(caption_batch(rng, data, rows), return_inverse=True)
        for caption in unique.tolist():
            if caption not in tokenized:
                tokenized[caption] = tokenizer([caption])[0, :TEXT_LENGTH]
        model.train()
        images = F.normalize(model.encode_image(normalise(data.pixels[rows])), dim=-1)
        texts = encode_short_text(model, torch.stack([tokenized[caption] for caption in unique.tolist()]))
        loss = contrastive_loss(images, texts, model.logit_scale.exp(), torch.from_numpy(own))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, math.log(100.0))
        if (step + 1) % 50 == 0:
            scale = float(model.logit_scale.detach().exp())
            print(
                f"step {step + 1:5d}  loss {loss.item():.3f}  scale {scale:.1f}  {time.time() - start:.0f} s",
                flush=True,
            )


def main() -> None:
    """Parse the command line, train, write config and weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--name", default="mini_clip")
    parser.add_argument("--out", type=Path, default=Path("python/dbpt/data/demo"))
    parser.add_argument("--cache", type=Path, default=Path("/tmp/mini_clip_drawings.npz"))
    parser.add_argument("--drawings", type=int, default=24_000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(" ".join(f"{key}={value}" for key, value in vars(arguments).items()))
    torch.manual_seed(arguments.seed)
    data = draw_all(arguments.drawings, arguments.cache)
    config = json.loads(arguments.config.read_text()) if arguments.config else CONFIG
    model = open_clip.CLIP(**config)
    rng = np.random.Generator(np.random.PCG64(arguments.seed))
    train(model, data, arguments.steps, arguments.lr, arguments.batch, rng)
    save(model, config, arguments.out / arguments.name)


def save(model: open_clip.CLIP, config: dict[str, Any], path: Path) -> None:
    """Write ``path``.json and ``path``.safetensors (float16; batch counters stay integers)."""
    state = model.state_dict()
    weights = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items() if k != "attn_mask"}
    save_file(weights, path.with_suffix(".safetensors"))
    path.with_suffix(".safetensors").chmod(0o644)
    path.with_suffix(".json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
