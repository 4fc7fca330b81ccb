"""Training of a head on cached features: the loop, optimizer and schedule, model selection, and checkpoints."""

from dbpt.training.judging import EpochRecord, Rows, Trained
from dbpt.training.loop import train

__all__ = ["EpochRecord", "Rows", "Trained", "train"]
