"""Debiased prompt tuning for CLIP without attribute annotations."""

__version__ = "0.1.0"
