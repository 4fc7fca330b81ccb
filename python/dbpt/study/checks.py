"""Checks between the stages of a study: settings and data that are refused, and warnings about settings and groups."""

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.clip.checks import check_named_files
from dbpt.data import Dataset, check_precomputed_file
from dbpt.data.stored_features import check_whole
from dbpt.data.validation_split import MOST_VALIDATION_SHOTS
from dbpt.errors import InputError, in_digits
from dbpt.guesses.base import PSEUDO_METHODS
from dbpt.guesses.grouping import Grouping
from dbpt.objectives import OBJECTIVES
from dbpt.settings.all_settings import TRUE_SELECTIONS, PseudoAttributeSettings, WordSettings
from dbpt.settings.config import FitConfig, readers
from dbpt.settings.fields import flag_of
from dbpt.storage.files import check_can_create
from dbpt.study.study import Study

SMALL_VALIDATION_GROUP = 10


def check_before_reading(config: FitConfig) -> None:
    """Refuse files and folders that are wrong whatever the data are: of backbones, cache and features. Needs no torch.

    Refuse a method of guessing that lacks a package too.
    """
    PSEUDO_METHODS[config.pseudo_method].check_installed()
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings))
    check_named_files(config.model, config.pretrained, config.tokenizer)
    check_named_files(config.label_model, config.label_pretrained, None)
    if config.opens_images and not os.path.isdir(config.cache_dir):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        if os.path.lexists(config.cache_dir):
            raise InputError(f"--cache {config.cache_dir}: is not a folder; choose another")
        check_can_create(config.cache_dir, option="--cache")


def check_memory(config: FitConfig, rows: int, width: int) -> None:
    """Refuse settings that need all of many features in memory. Others read them in blocks."""
    for objective, _ in config.trained:
        if OBJECTIVES[objective].refits or OBJECTIVES[objective].starts_with_features():
            check_whole(rows, width, f"--objective {objective}")
    if config.group_source == "ppa":
        check_whole(rows, width, "--group-source ppa")
    if config.num_clusters is not None:
        check_whole(rows, width, "--attributes clusters")


def check_before_embedding(config: FitConfig, dataset: Dataset) -> None:
    """Refuse settings for attributes that don't fit the data, true groups without labels, a solver not installed."""
    for objective, _ in config.trained:
        OBJECTIVES[objective].check_installed()
    if not dataset.attribute_names and not config.lacks_words:
        settings = (each for each in fields(WordSettings) if each.name in ("attribute_template", "group_template"))
        for setting in (*settings, *fields(PseudoAttributeSettings)):
            if (value := getattr(config, setting.name)) != setting.default:
                given = " ".join(map(str, value)) if isinstance(value, tuple) else value
                why = f"{dataset.source} names no attribute, so there is none to guess or to name"
                raise InputError(f"{flag_of(setting.name)} {given}: {why}; name it with --attributes, or drop this")
    if config.proportions is not None and any(suspect.prefix for suspect in dataset.words.suspects):
        raise InputError("--proportions: the shares of several attributes are estimated, each by itself; leave it out")
    if config.proportions is not None and len(config.proportions) != dataset.num_attributes:
        expected = f"one for each of {', '.join(dataset.attribute_names)}, found {len(config.proportions)}"
        raise InputError(f"--proportions: expected {dataset.num_attributes} numbers, {expected}")
    for flag, wanted, split in (
        ("--group-source true", config.group_source == "true", OBJECTIVES[config.trained_objective].trains_on),
        (f"--model-selection {config.model_selection}", config.model_selection in TRUE_SELECTIONS, "val"),
    ):
        rows = dataset.in_split(split)
        if not rows.any():  # validation will be held out of training
            rows = dataset.in_split("train")
        if wanted and not (dataset.attributes[rows] >= 0).any():
            problem = f"{dataset.source} has no attribute for any row of split {split!r}"
            raise InputError(f"{flag}: {problem}; use pseudo groups instead")


def check_groups(study: Study) -> None:
    """Refuse to train or select by pseudo groups without rows, or to refit on too few rows."""
    config, dataset = study.config, study.dataset
    objective = OBJECTIVES[config.trained_objective]
    uses_groups = objective.uses_groups and config.group_source == "pseudo"
    for split, wanted in ((objective.trains_on, uses_groups), ("val", config.selecting_groups == "pseudo")):
        if wanted and not study.grouping("pseudo").counts(study.rows(split)).any():
            if config.pseudo_attributes is not None and not config.min_confidence:
                raise InputError(f"{config.pseudo_attributes}: no row of split {split!r} has an attribute; add some")
            if config.coded is not None:
                problem = f"no row of split {split!r} has a value"
                raise InputError(f"--attributes {':'.join(config.coded)}: {problem}; choose another one")
            problem = f"no row of split {split!r} has a pseudo attribute that sure"
            raise InputError(f"--min-confidence {in_digits(config.min_confidence)}: {problem}; lower it")
    if not objective.leaves_unknown_out:
        return
    rows, groups = study.rows(objective.trains_on), study.training_grouping.groups
    known = rows[groups[rows] >= 0]
    rows_C = np.bincount(dataset.labels[known], minlength=dataset.num_classes)
    missing = [name for name, rows in zip(dataset.class_names, rows_C, strict=True) if not rows]
    if missing:
        what = f"class {missing[0]!r} has no row with a known group"
    elif objective.refits and np.bincount(groups[known]).max() < 2:
        what = "no group has a second row, to choose the penalty by"
    else:
        return
    advice = "add rows to it or choose another objective (in a comparison, leave it out of --methods)"
    raise InputError(f"--objective {objective.name}: {what} in split {objective.trains_on!r}; {advice}")


