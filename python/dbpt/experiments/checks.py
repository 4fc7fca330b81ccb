"""What the data must hold for what the settings ask of them, and settings that do not do what one may think.

A refusal or a warning is one line, and comes before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS, Dataset
from dbpt.errors import InputError
from dbpt.objectives import OBJECTIVES
from dbpt.objectives.dfr import import_scikit_learn
from dbpt.settings.combinations import readers
from dbpt.settings.config import FitConfig

if TYPE_CHECKING:
    from dbpt.experiments.stages import Experiment


def check_attributes_wanted(config: FitConfig, dataset: Dataset) -> None:
    """An oracle was asked for explicitly: then the true attributes must be there. Proportions fit the attributes."""
    if config.proportions is not None and len(config.proportions) != dataset.num_attributes:
        raise InputError(
            f"--proportions: {len(config.proportions)} numbers for {dataset.num_attributes} attributes; give one for "
            f"each of {', '.join(dataset.attribute_names)}"
        )
    for flag, wanted, split in (
        ("--group-source true", config.group_source == "true", OBJECTIVES[config.objective].trains_on),
        ("--select true-wga", config.select == "true-wga", "val"),
    ):
        rows = dataset.splits == SPLITS.index(split)
        if not rows.any():  # then validation is carved from training
            rows = dataset.splits == SPLITS.index("train")
        if wanted and not (dataset.attributes[rows] >= 0).any():
            raise InputError(
                f"{flag}: {dataset.source} has no attribute for any row of split {split!r}; use pseudo groups instead"
            )


def check_installed(config: FitConfig) -> None:
    """Refuse an objective whose solver is not installed."""
    if OBJECTIVES[config.objective].refits:
        import_scikit_learn()


def check_pseudo_groups(config: FitConfig, pseudo_groups: NDArray[np.int64], splits: NDArray[np.int64]) -> None:
    """Refuse to train or choose by pseudo-groups where ``min_confidence`` has left no row of the split in any."""
    objective = OBJECTIVES[config.objective]
    uses_groups = objective.uses_groups and config.group_source != "true"
    for split, wanted in ((objective.trains_on, uses_groups), ("val", config.select == "pseudo-wga")):
        if wanted and not (pseudo_groups[splits == SPLITS.index(split)] >= 0).any():
            raise InputError(
                f"--min-confidence {config.min_confidence:g}: no row of split {split!r} has a pseudo attribute that "
                "sure; lower it"
            )


def check_rows_of_objective(experiment: Experiment) -> None:
    """Refuse an objective that divides validation for itself where it finds too few rows there."""
    config, dataset = experiment.config, experiment.dataset
    objective, split = OBJECTIVES[config.objective], OBJECTIVES[config.objective].trains_on
    if not objective.refits:
        return
    rows, groups = experiment.rows(split), experiment.groups_trained_on
    known = rows[groups[rows] >= 0]
    rows_C = np.bincount(dataset.labels[known], minlength=dataset.num_classes)
    missing = [name for name, rows in zip(dataset.class_names, rows_C, strict=True) if not rows]
    if missing:
        what = f"class {missing[0]!r} has no row with a known group"
    elif np.bincount(groups[known]).max() < 2:
        what = "no group has a second row, to choose the penalty by"
    else:
        return
    raise InputError(
        f"--objective {objective.name}: {what} in split {split!r}; add rows to it or choose another objective"
    )


def setting_warnings(configs: Sequence[FitConfig]) -> list[str]:
    """What a user should know of settings that nothing reads or that teach little.

    ``configs`` differ in seed, head, objective and group source alone.
    """
    warnings, config = [], configs[0]
    chosen = {f"--optimizer {config.optimizer}"}
    chosen |= {choice for each in configs for choice in (f"--head {each.head}", f"--objective {each.objective}")}
    for setting in fields(config):
        wanted, value = readers(setting.name), getattr(config, setting.name)
        if value != setting.default and wanted and chosen.isdisjoint(wanted):
            flag = f"--{setting.name.replace('_', '-')}"
            warnings.append(f"{flag} {value} changes nothing in this run: only {' and '.join(wanted)} would read it")
    if config.epochs <= config.warmup_epochs:
        warnings.append(
            f"--epochs {config.epochs}: all of them warm up at a learning rate of 1e-5; nothing much is learnt"
        )
    weighted = any(OBJECTIVES[each.objective].can_sample for each in configs)
    if weighted and config.apply == "loss" and config.weights_fade:
        warnings.append(
            f"--apply loss with --optimizer adamw and --batch-size {config.batch_size}: AdamW takes most of the group "
            "weights out of small batches; choose --apply sampling or --optimizer sgd"
        )
    return warnings
