"""Training of a head on cached features: the loop, the schedule, which epoch is kept, checkpoints."""

from dbpt.training.loop import EpochRecord, Rows, Trained, TrainingSettings, train
from dbpt.training.selection import Selection

__all__ = ["EpochRecord", "Rows", "Selection", "Trained", "TrainingSettings", "train"]
