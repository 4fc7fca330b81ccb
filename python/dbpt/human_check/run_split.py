"""One split of a finished run: its images and classes, what CLIP guessed, and what the run's classifier gets right.

True attributes are left out: nothing that is drawn may depend on them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS, Dataset, load_dataset
from dbpt.data.columns import parse_columns
from dbpt.errors import InputError, nearest
from dbpt.settings.data import same_task

if TYPE_CHECKING:
    from dbpt.experiments.stages import Log
    from dbpt.runs.classifier import Classifier


@dataclass(frozen=True, eq=False)
class RunSplit:
    """N images: ``pseudo_attributes`` (N,) int64, -1 where unlabelled; ``confidence`` (N,) float32; ``right`` (N,) 0/1.

    ``dataset`` has them in the same order, without true attributes.
    """

    split: str
    dataset: Dataset
    pseudo_attributes: NDArray[np.int64]
    confidence: NDArray[np.float32]
    right: NDArray[np.int64]


def read_run_split(
    run: str | Path,
    split: str | None,
    *,
    data: str | Path | None,
    root: str | Path | None,
    weights: str | Path | None,
    device: str,
    cache: str | None,
    log: "Log",
) -> RunSplit:
    """Read a split of a run (None: test, or validation where there is no test image) and classify its images.

    The other arguments and the errors are those of `draw_label_sample`.
    """
    from dbpt.runs.run_folder import load

    if split is not None and split not in SPLITS:
        raise InputError(f"split is {split!r}; expected one of {', '.join(SPLITS)}{nearest(str(split), list(SPLITS))}")
    classifier = load(run, device=device, weights=weights)
    if classifier.config.embeddings is not None:
        raise InputError(f"{run}: was fitted on --embeddings, without images; there is nothing to show and label")
    labelled = _LabelledByRun(Path(run), classifier)
    split = labelled.default_split() if split is None else split
    rows = labelled.rows(split)
    dataset = _dataset(classifier, [labelled.paths[row] for row in rows], data, root)
    right = _right(classifier, dataset, cache, log)
    return RunSplit(split, dataset, labelled.pseudo_attributes[rows], labelled.confidence[rows], right)


class _LabelledByRun:
    """What ``pseudo_attributes.safetensors`` of a run holds: arrays (N,) and the path of each row."""

    def __init__(self, run: Path, classifier: "Classifier") -> None:
        from dbpt.files.tensors import read_tensors
        from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION, WAY_OUT

        file = run / "pseudo_attributes.safetensors"
        tensors, _ = read_tensors(file, "run's pseudo attributes", version=TENSORS_SCHEMA_VERSION, way_out=WAY_OUT)
        try:
            self.pseudo_attributes = tensors["pseudo_attributes"].astype(np.int64)
            self.confidence = tensors["confidence"]
            self.splits = tensors["splits"]
            self.paths = tensors["paths"].tobytes().decode("utf-8", "surrogateescape").split("\0")
        except KeyError as error:
            raise InputError(f"{file}: has no {error}; {WAY_OUT}") from None
        arrays = (self.pseudo_attributes, self.confidence, self.splits)
        if (
            any(array.shape != (len(self.paths),) for array in arrays)
            or not np.isin(self.splits, range(len(SPLITS))).all()
            or not np.isin(self.pseudo_attributes, range(-1, len(classifier.words.attributes))).all()
            or not ((self.confidence >= 0) & (self.confidence <= 1)).all()
        ):
            raise InputError(f"{file}: does not belong to this run; fit anew")
        self._run = run

    def default_split(self) -> str:
        """Test, or validation where there is no test row (a run always has validation rows)."""
        return "test" if (self.splits == SPLITS.index("test")).any() else "val"

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split that has some."""
        rows = np.flatnonzero(self.splits == SPLITS.index(split))
        if not rows.size:
            found = ", ".join(name for number, name in enumerate(SPLITS) if (self.splits == number).any())
            raise InputError(f"split {split!r}: {self._run} has no image of it; its splits are {found}")
        return rows


def _dataset(classifier: "Classifier", paths: list[str], data: str | Path | None, root: str | Path | None) -> Dataset:
    """The rows of the run's data that belong to ``paths``, in that order."""
    words, config = classifier.words, classifier.config
    data = config.data if data is None else data
    dataset = load_dataset(
        data,
        config.root if root is None else root,
        classes=words.classes,
        attributes=words.attributes,
        templates=words.templates,
        attribute_templates=words.attribute_templates,
        **same_task(config, data),
        columns=None if config.columns is None else parse_columns(config.columns),
        training=False,
    )
    row_of = {path: row for row, path in enumerate(dataset.paths)}
    gone = [path for path in paths if path not in row_of]
    if gone:
        raise InputError(
            f"{dataset.source}: has no image {gone[0]!r}, which the run had ({len(gone)} of {len(paths)} are not "
            "there); give the data that the run was fitted on"
        )
    rows = np.array([row_of[path] for path in paths])
    return replace(
        dataset,
        paths=tuple(paths),
        lines=dataset.lines[rows],
        labels=dataset.labels[rows],
        attributes=np.full(len(rows), -1, dtype=np.int64),
        splits=dataset.splits[rows],
    )


def _right(classifier: "Classifier", dataset: Dataset, cache: str | None, log: "Log") -> NDArray[np.int64]:
    """(N,) 1 where the run's classifier gives the class, else 0."""
    from dbpt.experiments.stages import embed_dataset

    _, features, failures = embed_dataset(dataset, classifier.backbone, replace(classifier.config, cache=cache), log)
    if failures:
        named = "; ".join(f"{failure.path}: {failure.reason}" for failure in failures[:3])
        more = f" and {len(failures) - 3} more" if len(failures) > 3 else ""
        raise InputError(f"images that the run could read are unreadable now: {named}{more}; put them back")
    right: NDArray[np.int64] = (classifier.head.predictions(features) == dataset.labels).astype(np.int64)
    return right
