"""What a tokenizer puts around words: start and end tokens, padding. Found by looking, so any tokenizer will do."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dbpt.errors import InputError

Tokenizer = Callable[[list[str]], torch.Tensor]

_PROBES = ("a", "dog", "7", "the")


@dataclass(frozen=True)
class TokenizerFrame:
    """The frame ``[start tokens][words][end tokens][padding]`` of a tokenizer.

    length: number of positions L; start: number of start tokens (0 or 1); ends: number of end tokens; pad: the id of
    padding, which the end token may share (``end_is_pad``); empty: (L,) an empty text; words: (4, L) single words.
    """

    length: int
    start: int
    ends: int
    pad: int
    end_is_pad: bool
    empty: torch.Tensor
    words: torch.Tensor

    def used(self, ids_PL: torch.Tensor) -> list[int]:
        """One past the last position of each text that is not padding, P integers."""
        positions = torch.arange(1, self.length + 1)
        ends: list[int] = torch.where(ids_PL != self.pad, positions, 0).amax(dim=1).tolist()
        return [end + self.end_is_pad for end in ends]

    def contents(self, ids_PL: torch.Tensor) -> list[list[int]]:
        """The ids of each text without start, end and padding."""
        rows: list[list[int]] = ids_PL.tolist()
        return [row[self.start : used - self.ends] for row, used in zip(rows, self.used(ids_PL), strict=True)]

    def placeholder(self, ids_PL: torch.Tensor) -> int:
        """An id that stands for a word: towers that mask padding or look for the end by its id see content there."""
        candidates = torch.cat([self.words, ids_PL])
        found = candidates[~torch.isin(candidates, self.empty)]  # an empty text has only start, end and padding
        if not len(found):
            raise InputError("the tokenizer knows no word of the class names: it belongs to another model")
        return int(found[0])


def tokenizer_frame(tokenizer: Tokenizer) -> TokenizerFrame:
    """Look at what ``tokenizer`` makes of single words, of nothing, and of more words than fit."""
    length = tokenizer([""]).shape[1]
    probes = tokenizer([*_PROBES, "", "dog " * length]).long().cpu()
    words, empty, full = probes[: len(_PROBES)], probes[-2], probes[-1]
    start, pad = int((words[:, 0] == empty[0]).all()), int(empty[-1])
    end_is_pad = bool(full[-1] == pad)
    frame = TokenizerFrame(length, start, 0, pad, end_is_pad, empty, words)
    ends = max(0, frame.used(empty[None])[0] - start)
    return TokenizerFrame(length, start, ends, pad, end_is_pad, empty, words)
