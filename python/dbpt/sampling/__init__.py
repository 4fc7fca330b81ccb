"""Samplers for PyTorch.

The Rust core computes draw i of epoch e as a pure function, so the state of a sampler is a handful of integers.
"""

from dbpt.sampling.group_batch_sampler import GroupBatchSampler
from dbpt.sampling.group_sampler import GroupSampler
from dbpt.sampling.weighted_sampler import WeightedSampler

__all__ = ["GroupBatchSampler", "GroupSampler", "WeightedSampler"]
