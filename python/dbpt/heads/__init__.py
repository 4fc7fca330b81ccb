"""Heads, which are trained on top of the frozen towers. A head turns features (N, D) into logits (N, C).

Classes are looked up on first use, so that the names of heads need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dbpt.registry import Registry

if TYPE_CHECKING:
    from dbpt.heads.base import Head as Head
    from dbpt.heads.base import HeadStart as HeadStart
    from dbpt.heads.layers import AdapterHead as AdapterHead
    from dbpt.heads.layers import LinearHead as LinearHead
    from dbpt.heads.prompt import PromptHead as PromptHead

HEADS: "Registry[Head]" = Registry(
    "head",
    "dbpt.heads",
    "dbpt.heads.base:Head",
    {
        "prompt": "dbpt.heads.prompt:PromptHead",
        "linear": "dbpt.heads.layers:LinearHead",
        "adapter": "dbpt.heads.layers:AdapterHead",
    },
)
"""The registry of heads."""
LINEAR_HEADS = ("prompt", "linear")
"""Heads of dbpt whose classifier is one matrix, known without torch."""

register_head = HEADS.register

_HOMES = {"AdapterHead": "layers", "Head": "base", "HeadStart": "base", "LinearHead": "layers", "PromptHead": "prompt"}

__all__ = ["HEADS", "AdapterHead", "Head", "HeadStart", "LinearHead", "PromptHead", "register_head"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dbpt.heads' has no attribute {name!r}")
    return getattr(import_module(f"dbpt.heads.{_HOMES[name]}"), name)
