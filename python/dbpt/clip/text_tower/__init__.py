"""The frozen text tower as a function from context vectors (n_ctx, d) or (C, n_ctx, d) to text features (P, D).

A CoOp-style prompt is ``[SOS][ctx x n_ctx][class tokens][.][EOS]`` (Zhou et al., 2022):

1. `layout` returns token ids with placeholders for the context.
2. `build` chooses the fastest path that is exact for the model: ``shared-prefix`` (in `shared_prefix`) for causal
   open_clip towers of plain attention blocks, ``general`` (in `tower`) for everything else.
"""

from dbpt.clip.text_tower.build import build_text_tower, fit_text_tower, text_path
from dbpt.clip.text_tower.layout import ClassPosition, PromptLayout, context_token_ids, prompt_token_ids

__all__ = [
    "ClassPosition",
    "PromptLayout",
    "build_text_tower",
    "context_token_ids",
    "fit_text_tower",
    "prompt_token_ids",
    "text_path",
]
