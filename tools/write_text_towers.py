"""Write docs/text_towers.md: which path dbpt takes through the text tower of each architecture that open_clip names.

Run: python tools/write_text_towers.py
"""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import open_clip
import torch

from dbpt.clip.config import build_model
from dbpt.clip.text_tower.native import why_no_shared_prefix, why_not_causal

ROOT = Path(__file__).resolve().parents[1]
STUB_VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
PAGE = """# Text towers

<!-- written by tools/write_text_towers.py from open_clip's registry -->

With cached features a training step costs what the text tower costs. dbpt takes the fastest path that is exact for the
model. All three are compared with open_clip's own `encode_text`, on the same token embeddings, for every name below:
values to 1e-5, gradients of the context to 1e-4 (`tests/clip/test_text_tower_names.py`; random weights, two blocks
deep).

- **shared prefix**: nothing behind a prompt's end token can influence it in a causal tower, and what all prompts begin
  with gives the same activations in each. So positions behind EOS are dropped, the common start runs once, and prompts
  of each length form a bucket: one long name does not lengthen the others.
- **truncated**: causal, but with blocks whose attention we can't split (`qk_norm`, `scale_attn` and the like in a
  config of your own): positions behind the longest prompt are dropped.
- **general**: the model's own `encode_text`, with the context written over the embeddings of placeholders. For towers
  that look both ways, that mask padding by token id (a placeholder is never the padding's id), or that are built
  otherwise. Hugging Face models, which mask all padding, do without that behind the longest prompt.

## What is shared

| setting | prompt | runs once for all classes |
|---|---|---|
| `class_position = "end"` | `[SOS][ctx × n_ctx][name][.][EOS]` | `[SOS]`, context, first words that all names share |
| `class_position = "middle"` | `[SOS][ctx × n_ctx/2][name][ctx × n_ctx/2][.][EOS]` | `[SOS]`, half the context |
| `class_position = "front"` | `[SOS][name][ctx × n_ctx][.][EOS]` | `[SOS]` |
| `class_specific_context = true` (CoOp's CSC) | any of them | `[SOS]` |

`ctx_init = "a photo of a"` starts the context as the embeddings of these words, however many tokens they have, and sets
`n_ctx`. Without it and without `n_ctx` the context starts as the first zero-shot sentence that has the class at its
end, up to the class: "A photo of a celebrity with" for CelebA, "This is a picture of a" for Waterbirds, "a photo of a"
where there is no such sentence. The context is float32 always. `text_precision = "bf16"` holds the tower's weights in
bfloat16 while training; the zero-shot row and the pseudo attributes are made in float32. It pays where the processor
multiplies bfloat16 in hardware. float16 is not offered: its small gradients become 0, while bfloat16 has float32's
range.

## Many classes

What a step keeps for the gradient grows with the classes. Where it would be more than `text_memory_mb`, the prompts go
through the tower in chunks, the short ones first, which keep nothing but their features and run a second time when the
gradient comes back. The result is that of one piece, up to the rounding of sums. What a position keeps is measured on
the tower itself, so any architecture will do.

## Augmented images

`features = "live"` trains as CoOp does: at each step the images are decoded, cropped at random, flipped, and go through
the frozen image tower. Crops are a function of seed, epoch and place in the epoch, so a resumed run sees the same ones.
Everything else uses the cached features of the images as they are: zero-shot, pseudo attributes, validation, test, and
what looks at all training rows at once (JTT's error set). A step then costs the image tower as
well; the default, `features = "cached"`, does without.

## Tokenizers of a hub

Models with a tokenizer other than CLIP's get it from a hub. Without a network give its file: `--tokenizer FILE`, a
`tokenizer.json` or a folder that holds one.

## The {total} names of open_clip {version}

{summary}

| name | path | why no faster one | positions | tokenizer |
|---|---|---|---|---|
"""


def text_config(name: str) -> dict[str, Any]:
    """The config of an open_clip name with as little as possible beside the text tower."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    assert config is not None
    config["vision_cfg"] = dict(STUB_VISION)
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {"layers": 1, "width": 32, "heads": 1}
    return config


def path_and_reason(name: str) -> tuple[str, str]:
    """The path of an open_clip name, and what keeps it from a faster one."""
    config = text_config(name)
    if "hf_model_name" in config["text_cfg"]:  # whose own configuration lives on a hub
        return "general", "a Hugging Face text model"
    config["text_cfg"]["layers"] = 1
    with torch.device("meta"):
        model = build_model(config, name)
    if reason := why_not_causal(model):
        return "general", reason
    reason = why_no_shared_prefix(model) or ""
    return ("truncated" if reason else "shared prefix"), reason


def page() -> str:
    """The text of docs/text_towers.md."""
    names = open_clip.list_models()
    rows, paths = [], Counter()
    for name in names:
        path, reason = path_and_reason(name)
        text = text_config(name)["text_cfg"]
        tokenizer = f"`{text['hf_tokenizer_name']}`" if "hf_tokenizer_name" in text else "CLIP's"
        rows.append(f"| `{name}` | {path} | {reason} | {text.get('context_length', 77)} | {tokenizer} |\n")
        paths[path, reason] += 1
    summary = "; ".join(
        f"{count} {path}" + f" ({reason})" * bool(reason) for (path, reason), count in paths.most_common()
    )
    version = ".".join(open_clip.__version__.split(".")[:2])
    return PAGE.format(total=len(names), version=version, summary=f"{summary}.") + "".join(rows)


if __name__ == "__main__":
    (ROOT / "docs/text_towers.md").write_text(page(), encoding="utf-8")
