"""Prompts of many lengths as one row of tokens: the prefix that they share, then their suffixes, sorted by length.

Suffixes of equal length are a bucket, so that nothing is padded.

Shapes: T packed tokens, S prefix length, P prompts, K = S + the longest suffix.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Bucket:
    """``count`` prompts of one length: where their queries stand, their keys, and a prompt's own keys among K."""

    count: int
    queries: slice
    keys: slice
    own: slice


@dataclass(frozen=True)
class Packing:
    """``prefix`` tokens that all prompts share, then the suffixes of ``buckets``: (number of prompts, their length)."""

    prefix: int
    buckets: tuple[tuple[int, int], ...]

    def ends(self) -> torch.Tensor:
        """(P,) the place of each prompt's last token."""
        lengths = torch.tensor([length for count, length in self.buckets for _ in range(count)])
        return self.prefix + lengths.cumsum(0) - 1

    def hidden(self) -> torch.Tensor:
        """(T, K) bool, False where a token sees a token of the prefix, or the one with such a number of its suffix."""
        width = self.prefix + max(length for _, length in self.buckets)
        prefix = torch.ones(self.prefix, width, dtype=torch.bool).triu(1)
        suffixes = [
            torch.ones(length, width, dtype=torch.bool).triu(self.prefix + 1).repeat(count, 1)
            for count, length in self.buckets
        ]
        return torch.cat([prefix, *suffixes])

    def spans(self, *, only_ends: bool) -> Iterator[Bucket]:
        """The buckets, where all T tokens ask, or the last one of each prompt alone."""
        query, key = 0 if only_ends else self.prefix, self.prefix
        for count, length in self.buckets:
            queries, keys = count if only_ends else count * length, count * length
            own = slice(self.prefix, self.prefix + length)
            yield Bucket(count, slice(query, query + queries), slice(key, key + keys), own)
            query, key = query + queries, key + keys
