"""`compare`: every method with every head and seed on one feature cache, and a table that says how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from dbpt._core import __version__
from dbpt.data.huggingface_objects import path_of
from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.experiments.checks import setting_warnings
from dbpt.experiments.comparison.cells import Stages, judged_split, read_result, result_path
from dbpt.experiments.comparison.jobs import run_here, run_in_processes
from dbpt.experiments.comparison.plan import METHODS, Plan, is_cell_file, make_plan, shared_settings
from dbpt.experiments.comparison.progress import plan_progress
from dbpt.experiments.comparison.summary import Findings, summarize
from dbpt.experiments.comparison.tables import csv_table, latex_table, markdown_table, terminal_table
from dbpt.experiments.results import describe_data
from dbpt.experiments.stages import Log
from dbpt.files.disk import write_atomically, write_json
from dbpt.ranks import launched
from dbpt.runs.output_folder import Marker, OutputFolder
from dbpt.settings.demo import resolve_demo

if TYPE_CHECKING:
    from dbpt.data.huggingface_objects import HuggingFaceData


@dataclass(frozen=True)
class ComparisonMarker(Marker):
    """What ``plan.json`` holds; ``data`` is a digest of what no setting names."""

    dbpt_version: str
    methods: list[str]
    heads: list[str]
    seeds: list[int]
    data: str
    backbone: dict[str, Any]
    words: Words


COMPARISON_FOLDER = OutputFolder(
    title="comparison",
    command="dbpt compare",
    marker="plan.json",
    record=ComparisonMarker,
    schema_version=1,
    files=frozenset({"compare.json", "compare.csv", "compare.md", "compare.tex"}),
    subfolders={"cells": is_cell_file, "checkpoints": is_cell_file},
    shared_settings=True,
)


@dataclass(frozen=True)
class Comparison:
    """A comparison: its folder and what ``compare.json`` holds. ``str(comparison)`` is the table.

    Trainings that failed are in ``numbers["failed"]``, each with its reason.
    """

    folder: Path
    numbers: dict[str, Any]

    def __str__(self) -> str:
        return self.table()

    def table(self, width: int | None = None) -> str:
        """The table for a terminal of so many columns; without a width at most 110, but for long names."""
        return terminal_table(self.numbers) if width is None else terminal_table(self.numbers, width)


def compare(
    data: str | Path | HuggingFaceData,
    *,
    out: str | Path,
    methods: str | Sequence[str] = METHODS,
    heads: str | Sequence[str] = ("prompt",),
    seeds: int | Sequence[int] = 5,
    jobs: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    log: Log = lambda line: None,
    **settings: Any,
) -> Comparison:
    """Train every method with every head and seed as `fit` does, and write tables of what came out to ``out``.

    Args:
        data: as in `fit`.
        out: the folder, which must not exist unless ``resume`` or ``overwrite``.
        methods: ``"zero-shot"``, ``"OBJECTIVE"`` or ``"OBJECTIVE:GROUP_SOURCE"`` each, such as ``"groupdro:true"``.
        heads: names of heads; a method that cannot train one of them is left out there, and the table says so.
        seeds: how many, counted from 0; or the seeds themselves.
        jobs: processes that train at the same time; they divide the processor's cores.
        resume: go on with an interrupted comparison, or one with fewer methods, heads or seeds; what is finished stays.
        overwrite: replace an existing comparison.
        log: gets one line of progress at a time.
        settings: the fields of `FitConfig` that all rows share, by name; not those that the plan gives each row.

    A training that fails for its settings, because its loss blows up, does not stop the others.

    Raises:
        InputError: for anything the user can mend; one line.
    """
    out = Path(out)
    _check_processes(jobs)
    config = shared_settings({"data": "", **settings})
    config = replace(config, data=path_of(data, config.cache_dir, log))
    plan = make_plan(config, methods, heads, seeds)
    with COMPARISON_FOLDER.held(out, resume=resume, overwrite=overwrite):
        plan = make_plan(resolve_demo(config, log), methods, heads, seeds)
        return _compare_in(out, plan, jobs, log, resume=resume, overwrite=overwrite)


def _compare_in(out: Path, plan: Plan, jobs: int, log: Log, *, resume: bool, overwrite: bool) -> Comparison:
    """`compare` in a folder that this process holds."""
    stages = Stages(plan.configs, _each_line_once(log))
    warnings = _warnings(plan, stages, log)
    description = _describe(plan, stages)
    COMPARISON_FOLDER.start(out, description, plan.config, resume=resume, overwrite=overwrite)
    if COMPARISON_FOLDER.read_marker(out).data != description["data"]:
        raise InputError(
            f"--resume: {out} was started with other images, labels, words or weights; use the same ones, or start "
            "afresh with --overwrite"
        )
    findings = _run(plan, stages, out, jobs, log)
    numbers = _summarize(findings, stages, warnings)
    _write_tables(out, numbers)
    if not findings.failures:
        COMPARISON_FOLDER.finish(out, description, plan.config)
    return Comparison(out, numbers)


def _check_processes(jobs: int) -> None:
    """Ranks would each do all of the work and write over each other's files."""
    if isinstance(jobs, bool) or jobs < 1:
        raise InputError(f"--jobs: found {jobs}; expected how many processes train at the same time, 1 or more")
    in_group = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if launched() or in_group:
        raise InputError(
            "dbpt compare does not share out trainings to the processes of torchrun; start it once, without torchrun, "
            "and say --jobs for several processes"
        )


