"""The subject of an audit: the images with their features, and whose predictions of them."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments, clip
from dbpt._core import __version__
from dbpt.cautions import Caution, caution
from dbpt.data import DATASETS, READERS, SPLITS, DataLike, Dataset, first_copies, parse_columns, parse_factors
from dbpt.errors import InputError
from dbpt.evaluation.audit_fields import AuditedData, PredictionsBy, Search
from dbpt.evaluation.audited_predictions import (
    PROBE_OPTION,
    UserPredictions,
    likeliest,
    probe_predictions,
    user_predictions,
)
from dbpt.evaluation.study_metrics import backbone_summary, own_values
from dbpt.groups.ids import first_of_unit
from dbpt.guesses import AttributeProbe, ClassClusters, GuessedFactors
from dbpt.guesses.linear_probe import import_scikit_learn
from dbpt.guesses.value_families import Coding
from dbpt.runs.output_folder import OutputFolder
from dbpt.runs.run_folder import read_saved
from dbpt.settings.all_settings import AUDIT_SETTINGS
from dbpt.settings.config import FitConfig, make_config, refuse_unread
from dbpt.settings.fields import Command, flag_of
from dbpt.study.checks import check_before_reading
from dbpt.study.data import open_dataset, resolve_demo, rows_with_known, run_with_data, with_data
from dbpt.study.stages import log_warnings
from dbpt.study.study import Embedded, configured_backbone, embedded_rows

logger = logging.getLogger(__name__)


ALL = "all"

OF_THE_RUN = ("classes", "template", "model", "pretrained", "tokenizer", "image_precision", "embed_batch_size")
"""The settings of an audit that a finished run has, with the values that its classifier was trained with."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The images of an audit or a search, and somebody's predictions of them.

    Attributes:
        embedded: all readable images of the data, with their features.
        audited: (n,) the rows of the audited ones among them.
        is_first: (n,) False for a copy of an earlier audited image of its class, with equal features.
        split: the split that is audited, or ``all``.
        logged: the warnings that are logged already.
        config: the settings.
        asked: the settings before a demo is drawn; with those of ``auto`` once it has found the attributes.
        predictions: the predictions of the audited images.
        predict: predicts other rows of ``embedded``, an `InputError` if a table of predictions lacks some; None for
            predictions in an array, whose order says nothing about other rows.
        by, title: who predicts, as a kind and in words.
        source: the data, as commands name them.
        predictions_named: the predictions, as commands name them; None for those in memory.
        read: the settings that the command reads; without those of the run, as its clusters.
        probe: the probe of the run.
        search: the one that chose the attribute.
    """

    embedded: Embedded
    audited: NDArray[np.int64]
    is_first: NDArray[np.bool_]
    split: str
    logged: tuple[Caution, ...]
    config: FitConfig
    asked: FitConfig
    predictions: UserPredictions
    predict: Callable[[NDArray[np.int64]], UserPredictions] | None
    by: PredictionsBy
    title: str
    source: str
    predictions_named: str | None
    read: frozenset[str]
    probe: AttributeProbe | None = None
    search: Search | None = None

    @property
    def dataset(self) -> Dataset:
        """The readable images."""
        return self.embedded.dataset

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,), those of the audited images."""
        return self.dataset.labels[self.audited]

    @property
    def p_true(self) -> NDArray[Any] | None:
        """(n,), the probabilities of the true classes of the audited images; None if there are none."""
        probabilities = self.predictions.probabilities
        return None if probabilities is None else probabilities[np.arange(len(self.labels)), self.labels]

    def whose(self) -> dict[str, Any]:
        """Return the arguments that say whose predictions of which images these are.

        Predictions in memory are FILE, which the user has to write.
        """
        return {"predictions": self.predictions_named or "FILE", "split": self.split}

    def command(self, verb: str, **others: object) -> str:
        """Return the line that repeats ``dbpt VERB``, as far as it can name the data; ``others`` are more options."""
        return str(Command(verb, self.source, self.asked.given(self.read) | self.whose() | others))


@contextmanager
def opened_subject(
    folder: OutputFolder[Any],
    read: frozenset[str],
    why_unread: str,
    settings: Mapping[str, Any],
    *,
    out: str | Path | None,
    overwrite: bool,
    **of: Any,
) -> Iterator[Subject]:
    """Hold the folder that a command writes, and yield the subject of its audit.

    Args:
        folder: the kind of folder.
        read: the settings that the command reads; others are refused.
        why_unread: why it doesn't read others, for the message.
        settings: those that the user gave.
        out: where the folder is; None to write nothing.
        overwrite: whether to replace it.
        **of: further arguments of `subject_of`.
    """
    given = dict(settings)
    refuse_unread(given, read, why_unread)
    with nullcontext() if out is None else folder.held(arguments.path("out", out), resume=False, overwrite=overwrite):
        yield subject_of(given=given, read=read, **of)