def setting_warnings(configs: Sequence[FitConfig], *, sentences_read: bool = False) -> list[Caution]:
    """Return warnings about settings without effect. ``configs`` may differ only in seed and method.

    ``sentences_read`` says that a row without training has the sentences of groups.
    """
    warnings, config = [], configs[0]
    readable = {f"--head {trained.head}" for trained in configs}
    readable |= {f"--objective {objective}" for trained in configs for objective, _ in trained.trained}
    if loops := not readable.isdisjoint(readers("optimizer")):
        readable.add(f"--optimizer {config.optimizer}")
    for setting in fields(config):
        wanted, value = readers(setting.name), getattr(config, setting.name)
        if setting.name == "sgd_momentum" and config.optimizer == "sgd":
            wanted = readers("optimizer")
        if value != setting.default and wanted and readable.isdisjoint(wanted):
            unset: dict[str, Any] = {setting.name: setting.default}
            if value == getattr(replace(config, **unset).resolved(), setting.name):  # as in the config.toml of a run
                continue
            kind = "no effect but in ERM" if config.baselines and "--objective erm" in wanted else "no effect"
            values = {"flag": flag_of(setting.name), "value": str(value), "readers": " and ".join(wanted)}
            warnings.append(caution(kind, **values))
    named = (trained for trained in configs if not trained.has_unnamed_groups)
    sentences_read |= any(prompts == "group" for trained in named for _, prompts in trained.trained)
    if config.group_template is not None and not sentences_read:
        warnings.append(caution("no group prompts", templates=" ".join(config.group_template)))
    if (loops or config.baselines) and config.epochs <= config.warmup_epochs:
        warnings.append(caution("only warm-up", epochs=config.epochs))
    weighted = any(OBJECTIVES[trained.trained_objective].can_sample for trained in configs)
    if weighted and config.apply == "loss" and config.weights_fade:
        warnings.append(caution("fading weights", batch_size=config.batch_size))
    return warnings


def group_warnings(study: Study) -> list[Caution]:
    """Return warnings about groups of training or model selection with no or few rows."""
    config, warnings = study.config, list[Caution]()
    grouping, noun, train_G, val_G = _counted(study, config.group_source)
    trains_on = OBJECTIVES[config.trained_objective].trains_on
    rows_G, elsewhere_G, elsewhere = (train_G, val_G, "val") if trains_on == "train" else (val_G, train_G, "train")
    if few := _few_rows(grouping, rows_G == 0, elsewhere_G, elsewhere):
        warnings.append(caution("untrained groups", noun=noun, split=trains_on, groups=few))
    if config.shots is not None:  # the following are the same for all seeds, which draw other rows
        rows_C = np.bincount(study.dataset.labels[study.rows("train")]).tolist()
        by_class = zip(study.dataset.class_names, rows_C, strict=True)
        if few := [f"{name} ({n})" for name, n in by_class if n < config.shots]:
            warnings.append(caution("few shots", shots=config.shots, classes=few))
        if config.model_selection != "last":
            judging = min(config.shots, MOST_VALIDATION_SHOTS)
            warnings.append(caution("few shots choose", shots=config.shots, n=judging))
        return warnings
    if config.selecting_groups is None:
        return warnings
    grouping, noun, train_G, val_G = _counted(study, config.selecting_groups)
    if few := _few_rows(grouping, (val_G == 0) & (train_G > 0), train_G, "train"):
        warnings.append(caution("unvalidated groups", noun=noun, groups=few))
    if few := _few_rows(grouping, (val_G > 0) & (val_G < SMALL_VALIDATION_GROUP), val_G, "val"):
        warnings.append(caution("small validation groups", noun=noun, limit=SMALL_VALIDATION_GROUP, groups=few))
    return warnings


def _counted(study: Study, source: str) -> tuple[Grouping, str, NDArray[np.int64], NDArray[np.int64]]:
    """Return the groups of a ``group_source``, their noun, and the (G,) rows of training and of validation."""
    grouping = study.grouping(source)
    noun = "classes" if grouping.provenance == "none" else f"{source}-groups"
    return grouping, noun, grouping.counts(study.rows("train")), grouping.counts(study.rows("val"))


def _few_rows(grouping: Grouping, is_few_G: NDArray[np.bool_], rows_G: NDArray[np.int64], split: str) -> list[str]:
    """Return the names of few groups, unless nobody expects them, with their number of rows in a split."""
    few = np.flatnonzero(is_few_G & grouping.expected).tolist()
    return [f"{grouping.names[g]} ({rows_G[g]} in {split!r})" for g in few]
