"""Samplers for PyTorch.

The Rust core computes draw i of epoch e as a pure function, so the state of a sampler is a handful of integers.
"""

from dbpt.sampling.samplers import GroupBatchSampler, GroupSampler, WeightedSampler

__all__ = ["GroupBatchSampler", "GroupSampler", "WeightedSampler"]
