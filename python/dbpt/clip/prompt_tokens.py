"""CoOp's prompts as token ids with room for the context: ``[SOS][ctx x n_ctx][class tokens][.][EOS]``.

As in Zhou et al. (2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from dbpt.clip.spec import Tokenizer
from dbpt.errors import InputError

ClassPosition = Literal["end", "middle", "front"]
_PROBES = ["a", "dog", "7", "the"]


@dataclass(frozen=True)
class PromptLayout:
    """Token ids of P prompts, and the positions of the context vectors in them."""

    ids: torch.Tensor  # (P, L) int64, with placeholders for the context, padded as by the tokenizer
    context_rows: torch.Tensor  # (P, L) int64, -1 for a token; vector j of context c is row c * n_ctx + j
    n_ctx: int

    def prompts(self, rows: list[int]) -> "PromptLayout":
        """Return the layout of some of the prompts."""
        return PromptLayout(self.ids[rows], self.context_rows[rows], self.n_ctx)


def prompt_token_ids(
    tokenizer: Tokenizer,
    wordings: Sequence[str],
    n_ctx: int,
    *,
    class_position: ClassPosition = "end",
    owners: Sequence[int] | None = None,
) -> PromptLayout:
    """Return the layout of P prompts of one wording each, as in CoOp.

    Args:
        tokenizer: the tokenizer of the backbone.
        wordings: (P,). If the full stop shares a token with the last letters, it is part of the wording.
        n_ctx: the number of context vectors.
        class_position: ``end``: ``[SOS][ctx][wording][.][EOS]``; ``middle``: half of the context (rounded down) before
            the wording, the rest after it; ``front``: ``[SOS][wording][ctx][.][EOS]``.
        owners: (P,) the number of each prompt's own context; by default all prompts share one.

    Raises:
        InputError: if a wording and its context don't fit into the tower's context length.
    """
    frame = _Frame(tokenizer)
    ids_PL = tokenizer([f"{wording}." for wording in wordings]).long().cpu()
    n_used, wording = max(zip(frame.used(ids_PL), wordings, strict=True))
    room = frame.length - n_used
    if n_ctx > room:
        hint = f"at most {room} fit; lower n_ctx, or shorten ctx_init or the wording" if room else "shorten it"
        raise InputError(
            f"class wording {wording!r} takes {n_used} of the text tower's {frame.length} positions, with the full "
            f"stop and the tokens that begin and end a text; beside it n_ctx = {n_ctx} context tokens don't fit: "
            f"{hint}"
        )
    names = frame.contents(tokenizer(list(wordings)).long().cpu())
    before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[class_position]
    placeholder = frame.placeholder(ids_PL)
    ids, positions = [], []
    for row, (full, name) in enumerate(zip(frame.contents(ids_PL), names, strict=True)):
        first = 0 if owners is None else owners[row] * n_ctx
        context = range(first, first + n_ctx)
        split = len(name) if full[: len(name)] == name else len(full)
        inside = [*context[:before], *[-1] * split, *context[before:], *[-1] * (len(full) - split)]
        words = iter(full)
        ids.append(frame.around([placeholder if position >= 0 else next(words) for position in inside], ids_PL[row]))
        positions.append([-1] * frame.start + inside + [-1] * (frame.length - frame.start - len(inside)))
    return PromptLayout(torch.tensor(ids), torch.tensor(positions), n_ctx)


def context_token_ids(tokenizer: Tokenizer, words: str) -> torch.Tensor:
    """Return the ids of a context of words, (n_ctx,) int64. Raises `InputError` for none, or too many for the tower."""
    frame = _Frame(tokenizer)
    ids = frame.contents(tokenizer([words]).long().cpu())[0]
    if not 0 < len(ids) < frame.length - frame.start - frame.ends:
        size = f"at least {len(ids)} tokens" if ids else "no token"
        hint = f"expected words that leave room for a class name in the text tower's {frame.length} positions"
        raise InputError(f"--ctx-init {words!r}: {size}; {hint}")
    return torch.tensor(ids)


class _Frame:
    """The frame ``[start tokens][words][end tokens][padding]`` of a tokenizer, L positions, found by probing it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.length = tokenizer([""]).shape[1]
        # The end tokens are what an empty text has behind its start. Only a text that fills the tower tells whether the
        # last of them looks like padding, as for SigLIP.
        *words, self._empty, full = tokenizer([*_PROBES, "", "dog " * self.length]).long().cpu()
        self._words = torch.stack(words)
        self.start, self.pad = int((self._words[:, 0] == self._empty[0]).all()), int(self._empty[-1])
        self._end_is_pad = bool(full[-1] == self.pad)
        self.ends = max(0, self.used(self._empty[None])[0] - self.start)

    def used(self, ids_PL: torch.Tensor) -> list[int]:
        """Return the number of positions of each text before its padding, P integers."""
        positions = torch.arange(1, self.length + 1)
        ends: list[int] = torch.where(ids_PL != self.pad, positions, 0).amax(dim=1).tolist()
        return [end + self._end_is_pad for end in ends]

    def contents(self, ids_PL: torch.Tensor) -> list[list[int]]:
        """Return the ids of each text without start, end and padding."""
        rows: list[list[int]] = ids_PL.tolist()
        return [row[self.start : used - self.ends] for row, used in zip(rows, self.used(ids_PL), strict=True)]

    def around(self, inside: list[int], like_L: torch.Tensor) -> list[int]:
        """Put ``inside`` between the start and end tokens of the text ``like_L`` (L,), padded to L."""
        row: list[int] = like_L.tolist()
        end = self.used(like_L[None])[0]
        framed = row[: self.start] + inside + row[end - self.ends : end]
        return framed + [self.pad] * (self.length - len(framed))

    def placeholder(self, ids_PL: torch.Tensor) -> int:
        """Return the id of some word, so that towers that mask padding or search for the end token see content."""
        candidates = torch.cat([self._words, ids_PL])
        words = candidates[~torch.isin(candidates, self._empty)]  # an empty text has only start, end and padding
        if not len(words):
            raise InputError("the tokenizer doesn't know any word of the class names: it belongs to another model")
        return int(words[0])
