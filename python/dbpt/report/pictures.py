"""Pictures of groups: contact sheets, those of guesses among them; examples of groups, and the surest mistakes."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dbpt.features.images import UnreadableImage, open_image
from dbpt.groups import group_name
from dbpt.groups.ids import permutation
from dbpt.guesses.base import BY_VALUES
from dbpt.guesses.trust import Guesses
from dbpt.report.text import guesser

STRIP = 8
SHEETS_BUDGET = 1_100_000
"""Bytes of all JPEGs; base64 adds a third."""
MOST_ON_SHEETS = 768
"""With more groups the strips are shorter, so that no picture gets too small to judge."""


@dataclass(frozen=True)
class Picture:
    """An image with the confidence of its guess; ``image`` is a JPEG thumbnail."""

    path: str
    image: bytes
    confidence: float


@dataclass(frozen=True)
class Strip:
    """Some pictures, with a title that says which."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class ContactSheet:
    """The pictures of a pseudo-group: class and guessed attribute, the ``n`` images, and their share of the class.

    ``strips`` are the surest, the least sure and some random images, or all images if they are few. There are none if
    the group has no images, or isn't among the groups that fit into a page.
    """

    class_name: str
    attribute: str
    n: int
    share: float | None
    strips: tuple[Strip, ...]


