"""How per-sample losses combine into one: each objective is one small file; `OBJECTIVES` maps its name to its class."""

from dbpt.objectives.balanced import Balanced
from dbpt.objectives.base import Objective, TrainingGroups
from dbpt.objectives.dbpt import Dbpt
from dbpt.objectives.erm import Erm

OBJECTIVES: dict[str, type[Objective]] = {objective.name: objective for objective in (Erm, Balanced, Dbpt)}

__all__ = ["OBJECTIVES", "Balanced", "Dbpt", "Erm", "Objective", "TrainingGroups"]
