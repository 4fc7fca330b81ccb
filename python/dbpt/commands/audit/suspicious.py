"""suspicious.csv: the images whose label may be wrong, and those that the classifier errs on, ranked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dbpt.data.text_array import Texts
from dbpt.data.writing import Column
from dbpt.evaluation.audit_fields import LOOKS_LIKE, Suspicious
from dbpt.evaluation.audit_subject import Subject
from dbpt.evaluation.wrong_labels import label_quality
from dbpt.guesses.grouping import Grouping
from dbpt.report.group_pictures import Strip
from dbpt.report.thumbnails import ImageFiles

SHOWN, MOST_BYTES = 100, 5_000
"""Pictures of a kind on the page, and the bytes of each."""
SHOWN_COLUMNS = ("label", "likeliest_class", "prediction", "attribute")


def suspicious_images(
    subject: Subject, grouping: Grouping, counts: NDArray[np.int64], *, compares_attributes: bool
) -> tuple[dict[str, Column], Suspicious, NDArray[np.int64]]:
    """Return the columns of suspicious.csv, most suspicious first, and how many images look like what.

    Return also (G,) the number of errors in each group that look like wrong labels.

    They are the images whose label looks wrong by `label_quality`, from the probabilities of the classifier and of
    zero-shot CLIP, and the others that the classifier errs on: rare cases, if their group has less than half as many
    images as the largest group of the class, else hard cases.

    Args:
        subject: the audited images and their predictions; without probabilities, the predicted class counts.
        grouping: the groups of the audit.
        counts: (G,) the images of each group that say which is rare, of the training split if there is one.
        compares_attributes: whether images of different classes can have the same attribute. If not, labels are
            compared among all images.
    """
    dataset, rows, labels = subject.dataset, subject.audited, subject.labels
    predictions, probabilities = subject.predictions.predictions, subject.predictions.probabilities
    images = subject.embedded
    zero_shot: NDArray[Any] | None = probabilities
    if subject.by != "zero-shot" or zero_shot is None:
        zero_shot = images.zero_shot.probabilities(images.features.take(rows))
    sources: list[NDArray[Any]] = [zero_shot]
    if subject.by != "zero-shot":
        sources.append(np.eye(dataset.num_classes, dtype=bool)[predictions] if probabilities is None else probabilities)
    groups, codes = grouping.groups[rows], grouping.codes[rows]
    found = label_quality(labels, codes if compares_attributes else np.zeros_like(codes), *sources)
    largest = counts.reshape(dataset.num_classes, -1).max(axis=1)
    is_rare = (groups >= 0) & (2 * counts[groups] < largest[labels]) & compares_attributes
    is_wrong, is_error = found.likeliest != labels, predictions != labels
    kinds = np.where(is_wrong, 0, np.where(is_rare, 1, 2))
    listed = np.flatnonzero(is_wrong | is_error)
    listed = listed[np.argsort(found.quality[listed], kind="stable")]
    names, taken = dataset.class_names, rows[listed]
    columns: dict[str, Column] = {
        "path": dataset.paths_of(taken),
        "label": Texts.coded(names, labels[listed]),
        "looks_like": Texts.coded(LOOKS_LIKE, kinds[listed]),
        "likeliest_class": Texts.coded(names, found.likeliest[listed]),
        "prediction": Texts.coded(names, predictions[listed]),
        "attribute": grouping.names_of_rows(taken),
        "label_quality": found.quality[listed].round(4),
    }
    if probabilities is not None:
        columns["self_confidence"] = probabilities[listed, labels[listed]].round(4)
    wrong, rare, hard = (int((kinds[listed] == kind).sum()) for kind in range(3))
    wrong_errors = np.bincount(groups[(groups >= 0) & is_wrong & is_error], minlength=grouping.num_groups)
    looks = Suspicious(share_wrong=found.share_wrong, wrong_labels=wrong, rare_cases=rare, hard_cases=hard)
    return columns, looks, wrong_errors


def suspicious_strips(columns: Mapping[str, Column], root: Path, page: Path) -> list[Strip]:
    """Return pictures of the first wrong labels and the first rare cases in the columns of suspicious.csv.

    The ``predictions`` of a picture are its label, the class that it looks like, the predicted one, and the attribute;
    ``probability`` is its label quality.
    """
    looks_like = np.asarray(columns["looks_like"], dtype=object)
    strips = []
    for kind in LOOKS_LIKE[:2]:
        rows = np.flatnonzero(looks_like == kind)
        pictures = ImageFiles(cast("Texts", columns["path"]), root, page).first(rows.tolist(), SHOWN, MOST_BYTES)
        shown = [
            replace(
                picture,
                predictions=tuple(str(columns[name][row]) for name in SHOWN_COLUMNS),
                probability=float(cast("NDArray[np.float64]", columns["label_quality"])[row]),
            )
            for row, picture in pictures.items()
        ]
        strips.append(Strip(kind, tuple(shown), of=len(rows)))
    return strips