def _each_line_once(log: Log) -> Log:
    """Labelling says the same for every seed."""
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            log(line)

    return once


def _warnings(plan: Plan, stages: Stages, log: Log) -> list[str]:
    """Build what every cell starts from, so that what one of them lacks is refused before any is trained."""
    found: dict[str, None] = {}
    for cell in plan.cells:
        found |= dict.fromkeys(stages.experiment(cell).warnings)
    found |= dict.fromkeys(setting_warnings(plan.configs))
    for warning in found:
        log(f"warning: {warning}")
    return list(found)


def _describe(plan: Plan, stages: Stages) -> dict[str, Any]:
    """What ``plan.json`` holds besides version and status."""
    embedded = stages.embedded
    return {
        "dbpt_version": __version__,
        "methods": [method.name for method in plan.methods],
        "heads": list(plan.heads),
        "seeds": list(plan.seeds),
        "data": stages.data_digest,
        "backbone": embedded.backbone.spec,
        "words": asdict(embedded.dataset.words),
    }


def _run(plan: Plan, stages: Stages, out: Path, jobs: int, log: Log) -> Findings:
    """Read what is finished, train the rest."""
    results, failures = {}, {}
    for cell in plan.cells:
        if result := read_result(result_path(out, cell), stages.fingerprint(cell)):
            results[cell.name] = result
    waiting = [cell for cell in plan.cells if cell.name not in results]
    if results:
        log(f"{len(results)} of {len(plan.cells)} trainings are finished")
    jobs = min(jobs, len(waiting))
    outcomes = run_in_processes(plan.configs, waiting, out, jobs) if jobs > 1 else run_here(stages, waiting, out)
    try:
        with closing(outcomes), plan_progress(len(plan.cells), waiting, log) as show:
            for cell, reason in outcomes:
                # what is there is finished, even if its process died before it could say so
                if result := read_result(result_path(out, cell), stages.fingerprint(cell)):
                    results[cell.name] = result
                else:
                    failures[cell.name] = reason or "its result is gone"
                show(cell, result or failures[cell.name])
    finally:
        COMPARISON_FOLDER.remove_leftovers(out)  # of processes that were killed while they wrote
    return Findings(plan, results, failures)


def _summarize(findings: Findings, stages: Stages, warnings: Sequence[str]) -> dict[str, Any]:
    labelled = stages.labelled(findings.plan.cells[0].config)
    described: Mapping[str, Any] = describe_data(
        labelled.embedded.dataset,
        labelled.splits,
        pseudo=labelled.pseudo,
        backbone=labelled.embedded.backbone,
        average=findings.plan.config.average,
    )
    return summarize(findings, described, judged_split(labelled), warnings)


def _write_tables(out: Path, numbers: dict[str, Any]) -> None:
    write_json(out / "compare.json", numbers)
    write_atomically(out / "compare.csv", csv_table(numbers))
    write_atomically(out / "compare.md", markdown_table(numbers))
    write_atomically(out / "compare.tex", latex_table(numbers))
