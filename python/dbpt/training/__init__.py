"""Training of a head on cached features: the loop, the schedule, which epoch is kept, checkpoints."""

from dbpt.training.loop import EpochRecord, Rows, Trained, TrainingSettings, train
from dbpt.training.selection import SELECTIONS, Selection

__all__ = ["SELECTIONS", "EpochRecord", "Rows", "Selection", "Trained", "TrainingSettings", "train"]
