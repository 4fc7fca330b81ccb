"""`evaluate`: a finished run's classifier on other data, by group."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import load_dataset
from dbpt.data.columns import parse_columns
from dbpt.data.demo import DEMO_NAMES
from dbpt.data.huggingface_objects import path_of
from dbpt.data.loading import BENCHMARKS
from dbpt.errors import InputError
from dbpt.experiments.methods import split_metrics
from dbpt.experiments.results import describe_data
from dbpt.experiments.splits import knows_true_groups, training_counts
from dbpt.experiments.stages import Log, embed_dataset, label_dataset
from dbpt.files.typed_json import Count, read_json, typed
from dbpt.objectives import OBJECTIVES
from dbpt.runs.classifier import Classifier
from dbpt.runs.run_folder import load
from dbpt.settings.data import same_task

if TYPE_CHECKING:
    from dbpt.data.huggingface_objects import HuggingFaceData


def evaluate(
    run: str | Path,
    data: "str | Path | HuggingFaceData",
    *,
    root: str | Path | None = None,
    columns: Sequence[str] | None = None,
    embeddings: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    cache: str | None = None,
    max_failures: float = 0.01,
    average: str | None = None,
    log: Log = lambda line: None,
) -> dict[str, Any]:
    """Accuracy by (class, attribute) group of a run's classifier on each split of ``data``.

    Args:
        run: the run folder.
        data: as for `dbpt.fit` (a demo is written by `dbpt.write_demo` and read by the real
            name); it is read with the run's classes and attributes. Of the known names only the one that the run was
            fitted on, or whose classes and attributes are called as the run's.
        root: folder of the images.
        columns: which column of a table holds what, as in `FitConfig`; None takes the run's for the run's own data.
        embeddings: features instead of images, as in `FitConfig`; None takes the run's for the run's own data.
        weights: where the backbone's local weights file is now, if it has moved.
        device, cache, max_failures: as in `FitConfig`.
        average: ``plain`` or ``adjusted``, as in `FitConfig`; None takes the run's. Groups have their shares of the
            training images of ``data``, or of the run where ``data`` have none.
        log: gets one line of progress at a time.

    Returns:
        The dict that ``metrics.json`` holds, with one row, which has the metrics of each split (None for an empty one).
        Groups are over the true attributes where the data have them, otherwise over pseudo attributes.

    Raises:
        InputError: as `dbpt.load` and `dbpt.fit` do, for a known data set of other classes, and for an adjusted average
            where no training image of a known group is there.
    """
    data = path_of(data, cache, log)
    _refuse_demo(data)
    classifier = load(run, device=device, weights=weights)
    _refuse_other_benchmark(data, classifier)
    is_own = data == classifier.config.data
    columns = classifier.config.columns if columns is None and is_own else columns
    embeddings = classifier.config.embeddings if embeddings is None and is_own else embeddings
    config = replace(
        classifier.config,
        cache=cache,
        max_failures=max_failures,
        embeddings=None if embeddings is None else str(embeddings),
        features="cached",
        average=classifier.config.average if average is None else average,
    )
    words = classifier.words
    dataset = load_dataset(
        data,
        root,
        classes=words.classes,
        attributes=words.attributes,
        templates=words.templates,
        attribute_templates=words.attribute_templates,
        **same_task(classifier.config, data),
        columns=parse_columns(columns) if columns is not None else None,
        training=False,
        images=embeddings is None,
    )
    log(dataset.describe())
    classifier.backbone.token_ids(["a"])  # so that a tokenizer that is gone is told before the long part
    dataset, features, failures = embed_dataset(dataset, classifier.backbone, config, log)
    pseudo = label_dataset(dataset, features, classifier.backbone, config, log)
    true = knows_true_groups(dataset, dataset.splits)
    attributes = dataset.attributes if true else pseudo.pseudo_attributes
    train_counts = training_counts(dataset, dataset.splits, attributes)
    if not train_counts.any():
        train_counts = _train_counts_of_run(Path(run), dataset.num_groups, "true" if true else "pseudo")
    metrics = split_metrics(dataset, dataset.splits, classifier.head.predictions(features), attributes, train_counts)
    return {
        **describe_data(
            dataset,
            dataset.splits,
            pseudo=pseudo,
            backbone=classifier.backbone,
            average=config.average,
            train_counts=train_counts,
        ),
        "selection": config.select,
        "seed": config.seed,
        "chosen": config.objective,
        "rows": [
            {
                "name": config.objective,
                "group_source": config.group_source if OBJECTIVES[config.objective].uses_groups else None,
                "head": config.head,
                "apply": config.application(config.objective),
                "selected_epoch": None,
                "epochs": 0,
                "seconds": 0.0,
                **{split: value.to_json() if value else None for split, value in metrics.items()},
            }
        ],
        "warnings": [],
        "failed_images": len(failures),
        "seconds": {},
    }


def _train_counts_of_run(run: Path, num_groups: int, group_kind: str) -> NDArray[np.int64]:
    """(G,) training rows of each group of the run, true or pseudo; all 0 where ``metrics.json`` does not tell."""
    path = run / "metrics.json"
    try:
        metrics = read_json(path, "file of a run's metrics")
        counts = metrics["dataset"]["train_counts_pseudo"]
        if group_kind == "true":
            counts = metrics["dataset"]["counts"]["train"] if metrics["group_kind"] == "true" else []
        found = typed(counts, list[Count], path, "fit anew")
    except (InputError, KeyError, TypeError):
        found = []
    return np.array(found if len(found) == num_groups else [0] * num_groups, dtype=np.int64)


def _refuse_demo(data: str) -> None:
    name = "demo-waterbirds" if data == "demo" else data
    if name in DEMO_NAMES:
        raise InputError(
            f"data {data!r}: write it with `dbpt demo {name} DIR`, then evaluate on {name.removeprefix('demo-')} with "
            "--root DIR"
        )


def _refuse_other_benchmark(data: str, classifier: Classifier) -> None:
    """A benchmark is read by index, so another's labels would pass for the run's classes."""
    words = classifier.words
    if data not in BENCHMARKS or data == classifier.config.data:
        return
    own = BENCHMARKS[data].words
    if (list(own.classes), list(own.attributes)) == (list(words.classes), list(words.attributes)):
        return
    advice = f"{classifier.config.data} or " if classifier.config.data in BENCHMARKS else ""
    raise InputError(
        f"data {data!r}: its classes are {', '.join(own.classes)}, the run's are {', '.join(words.classes)}; "
        f"evaluate on {advice}a table of the run's classes"
    )
