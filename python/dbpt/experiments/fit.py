"""`fit`: the whole job, from images and words to a run folder with a debiased classifier and a report."""

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dbpt._core import __version__
from dbpt.clip import Backbone, load_backbone_from_spec
from dbpt.data.huggingface_objects import HuggingFaceData
from dbpt.experiments.methods import trained_row, zero_shot_row
from dbpt.experiments.results import write_results
from dbpt.experiments.stages import Experiment, Log, prepare
from dbpt.ranks import Ranks, joined_ranks
from dbpt.report import comparison_table
from dbpt.report.summary import summarize
from dbpt.runs.run_folder import RUN_FOLDER
from dbpt.settings.config import FitConfig
from dbpt.settings.data import config_with_data, resolve_demo


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
    log: Log = lambda line: None,
    **settings: Any,
) -> Run:
    """Train a prompt, or another head, on ``data`` with the chosen objective and write the results to ``out``.

    If several processes train, started by ``torchrun`` or in the caller's process group, all must call this; they share
    each batch. Rank 0 alone reads ``data``, writes ``out`` and logs; all return the same metrics.

    Args:
        data: ``"demo"`` (or another demo name), ``"waterbirds"``, ``"celeba"``, ``"metashift"``, or what else
            `dbpt.load_dataset` takes.
        out: the run folder, which must not exist unless ``resume`` or ``overwrite``.
        resume: continue from the last checkpoint of the same command, or start if there is none. A run that is not
            finished, for example because its loss diverged, may be given a lower ``lr``.
        overwrite: replace an existing run folder.
        log: gets one line of progress, or a warning, at a time.
        settings: the fields of `FitConfig`, by name.

    Raises `InputError`, one line, for anything the user can mend.
    """
    config, out = config_with_data(data, settings, log), Path(out)
    with joined_ranks(config.device) as ranks, ExitStack() as held:
        ranks.from_first(lambda: held.enter_context(RUN_FOLDER.held(out, resume=resume, overwrite=overwrite)))
        own_log = log if ranks.is_first else lambda line: None
        return _fit_on(ranks, config, out, resume=resume, overwrite=overwrite, log=own_log)


def _fit_on(ranks: Ranks, config: FitConfig, out: Path, *, resume: bool, overwrite: bool, log: Log) -> Run:
    config = ranks.in_turns(lambda: resolve_demo(config, log))
    started = time.perf_counter()
    experiment = _prepare_once(config, log, ranks)
    embedded = time.perf_counter()
    config = experiment.config
    description = {
        "dbpt_version": __version__,
        "backbone": experiment.backbone.spec,
        "words": asdict(experiment.dataset.words),
    }
    ranks.from_first(lambda: RUN_FOLDER.start(out, description, config, resume=resume, overwrite=overwrite))
    objectives = dict.fromkeys(["erm", config.objective] if config.baselines else [config.objective])
    rows = [zero_shot_row(experiment)]
    rows += [
        trained_row(experiment, name, checkpoint_path=out / "checkpoints" / f"{name}.safetensors", log=log, ranks=ranks)
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
            log(f"warning: {warning}")
        return metrics

    return Run(out, ranks.from_first(finish))


def _prepare_once(config: FitConfig, log: Log, ranks: Ranks) -> Experiment:
    """`prepare` on rank 0, which sends the result to the others; each of them loads the backbone for itself.

    So all ranks have the same features, groups and settings, to the last bit, and only rank 0 needs data and cache.
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

    def own_backbone() -> Backbone:
        if whole is not None:
            return whole.backbone
        weights = config.pretrained if spec["weights"]["kind"] == "file" else None
        return load_backbone_from_spec(spec, device=config.device, weights=weights)

    rest, shape, spec = ranks.from_first(without_the_large)
    features = np.empty(shape, dtype=np.float32) if whole is None else whole.features
    ranks.copy_first([torch.from_numpy(features)])
    return replace(rest, backbone=ranks.together(own_backbone), features=features)
