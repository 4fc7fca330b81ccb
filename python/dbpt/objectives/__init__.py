"""How per-sample losses combine into one: each objective is one small file; `OBJECTIVES` maps its name to its class."""

from dbpt.objectives.balanced import Balanced
from dbpt.objectives.base import Objective, TrainingGroups
from dbpt.objectives.dbpt import Dbpt
from dbpt.objectives.dfr import Dfr
from dbpt.objectives.erm import Erm
from dbpt.objectives.groupdro import GroupDro
from dbpt.objectives.jtt import Jtt

OBJECTIVES: dict[str, type[Objective]] = {
    objective.name: objective for objective in (Dbpt, Balanced, GroupDro, Jtt, Dfr, Erm)
}
"""The registry. `FitConfig`, the command line, the combinations and the report read their names here."""

__all__ = [
    "OBJECTIVES",
    "Balanced",
    "Dbpt",
    "Dfr",
    "Erm",
    "GroupDro",
    "Jtt",
    "Objective",
    "TrainingGroups",
]
