"""Heads, which are trained on top of the frozen towers. A head turns features (N, D) into logits (N, C).

Classes are looked up on first use, so that the names of heads need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dbpt.registry import Registry

if TYPE_CHECKING:
    from dbpt.heads.base import AdapterHead as AdapterHead
    from dbpt.heads.base import Head as Head
    from dbpt.heads.base import HeadStart as HeadStart
    from dbpt.heads.base import LinearHead as LinearHead
    from dbpt.heads.prompt import PromptHead as PromptHead

HEADS: "Registry[Head]" = Registry(
    "head",
    "dbpt.heads",
    "dbpt.heads.base:Head",
    {
        "prompt": "dbpt.heads.prompt:PromptHead",
        "linear": "dbpt.heads.base:LinearHead",
        "adapter": "dbpt.heads.base:AdapterHead",
    },
)
"""The registry of heads."""
LINEAR_HEADS = ("prompt", "linear")
"""Heads of dbpt whose classifier is one matrix, known without torch."""

register_head = HEADS.register

__all__ = ["HEADS", "AdapterHead", "Head", "HeadStart", "LinearHead", "PromptHead", "register_head"]


def __getattr__(name: str) -> Any:
    if name not in ("AdapterHead", "Head", "HeadStart", "LinearHead", "PromptHead"):
        raise AttributeError(f"module 'dbpt.heads' has no attribute {name!r}")
    return getattr(import_module(f"dbpt.heads.{'prompt' if name == 'PromptHead' else 'base'}"), name)
