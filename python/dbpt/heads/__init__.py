"""Heads, which are trained on top of the frozen towers. A head turns features (N, D) into logits (N, C).

Classes are looked up on first use, so that the names of heads need no torch.
"""

from typing import TYPE_CHECKING

from dbpt.lazy import on_first_use
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

__getattr__, __dir__ = on_first_use("dbpt.heads", base="AdapterHead Head HeadStart LinearHead", prompt="PromptHead")
