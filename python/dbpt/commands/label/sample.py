"""`draw_label_sample`: from a finished run to a stratified sample, its files and a page for labelling."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt._core import __version__
from dbpt.data import SPLITS, Dataset
from dbpt.data.tables import read_columns
from dbpt.data.text_array import Texts
from dbpt.data.writing import csv_text, unmarked
from dbpt.errors import InputError, first_few, nearest
from dbpt.features.images import UnreadableImage, pillow_warnings
from dbpt.groups.ids import permutation
from dbpt.report.result_rows import SPLIT_NAMES
from dbpt.report.text import render
from dbpt.report.thumbnails import thumbnail
from dbpt.runs.output_folder import path_from
from dbpt.runs.pretrained import StoredClassifier
from dbpt.runs.run_folder import HINT, TENSORS_SCHEMA_VERSION, classifier_of, read_classifier
from dbpt.storage.files import check_can_create, is_missing, write_atomically, write_json
from dbpt.storage.locks import whole_folder
from dbpt.storage.tensors import read_tensors
from dbpt.storage.typed_json import Count, Share, read_json, typed
from dbpt.study.data import load_rows

if TYPE_CHECKING:
    from dbpt.runs.classifier import Classifier

SCHEMA_VERSION = 2
DRAW_AGAIN = "draw a new sample"
ENOUGH_FOR_BANDS = 5
"""Images in each band of a cell. A cell with fewer is one stratum, since their spread would be unknown."""
LEAST_DRAWN, LEAST_DOUBT = 2, 0.01  # CLIP is overconfident


@dataclass(frozen=True)
class Stratum:
    """Images of one class and one pseudo attribute, either all classified correctly or all incorrectly.

    Attributes:
        label: class index.
        pseudo_attribute: attribute index; -1 for none.
        right: whether the classifier is right.
        low, high: lowest and highest confidence.
        size: the number of images in the split.
        drawn: the number of images in the sample.
    """

    label: Count
    pseudo_attribute: Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
    right: bool
    low: Share
    high: Share
    size: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    drawn: Count


@dataclass(frozen=True, repr=False)
class Design:
    """A sample of one split, n images in H strata.

    Attributes:
        run: the run folder, in ``design.json`` relative to the sample's.
        dataset: the name of the data set.
        split: ``train``, ``val`` or ``test``.
        seed: seed of the draws.
        classes: (C,) names.
        attributes: (A,) names with their wordings. With ``factors``, the combinations of their values.
        strata: (H,).
        paths: (n,) images.
        stratum: (n,) index into ``strata`` of each image.
        factors: the values of each of several attributes, with their wordings.
    """

    run: str
    dataset: str
    split: str
    seed: Count
    classes: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]]
    strata: tuple[Stratum, ...]
    paths: tuple[str, ...]
    stratum: tuple[Count, ...]
    factors: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def questions(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The answers to each question about an image, with wordings, by its column in ``labels.csv``."""
        return self.factors or {"attribute": self.attributes}

    @property
    def size(self) -> int:
        """Number of images in the split."""
        return sum(stratum.size for stratum in self.strata)

    @property
    def sample(self) -> str:
        """16 letters that identify the sample, also if its run moves. A spreadsheet could take digits for a number."""
        content = json.dumps([{**self._described(), "run": None}, self.paths, self.stratum], ensure_ascii=False)
        digest = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return digest.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))

    def __str__(self) -> str:
        return f"{self.dataset}: {len(self.paths)} of {self.size} {self.split} images, from {len(self.strata)} strata"

    def __repr__(self) -> str:
        return f"<Design {self}>"

    def _described(self) -> dict[str, Any]:
        """Return the content of ``design.json`` except version and sample."""
        return {name: value for name, value in asdict(self).items() if name not in ("paths", "stratum")}


def write_design(folder: Path, design: Design) -> None:
    """Write ``design.json`` and ``sample.csv``."""
    attributes = [*design.attributes, ""]  # the last is index -1
    table: list[Sequence[object]] = [["path", "class", "pseudo_attribute", "right", "stratum", "inclusion_probability"]]
    for path, number in zip(design.paths, design.stratum, strict=True):
        stratum = design.strata[number]
        right = "yes" if stratum.right else "no"
        probability = stratum.drawn / stratum.size
        attribute = attributes[stratum.pseudo_attribute]
        table.append([path, design.classes[stratum.label], attribute, right, number, probability])
    write_atomically(folder / "sample.csv", csv_text(table))
    description = {"schema_version": SCHEMA_VERSION, "sample": design.sample, **design._described()}
    write_json(folder / "design.json", description)


