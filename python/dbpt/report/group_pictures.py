"""Pictures of groups: contact sheets, those of guesses among them, and the wrong and right images of each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import group_name
from dbpt.groups.ids import permutation
from dbpt.guesses.base import BY_VALUES
from dbpt.guesses.figures import Guesses
from dbpt.report import page_size
from dbpt.report.text import guesser
from dbpt.report.thumbnails import ImageFiles, Picture

STRIP = 8


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
    images: ImageFiles,
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
        images: (N,) images.
        groups: (N,) int64, by class and guessed attribute; -1 if nothing was guessed.
        confidence: (N,) of the guesses.
        group_names: (G,) pairs of class and attribute.
        seed: decides which images are the random ones.
        is_known: whether nothing was guessed: all pictures are random ones.
    """
    sizes = np.bincount(groups[groups >= 0], minlength=len(group_names))
    shown = [g for g in range(len(sizes)) if sizes[g]][: page_size.MOST_ON_SHEETS // 3]
    each = min(STRIP, page_size.MOST_ON_SHEETS // (3 * max(len(shown), 1)))
    of_class: dict[str, int] = {}
    for (class_name, _), n in zip(group_names, sizes.tolist(), strict=True):
        of_class[class_name] = of_class.get(class_name, 0) + n
    max_bytes = page_size.SHEETS_BUDGET // max(int(np.minimum(sizes[shown], 3 * each).sum()), 1)

    def strip(title: str, rows: NDArray[np.int64], number: int) -> Strip:
        pictures = images.first(rows.tolist(), number, max_bytes)
        return Strip(title, tuple(replace(each, probability=float(confidence[i])) for i, each in pictures.items()))

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


@dataclass(frozen=True)
class GroupExamples:
    """A group of ``n`` images: how many the classifiers predict correctly, and pictures of some.

    ``right`` says how many of the images each classifier predicts correctly, ``gained`` how many only the last one
    does, and ``lost`` how many only the first one does. ``examples`` are the images that the last one gets wrong, those
    that it is surest of first, then right ones.
    """

    class_name: str
    attribute: str
    n: int
    right: tuple[int, ...]
    gained: int
    lost: int
    examples: tuple[Picture, ...]

    @property
    def name(self) -> str:
        """Class · attribute."""
        return group_name(self.class_name, self.attribute)

    @property
    def share_right(self) -> float:
        """The accuracy of the last classifier."""
        return self.right[-1] / max(self.n, 1)

    @property
    def wrong(self) -> int:
        """The number of images that the last classifier gets wrong."""
        return self.n - self.right[-1]

    @property
    def wrong_shown(self) -> int:
        """The number of pictures of such images."""
        return sum(picture.predictions[-1] != self.class_name for picture in self.examples)


def group_examples(
    images: ImageFiles | None,
    groups: NDArray[np.int64],
    predictions: Sequence[NDArray[np.int64]],
    *,
    group_names: Sequence[tuple[str, str]],
    classes: Sequence[str],
    p_true: NDArray[Any] | None = None,
    seed: int = 0,
    most_wrong: int = page_size.MOST_WRONG,
) -> list[GroupExamples]:
    """Return the images of each group with the predictions of one or more classifiers, in the order of ``group_names``.

    The pictures of a group are up to ``most_wrong`` images that the last classifier gets wrong, and a few right ones.
    If that is too much for a page, each group has a few of both first, and those of the lowest accuracy have the rest.
    Where an image can't be read, the next one replaces it. All pictures together have at most EXAMPLES_BUDGET bytes.

    Args:
        images: (N,) images; None without images, and then there are no pictures.
        groups: (N,) int64, -1 for images of no group.
        predictions: (N,) int64 of each classifier, indices into ``classes``.
        group_names: (G,) pairs of class and attribute.
        classes: (C,) names.
        p_true: (N,) probabilities of the true class by the last classifier: wrong images with the lowest one come
            first. Without them, they come in the order of the data.
        seed: decides which right images are shown.
        most_wrong: the wrong images of a group that are shown at most.
    """
    sizes = np.bincount(groups[groups >= 0], minlength=len(group_names))
    rows_of = [np.flatnonzero(groups == g) if sizes[g] else np.empty(0, np.int64) for g in range(len(group_names))]
    right = [
        [of_one[rows] == classes.index(name) for of_one in predictions]
        for rows, (name, _) in zip(rows_of, group_names, strict=True)
    ]
    correct = [int(of_group[-1].sum()) for of_group in right]
    worst_first = sorted(np.flatnonzero(sizes).tolist(), key=lambda g: correct[g] / sizes[g])
    numbers = (
        page_size.example_numbers([(int(sizes[g]) - correct[g], correct[g]) for g in worst_first], most_wrong)
        if images
        else []
    )
    max_bytes = page_size.EXAMPLES_BUDGET // max(sum(map(sum, numbers)), 1)

    def example(row: int, picture: Picture) -> Picture:
        p = None if p_true is None else float(p_true[row])
        return replace(picture, predictions=tuple(classes[of_one[row]] for of_one in predictions), probability=p)

    pictures = dict[int, tuple[Picture, ...]]()
    for g, (num_wrong, num_right) in zip(worst_first, numbers, strict=False):
        if images and num_wrong + num_right:
            rows, is_right = rows_of[g], right[g][-1]
            wrong, drawn = rows[~is_right], permutation(len(rows), seed, g)
            surest = wrong if p_true is None else wrong[np.argsort(p_true[wrong], kind="stable")]
            shown = images.first(surest.tolist(), num_wrong, max_bytes)
            shown |= images.first(rows[drawn[is_right[drawn]]].tolist(), num_right, max_bytes)
            pictures[g] = tuple(example(row, picture) for row, picture in shown.items())
    return [
        GroupExamples(
            *group_names[g],
            len(rows_of[g]),
            tuple(int(of_one.sum()) for of_one in of_group),
            int((of_group[-1] & ~of_group[0]).sum()),
            int((of_group[0] & ~of_group[-1]).sum()),
            pictures.get(g, ()),
        )
        for g, of_group in enumerate(right)
    ]


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
