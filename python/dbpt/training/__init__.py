"""Training of a head on cached features: the loop, optimizer and schedule, model selection, and checkpoints."""

from dbpt.training.loop import train
from dbpt.training.records import EpochRecord, Rows, Trained

__all__ = ["EpochRecord", "Rows", "Trained", "train"]
