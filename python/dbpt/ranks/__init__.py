"""The processes of one run, as ``torchrun`` starts them. Rank 0 reads, writes and prints; all compute."""

from dbpt.ranks.exchange import ALONE, LostRankError, Ranks, memory, out_of_memory
from dbpt.ranks.joining import (
    joined_ranks,
    launched,
    launched_rank,
    launched_size,
    local_rank,
    local_size,
    take_own_gpu,
)

__all__ = [
    "ALONE",
    "LostRankError",
    "Ranks",
    "joined_ranks",
    "launched",
    "launched_rank",
    "launched_size",
    "local_rank",
    "local_size",
    "memory",
    "out_of_memory",
    "take_own_gpu",
]
