"""Classifiers without training, as rows of a comparison: zero-shot CLIP, and zero-shot CLIP debiased by words.

`TRAINING_FREE` maps names to classes.
"""

from dbpt.training_free.base import Inputs, TrainingFree, ZeroShot
from dbpt.training_free.group_prompts import GroupPrompts, GroupPromptsSum
from dbpt.training_free.image_projection import MeanDifference, RoboShot
from dbpt.training_free.text_projection import CalibratedOrthogonal, Orthogonal

_OWN: tuple[type[TrainingFree], ...] = (
    ZeroShot,
    GroupPrompts,
    GroupPromptsSum,
    Orthogonal,
    CalibratedOrthogonal,
    RoboShot,
    MeanDifference,
)
TRAINING_FREE: dict[str, type[TrainingFree]] = {own.name: own for own in _OWN}

__all__ = ["TRAINING_FREE", "Inputs", "TrainingFree"]
