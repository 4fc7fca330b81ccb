"""Training objectives, which turn per-sample losses into one loss. `OBJECTIVES` maps names to classes."""

from dbpt.data.registry import Registry
from dbpt.objectives.afr import Afr
from dbpt.objectives.base import Erm, Objective, TrainingGroups
from dbpt.objectives.class_balanced import ClassBalanced
from dbpt.objectives.contrastive_adapter import ContrastiveAdapter
from dbpt.objectives.dfr import Dfr
from dbpt.objectives.jtt import Jtt
from dbpt.objectives.near_zero_shot import KgCoOp, ProGrad
from dbpt.objectives.subsampling import Subg, Suby
from dbpt.objectives.weighting import Balanced, Dbpt, GroupDro, WeightingObjective
from dbpt.training_free import TRAINING_FREE

_OWN: tuple[type[Objective], ...] = (
    *(Dbpt, Balanced, GroupDro, Subg, Jtt, Afr, Dfr, ClassBalanced, Suby, KgCoOp, ProGrad),
    *(ContrastiveAdapter, Erm),
)

OBJECTIVES = Registry[Objective](
    "objective",
    "dbpt.objectives",
    "dbpt.objectives.base:Objective",
    {own.name: f"{own.__module__}:{own.__name__}" for own in _OWN},
    reserved=TRAINING_FREE,
)
"""The registry. `FitConfig`, the command line, the combinations and the report read their names here."""

register_objective = OBJECTIVES.register

__all__ = ["OBJECTIVES", "Objective", "TrainingGroups", "WeightingObjective", "register_objective"]
