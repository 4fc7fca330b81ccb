"""`compare`: many trainings on one feature cache, as one table with intervals, and its page."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt._core import __version__
from dbpt.arguments import integer, path
from dbpt.cautions import Caution, caution
from dbpt.commands.callbacks import StartedRun, Watch, trackers_of
from dbpt.commands.compare import plan as planning
from dbpt.commands.compare.cell_files import cell_classifier, read_result, result_path
from dbpt.commands.compare.cells import Stages, attempt, run_in_processes
from dbpt.commands.resolved_settings import Request, Resolved
from dbpt.commands.result import Result
from dbpt.data import DataLike, Words
from dbpt.environment import launched, progress_bar
from dbpt.errors import InputError
from dbpt.evaluation.repeats import Evaluated, with_rows
from dbpt.evaluation.results import FailedTraining, Metrics
from dbpt.evaluation.study_metrics import metrics_of_study, shared_settings
from dbpt.objectives.training_free import TRAINING_FREE
from dbpt.report.charts import write_figures
from dbpt.report.discovery_sentences import doubts_in_words
from dbpt.report.result_charts import result_charts
from dbpt.report.results_page import (
    Answers,
    NextSteps,
    answers_of,
    compared_rows,
    guess_sheets,
    made_by_words,
    render_results,
    write_guesses,
)
from dbpt.report.tables import csv_of_lines, table_lines
from dbpt.report.text import label_command, setting_texts
from dbpt.runs.output_folder import EVENTS, FIGURES, Marker, OutputFolder, figures_named
from dbpt.settings.all_settings import GUESS_SETTINGS
from dbpt.settings.config import FitConfig, shows_settings
from dbpt.settings.fields import AUTO, Command, value_in_words, varied_in_words
from dbpt.settings.keywords import SharedSettings
from dbpt.storage.files import write_atomically, write_json
from dbpt.study.checks import setting_warnings
from dbpt.study.data import with_data
from dbpt.study.stages import doubted_guesses, judged_class_words, judged_guesses, log_warnings
from dbpt.study.study import Study
from dbpt.training.ranks import group_size

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparisonMarker(Marker):
    """The content of ``plan.json``; ``data`` is a digest of the images, labels, words and encoder.

    ``notes`` are as in `RunMarker`.
    """

    dbpt_version: str
    methods: list[str]
    heads: list[str]
    seeds: list[int]
    data: str
    backbone: dict[str, Any]
    words: Words
    draws: int
    notes: list[str]
    vary: dict[str, list[Any]] = field(default_factory=dict)
    against: str | None = None


FILES = ("compare.html", "compare.json", "compare.csv", "guesses.html")
COMPARISON_FOLDER = OutputFolder(
    title="comparison",
    verb="compare",
    marker="plan.json",
    record=ComparisonMarker,
    schema_version=4,
    is_file=lambda name: name in FILES or name.startswith(EVENTS),
    subfolders={
        "cells": planning.is_cell_file,
        "checkpoints": planning.is_cell_file,
        FIGURES: figures_named("accuracy", "worst_group_accuracy"),
    },
    shared_settings=True,
)


@shows_settings(SharedSettings)
def compare(
    data: "DataLike | None" = None,
    *,
    out: str | Path,
    methods: str | Sequence[str] | None = None,
    heads: str | Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    resample: int | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    against: str | None = None,
    jobs: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[object] = (),
    **settings: "Unpack[SharedSettings]",
) -> Result:
    """Train every method with every head and seed as `fit` does, and write tables of the results and a page to ``out``.

    A training that fails, because it diverged or by the code of a registered class, does not stop the others.

    Args:
        data, out, overwrite, callbacks: as in `fit`.
        methods: ``"OBJECTIVE"`` or ``"OBJECTIVE:GROUP_SOURCE"`` each, such as ``"groupdro:true"``; or one without
            training, such as ``"zero-shot"`` or ``"roboshot"``. None: zero-shot, some that need no
            annotation, and what `fit` saves by default, where it can be made.
        heads: names of heads; a method that cannot train one of them is left out there, and the table says so. None:
            ``"prompt"``.
        seeds: how many, counted from 0; or the seeds themselves. None: 1.
        resample: how many more trainings of each row, 2 or more, on draws: half of the training and validation rows of
            each class and pseudo attribute, and a seed of its own. The test rows stay. The figures are those with all
            rows; their deviation and the intervals are over the draws. None: no draws.
        vary: values of settings, such as ``{"eta": [0, 1, 5]}``: each row is trained with each combination of those
            that it reads. They replace a value in ``settings``. None: no other settings.
        against: the row that the others are compared with, such as ``"balanced"``: a name in ``methods``, which means
            the row with the same head and varied settings; or one row, as ``"METHOD,HEAD,SETTING=VALUE"``, such as
            ``"dbpt,linear,eta=5"``. None: ERM.
        jobs: processes that train at the same time; they share the processor's cores.
        resume: continue an interrupted comparison, or one with fewer methods, heads, seeds or draws; finished cells
            stay. Without ``data``, what is not given is that of the comparison.
        settings: those listed below, which all rows share.

    Returns:
        A row for each method and head.

    Raises:
        InputError: as `fit` does, and for a plan that can't be carried out.
    """
    Watch(callbacks)  # refuses wrong ones before any work
    jobs = integer("--jobs", jobs, 1)
    # ranks would each do all of the work and overwrite each other's files
    if launched() or group_size() > 1:
        raise InputError(
            "dbpt compare can't share trainings among the processes of torchrun; start it once, without torchrun, and "
            "use --jobs for several processes"
        )
    request = Request(COMPARISON_FOLDER, path("out", out), resume, overwrite)
    own, continued = dict[str, Any](), data is None
    data, shared = request.settings(data, dict[str, Any](settings), without=planning.BY_THE_PLAN)
    if continued:
        marker = COMPARISON_FOLDER.read_marker(request.out)
        own = {name: getattr(marker, name) for name in ("methods", "heads", "seeds", "vary", "against")}
        own["resample"] = marker.draws or None
    given = {"methods": methods, "heads": heads, "seeds": seeds, "resample": resample, "vary": vary, "against": against}
    own |= {name: value for name, value in given.items() if value is not None}
    config = with_data(planning.shared_settings(shared), data)
    plan = planning.make_plan(config, **(own | {"against": against}))  # refuses a bad one at once
    planning.check_kept(own.get("against") if against is None else None, plan)
    watch = Watch(callbacks, trackers_of(config.report_to))
    with request.held(), watch:
        return _compare(request, request.resolve(config), own, jobs, watch)


def _compare(request: Request, resolved: Resolved, own: dict[str, Any], jobs: int, watch: Watch) -> Result:
    """Train the cells of the plan with the arguments ``own``, and write the folder."""
    out, notes = request.out, resolved.notes
    plan = planning.make_plan(resolved.config, **own)
    free = [TRAINING_FREE[method.name] for method in plan.methods if method.objective is None]
    needed = any(method.needs_attributes for method in free)
    stages = Stages([cell.config for cell in plan.cells], need_attributes=needed, notes=notes)
    methods = [method.name for method in plan.methods]
    # Once more, since the backbone has settled the precision.
    precision = stages.embedded.backbone.image_precision
    plan = planning.make_plan(replace(resolved.config, image_precision=precision), **own)
    asked = replace(resolved.asked, image_precision=precision)
    configs = [cell.config for cell in plan.cells]
    # prepare every cell, to refuse bad ones before any is trained; draws differ only in their rows
    checked = [cell for row in plan.rows for cell in row.cells]
    warnings = dict.fromkeys(text for cell in checked for text in stages.study(cell).warnings)
    warnings |= dict.fromkeys(setting_warnings(configs, sentences_read=any(method.names_groups for method in free)))
    if plan.config.alpha is not None and not any(row.method.is_mixed for row in plan.rows):
        warnings[caution("no effect", flag="--alpha", value=str(plan.config.alpha), readers=planning.MIXED)] = None
    if plan.vary:
        warnings[caution("compared settings")] = None
    embedded, study = stages.embedded, stages.guessed(plan.cells[0])
    study = replace(study, guesses=(guesses := judged_guesses(embedded, study.pseudo)))
    configs = [cell.config for cell in plan.cells if cell.head is not None]
    reads_guesses = any(method.uses_guesses for method in free)
    doubted = guesses.doubted_factors if reads_guesses else doubted_guesses(study, configs)
    study = replace(study, doubted_guesses=doubted, class_doubts=judged_class_words(embedded, study.pseudo))
    log_warnings(logged := [*study.class_doubts, *map(doubts_in_words, doubted), *warnings], embedded.warnings)
    description = {
        "dbpt_version": __version__,
        "methods": methods,
        "heads": list(plan.heads),
        "seeds": list(plan.seeds),
        "draws": plan.draws,
        "data": stages.data_digest,
        "backbone": embedded.backbone.spec,
        "words": asdict(embedded.dataset.words),
        "notes": list(notes),
        "vary": plan.vary,
        "against": plan.against,
    }
    if (marker := request.continued) is not None and marker.data != description["data"]:
        raise InputError(
            f"--resume: {out} was started with other images, labels, words or weights; use the same ones, or start "
            "again with --overwrite"
        )
    request.start(description, plan.config)
    steps = next_steps(out, asked, plan)
    sheets = guess_sheets(study, out)
    label_commands = "\n".join(filter(None, (steps.fit, steps.label)))
    write_guesses(out, sheets, embedded.dataset.name, label_commands, again=True)
    trained = {cell.name: cell.config for cell in plan.cells if cell.head is not None}
    named = replace(study, probe_errors=stages.probe_errors(checked))
    watch.tell("on_fit_start", StartedRun.of(out, plan.config, named, trained))
    results, failures = _run(plan, stages, out, jobs, watch)
    of_rows = [
        (row.without_figures, [results[cell.name] for cell in (*row.cells, *row.draws) if cell.name in results])
        for row in plan.rows
    ]
    of_groups = metrics_of_plan(plan, study, failures, list(warnings))
    metrics = with_rows(of_groups, of_rows)
    judged = with_rows(of_groups, of_rows, metrics.judged_factors)
    metrics = replace(metrics, leaders=judged.leaders)  # a page has one headline, over the judged factors
    write_json(out / "compare.json", asdict(metrics))
    write_atomically(out / "compare.csv", csv_of_lines(table_lines(metrics)))
    heads = {"Methods": ", ".join(methods), "Heads": ", ".join(plan.heads)}
    made_by = made_by_words(
        study, metrics, sheets, command_of(out, asked, plan), heads | setting_texts(plan.config, SETTINGS)
    )
    steps = next_steps(out, asked, plan, plan.rows[metrics.chosen])
    charts = result_charts(metrics)
    answers = _answers(plan, results, metrics, stages, out)
    page = render_results(metrics, judged, sheets, made_by, steps, charts, answers)
    write_figures(out, charts)
    write_atomically(out / "compare.html", page)
    if not failures:
        COMPARISON_FOLDER.finish(out, description, plan.config)
    result = Result(out, metrics)
    log_warnings(result.warnings, logged)
    watch.tell("on_fit_end", result)
    return result


def metrics_of_plan(plan: planning.Plan, study: Study, failures: Mapping[str, str], warnings: list[Caution]) -> Metrics:
    """Return the metrics of a comparison but for its rows; ``failures`` are the reasons why cells failed, by name."""
    lr = {cell.config.head: cell.config.peak_lr for cell in reversed(plan.cells) if cell.head is not None}
    failed = [
        FailedTraining(
            method=cell.method.name,
            head=cell.head,
            seed=cell.config.seed,
            draw=cell.draw,
            reason=failures[cell.name],
            varied=dict(cell.varied),
        )
        for cell in plan.cells
        if cell.name in failures
    ]
    return metrics_of_study(
        study,
        seeds=list(plan.seeds),
        draws=list(range(plan.draws)),
        heads=list(plan.heads),
        model_selection=plan.config.model_selection,
        settings=shared_settings(plan.config, lr),
        left_out=list(plan.left_out),
        failed=failed,
        warnings=warnings,
        against=plan.against,
    )


def _answers(
    plan: planning.Plan, results: Mapping[str, Evaluated], metrics: Metrics, stages: Stages, out: Path
) -> Answers | None:
    """Return the answers of the first finished seed of the chosen row and of one before it; None without results."""
    cells = plan.rows[metrics.chosen].cells
    number = next((n for n, cell in enumerate(cells) if cell.name in results), None)
    if number is None:
        return None
    finished = [i for i, row in enumerate(plan.rows) if row.cells[number].name in results]
    study = stages.study(cells[number])
    shown = compared_rows(metrics, finished)
    classifiers = {i: cell_classifier(out, plan.rows[i].cells[number]) for i in shown}
    predictions = {i: classifier.predictions(study.features) for i, classifier in classifiers.items()}
    return answers_of(study, predictions, classifiers[shown[-1]].probabilities(study.features), out)


def _run(
    plan: planning.Plan, stages: Stages, out: Path, jobs: int, watch: Watch
) -> tuple[dict[str, Evaluated], dict[str, str]]:
    """Read the finished cells and run the others; return results and reasons of failures by name."""
    results, failures = dict[str, Evaluated](), dict[str, str]()
    for cell in plan.cells:
        if result := read_result(result_path(out, cell), stages.fingerprint(cell)):
            results[cell.name] = result
    waiting = [cell for cell in plan.cells if cell.name not in results]
    if results:
        logger.info(f"{len(results)} of {len(plan.cells)} trainings are finished")
    jobs = min(jobs, len(waiting))
    if jobs > 1:
        outcomes = run_in_processes([cell.config for cell in plan.cells], waiting, out, jobs, watch)
    else:
        outcomes = ((cell, attempt(stages, cell, out, watch)) for cell in waiting)
    total, first, started = len(plan.cells), len(plan.cells) - len(waiting) + 1, time.perf_counter()
    try:
        with closing(outcomes), progress_bar("comparison", "cell", total=total, initial=first - 1) as bar:
            for number, (cell, reason) in enumerate(outcomes, first):
                # a result that is there is finished, even if its process died before it could say so
                if result := read_result(result_path(out, cell), stages.fingerprint(cell)):
                    results[cell.name] = result
                else:
                    failures[cell.name] = reason or "its result is gone"
                line = _line(cell, result or failures[cell.name])
                bar.set_postfix_str(line, refresh=False)
                bar.update()
                if bar.disable:
                    seconds = (time.perf_counter() - started) / (number - first + 1) * (total - number)
                    left = f"; about {bar.format_interval(seconds)} left" if cell.head and number < total else ""
                    logger.info(f"[{number}/{total}] {line}{left}")
    finally:
        COMPARISON_FOLDER.remove_leftovers(out)  # of processes that were killed while they wrote
    return results, failures


def _line(cell: planning.Cell, outcome: Evaluated | str) -> str:
    if isinstance(outcome, str):
        figure = f"failed: {outcome}"
    elif (worst := outcome.metrics.worst_group_accuracy) is None:
        figure = f"average {100 * outcome.metrics.average:.1f} %, {outcome.row.repeats[0].seconds:.1f} s"
    else:
        figure = f"worst group {100 * worst:.1f} %, {outcome.row.repeats[0].seconds:.1f} s"
    head = "" if cell.head is None else f", {cell.head}"
    number = f"seed {cell.config.seed}" if cell.draw is None else f"draw {cell.draw}"
    return f"{cell.method.name}{varied_in_words(dict(cell.varied))}{head}, {number}: {figure}"


SETTINGS = [setting.name for setting in fields(FitConfig) if setting.name not in ("data", *planning.BY_THE_PLAN)]
"""The settings of every row."""


def command_of(out: Path, asked: FitConfig, plan: planning.Plan) -> str:
    """Return the command that makes the comparison; ``asked`` are the settings before a demo was drawn."""
    varied = [f"{name}={','.join(map(value_in_words, values))}" for name, values in plan.vary.items()]
    own = {
        "out": out,
        "methods": [method.name for method in plan.methods],
        "heads": plan.heads,
        "seeds": _seeds(plan.seeds),
        "resample": plan.draws or None,
        "vary": varied or None,
        "against": plan.against,
    }
    return str(Command("compare", asked.data, own | asked.given(SETTINGS)))


def next_steps(out: Path, asked: FitConfig, plan: planning.Plan, row: planning.PlannedRow | None = None) -> NextSteps:
    """Return the commands that go on from the comparison in ``out``, with a trained ``row``."""
    # the row that the page is about if it was trained, else the last one that was
    trained = [row for row in plan.rows if row.head is not None]
    if row is None or row.head is None:
        row = trained[-1] if trained else None
    run = Path(f"{out}-{row.method.name.replace(':', '-')}") if row else None
    has_guesses = asked.pseudo_attributes is None and asked.label_model is None
    guess = Command("guess", asked.data, {"out": f"{out}-guesses.csv"} | asked.given(GUESS_SETTINGS))
    return NextSteps(
        fit=_fit_command(run, asked, row) if row and run else "",
        label=label_command(run) if run and asked.opens_images else "",
        guess=str(guess) if has_guesses else "",
        resume=str(Command("compare", arguments={"resume": True, "out": out})),
    )


def _seeds(seeds: Sequence[int]) -> list[str]:
    """Return the arguments of ``--seeds``: a number for the first ones, and a list otherwise."""
    if list(seeds) == list(range(len(seeds))):
        return [str(len(seeds))]
    return [f"{seeds[0]},"] if len(seeds) == 1 else list(map(str, seeds))


def _fit_command(run: Path, asked: FitConfig, row: planning.PlannedRow) -> str:
    names = [*(name for name in planning.BY_THE_PLAN if name != "baselines"), "alpha", "apply", *dict(row.varied)]
    own: dict[str, Any] = {name: getattr(row.cells[0].config, name) for name in names}
    if row.method.is_mixed and own["alpha"] is None:  # by the default share, which only auto has
        own |= {"prompts": AUTO, "objective": None if own["objective"] == "gla" else own["objective"]}
    config = replace(asked, **own)
    return str(Command("fit", asked.data, {"out": run} | config.given([*SETTINGS, *names])))
