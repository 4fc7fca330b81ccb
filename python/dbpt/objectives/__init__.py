"""Training objectives, which turn per-sample losses into one loss. `OBJECTIVES` maps names to classes."""

from dbpt.objectives.base import Erm, Objective, TrainingGroups
from dbpt.objectives.jtt_afr_dfr import Afr, Dfr, Jtt
from dbpt.objectives.other_losses import ClassBalanced, ContrastiveAdapter, KgCoOp, ProGrad, Subg, Suby
from dbpt.objectives.training_free import TRAINING_FREE
from dbpt.objectives.weighting import Balanced, Dbpt, Gla, GroupDro, WeightingObjective
from dbpt.registry import Registry

_OWN: tuple[type[Objective], ...] = (
    *(Dbpt, Gla, Balanced, Erm),  # the main ones; lists of names have this order
    *(GroupDro, Subg, Jtt, Afr, Dfr, ClassBalanced, Suby, KgCoOp, ProGrad, ContrastiveAdapter),
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
