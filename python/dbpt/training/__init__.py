"""Training of a head on cached features: the loop, optimizer and schedule, model selection, and checkpoints.

Names are looked up on first use, since they need torch.
"""

from typing import TYPE_CHECKING

from dbpt.lazy import on_first_use

if TYPE_CHECKING:
    from dbpt.training.loop import train as train
    from dbpt.training.model_selection import Diverged as Diverged
    from dbpt.training.model_selection import EpochRecord as EpochRecord
    from dbpt.training.model_selection import Rows as Rows
    from dbpt.training.model_selection import Trained as Trained
    from dbpt.training.process_group import joined_ranks as joined_ranks

__getattr__, __dir__ = on_first_use(
    "dbpt.training", model_selection="Diverged EpochRecord Rows Trained", loop="train", process_group="joined_ranks"
)

__all__ = ["EpochRecord", "Rows", "Trained", "train"]