def subject_of(
    predictions: object,
    data: "DataLike | None",
    given: dict[str, Any],
    split: str | None,
    weights: str | Path | None,
    read: frozenset[str] = AUDIT_SETTINGS,
    *,
    other_columns: bool = False,
    measure: bool = False,
) -> Subject:
    """Return the images of ``data`` with the predictions that `dbpt.audit` takes.

    Args:
        predictions, data, split, weights: as for `dbpt.audit`.
        given: the settings that the user gave.
        read: those that the command reads. Without attributes among them, or with ``auto``, the data need none.
        other_columns: whether to read the columns of the data that have no role.
        measure: whether to measure images that are decoded, for `dbpt.features.measure_files`.

    Raises:
        InputError: for wrong settings, data or predictions.
    """
    if split not in (None, ALL, *SPLITS):
        raise InputError(f"--split is {split!r}; expected {', '.join(SPLITS)} or {ALL}")
    by = kind_of(predictions)
    if weights is not None and by != "run":
        raise InputError("--weights: only the audit of a run reads it; name other weights with --pretrained")
    if by == "run":
        return _subject_of_run(
            os.fspath(cast(str, predictions)), data, given, split, weights, read, other_columns, measure
        )
    return _subject_of_data(predictions, by, data, given, split, read, other_columns, measure)


def kind_of(predictions: object) -> PredictionsBy:
    """Return whose predictions the argument ``predictions`` of `dbpt.audit` names."""
    if not isinstance(predictions, str | os.PathLike):
        return "file"
    if predictions in ("zero-shot", "probe"):
        return cast(PredictionsBy, predictions)
    return "run" if os.path.isdir(predictions) else "file"  # noqa: PTH112 (Path.is_dir raises on a name that is too long)


def _subject_of_data(
    predictions: Any,
    by: PredictionsBy,
    data: "DataLike | None",
    given: dict[str, Any],
    split: str | None,
    read: frozenset[str],
    other_columns: bool,
    measure: bool,
) -> Subject:
    """Return the images of ``data`` with the predictions by CLIP or a probe, or the user's ``predictions``."""
    if data is None:
        raise InputError("data: none is named; name a data set (only the audit of a run has data of its own)")
    asked = with_data(make_config(given), data, training=False, other_columns=other_columns)
    config = resolve_demo(asked)
    check_before_reading(config)
    needs_attributes = "attributes" in read and not config.asks_auto
    opened = open_dataset(config, training=False, needs_attributes=needs_attributes, other_columns=other_columns)
    dataset, known = rows_with_known(config, opened)
    logger.info(dataset.describe())
    split, rows = chosen_split(dataset, split, by)
    named = os.fspath(predictions) if isinstance(predictions, str | os.PathLike) else None
    users, columns = None, dict[str, str]()
    if by == "probe":
        import_scikit_learn(PROBE_OPTION)
    if by == "file":
        columns = parse_columns(asked.columns or (), parse_factors(asked.factors) if asked.factors else ())
        users = user_predictions(predictions, dataset, rows, columns)
        log_warnings(users.warnings)
        has_prediction = users.predictions >= 0
        rows, users = rows[has_prediction], users.take(has_prediction)
    backbone = configured_backbone(config)
    images, kept = _embedded_images(dataset, split, rows, backbone, config, known, measure=measure)
    embedded: Embedded = images["embedded"]

    def predict(rows: NDArray[np.int64]) -> UserPredictions:
        if users is not None:
            return user_predictions(predictions, embedded.dataset, rows, columns)
        features, labels = embedded.features.take(rows), embedded.dataset.labels[rows]
        if by == "probe":
            return likeliest(probe_predictions(features, labels, class_names=dataset.class_names, seed=config.seed))
        return likeliest(embedded.zero_shot.probabilities(features))

    predicted = predict(images["audited"]) if users is None else users.take(kept)
    titles = {"zero-shot": f"zero-shot {Path(backbone.spec['model']).stem}", "probe": "linear probe, out of fold"}
    return Subject(
        **images | {"logged": (*images["logged"], *predicted.warnings)},
        config=config,
        asked=asked,
        predictions=predicted,
        predict=predict if users is None or (named is not None and Path(named).suffix.lower() in READERS) else None,
        by=by,
        title=titles.get(by, named or ("a data frame" if hasattr(predictions, "columns") else "an array")),
        source=asked.data,
        predictions_named=named,
        read=read,
    )


