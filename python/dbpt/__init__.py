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
    from dbpt._core import __version__ as __version__
    from dbpt.clip import load_backbone as load_backbone
    from dbpt.clip.zero_shot import zero_shot_logits as zero_shot_logits
    from dbpt.data import load_dataset as load_dataset
    from dbpt.data.demo import write_demo as write_demo
    from dbpt.errors import InputError as InputError
    from dbpt.experiments.comparison.comparing import compare as compare
    from dbpt.experiments.data_check import check_data as check_data
    from dbpt.experiments.embed import embed as embed
    from dbpt.experiments.evaluate import evaluate as evaluate
    from dbpt.experiments.fit import fit as fit
    from dbpt.features import embed_images as embed_images
    from dbpt.groups import GroupDRO as GroupDRO
    from dbpt.groups import GroupWeighting as GroupWeighting
    from dbpt.groups import GroupWeights as GroupWeights
    from dbpt.groups import group_metrics as group_metrics
    from dbpt.groups import pseudo_attribute_quality as pseudo_attribute_quality
    from dbpt.groups import soft_counts as soft_counts
    from dbpt.human_check import draw_label_sample as draw_label_sample
    from dbpt.human_check import judge_labels as judge_labels
    from dbpt.pseudo_attributes import label_attributes as label_attributes
    from dbpt.runs.run_folder import load as load
    from dbpt.settings.config import FitConfig as FitConfig

_PUBLIC = {
    "__version__": "_core",
    "FitConfig": "settings.config",
    "GroupDRO": "groups",
    "GroupWeighting": "groups",
    "GroupWeights": "groups",
    "InputError": "errors",
    "check_data": "experiments.data_check",
    "compare": "experiments.comparison.comparing",
    "draw_label_sample": "human_check",
    "embed": "experiments.embed",
    "embed_images": "features",
    "evaluate": "experiments.evaluate",
    "fit": "experiments.fit",
    "group_metrics": "groups",
    "judge_labels": "human_check",
    "label_attributes": "pseudo_attributes",
    "load": "runs.run_folder",
    "load_backbone": "clip",
    "load_dataset": "data",
    "pseudo_attribute_quality": "groups",
    "soft_counts": "groups",
    "write_demo": "data.demo",
    "zero_shot_logits": "clip.zero_shot",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dbpt' has no attribute {name!r}")
    value = getattr(import_module(f"dbpt.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
