"""The report's gallery: what the chosen classifier gets wrong in its worst group, the surest mistakes first."""

import numpy as np

from dbpt.experiments.methods import MethodRow
from dbpt.experiments.stages import Experiment
from dbpt.features import UnreadableImage
from dbpt.report import Mistake
from dbpt.report.thumbnails import thumbnail

GALLERY_SIZE = 24
THUMBNAIL_PIXELS = 112


def worst_group_mistakes(experiment: Experiment, row: MethodRow) -> list[Mistake] | None:
    """At most 24 mistakes in the worst group of the test split (of validation where there is no test split).

    None if the run was given features instead of images.
    """
    if experiment.config.embeddings is not None:
        return None
    split = "test" if row.metrics["test"] else "val"
    metrics = row.metrics[split]
    if metrics is None or metrics.worst_group is None:
        return []
    dataset = experiment.dataset
    groups = dataset.groups(experiment.evaluation_attributes)
    members = experiment.rows(split)
    members = members[groups[members] == metrics.worst_group]
    logits = row.classifier.logits(experiment.features[members])
    label, attribute = divmod(metrics.worst_group, dataset.num_attributes)
    p_true = np.exp(logits[:, label] - np.logaddexp.reduce(logits, axis=1))
    predictions = logits.argmax(axis=1)
    wrong = np.flatnonzero(predictions != label)
    surest = wrong[np.argsort(p_true[wrong], kind="stable")][:GALLERY_SIZE]
    return [
        Mistake(
            path=dataset.paths[members[i]],
            image=image,
            label=dataset.class_names[label],
            attribute=dataset.attribute_names[attribute],
            prediction=dataset.class_names[int(predictions[i])],
            p_true=float(p_true[i]),
        )
        for i in surest
        if (image := _thumbnail(experiment, int(members[i]))) is not None
    ]


def _thumbnail(experiment: Experiment, row: int) -> bytes | None:
    """A small JPEG; None if the file has become unreadable since it was embedded."""
    try:
        return thumbnail(experiment.dataset.root / experiment.dataset.paths[row], THUMBNAIL_PIXELS)
    except UnreadableImage:
        return None
