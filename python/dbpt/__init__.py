"""Debiased prompt tuning for CLIP without attribute annotations.

Each command of the command line is a function: `embed`, `audit`, `discover`, `guess_attributes`, `fit`, `compare`,
`evaluate`, `load` (then ``.predict``), `write_demo`, `check_data` (``dbpt data check``), `draw_label_sample` and
`judge_labels` (``dbpt label``). And the parts that work in other training loops: `zero_shot_logits`,
`label_attributes`, `pseudo_attribute_quality`, `sample_weights`, `GroupWeights`, `GroupDRO`, `GroupSampler`,
`WeightedSampler`, `GroupBatchSampler`; for scikit-learn, `dbpt.sklearn`. `register_objective`, `register_head`,
`register_pseudo_method` and `register_dataset` add to what can be chosen by name.

Names are looked up on first use, so ``import dbpt`` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any
from warnings import filterwarnings

from dbpt.lazy import on_first_use

if TYPE_CHECKING:
    from dbpt import data as data
    from dbpt import evaluation as evaluation
    from dbpt import groups as groups
    from dbpt import heads as heads
    from dbpt import objectives as objectives
    from dbpt import sampling as sampling
    from dbpt._core import __version__ as __version__
    from dbpt.clip import Backbone as Backbone
    from dbpt.clip import load_backbone as load_backbone
    from dbpt.clip.backbone import zero_shot_logits as zero_shot_logits
    from dbpt.commands.audit.audit import audit as audit
    from dbpt.commands.audit.result import Audit as Audit
    from dbpt.commands.callbacks import Callback as Callback
    from dbpt.commands.compare.compare import compare as compare
    from dbpt.commands.discover.discover import discover as discover
    from dbpt.commands.discover.result import Discovery as Discovery
    from dbpt.commands.embed import check_data as check_data
    from dbpt.commands.embed import embed as embed
    from dbpt.commands.evaluate import evaluate as evaluate
    from dbpt.commands.fit.fit import fit as fit
    from dbpt.commands.guess import GuessedAttributes as GuessedAttributes
    from dbpt.commands.guess import guess_attributes as guess_attributes
    from dbpt.commands.label.judge import judge_labels as judge_labels
    from dbpt.commands.label.sample import draw_label_sample as draw_label_sample
    from dbpt.commands.result import Result as Result
    from dbpt.data import Dataset as Dataset
    from dbpt.data import load_dataset as load_dataset
    from dbpt.data import register_dataset as register_dataset
    from dbpt.data.demo import write_demo as write_demo
    from dbpt.errors import InputError as InputError
    from dbpt.evaluation import group_metrics as group_metrics
    from dbpt.evaluation import pseudo_attribute_quality as pseudo_attribute_quality
    from dbpt.features import embed_images as embed_images
    from dbpt.features.cache import read_features as read_features
    from dbpt.groups import GroupDRO as GroupDRO
    from dbpt.groups import GroupWeighting as GroupWeighting
    from dbpt.groups import GroupWeights as GroupWeights
    from dbpt.groups import sample_weights as sample_weights
    from dbpt.guesses import label_attributes as label_attributes
    from dbpt.guesses import register_pseudo_method as register_pseudo_method
    from dbpt.heads import register_head as register_head
    from dbpt.objectives import register_objective as register_objective
    from dbpt.runs.classifier import Classifier as Classifier
    from dbpt.runs.run_folder import load as load
    from dbpt.sampling import GroupBatchSampler as GroupBatchSampler
    from dbpt.sampling import GroupSampler as GroupSampler
    from dbpt.sampling import WeightedSampler as WeightedSampler
    from dbpt.settings.config import FitConfig as FitConfig

# tqdm warns so in notebooks without ipywidgets when huggingface_hub or open_clip imports it: there are no bars then.
filterwarnings("ignore", message="IProgress not found")

_HOMES = {
    "_core": ["__version__"],
    "commands.audit.audit": ["audit"],
    "commands.discover.discover": ["discover"],
    "commands.audit.result": ["Audit"],
    "clip": ["Backbone", "load_backbone"],
    "clip.backbone": ["zero_shot_logits"],
    "commands.callbacks": ["Callback"],
    "commands.compare.compare": ["compare"],
    "commands.embed": ["check_data", "embed"],
    "commands.evaluate": ["evaluate"],
    "commands.fit.fit": ["fit"],
    "commands.guess": ["GuessedAttributes", "guess_attributes"],
    "commands.label.judge": ["judge_labels"],
    "commands.label.sample": ["draw_label_sample"],
    "commands.result": ["Result"],
    "data": ["Dataset", "load_dataset", "register_dataset"],
    "data.demo": ["write_demo"],
    "commands.discover.result": ["Discovery"],
    "errors": ["InputError"],
    "evaluation": ["group_metrics", "pseudo_attribute_quality"],
    "features": ["embed_images"],
    "features.cache": ["read_features"],
    "groups": ["GroupDRO", "GroupWeighting", "GroupWeights", "sample_weights"],
    "guesses": ["label_attributes", "register_pseudo_method"],
    "heads": ["register_head"],
    "objectives": ["register_objective"],
    "runs.classifier": ["Classifier"],
    "runs.run_folder": ["load"],
    "sampling": ["GroupBatchSampler", "GroupSampler", "WeightedSampler"],
    "settings.config": ["FitConfig"],
}
_value_of, _ = on_first_use("dbpt", **{home: " ".join(names) for home, names in _HOMES.items()})
_ROOMS = ["data", "evaluation", "groups", "heads", "objectives", "sampling"]

__all__ = [name for names in _HOMES.values() for name in names] + _ROOMS


def __getattr__(name: str) -> Any:
    return import_module(f"dbpt.{name}") if name in _ROOMS else _value_of(name)


def __dir__() -> list[str]:
    return sorted(__all__)
