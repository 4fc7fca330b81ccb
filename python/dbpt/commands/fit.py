"""`fit`: from images and words to a run folder with a debiased classifier and a report."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.clip import Backbone, load_backbone_from_spec
from dbpt.commands.auto import FOUND_SETTINGS, with_found_attributes
from dbpt.commands.callbacks import StartedRun, Watch, history_line, trackers_of
from dbpt.commands.choice import choose, harder_test, with_mixed
from dbpt.commands.methods import MethodResult, candidates_of, trained_result, training_free_result
from dbpt.commands.result import Result
from dbpt.data import SPLITS, DataLike
from dbpt.data.paths import NOT_PUBLISHED
from dbpt.data.tables import csv_of_columns, csv_text
from dbpt.evaluation import worst_group_difference_interval
from dbpt.evaluation.accuracy import worst_first
from dbpt.evaluation.factors import groups_of_factors, run_of_factors
from dbpt.evaluation.of_study import run_metrics
from dbpt.evaluation.results import RunMetrics
from dbpt.groups import class_and_attribute
from dbpt.heads import HEADS
from dbpt.heads.base import group_templates
from dbpt.report.charts import Chart, write_figures
from dbpt.report.findings import doubts_in_words
from dbpt.report.guesses import guess_sheets, write_guesses
from dbpt.report.page import model_card, render_report
from dbpt.report.pictures import GuessSheets, Mistake, group_examples, surest_mistakes
from dbpt.report.sections import run_figures
from dbpt.report.summary import judged_factors, summarize
from dbpt.report.tables import confusion_counts
from dbpt.report.text import label_command, setting_texts
from dbpt.runs.output_folder import read_settings
from dbpt.runs.run_folder import RUN_FOLDER, TENSORS_SCHEMA_VERSION, write_probe
from dbpt.settings.command import Command
from dbpt.settings.config import FitConfig, make_config, override, shows_settings
from dbpt.settings.fields import AUTO
from dbpt.settings.keywords import FitSettings
from dbpt.settings.sections import method_name
from dbpt.storage.files import write_atomically, write_json, write_tensors
from dbpt.study.data import resolve_demo, with_data
from dbpt.study.embedded import write_clusters
from dbpt.study.guesses import image_columns
from dbpt.study.stages import log_warnings, prepare
from dbpt.study.study import Study
from dbpt.training.ranks import Ranks, joined_ranks

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

OPTIONS = tuple(each.name for each in fields(FitConfig) if each.name != "data")


@shows_settings(FitSettings)
def fit(
    data: "DataLike | None" = None,
    *,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[object] = (),
    **settings: "Unpack[FitSettings]",
) -> Result:
    """Train a prompt, or another head, on ``data`` with the chosen objective and write the results to ``out``.

    If several processes train, started by ``torchrun`` or in the caller's process group, all must call this; they share
    each batch. Rank 0 alone reads ``data``, writes ``out`` and logs; all return the same figures.

    Args:
        data: a demo's name, such as ``"demo"``, or anything that `dbpt.load_dataset` takes.
        out: the run folder, which must not exist unless ``resume`` or ``overwrite``.
        resume: continue from the last checkpoint of the same command, or start if there is none. Without ``data``, the
            run in ``out`` continues on its own data, with its own settings where none are given. A run that is not
            finished, for example because its loss diverged, may be given a lower ``lr``.
        overwrite: replace an existing run folder.
        callbacks: objects with some of the methods of `dbpt.Callback`, which see the training.
        settings: those listed below; classes, attributes and columns may be dicts, and ``model`` a `Backbone`, which is
            loaded again.

    Returns:
        Accuracy by group of zero-shot CLIP, of ERM and of the trained classifier.

    Raises:
        InputError: for wrong settings or data, if ``out`` can't be used, and if training diverges.
    """
    Watch(callbacks)  # refuses wrong ones before any work
    out, given = Path(out), dict[str, Any](settings)
    if data is None:
        given = override(RUN_FOLDER.settings_to_continue(out, resume=resume, overwrite=overwrite), given)
        data = given.pop("data")
    config, how = with_data(make_config(given), data), {"resume": resume, "overwrite": overwrite}
    with joined_ranks(config.device) as ranks, ExitStack() as held:
        trackers = ranks.from_first(lambda: trackers_of(config.report_to), sent=lambda _: [])
        ranks.from_first(lambda: held.enter_context(RUN_FOLDER.held(out, **how)))
        of_run = ranks.from_first(lambda: RUN_FOLDER.in_its_precision(out, config, resume=resume).image_precision)
        config = replace(config, image_precision=of_run)
        named, notes = ranks.from_first(lambda: with_found_attributes(config))
        config = replace(config, **{name: getattr(named, name) for name in FOUND_SETTINGS})
        ranks.from_first(lambda: RUN_FOLDER.check_settings(out, config, resume=resume))
        before = ranks.from_first(lambda: RUN_FOLDER.marker_to_continue(out, resume=resume))
        notes = notes if before is None else tuple(before.notes)
        watch = Watch(callbacks, trackers, out / "history.jsonl") if ranks.is_first else Watch()
        held.enter_context(watch)
        return _fit_on(ranks, config, ranks.in_turns(lambda: resolve_demo(config)), notes, out, how, watch)


def _fit_on(
    ranks: Ranks,
    asked: FitConfig,
    config: FitConfig,
    notes: Sequence[str],
    out: Path,
    how: dict[str, bool],
    watch: Watch,
) -> Result:
    """Fit with the settings ``config``; ``asked`` are those before a demo was drawn, ``notes`` are about the data."""
    started = time.perf_counter()
    study = _prepare_on(ranks, config, notes)
    embedded = time.perf_counter()
    config = study.config
    asked = replace(asked, image_precision=config.image_precision)  # so that the command gives the same elsewhere
    command = str(Command("fit", asked.data, {"out": out} | asked.given(OPTIONS)))
    words = asdict(study.dataset.words)
    backbone = study.embedded.backbone
    labeller = study.embedded.labeller  # None but on the first rank, which alone writes
    label_model = None if labeller is None or config.label_model is None else labeller.spec
    description = {
        "dbpt_version": __version__,
        "backbone": backbone.spec,
        "label_model": label_model,
        "words": words,
        "notes": list(notes),
    }

    candidates, only = candidates_of(study)
    trained = dict.fromkeys([*([("erm", "class")] if config.baselines else []), *candidates])
    groups = dict.fromkeys((method_name(*each) for each in trained), study.grouping(config.group_source).names)

    def begin() -> GuessSheets | None:
        RUN_FOLDER.start(out, description, config, **how)
        sheets = guess_sheets(study)
        # not again: a resume with other data is refused later, and must change nothing
        write_guesses(out, sheets, study.dataset.name, label_command(out))
        watch.tell("on_fit_start", StartedRun.of(out, read_settings(out).resolved(), groups))
        return sheets

    sheets = ranks.from_first(begin, sent=lambda _: None)
    results = [training_free_result(study, "zero-shot")]
    for objective, prompts in trained:
        checkpoint = out / "checkpoints" / f"{method_name(objective, prompts).replace(':', '-')}.safetensors"
        results.append(trained_result(study, objective, prompts, checkpoint_path=checkpoint, watch=watch, ranks=ranks))
    names = {method_name(*each) for each in candidates}

    def finish() -> Result:
        tried = {each.row.name: each for each in results if each.row.name in names}
        tried, hedge = with_mixed(study, tried)
        best, choice = choose(study, tried, hedge) if config.prompts == AUTO else (hedge or next(iter(tried)), None)
        others = [each for each in results if each.row.name not in names]
        rows = [*others, *(tried[name] for name in tried if name != best), tried[best]]
        of_best = tried[best].row
        of_chosen = replace(study, config=replace(config.for_one(of_best.prompts or "class"), alpha=of_best.alpha))
        metrics = run_metrics(
            of_chosen,
            [result.row for result in rows],
            chosen=best,
            warnings=[*study.warnings, *harder_test(of_best)],
            choice=choice if only is None else None,
            only=only,
            seconds={"embed": embedded - started, "total": time.perf_counter() - started},
        )
        assert sheets is not None
        write_results(out, of_chosen, rows, metrics, sheets, command)
        RUN_FOLDER.finish(out, description, config)
        log_warnings(
            (result := Result(out, metrics)).warnings,
            [*metrics.warnings, *map(doubts_in_words, metrics.doubted_guesses)],
        )
        watch.tell("on_fit_end", result)
        return result

    return ranks.from_first(finish)


def _prepare_on(ranks: Ranks, config: FitConfig, notes: Sequence[str]) -> Study:
    """Run `prepare` on rank 0. The other ranks get its result, but load the backbone themselves."""

    def prepared() -> Study:
        study = prepare(config, notes)
        log_warnings(map(doubts_in_words, study.doubted_guesses))
        return study

    def without_the_large(study: Study) -> Study:
        large: dict[str, Any] = {"backbone": study.embedded.backbone.spec}
        large |= dict.fromkeys(("features", "labeller", "label_features", "known"))
        return replace(study, embedded=replace(study.embedded, **large))

    study = ranks.from_first(prepared, sent=without_the_large)
    if ranks.count == 1:
        return study
    embedded = study.embedded

    def own_backbone() -> Backbone:
        if ranks.is_first:
            return embedded.backbone
        spec: Any = embedded.backbone
        weights = config.pretrained if spec["weights"]["kind"] == "file" else None
        return load_backbone_from_spec(spec, device=config.device, weights=weights)

    shape = (len(embedded.dataset), embedded.class_weights.shape[1])
    features = study.features if ranks.is_first else np.empty(shape, dtype=np.float32)
    ranks.copy_first([torch.from_numpy(features)])
    return replace(study, embedded=replace(embedded, backbone=ranks.together(own_backbone), features=features))


def write_results(
    out: Path,
    study: Study,
    results: list[MethodResult],
    metrics: RunMetrics,
    sheets: GuessSheets,
    command: str,
) -> None:
    """Write the files of the run folder.

    Args:
        out: the folder.
        study: the data with groups, and the settings.
        results: those of all rows; the last is the chosen one, which was trained.
        metrics: the content of ``metrics.json``.
        sheets: the guesses, with pictures if there are images.
        command: the command that makes the run.
    """
    is_drawn = (study.dataset.root / NOT_PUBLISHED).is_file()
    weights = study.embedded.backbone.spec["weights"].get("path")
    final = results[-1]
    history = [
        history_line(result.row.name, record, best=record.epoch == result.trained.best_epoch)
        for result in results
        if result.trained and result.row.epochs  # mixtures share a training
        for record in result.trained.history
    ]
    assert final.trained is not None
    write_tensors(
        out / "classifier.safetensors",
        final.classifier.tensors,
        {"classes": json.dumps(study.dataset.class_names)},
        version=TENSORS_SCHEMA_VERSION,
    )
    if HEADS[head := study.config.head].saves_parameters:
        parameters = {name: tensor.cpu().numpy() for name, tensor in final.trained.head_state.items()}
        metadata = {} if final.row.alpha is None else {"alpha": str(final.row.alpha)}
        write_tensors(out / f"{head}.safetensors", parameters, metadata, version=TENSORS_SCHEMA_VERSION)
    if study.pseudo.provenance != "none":
        _write_pseudo_attributes(out, study)
    write_atomically(out / "groups.csv", _groups_csv(study, final))
    dataset, features = replace(study.dataset, splits=study.splits), study.features
    predictions = final.classifier.predictions(features)
    probabilities = final.classifier.probabilities(features)
    of_images: dict[str, Any] = {"predictions": predictions, "probabilities": probabilities}
    columns = image_columns(dataset, study.pseudo, study.guesses, **of_images)
    write_atomically(out / "predictions.csv", csv_of_columns(columns))
    write_atomically(out / "history.jsonl", history)  # in the order of the table, with the best epochs
    write_json(out / "metrics.json", asdict(metrics))
    charts = run_figures(metrics, [json.loads(line) for line in history])
    write_figures(out, charts)
    write_atomically(out / "README.md", model_card(metrics, command, is_drawn=is_drawn, weights=weights))
    write_atomically(out / "report.html", run_page(study, results, metrics, charts, sheets, out, command))


def _write_pseudo_attributes(out: Path, study: Study) -> None:
    dataset = study.dataset
    pseudo = study.pseudo
    assert pseudo.posterior is not None and pseudo.confidence is not None
    names = list(dataset.attribute_names if pseudo.names is None else pseudo.names)
    tensors: dict[str, NDArray[Any]] = {
        "pseudo_attributes": pseudo.pseudo_attributes.astype(np.int8 if len(names) < 128 else np.int32),
        "posterior": pseudo.posterior,
        "confidence": pseudo.confidence,
        "splits": study.splits.astype(np.int8),
        "paths": np.frombuffer("\0".join(dataset.paths).encode("utf-8", "surrogateescape"), np.uint8),
    }
    metadata = {"attributes": json.dumps(names), "paths": "UTF-8, separated by NUL"}
    write_tensors(out / "pseudo_attributes.safetensors", tensors, metadata, version=TENSORS_SCHEMA_VERSION)
    if pseudo.class_clusters is not None:
        write_clusters(out, pseudo.class_clusters)
    if pseudo.probe is not None:
        write_probe(out, pseudo.probe)


def _groups_csv(study: Study, final: MethodResult) -> str:
    """Return a line for each group of the ``group_source``."""
    assert final.trained is not None
    source = study.config.group_source
    grouping = study.grouping(source)
    weights = final.trained.history[final.trained.best_epoch - 1].group_weights
    counts = [grouping.counts(study.rows(split)) for split in SPLITS]
    table: list[Sequence[object]] = [
        ["group", "class", "attribute", "group_source", *(f"n_{split}" for split in SPLITS), "group_weight"]
    ]
    for group, (label, attribute) in enumerate(grouping.pairs):
        numbers = [int(counts_G[group]) for counts_G in counts]
        of_attributes = "class" if grouping.provenance == "none" else source
        weight = None if weights is None else weights[group]
        table.append([group, label, attribute, of_attributes, *numbers, weight])
    return csv_text(table)


def run_page(
    study: Study,
    results: Sequence[MethodResult],
    metrics: RunMetrics,
    charts: Mapping[str, Chart | None],
    sheets: GuessSheets,
    out: Path,
    command: str,
) -> str:
    """Return ``report.html`` of a run.

    Args:
        study: the data with groups, and the settings.
        results: those of all rows. The page compares the first with the last, the chosen one.
        metrics: the content of ``metrics.json``.
        charts: those of `run_figures`, by name.
        sheets: the guesses, with pictures if there are images.
        out: the run folder.
        command: the command that made the run.
    """
    dataset, config = study.dataset, study.config
    words = dataset.words
    rows = study.rows(study.split)
    groups, labels = study.reported.groups[rows], dataset.labels[rows]
    predictions = {each.row.name: each.classifier.predictions(study.features[rows]) for each in results}
    before, after = predictions[results[0].row.name], predictions[results[-1].row.name]
    trusted = judged_factors(sheets.guesses, metrics)
    judged = run_of_factors(metrics, trusted)
    strongest, shown = summarize(judged).baseline, results[-1].row.shown
    difference = None
    if strongest is not None:
        against = predictions[strongest.record.name]
        judged_groups = groups if judged is metrics else groups_of_factors(groups, metrics.dataset, trusted)
        difference = worst_group_difference_interval(after == labels, against == labels, judged_groups)
    examples = group_examples(
        [dataset.paths[row] for row in rows],
        dataset.root if config.opens_images else None,
        groups,
        [before, after],
        group_names=study.reported.pairs,
        classes=dataset.class_names,
        seed=config.seed,
        first=[each.index for each in worst_first(shown.groups)] if shown else [],
    )
    named = config.prompts == "group" and study.grouping(config.group_source).has_words
    of_groups = [group_templates(words)] if named else []
    return render_report(
        metrics,
        judged,
        charts,
        mistakes=worst_group_mistakes(study, results[-1]),
        sheets=sheets,
        examples=examples,
        confusions=[confusion_counts(labels, each, dataset.num_classes) for each in (before, after)],
        words=[*words.classes.items(), *sheets.words.items()],
        templates=(words.templates, words.attribute_templates, *of_groups),
        settings=setting_texts(config.resolved(), (each.name for each in fields(config))),
        command=command,
        label_command=label_command(out),
        difference=difference,
    )


def worst_group_mistakes(study: Study, result: MethodResult) -> list[Mistake] | None:
    """Return the 24 most confident mistakes in the worst group of the shown split; None if the run has no images."""
    if not study.config.opens_images:
        return None
    metrics = result.row.shown
    if metrics is None or metrics.worst_group is None:
        return []
    dataset, members = study.dataset, study.rows(study.split)
    members = members[study.reported.groups[members] == metrics.worst_group]
    logits = result.classifier.logits(study.features[members])
    label, _ = class_and_attribute(metrics.worst_group, study.reported.num_attributes)
    p_true = np.exp(logits[:, label] - np.logaddexp.reduce(logits, axis=1))
    return surest_mistakes(
        [dataset.paths[row] for row in members],
        dataset.root,
        study.reported.pairs[metrics.worst_group],
        [dataset.class_names[y] for y in logits.argmax(axis=1)],
        p_true,
    )
