"""The images of an audit: which of the readable ones are audited, and their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.copies import copies_warning
from dbpt.clip import Backbone
from dbpt.data import SPLITS, Dataset
from dbpt.data.copies import first_copies
from dbpt.data.stored_features import StoredFeatures
from dbpt.errors import InputError
from dbpt.experiments.readable import ReadableRows, left_out, readable_rows
from dbpt.experiments.stages import log_warnings
from dbpt.groups.permutation import first_of_unit
from dbpt.pseudo_attributes import PseudoAttributes
from dbpt.pseudo_attributes.class_clusters import ClassClusters
from dbpt.runs.audited import PredictionsBy
from dbpt.settings.config import FitConfig

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class AuditedImages:
    """The N readable images with their features, and the rows (n,) of the ``audited`` ones among them.

    ``is_first`` (n,) is False for an audited image that is a copy of an earlier one of its class, with equal features.
    ``told`` are the warnings that are logged already.
    """

    readable: ReadableRows
    audited: NDArray[np.int64]
    is_first: NDArray[np.bool_]
    split: str
    told: tuple[str, ...]

    @property
    def dataset(self) -> Dataset:
        """The readable images."""
        return self.readable.dataset

    @property
    def features(self) -> StoredFeatures:
        """(n, D), those of the audited images."""
        return self.readable.features.take(self.audited)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,), those of the audited images."""
        return self.dataset.labels[self.audited]


def chosen_split(dataset: Dataset, asked: str | None, by: PredictionsBy) -> tuple[str, NDArray[np.int64]]:
    """Return the name of the split and its rows: the one asked for, else test, else validation, else training.

    A probe learns from the images that it predicts, so it prefers those that a classifier would be trained on.
    """
    if asked == ALL:
        return ALL, np.arange(len(dataset))
    by_default = SPLITS if by == "probe" else SPLITS[::-1]
    for name in by_default if asked is None else (asked,):
        if len(rows := np.flatnonzero(dataset.splits == SPLITS.index(name))):
            return name, rows
    raise InputError(f"--split {asked}: {dataset.source} has no rows of it; choose another, or {ALL}")


def read_images(
    dataset: Dataset,
    split: str,
    rows: NDArray[np.int64],
    backbone: Backbone,
    config: FitConfig,
    known: PseudoAttributes | None,
    clusters: ClassClusters | None = None,
) -> tuple[AuditedImages, NDArray[np.bool_]]:
    """Embed all images of ``dataset``, of which ``rows`` (n,) are audited, and say which of these are readable, (n,).

    ``known`` are the `known_attributes` of ``dataset``, ``clusters`` those of a run.
    """
    backbone.token_ids(["a"])  # refuses a tokenizer that is gone before the long part
    readable = readable_rows(dataset, backbone, config, known, clusters)
    is_readable = np.ones(len(dataset), dtype=bool)
    is_readable[[failure.row for failure in readable.failures]] = False
    kept = is_readable[rows]
    if not kept.any():
        why = "none of its images can be read, or none of these has a prediction"
        raise InputError(f"--split {split}: {why}; nothing is left to audit")
    audited = (np.cumsum(is_readable) - 1)[rows[kept]]
    first = first_copies(readable.features.take(audited))
    copies = copies_warning(first, readable.dataset.paths, audited)
    log_warnings(told := (*left_out(dataset, readable.failures), *copies))
    is_first = first_of_unit(first, readable.dataset.labels[audited]) == np.arange(len(audited))
    return AuditedImages(readable=readable, audited=audited, is_first=is_first, split=split, told=told), kept
