"""What is trained on top of the frozen towers. A head turns features (N, D) into logits (N, C)."""

from dbpt.heads.prompt import PromptHead

__all__ = ["PromptHead"]