def read_design(folder: Path) -> Design:
    """Read the files of `write_design`. Raises `InputError` if they are missing or were changed."""
    path, rows = folder / "design.json", folder / "sample.csv"
    if is_missing(path):
        raise InputError(f"{folder}: not a drawn sample (no design.json); give the folder named by --out in dbpt label")
    value = read_json(path, "design of a sample", SCHEMA_VERSION)
    columns = read_columns(rows, ("path", "stratum")).values
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in columns["stratum"]):
        raise InputError(f"{rows}: stratum: expected numbers; the file was changed, {DRAW_AGAIN}")
    value["paths"], value["stratum"] = list(map(unmarked, columns["path"])), list(map(int, columns["stratum"]))
    design = typed(value, Design, path, DRAW_AGAIN)
    if design.sample != value.get("sample"):
        raise InputError(f"{folder}: design.json or sample.csv was changed since it was drawn; {DRAW_AGAIN}")
    return replace(design, run=os.path.normpath(folder / design.run))


def stratify(
    cells: NDArray[np.int64], confidence: NDArray[np.float32], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cut each cell that will get enough images into two bands of confidence.

    The score of a cell is the root of its doubt, divided equally among its bands. The doubt is the sum of √(e·(1 − e))
    over its images with e = 1 − confidence: their standard deviations if confidence were exact. The root is the power
    allocation of Bankier (1988). It lies between equal shares and Neyman's, which is best for the whole but leaves
    small groups nothing.

    Args:
        cells: (N,) any integers, one for each pseudo-group that is classified right, or wrong.
        confidence: (N,) of the guesses, 0 to 1.
        n: the number of images to draw.

    Returns:
        The stratum of each image, (N,) in 0..H-1, ordered by cell and confidence; and the score of each stratum, (H,),
        which is proportional to the number of images to draw.

    Raises:
        InputError: if there are more cells than ``n``.
    """
    doubt = (1.0 - confidence.astype(np.float64)).clip(LEAST_DOUBT, 0.5)
    deviation = np.sqrt(doubt * (1.0 - doubt))
    _, cells = np.unique(cells, return_inverse=True)
    sizes = np.bincount(cells)
    if n < len(sizes):
        raise InputError(
            f"--n is {n}; expected at least {len(sizes)}: one image of each pseudo-group that the classifier gets "
            "right, and one that it gets wrong"
        )
    score = np.sqrt(np.bincount(cells, deviation))
    is_cut = allocate(sizes, score, n) >= 2 * ENOUGH_FOR_BANDS
    strata, order = 2 * cells, np.lexsort((confidence, cells))
    for cell, rows in enumerate(np.split(order, np.cumsum(sizes)[:-1])):
        # Both bands of a cell have equal doubt: few unsure or many sure images.
        middle = np.cumsum(deviation[rows]) - deviation[rows] / 2
        strata[rows] += is_cut[cell] & (middle >= deviation[rows].sum() / 2)
    _, first, strata = np.unique(strata, return_index=True, return_inverse=True)
    cell_H = cells[first]
    return strata, score[cell_H] / np.bincount(cell_H)[cell_H]


def allocate(sizes: NDArray[np.int64], score: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Return numbers (H,) proportional to ``score`` with sum ``n``; at least 2 (1 for a small ``n``), at most all."""
    n = min(n, int(sizes.sum()))
    least = np.minimum(LEAST_DRAWN if np.minimum(LEAST_DRAWN, sizes).sum() <= n else 1, sizes)
    low, high = 0.0, float((sizes / score).max())
    for _ in range(100):  # bisect the factor for which the clipped shares add up to n
        middle = (low + high) / 2
        low, high = (low, middle) if np.clip(middle * score, least, sizes).sum() > n else (middle, high)
    shares = np.clip(low * score, least, sizes)
    drawn = np.floor(shares + 1e-9).astype(np.int64)
    # The largest remainders get the images that rounding down has left.
    rest = np.argsort(drawn - shares, kind="stable")
    for stratum in rest[drawn[rest] < sizes[rest]][: n - int(drawn.sum())]:
        drawn[stratum] += 1
    return drawn


def draw(strata: NDArray[np.int64], drawn: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return rows (n,): a simple random sample of each stratum, in random order, so that a person can stop early."""
    samples = []
    for stratum, number in enumerate(drawn):
        members = np.flatnonzero(strata == stratum)
        samples.append(members[permutation(len(members), seed, stratum)[:number]])
    rows = np.concatenate(samples)
    return rows[permutation(len(rows), seed, len(drawn))]


MAX_BYTES = 18_000  # so that 200 pictures, in base64, stay under 5 MB


def draw_label_sample(
    run: str | Path,
    *,
    out: str | Path,
    n: int = 200,
    split: str | None = None,
    seed: int = 0,
    data: str | Path | None = None,
    root: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    cache: str | None = None,
) -> Design:
    """Draw images of a run for a person to label, and write a page for it.

    The images are stratified by pseudo-group, by whether the run's classifier is right, and by confidence. The page
    doesn't show any of these. True attributes are not used.

    Args:
        run: the folder of a finished run.
        out: the folder to create, with ``index.html``, and ``sample.csv`` and ``design.json`` for `judge_labels`.
        n: number of images to draw; all images of the split if it has fewer.
        split: ``train``, ``val`` or ``test``; by default test, or validation if there are no test images.
        seed: seed of the draws.
        data, root: the table of the run and the folder of its images, if they have moved.
        weights, device, cache: as in `dbpt.evaluate`.

    Returns:
        The sample: its strata, and the images of each.

    Raises:
        InputError: if ``out`` exists, if ``n`` is too small, or if images are gone or unreadable now.
    """
    folder = arguments.path("out", out)
    if os.path.lexists(folder):
        raise InputError(f"--out {folder}: exists; choose another name, since labels may belong to that sample")
    check_can_create(folder)
    n, seed = arguments.integer("--n", n, 1), arguments.integer("--seed", seed, 0, 2**63 - 1)
    if split is not None and split not in SPLITS:
        hint = nearest(str(split), list(SPLITS))
        raise InputError(f"--split is {split!r}; expected one of {', '.join(SPLITS)}{hint}")
    stored = read_classifier(run, weights)
    if stored.config.embeddings is not None:
        raise InputError(f"{run}: was fitted on --embeddings, without images; there is nothing to show and label")
    if stored.config.lacks_words:
        what = "clusters, which nobody can label" if stored.config.coded is None else "known values of the data"
        raise InputError(f"{run}: its attributes are {what}; fit with names of attributes")
    if not stored.words.attributes:
        raise InputError(f"{run}: was trained without an attribute; there is none to label, fit with --attributes")
    labelled = RunLabels(Path(run), stored)
    split = split or ("test" if (labelled.splits == SPLITS.index("test")).any() else "val")
    rows = labelled.rows(split)
    whole, rows_of_paths = load_rows(run, stored.config, stored.words, labelled.paths.take(rows), data, root)
    dataset = whole.take(rows_of_paths).without_truth()
    right = _right(classifier_of(stored, device), dataset, cache)
    pseudo_attributes, confidence = labelled.pseudo_attributes[rows], labelled.confidence[rows]
    cells = (dataset.labels * (dataset.num_attributes + 1) + pseudo_attributes + 1) * 2 + right
    strata, score = stratify(cells, confidence, n)
    drawn = allocate(np.bincount(strata), score, n)
    sample = draw(strata, drawn, seed)
    described = []
    for stratum, number in enumerate(drawn.tolist()):
        members = np.flatnonzero(strata == stratum)
        label, pseudo_attribute, is_right = (int(x[members[0]]) for x in (dataset.labels, pseudo_attributes, right))
        low, high = float(confidence[members].min()), float(confidence[members].max())
        described.append(Stratum(label, pseudo_attribute, bool(is_right), low, high, len(members), number))
    design = Design(
        run=str(run),
        dataset=dataset.name,
        split=split,
        seed=seed,
        classes=dataset.class_names,
        attributes=dict(dataset.words.attributes),
        strata=tuple(described),
        paths=tuple(dataset.paths[row] for row in sample),
        stratum=tuple(strata[sample].tolist()),
        factors={factor.name: dict(factor.values) for factor in dataset.words.factors},
    )
    _write(folder, design, dataset.root)
    return design


class RunLabels:
    """A run's ``pseudo_attributes.safetensors``: arrays (N,), -1 for unlabelled rows, and the path of each row."""

    def __init__(self, run: Path, stored: StoredClassifier) -> None:
        file = run / "pseudo_attributes.safetensors"
        what, needs = "run's pseudo attributes", ("pseudo_attributes", "confidence", "splits", "paths")
        tensors, _ = read_tensors(file, what, version=TENSORS_SCHEMA_VERSION, hint=HINT, needs=needs)
        self.pseudo_attributes = tensors["pseudo_attributes"].astype(np.int64)
        self.confidence, self.splits = tensors["confidence"], tensors["splits"]
        self.paths = Texts.of(tensors["paths"].tobytes().decode("utf-8", "surrogateescape").split("\0"))
        arrays = (self.pseudo_attributes, self.confidence, self.splits)
        if (
            any(array.shape != (len(self.paths),) for array in arrays)
            or not np.isin(self.splits, range(len(SPLITS))).all()
            or not np.isin(self.pseudo_attributes, range(-1, len(stored.words.attributes))).all()
            or not ((self.confidence >= 0) & (self.confidence <= 1)).all()
        ):
            raise InputError(f"{file}: does not belong to this run; fit again")
        self._run = run

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of a split. Raises `InputError` if there are none."""
        rows = np.flatnonzero(self.splits == SPLITS.index(split))
        if not rows.size:
            splits = ", ".join(SPLITS[number] for number in np.unique(self.splits))
            raise InputError(f"--split {split}: {self._run} has no images in it; its splits are {splits}")
        return rows


def _right(classifier: "Classifier", dataset: Dataset, cache: str | None) -> NDArray[np.int64]:
    """Return (N,) int64, 1 where the run's classifier is right."""
    from dbpt.study.study import embed_dataset

    config = classifier.config if cache is None else replace(classifier.config, cache=cache)
    _, features, failures = embed_dataset(dataset, classifier.backbone, config)
    if failures:
        named = first_few([f"{failure.path}: {failure.reason}" for failure in failures], 3, "; ")
        raise InputError(f"images that the run could read are unreadable now: {named}; put them back")
    right: NDArray[np.int64] = (classifier.head.predictions(features) == dataset.labels).astype(np.int64)
    return right


def _write(folder: Path, design: Design, root: Path) -> None:
    page = label_page(design, root)
    try:
        with whole_folder(folder.absolute()) as partial:
            write_design(partial, replace(design, run=path_from(folder, design.run)))
            write_atomically(partial / "index.html", page)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot create: {error.strerror}") from None


def label_page(design: Design, root: Path) -> str:
    """Return the labelling page, self-contained HTML, for the images of ``design``, with paths relative to ``root``.

    It doesn't show class, pseudo attribute and prediction, which could influence the person. Raises `InputError` for
    images that can't be read, or whose names are not UTF-8, since no CSV could contain them.
    """
    return render(
        "label.html.j2",
        version=__version__,
        dataset=design.dataset,
        split=SPLIT_NAMES[design.split],
        questions={
            question: [(name, [] if wordings == (name,) else wordings) for name, wordings in answers.items()]
            for question, answers in design.questions.items()
        },
        pictures=_pictures(design, root),
        sample={
            "id": design.sample,
            "questions": [(question, list(answers)) for question, answers in design.questions.items()],
            "paths": design.paths,
        },
    )


@pillow_warnings()
def _pictures(design: Design, root: Path) -> list[bytes]:
    pictures, unreadable = list[bytes](), list[str]()
    for path in design.paths:
        try:
            path.encode()
            pictures.append(thumbnail(root / path, max_bytes=MAX_BYTES))
        except UnicodeEncodeError:
            unreadable.append(f"{path!r}: its name is not UTF-8")
        except UnreadableImage as error:
            unreadable.append(f"{path!r}: {error}")
    if unreadable:
        raise InputError(f"images of the sample cannot be shown: {first_few(unreadable, 3, '; ')}")
    return pictures
