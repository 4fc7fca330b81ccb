"""Every group weighs the same, for the whole run: w_g proportional to 1 / N_g."""

from dbpt.group_weights import GroupWeights
from dbpt.objectives.base import TrainingGroups
from dbpt.objectives.weighting import WeightingObjective


class Balanced(WeightingObjective):
    """w_g = (sum N / #groups) / N_g over the groups that have rows, so that sum_g N_g w_g = sum_g N_g."""

    name = "balanced"
    title = "balanced"
    about = "every group weighs the same; `dbpt` with η = 0, byte for byte"

    def __init__(self, training: TrainingGroups, *, apply: str = "loss") -> None:
        # Without the factor exp(eta * (1 - p)), and never stepped.
        super().__init__(training, GroupWeights(training.counts, eta=0.0, momentum=0.0), apply=apply)
