"""The processes of one run, as ``torchrun`` starts them. Rank 0 reads, writes and prints; all compute."""

from dbpt.ranks.exchange import ALONE, LostRankError, Ranks
from dbpt.ranks.joining import joined_ranks, launched, launched_rank, local_rank

__all__ = ["ALONE", "LostRankError", "Ranks", "joined_ranks", "launched", "launched_rank", "local_rank"]