def contact_sheets(
    paths: Sequence[str],
    root: Path,
    groups: NDArray[np.int64],
    confidence: NDArray[np.float32],
    *,
    group_names: Sequence[tuple[str, str]],
    seed: int = 0,
    is_known: bool = False,
) -> list[ContactSheet]:
    """Return a sheet for each pseudo-group, in the order g = y*A + a.

    Where an image can't be read, the next one replaces it. With many groups the strips have fewer than eight pictures,
    and with more than MOST_ON_SHEETS / 3 groups, the last sheets have none. All pictures together have at most
    SHEETS_BUDGET bytes.

    Args:
        paths: (N,) images, relative to ``root``.
        root: their folder.
        groups: (N,) int64, by class and guessed attribute; -1 if nothing was guessed.
        confidence: (N,) of the guesses.
        group_names: (G,) pairs of class and attribute.
        seed: decides which images are the random ones.
        is_known: whether nothing was guessed: all pictures are random ones.
    """
    sizes = np.bincount(groups[groups >= 0], minlength=len(group_names))
    shown = [g for g in range(len(sizes)) if sizes[g]][: MOST_ON_SHEETS // 3]
    each = min(STRIP, MOST_ON_SHEETS // (3 * max(len(shown), 1)))
    of_class: dict[str, int] = {}
    for (class_name, _), n in zip(group_names, sizes.tolist(), strict=True):
        of_class[class_name] = of_class.get(class_name, 0) + n
    max_bytes = SHEETS_BUDGET // max(int(np.minimum(sizes[shown], 3 * each).sum()), 1)

    def strip(title: str, rows: NDArray[np.int64], number: int) -> Strip:
        thumbnails = first_thumbnails(paths, root, rows.tolist(), number, max_bytes)
        return Strip(title, tuple(Picture(paths[row], jpeg, float(confidence[row])) for row, jpeg in thumbnails))

    sheets = []
    for g, (class_name, attribute) in enumerate(group_names):
        rows = np.flatnonzero(groups == g) if g in shown else np.empty(0, np.int64)
        # Raw numbers of PCG64 stay the same in all versions of NumPy, which its shuffles need not.
        rows = rows[np.argsort(np.random.PCG64([seed, g]).random_raw(len(rows)), kind="stable")]
        surest = rows[np.argsort(-confidence[rows], kind="stable")]
        if len(rows) > 3 * each and is_known:
            strips = [strip(f"{3 * each} at random", rows, 3 * each)]
        elif len(rows) > 3 * each:
            orders = {f"The {each} surest": surest, f"The {each} least sure": surest[::-1], f"{each} at random": rows}
            strips = [strip(title, order, each) for title, order in orders.items()]
        else:
            order = "" if is_known else ", surest first"
            title = f"All {len(rows)} images{order}" if len(rows) > 1 else "The only image"
            strips = [strip(title, surest, len(rows))]
            if len(strips[0].pictures) < len(rows):
                strips = [replace(strips[0], title=f"{len(strips[0].pictures)} of {len(rows)} images")]
        n = int(sizes[g])
        share = n / of_class[class_name] if of_class[class_name] else None
        sheets.append(ContactSheet(class_name, attribute, n, share, tuple(strip for strip in strips if strip.pictures)))
    return sheets


EACH = 8
MOST_EXAMPLES = 384
"""With more groups each has fewer, so that no picture gets too small to judge."""
EXAMPLES_BUDGET = 400_000
"""Bytes of all JPEGs; base64 adds a third."""


@dataclass(frozen=True)
class Example:
    """An image; ``image`` is a JPEG thumbnail, ``predictions`` are class names, one of each classifier."""

    path: str
    image: bytes
    predictions: tuple[str, ...]


@dataclass(frozen=True)
class GroupExamples:
    """A group of ``n`` images: how many the classifiers predict correctly, and pictures of some.

    ``right`` says how many of the images each classifier predicts correctly, ``gained`` how many only the last one
    does, and ``lost`` how many only the first one does.
    """

    class_name: str
    attribute: str
    n: int
    right: tuple[int, ...]
    gained: int
    lost: int
    examples: tuple[Example, ...]

    @property
    def name(self) -> str:
        """Class · attribute."""
        return group_name(self.class_name, self.attribute)


def group_examples(
    paths: Sequence[str],
    root: Path | None,
    groups: NDArray[np.int64],
    predictions: Sequence[NDArray[np.int64]],
    *,
    group_names: Sequence[tuple[str, str]],
    classes: Sequence[str],
    seed: int = 0,
    first: Sequence[int] = (),
    wrong_first: bool = False,
) -> list[GroupExamples]:
    """Return the images of each group with the predictions of one or more classifiers.

    Chance chooses the pictures, whatever the predictions are, or those of each kind if wrong ones are first.

    Args:
        paths: (N,) images, relative to ``root``.
        root: their folder; None without images, and then there are no pictures.
        groups: (N,) int64, -1 for images of no group.
        predictions: (N,) int64 of each classifier, indices into ``classes``.
        group_names: (G,) pairs of class and attribute.
        classes: (C,) names.
        seed: decides which images are shown.
        first: the groups that have pictures first if not all groups can have some.
        wrong_first: whether half of the pictures, the first ones, are of images that the last classifier gets wrong,
            if there are as many.
    """
    sizes = np.bincount(groups[groups >= 0], minlength=len(group_names))
    shown = [g for g in dict.fromkeys([*first, *range(len(sizes))]) if sizes[g]][:MOST_EXAMPLES]
    each = min(EACH, MOST_EXAMPLES // max(len(shown), 1))
    max_bytes = EXAMPLES_BUDGET // max(int(np.minimum(sizes[shown], each).sum()), 1)
    examples = []
    for g, (class_name, attribute) in enumerate(group_names):
        rows = np.flatnonzero(groups == g) if sizes[g] else np.empty(0, np.int64)
        right = [of_one[rows] == classes.index(class_name) for of_one in predictions]
        pictures = []
        if root is not None and g in shown:
            drawn = permutation(len(rows), seed, g)
            if wrong_first:
                wrong = drawn[~right[-1][drawn]]
                drawn = np.concatenate([wrong[: each // 2], drawn[right[-1][drawn]], wrong[each // 2 :]])
            order = rows[drawn].tolist()
            pictures = [
                Example(paths[row], jpeg, tuple(classes[of_one[row]] for of_one in predictions))
                for row, jpeg in first_thumbnails(paths, root, order, each, max_bytes)
            ]
        examples.append(
            GroupExamples(
                class_name,
                attribute,
                len(rows),
                tuple(int(of_one.sum()) for of_one in right),
                int((right[-1] & ~right[0]).sum()),
                int((right[0] & ~right[-1]).sum()),
                tuple(pictures),
            )
        )
    return examples


GALLERY_SIZE = 24
GALLERY_BUDGET = 150_000
"""Bytes of all JPEGs; base64 adds a third."""


@dataclass(frozen=True)
class Mistake:
    """A misclassified image for the gallery; ``image`` is a JPEG thumbnail, ``p_true`` None without probabilities."""

    path: str
    image: bytes
    label: str
    attribute: str
    prediction: str
    p_true: float | None


def surest_mistakes(
    paths: Sequence[str],
    root: Path,
    group: tuple[str, str],
    predictions: Sequence[str],
    p_true: NDArray[np.float64] | None,
) -> list[Mistake]:
    """Return the 24 misclassified images of a group that have the lowest probability of the true class.

    Where an image can't be read, the next one replaces it.

    Args:
        paths: (n,) the images of the group, relative to ``root``.
        root: their folder.
        group: its class and attribute, by name.
        predictions: (n,) class names.
        p_true: (n,) probabilities of the true class; None takes the first mistakes.
    """
    wrong = np.flatnonzero([prediction != group[0] for prediction in predictions])
    if p_true is not None:
        wrong = wrong[np.argsort(p_true[wrong], kind="stable")]
    return [
        Mistake(paths[i], image, *group, predictions[i], None if p_true is None else float(p_true[i]))
        for i, image in first_thumbnails(paths, root, wrong.tolist(), GALLERY_SIZE, GALLERY_BUDGET // GALLERY_SIZE)
    ]


QUALITIES = (85, 75, 60, 45, 30)
SIZES = (144, 128, 112, 96, 80, 64, 48, 32)
BYTES_PER_PIXEL = 0.25  # of most photographs at a quality of 60
TRIES = 3  # per picture, until images are given up as unreadable


def thumbnail(path: Path, pixels: int, *, max_bytes: int | None = None) -> bytes:
    """Return the image as a JPEG at most ``pixels`` wide and high. Its quality is lowered to 30 to fit ``max_bytes``.

    Alpha is dropped, as it is for CLIP. Raises `UnreadableImage` with the reason.
    """
    image = open_image(path).convert("RGB")
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    for quality in QUALITIES:  # the last one is taken even if it doesn't fit
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if max_bytes is None or buffer.tell() <= max_bytes:
            break
    return buffer.getvalue()


def first_thumbnails(
    paths: Sequence[str], root: Path, rows: Sequence[int], number: int, max_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yield the first ``number`` of ``rows`` whose images can be read, each with its thumbnail.

    Args:
        paths: the paths of all rows, relative to ``root``.
        root: the folder of the images.
        rows: the rows to try, in order: at most 3 times ``number``.
        number: how many to yield.
        max_bytes: of a thumbnail, which is as large as that allows for most photographs, and smaller for noise.
    """
    sizes = [size for size in SIZES if size**2 * BYTES_PER_PIXEL <= max_bytes] or SIZES[-1:]
    readable = 0
    for row in rows[: TRIES * number]:
        if readable == number:
            return
        try:
            for size in sizes:
                jpeg = thumbnail(root / paths[row], size, max_bytes=max_bytes)
                if len(jpeg) <= max_bytes:
                    break
        except UnreadableImage:  # it has changed since
            continue
        readable += 1
        yield row, jpeg


MOST_OPEN = 8
"""With more groups, the contact sheets are folded."""


@dataclass(frozen=True)
class GuessSheets:
    """The guesses of some images: ``words`` are the wordings of each attribute, ``sheets`` None without images.

    With factors the words have the name "FACTOR: VALUE".
    Instead of words, clusters have ``clusters``: class, name, and share of the class's images.
    """

    guesses: Guesses
    words: Mapping[str, Sequence[str]]
    sheets: list[ContactSheet] | None
    clusters: Sequence[tuple[str, str, float]] = ()

    @property
    def shares(self) -> list[float]:
        """The share of each of the ``words``."""
        return [share for factor in self.guesses.factors for share in factor.shares]

    @property
    def precisions(self) -> list[tuple[float | None, int]]:
        """The precision of each of the ``words`` that a probe guessed, and the known images guessed so, out of fold."""
        probes = self.guesses.cross_validations
        return [pair for probe in probes for pair in zip(probe.precision, probe.n_guessed, strict=True)]

    @property
    def titled_sheets(self) -> list[tuple[str, list[ContactSheet]]]:
        """The sheets of each attribute, or of the clusters of each class; with factors, only those that occur."""
        titled: dict[str, list[ContactSheet]] = {}
        by = self.guesses.provenance
        took = "Labelled" if by == "file" else f"What {guesser(by)} took for"
        for sheet in self.sheets or []:
            if sheet.n or not self.guesses.named:
                title = sheet.class_name if by == "clusters" else f"{took} “{sheet.attribute}”"
                title = sheet.attribute if by in BY_VALUES else title
                titled.setdefault(title, []).append(sheet)
        return list(titled.items())

    @property
    def are_open(self) -> bool:
        """True if the sheets are few enough to be shown unfolded."""
        return sum(bool(sheet.strips) for sheet in self.sheets or []) <= MOST_OPEN

    @property
    def left_out(self) -> int:
        """The number of groups that have images, but no pictures."""
        return sum(sheet.n > 0 and not sheet.strips for sheet in self.sheets or [])
