"""Write docs/reference/text_towers.md: the path through the text tower of each architecture that open_clip names.

Run: python tools/write_text_towers.py
"""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import open_clip
import torch

from dbpt.clip.model import build_model
from dbpt.clip.shared_prefix_tower import why_no_shared_prefix

ROOT = Path(__file__).resolve().parents[1]
STUB_VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
PAGE = """# Text towers

<!-- written by tools/write_text_towers.py from open_clip's registry -->

How dbpt runs the text tower of each open_clip model. With cached features the text tower is nearly all of a training
step, so dbpt takes the fastest exact path that the model allows.

- **shared prefix**: drops the positions after EOS, runs the common start of all prompts once, and groups prompts by
  length. For causal towers.
- **general**: runs the model's own `encode_text` with the context in place of placeholder embeddings. For all others:
  bidirectional towers, towers that mask padding by token id, Hugging Face models, and configs of your own with unusual
  attention (`qk_norm`, `scale_attn`, ...).

In a causal tower no token influences an earlier one, so the first path is exact. The tests compare every model
below with its own `encode_text` (random weights, two blocks): features agree within 1e-4, gradients within 1e-3 of the
largest one.

## Prompts and shared tokens

| setting | prompt | shared by all classes |
|---|---|---|
| `class_position = "end"` | `[SOS][ctx × n_ctx][name][.][EOS]` | `[SOS]`, the context, the common start of all names |
| `class_position = "middle"` | `[SOS][ctx × n_ctx/2][name][ctx × n_ctx/2][.][EOS]` | `[SOS]`, half the context |
| `class_position = "front"` | `[SOS][name][ctx × n_ctx][.][EOS]` | `[SOS]` |
| `class_specific_context = true` (CoOp's CSC) | any of them | `[SOS]` |

- `ctx_init = "a photo of a"` initialises the context with the embeddings of these words. By default the context starts
  as the first zero-shot sentence that ends with the class: "A photo of a celebrity with" for CelebA.
- `text_precision = "bf16"` holds the tower's weights in bfloat16 during training, which is faster on processors with
  bfloat16 instructions. The context, the zero-shot classifier and the pseudo attributes stay in float32. float16 is not
  offered: small gradients would underflow to 0.
- With many classes the activations may exceed `text_memory_mb`. The prompts then run in chunks, and each chunk runs a
  second time in the backward pass. The result is the same up to rounding.

## Augmented images

`features = "live"` trains as CoOp does: every step decodes, crops and flips the images and runs the frozen image tower.
The crops depend on the seed, the epoch and the position in the epoch, so a resumed run sees the same ones. Zero-shot,
pseudo attributes, validation, test and JTT's error set still use cached features of the unaugmented images.

## Tokenizers

Models with a tokenizer other than CLIP's download it from a hub. Without a network give `--tokenizer FILE`, a
`tokenizer.json` or a folder that contains one.

## The {total} names of open_clip {version}

{summary}

| path | why no faster one | positions | tokenizer | names |
|---|---|---|---|---|
"""


def text_config(name: str) -> dict[str, Any]:
    """Return the config of an open_clip name with a minimal image tower."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    assert config is not None
    config["vision_cfg"] = dict(STUB_VISION)
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {"layers": 1, "width": 32, "heads": 1}
    return config


def path_and_reason(name: str) -> tuple[str, str]:
    """Return the path of an open_clip name and the reason why it has no faster one."""
    config = text_config(name)
    if "hf_model_name" in config["text_cfg"]:  # whose own configuration lives on a hub
        return "general", "a Hugging Face text model"
    config["text_cfg"]["layers"] = 1
    with torch.device("meta"):
        model = build_model(config, name)
    reason = why_no_shared_prefix(model) or ""
    return ("general" if reason else "shared prefix"), reason


def page() -> str:
    """Return the text of docs/reference/text_towers.md."""
    names = open_clip.list_models()
    rows: dict[str, list[str]] = {}
    paths: Counter[tuple[str, str]] = Counter()
    for name in names:
        path, reason = path_and_reason(name)
        text = text_config(name)["text_cfg"]
        tokenizer = "from a hub" if "hf_tokenizer_name" in text else "CLIP's"
        row = f"| {path} | {reason} | {text.get('context_length', 77)} | {tokenizer} |"
        rows.setdefault(row, []).append(f"`{name}`")
        paths[path, reason] += 1
    summary = "; ".join(
        f"{count} {path}" + f" ({reason})" * bool(reason) for (path, reason), count in paths.most_common()
    )
    version = ".".join(open_clip.__version__.split(".")[:2])
    table = "".join(f"{row} {', '.join(names_of_row)} |\n" for row, names_of_row in rows.items())
    return PAGE.format(total=len(names), version=version, summary=f"{summary}.") + table


if __name__ == "__main__":
    (ROOT / "docs/reference/text_towers.md").write_text(page(), encoding="utf-8")
