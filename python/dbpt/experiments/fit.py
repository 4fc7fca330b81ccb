"""`fit`: the whole job, from images and words to a run folder with a debiased classifier and a report."""

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt._core import __version__
from dbpt.experiments.methods import trained_row, zero_shot_row
from dbpt.experiments.prepared_once import prepare_once
from dbpt.experiments.results import describe_run, write_results
from dbpt.experiments.stages import Log
from dbpt.ranks import Ranks, joined_ranks
from dbpt.report import comparison_table
from dbpt.runs.run_folder import RUN_FOLDER
from dbpt.settings.config import FitConfig
from dbpt.settings.data import config_with_data
from dbpt.settings.demo import resolve_demo

if TYPE_CHECKING:
    from dbpt.data.huggingface_objects import HuggingFaceData


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and what ``metrics.json`` holds. ``str(run)`` is the comparison table."""

    folder: Path
    metrics: dict[str, Any]

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
    """Train a prompt, or another head, on ``data`` with the chosen objective and write everything about it to ``out``.

    Of several processes, started by ``torchrun`` or in the caller's process group, all must call this; they share out
    each batch. That of rank 0 alone reads ``data``, writes ``out`` and logs; each returns the same metrics.

    Args:
        data: ``"demo"`` (or another demo name), ``"waterbirds"``, ``"celeba"``, ``"metashift"``, or what else
            `dbpt.load_dataset` takes.
        out: the run folder, which must not exist unless ``resume`` or ``overwrite``.
        resume: continue from the last checkpoint of the same command; starts afresh if there is none. A run that is not
            finished, as after a loss that blew up, may be given a lower ``lr``.
        overwrite: replace an existing run folder.
        log: gets one line of progress at a time.
        settings: the fields of `FitConfig`, by name.

    Raises:
        InputError: for anything the user can mend; one line.
    """
    config = config_with_data(data, settings, log)
    return fit_config(config, Path(out), resume=resume, overwrite=overwrite, log=log)


def fit_config(config: FitConfig, out: Path, *, resume: bool = False, overwrite: bool = False, log: Log) -> Run:
    """`fit` for settings that are already a `FitConfig`."""
    with joined_ranks(config.device) as ranks, ExitStack() as held:
        log = log if ranks.is_first else _say_nothing

        def hold() -> None:
            held.enter_context(RUN_FOLDER.held(out, resume=resume, overwrite=overwrite))

        ranks.from_first(hold)
        return _fit_on(ranks, config, out, resume=resume, overwrite=overwrite, log=log)


def _fit_on(ranks: Ranks, config: FitConfig, out: Path, *, resume: bool, overwrite: bool, log: Log) -> Run:
    config = ranks.in_turns(lambda: resolve_demo(config, log))
    started = time.perf_counter()
    experiment = prepare_once(config, log, ranks)
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
        seconds = {"embed": embedded - started, "total": time.perf_counter() - started}
        metrics = describe_run(experiment, rows, seconds)
        write_results(out, experiment, rows, metrics)
        RUN_FOLDER.finish(out, description, config)
        return metrics

    return Run(out, ranks.from_first(finish))


def _say_nothing(line: str) -> None:
    """The log of all ranks but the first."""
