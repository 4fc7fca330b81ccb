"""Debiased prompt tuning for CLIP without attribute annotations.

The verbs of the command line under the same names: `embed`, `fit`, `compare`, `evaluate`, `load` (then ``.predict``),
`write_demo`, for ``dbpt data check`` `check_data`, and for ``dbpt label`` `draw_label_sample` and `judge_labels`; and
the parts that drop into other training loops: `zero_shot_logits`, `label_attributes`,
`pseudo_attribute_quality`, `GroupWeights`, `GroupDRO`, and the samplers of `dbpt.sampling`. Names are looked up on
first use, so ``import dbpt`` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbpt.backbone import load_backbone as load_backbone
    from dbpt.comparison.comparing import compare as compare
    from dbpt.config import FitConfig as FitConfig
    from dbpt.data import load_dataset as load_dataset
    from dbpt.data_check import check_data as check_data
    from dbpt.demo import write_demo as write_demo
    from dbpt.embedding import embed as embed
    from dbpt.errors import InputError as InputError
    from dbpt.evaluation import evaluate as evaluate
    from dbpt.features import embed_images as embed_images
    from dbpt.fitting import fit as fit
    from dbpt.group_weights import GroupDRO as GroupDRO
    from dbpt.group_weights import GroupWeighting as GroupWeighting
    from dbpt.group_weights import GroupWeights as GroupWeights
    from dbpt.group_weights import soft_counts as soft_counts
    from dbpt.human_check import draw_label_sample as draw_label_sample
    from dbpt.human_check import judge_labels as judge_labels
    from dbpt.metrics import group_metrics as group_metrics
    from dbpt.metrics import pseudo_attribute_quality as pseudo_attribute_quality
    from dbpt.pseudo_attributes import label_attributes as label_attributes
    from dbpt.run_folder import load as load
    from dbpt.zero_shot import zero_shot_logits as zero_shot_logits

__version__ = "0.1.0"

_PUBLIC = {
    "FitConfig": "config",
    "GroupDRO": "group_weights",
    "GroupWeighting": "group_weights",
    "GroupWeights": "group_weights",
    "InputError": "errors",
    "check_data": "data_check",
    "compare": "comparison.comparing",
    "draw_label_sample": "human_check",
    "embed": "embedding",
    "embed_images": "features",
    "evaluate": "evaluation",
    "fit": "fitting",
    "group_metrics": "metrics",
    "judge_labels": "human_check",
    "label_attributes": "pseudo_attributes",
    "load": "run_folder",
    "load_backbone": "backbone",
    "load_dataset": "data",
    "pseudo_attribute_quality": "metrics",
    "soft_counts": "group_weights",
    "write_demo": "demo",
    "zero_shot_logits": "zero_shot",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dbpt' has no attribute {name!r}")
    value = getattr(import_module(f"dbpt.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
