"""`fit`: from images and words to a run folder with a debiased classifier and a report."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbpt import clip, training
from dbpt._core import __version__
from dbpt.arguments import path
from dbpt.commands.callbacks import StartedRun, Watch, trackers_of
from dbpt.commands.fit.run_files import write_results
from dbpt.commands.resolved_settings import Request, Resolved
from dbpt.commands.result import Result
from dbpt.data import DataLike
from dbpt.data.stored_features import StoredFeatures
from dbpt.errors import InputError
from dbpt.evaluation.results import Saved
from dbpt.evaluation.study_metrics import metrics_of_study
from dbpt.report.discovery_sentences import doubts_in_words
from dbpt.report.group_pictures import GuessSheets
from dbpt.report.results_page import (
    guess_sheets,
    write_guesses,
)
from dbpt.report.text import label_command
from dbpt.runs.run_folder import RUN_FOLDER
from dbpt.settings.all_settings import method_name
from dbpt.settings.config import FitConfig, make_config, shows_settings
from dbpt.settings.fields import AUTO, Command
from dbpt.settings.keywords import FitSettings
from dbpt.study.data import with_data
from dbpt.study.stages import log_warnings, prepare
from dbpt.study.study import Study
from dbpt.training.ranks import ALONE, Ranks, are_several

if TYPE_CHECKING:
    from typing_extensions import Unpack


logger = logging.getLogger(__name__)

OPTIONS = tuple(setting.name for setting in fields(FitConfig) if setting.name != "data")


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
    each batch. Rank 0 alone reads ``data``, writes ``out`` and logs, but all read features
    of more than 128 MB. All return the same figures.

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

    Example::

        run = dbpt.fit("photos.csv", out="runs/example", attributes=["photograph", "sketch"], epochs=50)
        print(run)  # the accuracy of each group; runs/example/report.html has pictures
        print(run.classifier.predict("images/0001.jpg").prediction)
    """
    Watch(callbacks)  # refuses wrong ones before any work
    request = Request(RUN_FOLDER, path("out", out), resume, overwrite)
    data, given = request.settings(data, dict[str, Any](settings))
    config = with_data(make_config(given), data)
    joined = training.joined_ranks(config.device) if are_several() else nullcontext(ALONE)
    with joined as ranks, ExitStack() as held:
        trackers = ranks.from_first(lambda: trackers_of(config.report_to), sent=lambda _: [])
        ranks.from_first(lambda: held.enter_context(request.held()))
        resolved = request.resolve(config, ranks)
        watch = Watch(callbacks, trackers, request.out / "history.jsonl") if ranks.is_first else Watch()
        held.enter_context(watch)
        return _fit_on(ranks, request, resolved, watch)


def _fit_on(ranks: Ranks, request: Request, resolved: Resolved, watch: Watch) -> Result:
    """Train the candidates, choose one, and write the run folder."""
    out, notes = request.out, resolved.notes
    started = time.perf_counter()
    study = _prepare_on(ranks, resolved.config, notes)
    from dbpt.commands.fit.saved_candidate import choose, harder_test, with_mixed  # only now: they import torch
    from dbpt.commands.trained_methods import candidates_of, trained_result, training_free_result

    embedded = time.perf_counter()
    config = study.config
    asked = replace(resolved.asked, image_precision=config.image_precision)
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
    of_rows = {method_name(*each): replace(config, model_selection=config.selection_of(each[0])) for each in trained}

    def begin() -> GuessSheets | None:
        request.start(description, config)
        sheets = guess_sheets(study, out)
        # not again: a resume with other data is refused later, and must change nothing
        write_guesses(out, sheets, study.dataset.name, label_command(out))
        watch.tell("on_fit_start", StartedRun.of(out, RUN_FOLDER.read_settings(out).resolved(), study, of_rows))
        return sheets

    sheets = ranks.from_first(begin, sent=lambda _: None)
    results = [training_free_result(study, "zero-shot")]
    for objective, prompts in trained:
        checkpoint = out / "checkpoints" / f"{method_name(objective, prompts).replace(':', '-')}.safetensors"
        results.append(trained_result(study, objective, prompts, checkpoint_path=checkpoint, watch=watch, ranks=ranks))
    names = {method_name(*candidate) for candidate in candidates}

    def finish() -> Result:
        tried = {candidate.row.method: candidate for candidate in results if candidate.row.method in names}
        tried, hedge = with_mixed(study, tried)
        best, choice = choose(study, tried, hedge) if config.prompts == AUTO else (hedge or next(iter(tried)), None)
        others = [candidate for candidate in results if candidate.row.method not in names]
        rows = [*others, *(tried[name] for name in tried if name != best), tried[best]]
        of_best = tried[best].row
        of_chosen = replace(study, config=replace(config.for_one(of_best.prompts or "class"), alpha=of_best.alpha))
        seconds = {"embed": embedded - started, "total": time.perf_counter() - started}
        saved = Saved(
            method=best,
            choice=choice if only is None else None,
            only=only,
            seconds={name: round(value, 3) for name, value in seconds.items()},
        )
        warnings = [*study.warnings, *harder_test(of_best)]
        metrics = metrics_of_study(of_chosen, saved=saved, warnings=warnings)
        assert sheets is not None
        metrics = write_results(out, of_chosen, rows, metrics, sheets, command)
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
        if ranks.count > 1 and not study.features.is_in_memory:
            shared = study.features.for_other_processes()
            study = replace(study, embedded=replace(study.embedded, features=shared))
        log_warnings(map(doubts_in_words, study.doubted_guesses))
        return study

    def without_the_large(study: Study) -> Study:
        large: dict[str, Any] = {"backbone": study.embedded.backbone.spec}
        large |= dict.fromkeys(("labeller", "label_features", "known"))
        if study.features.is_in_memory:
            large["features"] = None
        return replace(study, embedded=replace(study.embedded, **large))

    study = ranks.from_first(prepared, sent=without_the_large)
    if ranks.count == 1:
        return study
    import torch

    embedded = study.embedded

    def own_backbone() -> "clip.Backbone":
        if ranks.is_first:
            return embedded.backbone
        spec: Any = embedded.backbone
        weights = config.pretrained if spec["weights"]["kind"] == "file" else None
        return clip.load_backbone_from_spec(spec, device=config.device, weights=weights)

    def see() -> None:
        try:
            embedded.features[:1]
        except InputError as error:
            raise InputError(f"{error}; all machines must see this file, so put it on a shared disk") from None

    backbone, features = ranks.together(own_backbone), embedded.features
    if features is None or features.is_in_memory:
        shape = (len(embedded.dataset), backbone.embed_dim)
        array = features[:] if ranks.is_first else np.empty(shape, dtype=np.float32)
        ranks.copy_first([torch.from_numpy(array)])
        features = StoredFeatures.of(array)
    else:
        ranks.together(see)
    return replace(study, embedded=replace(embedded, backbone=backbone, features=features))
