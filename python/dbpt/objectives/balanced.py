"""Every group weighs the same, for the whole run: w_g proportional to 1 / N_g."""

from dbpt.groups import MAX_WEIGHT, MIN_GROUP_COUNT, GroupWeights
from dbpt.objectives.base import TrainingGroups
from dbpt.objectives.weighting import WeightingObjective


class Balanced(WeightingObjective):
    """w_g proportional to 1 / max(N_g, min_group_count), at most max_weight, so that sum_g N_g w_g = sum_g N_g."""

    name = "balanced"
    title = "balanced"
    about = "every group weighs the same; `dbpt` with η = 0, byte for byte"

    def __init__(
        self,
        training: TrainingGroups,
        *,
        min_group_count: float = MIN_GROUP_COUNT,
        max_weight: float = MAX_WEIGHT,
        apply: str = "loss",
    ) -> None:
        # Without the factor exp(eta * (1 - p)), and never stepped.
        rule = GroupWeights(training.counts, 0.0, 0.0, min_group_count=min_group_count, max_weight=max_weight)
        super().__init__(training, rule, apply=apply)
