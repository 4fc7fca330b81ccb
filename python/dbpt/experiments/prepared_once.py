"""One experiment for all ranks: rank 0 prepares it and sends it to the others.

So every rank has the same features, groups and settings, to the last bit, whatever its machine; and the data and the
cache need to be on rank 0's machine alone.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dbpt.clip import Backbone, load_backbone_from_spec
from dbpt.experiments.stages import Experiment, Log, prepare
from dbpt.ranks import Ranks
from dbpt.settings.config import FitConfig


def prepare_once(config: FitConfig, log: Log, ranks: Ranks) -> Experiment:
    """`prepare` on rank 0; every other rank gets what it returned, and loads the backbone for itself.

    Raises `InputError` as `prepare` does, and if another rank does not find the same backbone.
    """
    if ranks.count == 1:
        return prepare(config, log)
    whole: Experiment | None = None

    def without_the_large() -> tuple[Experiment, tuple[int, ...], dict[str, Any]]:
        nonlocal whole
        whole = prepare(config, log)
        left_out: dict[str, Any] = {"backbone": None, "features": None}
        return replace(whole, **left_out), whole.features.shape, whole.backbone.spec

    rest, shape, spec = ranks.from_first(without_the_large)
    features = np.empty(shape, dtype=np.float32) if whole is None else whole.features
    ranks.copy_first([torch.from_numpy(features)])
    backbone = ranks.together(lambda: _same_backbone(spec, config) if whole is None else whole.backbone)
    return replace(rest, backbone=backbone, features=features)


def _same_backbone(spec: dict[str, Any], config: FitConfig) -> Backbone:
    """The backbone of ``spec``, from this machine's weights."""
    weights = config.pretrained if spec["weights"]["kind"] == "file" else None
    return load_backbone_from_spec(spec, device=config.device, weights=weights)
