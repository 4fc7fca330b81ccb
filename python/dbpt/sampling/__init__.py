"""Samplers for PyTorch over the streams of the Rust core.

Which row is draw i of epoch e is a pure function, so a sampler's state is a handful of integers.
"""

from dbpt.sampling.group_batch_sampler import GroupBatchSampler
from dbpt.sampling.group_sampler import GroupSampler
from dbpt.sampling.weighted_sampler import WeightedSampler

__all__ = ["GroupBatchSampler", "GroupSampler", "WeightedSampler"]
