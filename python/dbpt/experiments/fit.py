"""`fit`: the whole job, from images and words to a run folder with a debiased classifier and a report."""

import json
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dbpt._core import __version__
from dbpt.clip import Backbone, load_backbone_from_spec
from dbpt.data import SPLITS
from dbpt.data.huggingface_objects import HuggingFaceData
from dbpt.experiments.methods import MethodRow, trained_row, zero_shot_row
from dbpt.experiments.stages import Experiment, prepare
from dbpt.features import UnreadableImage
from dbpt.files.csv import csv_text
from dbpt.files.disk import write_atomically, write_json
from dbpt.files.tensors import write_tensors
from dbpt.heads import HEADS
from dbpt.ranks import Ranks, joined_ranks
from dbpt.report import Mistake, comparison_table, render_report
from dbpt.report.summary import summarize
from dbpt.report.thumbnails import thumbnail
from dbpt.runs.run_folder import RUN_FOLDER, TENSORS_SCHEMA_VERSION
from dbpt.settings.config import FitConfig
from dbpt.settings.data import config_with_data, resolve_demo

logger = logging.getLogger(__name__)

GALLERY_SIZE = 24
THUMBNAIL_PIXELS = 112


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and the content of ``metrics.json``. ``str(run)`` is the comparison table."""

    folder: Path
    metrics: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return comparison_table(self.metrics)


def fit(
    data: "str | Path | HuggingFaceData",
    *,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Run:
    """Train a prompt, or another head, on ``data`` with the chosen objective and write the results to ``out``.

    If several processes train, started by ``torchrun`` or in the caller's process group, all must call this; they share
    each batch. Rank 0 alone reads ``data``, writes ``out`` and logs; all return the same metrics.

    Args:
        data: a demo's name, such as ``"demo"``, or anything that `dbpt.load_dataset` takes.
        out: the run folder, which must not exist unless ``resume`` or ``overwrite``.
        resume: continue from the last checkpoint of the same command, or start if there is none. A run that is not
            finished, for example because its loss diverged, may be given a lower ``lr``.
        overwrite: replace an existing run folder.
        settings: the fields of `FitConfig`, by name. Anything in them that the user can mend raises `InputError`.
    """
    config, out = config_with_data(data, settings), Path(out)
    with joined_ranks(config.device) as ranks, ExitStack() as held:
        ranks.from_first(lambda: held.enter_context(RUN_FOLDER.held(out, resume=resume, overwrite=overwrite)))
        return _fit_on(ranks, config, out, resume=resume, overwrite=overwrite)


def _fit_on(ranks: Ranks, config: FitConfig, out: Path, *, resume: bool, overwrite: bool) -> Run:
    config = ranks.in_turns(lambda: resolve_demo(config))
    started = time.perf_counter()
    experiment = _prepare_once(config, ranks)
    embedded = time.perf_counter()
    config = experiment.config
    words = asdict(experiment.dataset.words)
    description = {"dbpt_version": __version__, "backbone": experiment.backbone.spec, "words": words}
    ranks.from_first(lambda: RUN_FOLDER.start(out, description, config, resume=resume, overwrite=overwrite))
    objectives = dict.fromkeys(["erm", config.objective] if config.baselines else [config.objective])
    rows = [zero_shot_row(experiment)]
    rows += [
        trained_row(experiment, name, checkpoint_path=out / "checkpoints" / f"{name}.safetensors", ranks=ranks)
        for name in objectives
    ]

    def finish() -> dict[str, Any]:
        metrics = experiment.run_figures(
            config,
            [row.to_json() for row in rows],
            warnings=experiment.warnings,
            failed_images=len(experiment.failures),
            seconds={"embed": embedded - started, "total": time.perf_counter() - started},
        )
        write_results(out, experiment, rows, metrics)
        RUN_FOLDER.finish(out, description, config)
        for warning in summarize(metrics).figure_warnings:
            logger.warning(warning)
        return metrics

    return Run(out, ranks.from_first(finish))


def _prepare_once(config: FitConfig, ranks: Ranks) -> Experiment:
    """`prepare` on rank 0, which sends the result to the others; each of them loads the backbone for itself."""
    if ranks.count == 1:
        return prepare(config)
    whole: Experiment | None = None

    def without_the_large() -> tuple[Experiment, tuple[int, ...], dict[str, Any]]:
        nonlocal whole
        whole = prepare(config)
        left_out: dict[str, Any] = {"backbone": None, "features": None}
        return replace(whole, **left_out), whole.features.shape, whole.backbone.spec

    def own_backbone() -> Backbone:
        if whole is not None:
            return whole.backbone
        weights = config.pretrained if spec["weights"]["kind"] == "file" else None
        return load_backbone_from_spec(spec, device=config.device, weights=weights)

    rest, shape, spec = ranks.from_first(without_the_large)
    features = np.empty(shape, dtype=np.float32) if whole is None else whole.features
    ranks.copy_first([torch.from_numpy(features)])
    return replace(rest, backbone=ranks.together(own_backbone), features=features)


def write_results(out: Path, experiment: Experiment, rows: list[MethodRow], metrics: dict[str, Any]) -> None:
    """Write the results into the run folder; the last of ``rows`` is the chosen one."""
    chosen, pseudo = rows[-1], experiment.pseudo
    history = [
        {"row": row.name, **asdict(record), "selected": record.epoch == row.trained.selected_epoch}
        for row in rows
        if row.trained
        for record in row.trained.history
    ]
    assert chosen.trained is not None and pseudo.posterior is not None and pseudo.confidence is not None
    write_tensors(
        out / "classifier.safetensors",
        chosen.classifier.tensors,
        {"classes": json.dumps(experiment.dataset.class_names)},
        version=TENSORS_SCHEMA_VERSION,
    )
    if HEADS[head := experiment.config.head].saves_parameters:
        parameters = {name: tensor.cpu().numpy() for name, tensor in chosen.trained.head_state.items()}
        write_tensors(out / f"{head}.safetensors", parameters, version=TENSORS_SCHEMA_VERSION)
    write_tensors(
        out / "pseudo_attributes.safetensors",
        {
            "pseudo_attributes": pseudo.pseudo_attributes,
            "posterior": pseudo.posterior,
            "confidence": pseudo.confidence,
            "splits": experiment.splits,
            "paths": np.frombuffer("\0".join(experiment.dataset.paths).encode("utf-8", "surrogateescape"), np.uint8),
        },
        {"attributes": json.dumps(experiment.dataset.attribute_names), "paths": "UTF-8, separated by NUL"},
        version=TENSORS_SCHEMA_VERSION,
    )
    write_atomically(out / "groups.csv", _groups_csv(experiment, chosen))
    write_atomically(out / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in history))
    write_json(out / "metrics.json", metrics)
    write_atomically(out / "report.html", render_report(metrics, history, worst_group_mistakes(experiment, chosen)))


def _groups_csv(experiment: Experiment, chosen: MethodRow) -> str:
    """Return a line for each group of the ``group_source``, under soft membership with the rows likeliest in it."""
    assert chosen.trained is not None
    dataset, groups = experiment.dataset, experiment.groups_trained_on
    weights = chosen.trained.history[chosen.trained.selected_epoch - 1].group_weights
    counts = [experiment.counts(groups, split) for split in SPLITS]
    table: list[Sequence[object]] = [
        ["group", "class", "attribute", "group_source", *(f"n_{split}" for split in SPLITS), "group_weight"]
    ]
    for group in range(dataset.num_groups):
        label, attribute = divmod(group, dataset.num_attributes)
        names = (dataset.class_names[label], dataset.attribute_names[attribute], experiment.config.group_source)
        numbers = [int(counts_G[group]) for counts_G in counts]
        table.append([group, *names, *numbers, None if weights is None else weights[group]])
    return csv_text(table)


def worst_group_mistakes(experiment: Experiment, row: MethodRow) -> list[Mistake] | None:
    """Return the 24 surest mistakes in the worst group of test, else validation; None if no images were given."""
    if experiment.config.embeddings is not None:
        return None
    split = "test" if row.metrics["test"] else "val"
    metrics = row.metrics[split]
    if metrics is None or metrics.worst_group is None:
        return []
    dataset, members = experiment.dataset, experiment.rows(split)
    members = members[experiment.evaluation_groups[members] == metrics.worst_group]
    logits = row.classifier.logits(experiment.features[members])
    label, attribute = divmod(metrics.worst_group, dataset.num_attributes)
    p_true = np.exp(logits[:, label] - np.logaddexp.reduce(logits, axis=1))
    predictions = logits.argmax(axis=1)
    wrong = np.flatnonzero(predictions != label)
    mistakes = []
    for i in wrong[np.argsort(p_true[wrong], kind="stable")][:GALLERY_SIZE]:
        path = dataset.paths[members[i]]
        try:
            image = thumbnail(dataset.root / path, THUMBNAIL_PIXELS)
        except UnreadableImage:  # since it was embedded
            continue
        mistakes.append(
            Mistake(
                path=path,
                image=image,
                label=dataset.class_names[label],
                attribute=dataset.attribute_names[attribute],
                prediction=dataset.class_names[int(predictions[i])],
                p_true=float(p_true[i]),
            )
        )
    return mistakes
