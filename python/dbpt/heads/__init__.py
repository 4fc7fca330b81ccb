"""The heads, which are trained on top of the frozen towers. A head turns features (N, D) into logits (N, C).

Each head is a file; names are looked up on first use, so that the list of heads needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbpt.heads.adapter import AdapterHead as AdapterHead
    from dbpt.heads.base import Head as Head
    from dbpt.heads.linear import LinearHead as LinearHead
    from dbpt.heads.prompt import PromptHead as PromptHead

HEADS = {
    "prompt": "CoOp context vectors in front of the class names; the text tower stays frozen",
    "linear": "a linear layer on the features, which starts as the zero-shot classifier",
    "adapter": "CLIP-Adapter: two small layers that move the features; the class weights stay zero-shot",
}
"""A description of each head, by the name of its setting, which is that of its file."""

HEAD_SETTINGS = {
    "prompt": ("n_ctx", "ctx_init", "class_specific_context", "class_position", "text_precision", "text_memory_mb")
}
"""Names of the `FitConfig` settings that only this head reads; it takes them as keywords."""

_CLASSES = {"AdapterHead": "adapter", "Head": "base", "LinearHead": "linear", "PromptHead": "prompt"}

__all__ = ["HEADS", "HEAD_SETTINGS", *_CLASSES]


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module 'dbpt.heads' has no attribute {name!r}")
    return getattr(import_module(f"dbpt.heads.{_CLASSES[name]}"), name)
