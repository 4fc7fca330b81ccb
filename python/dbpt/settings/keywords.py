"""The settings as keywords, so that editors and type checkers know each of them.

Written by tools/write_docs.py from dbpt.settings.all_settings. Types are those that `make_config` takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from dbpt.clip import Backbone
    from dbpt.data.columns import ColumnNames
    from dbpt.data.words import Names


class SharedSettings(TypedDict, total=False):
    """The settings of `dbpt.compare`, which all its rows share."""

    recipe: Literal["default", "paper", "coop"]
    classes: Names | None
    attributes: Names | None
    factors: Sequence[str] | None
    root: str | Path | None
    columns: ColumnNames | None
    embeddings: str | Path | None
    model: str | Path | Backbone | None
    pretrained: str | Path | None
    device: str
    epochs: int
    batch_size: int
    lr: float | None
    template: Sequence[str] | None
    attribute_template: Sequence[str] | None
    group_template: Sequence[str] | None
    celeba_target: str | None
    celeba_attributes: Sequence[str] | None
    shots: int | None
    val_fraction: float
    max_failures: float
    tokenizer: str | Path | None
    image_precision: Literal["auto", "float32", "bf16", "fp16"]
    cache: str | Path | None
    embed_batch_size: int
    features: Literal["cached", "live"]
    pseudo_method: str
    probe_rows: int | None
    proportions: Sequence[float] | None
    min_confidence: float
    pseudo_attributes: str | Path | None
    guess_only_unknown: bool
    label_model: str | Path | None
    label_pretrained: str | Path | None
    apply: Literal["loss", "sampling"] | None
    eta: float
    ema_momentum: float
    min_group_count: float
    max_weight: float
    tau: float
    dro_step_size: float | None
    identification_epochs: int | None
    up_weight: float
    afr_gamma: float
    afr_pull: float
    alpha: float | None
    n_ctx: int | None
    ctx_init: str | None
    start_from: str | Path | None
    class_specific_context: bool
    class_position: Literal["end", "middle", "front"]
    text_precision: Literal["float32", "bf16"]
    text_memory_mb: int
    optimizer: Literal["adamw", "sgd"]
    sgd_momentum: float
    weight_decay: float
    warmup_epochs: int
    model_selection: Literal["auto", "pseudo-wgp", "pseudo-wga", "true-wgp", "true-wga", "average", "last"]
    average: Literal["plain", "adjusted"] | None
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] | None


class FitSettings(SharedSettings, total=False):
    """The settings of `dbpt.fit`."""

    objective: str | None
    group_source: Literal["pseudo", "ppa", "true"]
    head: str
    prompts: Literal["class", "group", "auto"]
    seed: int
    baselines: bool
