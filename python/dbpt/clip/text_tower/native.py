"""What open_clip's own causal text towers have in common: how to tell one, and its two ends, embedding and result."""

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from dbpt.clip.text_tower.layout import PromptLayout
from dbpt.clip.text_tower.tower import TextTower


def native_text(model: nn.Module) -> Any:
    """The module that holds token_embedding, transformer, ln_final ...: the model itself (CLIP) or its ``text``."""
    return getattr(model, "text", model)


def _pool_type(model: nn.Module) -> str | None:
    pool = getattr(model, "text_pool_type", None) or getattr(native_text(model), "pool_type", None)
    return pool if isinstance(pool, str) else None


def why_not_causal(model: nn.Module) -> str | None:
    """What keeps a tower from being cut behind its last end token, in words; None if nothing does."""
    text = native_text(model)
    if not (hasattr(text, "token_embedding") and hasattr(text, "positional_embedding")):
        return "a Hugging Face text model"
    if getattr(text, "cls_emb", None) is not None:
        return "read at a class token behind the padding, padding masked by token id"
    if getattr(text, "attn_mask", None) is None:
        return "not causal"
    if _pool_type(model) not in ("argmax", "eos"):
        return "not read at the end token"
    return "gives tokens as well" if getattr(text, "output_tokens", False) else None


def why_no_shared_prefix(model: nn.Module) -> str | None:
    """What keeps a causal tower's attention from being split, in words; None if nothing does."""
    plain = all(
        type(block) is ResidualAttentionBlock
        and type(block.attn) is nn.MultiheadAttention
        and block.attn.in_proj_weight is not None
        and block.attn.bias_k is None
        for block in native_text(model).transformer.resblocks
    )
    return None if plain else "blocks other than open_clip's plain ones"


def eos_positions(model: nn.Module, ids_PL: torch.Tensor) -> torch.Tensor:
    """(P,) the position that `open_clip.transformer.text_global_pool` reads."""
    if _pool_type(model) == "argmax":
        return ids_PL.argmax(dim=1)
    eos_id: int | None = getattr(model, "text_eos_id", None)
    eos_id = native_text(model).eos_id if eos_id is None else eos_id
    return torch.eq(ids_PL, eos_id).int().argmax(dim=1)


class CausalTower(TextTower):
    """What both causal paths share: the positions added, and the way from the EOS rows to the result."""

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(native_text(model), layout)
        self.eos_P = eos_positions(model, layout.ids)

    def at_positions(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Token vectors (..., d) with what the tower adds to those at ``positions``."""
        added: torch.Tensor = self.frozen.positional_embedding[positions]
        return tokens + added.to(tokens.dtype)

    def project(self, eos_Pd: torch.Tensor) -> torch.Tensor:
        """Final norm, projection, unit length: (P, D) float32."""
        x = self.frozen.ln_final(eos_Pd)
        projection = self.frozen.text_projection
        if isinstance(projection, nn.Linear):
            x = projection(x.to(projection.weight.dtype))
        elif projection is not None:
            x = x.to(projection.dtype) @ projection
        return F.normalize(x.float(), dim=-1)
