"""The heads, which are trained on top of the frozen towers. A head turns features (N, D) into logits (N, C).

Classes are looked up on first use, so that the list of heads needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbpt.heads.feature_heads import AdapterHead as AdapterHead
    from dbpt.heads.feature_heads import Head as Head
    from dbpt.heads.feature_heads import LinearHead as LinearHead
    from dbpt.heads.prompt import PromptHead as PromptHead

HEADS = {
    "prompt": "CoOp context vectors in front of the class names; the text tower stays frozen",
    "linear": "a linear layer on the features, which starts as the zero-shot classifier",
    "adapter": "CLIP-Adapter: two small layers that move the features; the class weights stay zero-shot",
}
"""A description of each head, by the name of its setting."""

HEAD_SETTINGS = {
    "prompt": ("n_ctx", "ctx_init", "class_specific_context", "class_position", "text_precision", "text_memory_mb")
}
"""Names of the `FitConfig` settings that only this head reads; it takes them as keywords."""

__all__ = ["HEADS", "HEAD_SETTINGS", "AdapterHead", "Head", "LinearHead", "PromptHead"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'dbpt.heads' has no attribute {name!r}")
    return getattr(import_module("dbpt.heads.prompt" if name == "PromptHead" else "dbpt.heads.feature_heads"), name)
