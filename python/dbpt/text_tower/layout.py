"""Where the context stands among a prompt's tokens.

The ids come from tokenising ``"{name}."`` and inserting placeholders behind the start token, so a name, and later an
initial context, may have any number of tokens (counting words, as CoOp's ``CTX_INIT`` does, is wrong for "landbird").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dbpt.errors import InputError

Tokenizer = Callable[[list[str]], torch.Tensor]

_PROBES = ("a", "dog", "7", "the")


@dataclass(frozen=True)
class PromptLayout:
    """Token ids of P prompts and the place of the context in them.

    ids: (P, L) int64, placeholders where the context goes, padded as the tokenizer pads.
    start: first context position (1 behind a start token, 0 for a tokenizer without one).
    n_ctx: number of context positions.
    """

    ids: torch.Tensor
    start: int
    n_ctx: int


def prompt_token_ids(tokenizer: Tokenizer, wordings: Sequence[str], n_ctx: int) -> PromptLayout:
    """Lay out ``[SOS][n_ctx placeholders][wording][.][EOS]`` for each of P wordings, without SOS if there is none.

    A placeholder is the id of a word: towers that mask padding or look for EOS by its id see content there.

    Raises `InputError` if a wording and its context do not fit into the tower's context length.
    """
    ids_PL = tokenizer([f"{wording}." for wording in wordings]).long().cpu()
    length = ids_PL.shape[1]
    probes = tokenizer([*_PROBES, "", "dog " * length]).long().cpu()
    words, empty, full = probes[: len(_PROBES)], probes[-2], probes[-1]
    start, pad = int((words[:, 0] == empty[0]).all()), int(empty[-1])
    used = _content_length(ids_PL, pad) + int(full[-1] == pad)  # an end token that looks like padding
    for wording, n_used in zip(wordings, used.tolist(), strict=True):
        if n_used + n_ctx > length:
            raise InputError(
                f"class wording {wording!r} has {n_used} tokens; with n_ctx = {n_ctx} context tokens that is more than "
                f"the text tower's {length} positions: shorten the wording or lower n_ctx"
            )
    context = torch.full((len(wordings), n_ctx), _placeholder(torch.cat([words, ids_PL]), empty))
    ids = torch.cat([ids_PL[:, :start], context, ids_PL[:, start : length - n_ctx]], dim=1)
    return PromptLayout(ids, start, n_ctx)


def _placeholder(candidates: torch.Tensor, empty: torch.Tensor) -> int:
    """The first id that stands for a word: an empty text has only those of start, end and padding."""
    found = candidates[~torch.isin(candidates, empty)]
    if not len(found):
        raise InputError("the tokenizer knows no word of the class names: it belongs to another model")
    return int(found[0])


def _content_length(ids_PL: torch.Tensor, pad: int) -> torch.Tensor:
    """(P,) one past the last position that is not ``pad``."""
    positions = torch.arange(1, ids_PL.shape[1] + 1)
    return torch.where(ids_PL != pad, positions, 0).amax(dim=1)
