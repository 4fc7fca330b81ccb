"""suspicious.csv: the images whose label may be wrong, and those that the classifier errs on, ranked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt.data.text_array import Texts
from dbpt.data.writing import Column
from dbpt.evaluation.audit_fields import Suspicious
from dbpt.evaluation.audit_subject import Subject
from dbpt.evaluation.wrong_labels import label_quality
from dbpt.guesses.grouping import Grouping
from dbpt.heads.class_and_group_prompts import group_texts
from dbpt.report.page_size import MOST_SUSPICIOUS, SUSPICIOUS_BYTES
from dbpt.report.thumbnails import ImageFiles
from dbpt.runs.feature_classifier import zero_shot_classifier

WRONG_LABEL, RARE_CASE, HARD_CASE = "wrong label", "rare case", "hard case"
"""What a suspicious image looks like."""


def suspicious_images(
    subject: Subject, grouping: Grouping, counts: NDArray[np.int64], *, compares_attributes: bool
) -> tuple[dict[str, Column], Suspicious, NDArray[np.int64]]:
    """Return the columns of suspicious.csv, most suspicious first, and how many images look like what.

    Return also (G,) the number of errors in each group that look like wrong labels.

    They are the images whose label looks wrong by `label_quality`, from the probabilities of the classifier, of
    zero-shot CLIP and of `probabilities_at_attributes`, and the others that the classifier errs on: rare cases, if
    their group has less than half as many images as the largest group of the class, else hard cases.

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
    sources: list[NDArray[Any]] = [images.zero_shot.probabilities(images.features.take(rows))]
    if compares_attributes and grouping.has_words:
        sources.append(probabilities_at_attributes(subject, grouping.codes[rows]))
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
        "looks_like": Texts.coded((WRONG_LABEL, RARE_CASE, HARD_CASE), kinds[listed]),
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


def probabilities_at_attributes(subject: Subject, codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return CLIP's probabilities of the classes (n, C), by the sentences of class and attribute.

    Args:
        subject: the n audited images.
        codes: (n,) the attribute that the sentences of each image name; with -1 the mean of all logits stands for it.
    """
    images, words = subject.embedded, subject.dataset.words
    weights_GD = clip.zero_shot_weights(images.backbone, *group_texts(words))
    weights_CAD = weights_GD.reshape(len(words.classes), -1, weights_GD.shape[1])
    found = np.empty((len(codes), len(weights_CAD)), np.float32)
    for code in np.unique(codes):
        weights_CD = weights_CAD.mean(axis=1) if code < 0 else weights_CAD[:, code]
        features = images.features.take(subject.audited[codes == code])
        found[codes == code] = zero_shot_classifier(images.backbone, weights_CD).probabilities(features)
    return found


def suspicious_pictures(columns: Mapping[str, Column], root: Path, page: Path) -> list[dict[str, Any]]:
    """Return the first wrong labels and the first rare cases in the columns of suspicious.csv, as a page shows them.

    Each ``kind`` has the number ``n`` of its images, and ``pictures`` with their lines of the table.
    """
    looks_like, shown = np.asarray(columns["looks_like"], dtype=object), []
    images = ImageFiles(cast("Texts", columns["path"]), root, page)
    for kind in (WRONG_LABEL, RARE_CASE):
        rows = np.flatnonzero(looks_like == kind)
        pictures = images.first(rows.tolist(), MOST_SUSPICIOUS, SUSPICIOUS_BYTES)
        lines = [{name: column[row] for name, column in columns.items()} for row in pictures]
        shown.append({"kind": kind, "n": len(rows), "pictures": list(zip(pictures.values(), lines, strict=True))})
    return shown