def _subject_of_run(
    run: str,
    data: "DataLike | None",
    given: dict[str, Any],
    split: str | None,
    weights: str | Path | None,
    read: frozenset[str],
    other_columns: bool,
    measure: bool,
) -> Subject:
    """Return the images of ``data``, or of the run's own, with the predictions of its classifier."""
    if refused := [name for name in OF_THE_RUN if given.get(name) is not None]:
        raise InputError(f"{flag_of(refused[0])}: the run {run} has its own; leave it out")
    of: dict[str, Any] = {"root": given.pop("root", None), "device": given.pop("device", "auto"), "weights": weights}
    of["other_columns"] = other_columns
    classifier, config, dataset, known = run_with_data(run, data, given=given, **of)
    if "attributes" in read and not dataset.attribute_names and not config.names_none:
        why = "has no attribute for these data" if classifier.config.coded else "was trained without an attribute"
        raise InputError(f"{run}: {why}; name the one to audit with --attributes")
    logger.info(dataset.describe())
    split, rows = chosen_split(dataset, split, "run")
    of_run = config.lacks_words and given.get("attributes") is None
    if of_run and config.label_backbone != classifier.config.label_backbone:
        problem = f"--label-model: the clusters of the run {run} are in the features of its own model"
        raise InputError(f"{problem}; leave it out, or find new clusters with --attributes clusters")
    saved = read_saved(Path(run), config, dataset.num_classes) if of_run else None
    images, _ = _embedded_images(dataset, split, rows, classifier.backbone, config, known, saved, measure=measure)
    seen, logged = int((dataset.splits[rows] != SPLITS.index("test")).sum()), images["logged"]
    if seen and Path(config.data) == Path(classifier.config.data):
        log_warnings((used := caution("seen in training", n=seen),))
        logged = (*logged, used)
    embedded: Embedded = images["embedded"]

    def predict(rows: NDArray[np.int64]) -> UserPredictions:
        return likeliest(classifier.head.probabilities(embedded.features.take(rows)))

    return Subject(
        **images | {"logged": logged},
        config=config,
        asked=config,
        predictions=predict(images["audited"]),
        predict=predict,
        by="run",
        title=run,
        source=config.data if config.data in DATASETS else str(dataset.source),
        predictions_named=run,
        read=read.difference(OF_THE_RUN, ["attributes"] if of_run else []),
        probe=classifier.probe,
    )


def chosen_split(dataset: Dataset, asked: str | None, by: PredictionsBy) -> tuple[str, NDArray[np.int64]]:
    """Return the name of the split and its rows: the one asked for, else test, else validation, else training.

    A probe learns from the images that it predicts, so it prefers those that a classifier would be trained on.
    """
    if asked == ALL:
        return ALL, np.arange(len(dataset))
    by_default = SPLITS if by == "probe" else SPLITS[::-1]
    for name in by_default if asked is None else (asked,):
        if len(rows := np.flatnonzero(dataset.in_split(name))):
            return name, rows
    raise InputError(f"--split {asked}: {dataset.source} has no rows of it; choose another, or {ALL}")


def _embedded_images(
    dataset: Dataset,
    split: str,
    rows: NDArray[np.int64],
    backbone: "clip.Backbone",
    config: FitConfig,
    known: GuessedFactors | None,
    saved: ClassClusters | Coding | None = None,
    *,
    measure: bool,
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Embed all images of ``dataset``, of which ``rows`` (n,) are audited, and say which of these are readable, (n,).

    Return the fields of a `Subject` about images. ``known`` are the known attributes of ``dataset``, and what a run has
    ``saved`` gives others.
    """
    embedded = embedded_rows(dataset, backbone, config, known, saved, measure=measure)
    # Unreadable images are left out of `embedded`, so rows of `dataset` become fewer there.
    is_readable = np.ones(len(dataset), dtype=bool)
    is_readable[[failure.row for failure in embedded.failures]] = False
    kept = is_readable[rows]
    if not kept.any():
        why = "none of its images can be read, or none of these has a prediction"
        raise InputError(f"--split {split}: {why}; nothing is left to audit")
    audited = (np.cumsum(is_readable) - 1)[rows[kept]]
    first = first_copies(embedded.features.take(audited))
    logged, copies = embedded.warnings, np.flatnonzero(first != np.arange(len(audited)))
    if len(copies):
        one, other = (embedded.dataset.paths[audited[place]] for place in (copies[0], first[copies[0]]))
        logged = (*logged, caution("copies", n=len(copies), of=len(audited), first=one, original=other))
    log_warnings(logged)
    is_first = first_of_unit(first, embedded.dataset.labels[audited]) == np.arange(len(audited))
    return {"embedded": embedded, "audited": audited, "is_first": is_first, "split": split, "logged": logged}, kept


def figures_of_subject(
    subject: Subject, command: str, attributes: Sequence[str] = (), pseudo: GuessedFactors | None = None
) -> dict[str, Any]:
    """Return the `SubjectFigures` of a ``command`` by name, but for version, warnings and settings.

    Groups are over the ``attributes``, or without any over the values of ``pseudo``.
    """
    dataset = subject.dataset
    data = AuditedData(
        name=dataset.name,
        root=str(dataset.root),
        split=cast(Any, subject.split),
        n=len(subject.audited),
        failed_images=len(subject.embedded.failures),
        classes=list(dataset.class_names),
        attributes=list(attributes),
        notes=list(dataset.notes),
        **({} if pseudo is None else own_values(pseudo)),
        search=subject.search,
        is_divided=not dataset.in_split("train").all(),
    )
    return {
        "dbpt_version": __version__,
        "data": data,
        "backbone": backbone_summary(subject.embedded.backbone, subject.config),
        "predictions_by": subject.by,
        "predictions_from": subject.title,
        "command": command,
    }
