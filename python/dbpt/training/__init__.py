"""Training of a head on cached features: the loop, the schedule, which epoch is kept, checkpoints."""

from dbpt.training.loop import train
from dbpt.training.records import EpochRecord, Rows, Trained, TrainingSettings
from dbpt.training.selection import Selection

__all__ = ["EpochRecord", "Rows", "Selection", "Trained", "TrainingSettings", "train"]
