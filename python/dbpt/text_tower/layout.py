"""Where the context stands among a prompt's tokens.

The ids come from tokenising ``"{name}."`` and inserting placeholders behind the start token, so a name, and later an
initial context, may have any number of tokens (counting words, as CoOp's ``CTX_INIT`` does, is wrong for "landbird").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dbpt.errors import InputError

Tokenizer = Callable[[list[str]], torch.Tensor]


@dataclass(frozen=True)
class PromptLayout:
    """Token ids of P prompts and the place of the context in them.

    ids: (P, L) int64, placeholders where the context goes, padded as the tokenizer pads.
    start: first context position (1 behind a start token, 0 for a tokenizer without one).
    n_ctx: number of context positions.
    end: (P,) int64, one past the last token that is not padding.
    """

    ids: torch.Tensor
    start: int
    n_ctx: int
    end: torch.Tensor


def prompt_token_ids(tokenizer: Tokenizer, wordings: Sequence[str], n_ctx: int) -> PromptLayout:
    """Lay out ``[SOS][n_ctx placeholders][wording][.][EOS]`` for each of P wordings.

    Raises `InputError` if a wording and its context do not fit into the tower's context length.
    """
    ids_PL = tokenizer([f"{wording}." for wording in wordings]).long().cpu()
    probe = tokenizer(["a", "dog"]).long().cpu()
    start = int(probe[0, 0] == probe[1, 0])
    placeholder, pad = int(probe[0, start]), int(probe[0, -1])
    length = ids_PL.shape[1]
    used = _content_length(ids_PL, pad)
    for wording, n_used in zip(wordings, used.tolist(), strict=True):
        if n_used + n_ctx > length:
            raise InputError(
                f"class wording {wording!r} has {n_used} tokens; with n_ctx = {n_ctx} context tokens that is more than "
                f"the text tower's {length} positions: shorten the wording or lower n_ctx"
            )
    context = torch.full((len(wordings), n_ctx), placeholder)
    ids = torch.cat([ids_PL[:, :start], context, ids_PL[:, start : length - n_ctx]], dim=1)
    return PromptLayout(ids, start, n_ctx, used + n_ctx)


def _content_length(ids_PL: torch.Tensor, pad: int) -> torch.Tensor:
    """(P,) one past the last position that is not ``pad``."""
    positions = torch.arange(1, ids_PL.shape[1] + 1)
    return torch.where(ids_PL != pad, positions, 0).amax(dim=1)
