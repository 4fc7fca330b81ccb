"""Contact sheets: for each pseudo-group its surest, its least sure and some random images, so that people can check it.

The pictures of all sheets together have a byte budget, so that a page that shows them stays below 3 MB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.report.thumbnails import Thumbnails

STRIP = 8
BUDGET = 1_100_000
"""Bytes of all JPEGs; base64 adds a third."""
MOST_PICTURES = 768
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
    first: Sequence[int] = (),
    budget: int = BUDGET,
) -> list[ContactSheet]:
    """Return a sheet for each pseudo-group, in the order g = y*A + a.

    ``groups`` and ``confidence`` are (N,), of class and guessed attribute; -1 if nothing was guessed. ``group_names``
    (G,) are pairs of class and attribute. The images depend on the arguments alone. Where an image can't be read, the
    next one takes its place. With many groups the strips have fewer than eight pictures, and with more than
    MOST_PICTURES / 3 groups, some sheets have none; those of ``first`` have precedence. All pictures together have at
    most ``budget`` bytes.
    """
    sizes = np.bincount(groups[groups >= 0], minlength=len(group_names))
    shown = [g for g in dict.fromkeys([*first, *range(len(sizes))]) if sizes[g]][: MOST_PICTURES // 3]
    each = min(STRIP, MOST_PICTURES // (3 * max(len(shown), 1)))
    of_class: dict[str, int] = {}
    for (class_name, _), n in zip(group_names, sizes.tolist(), strict=True):
        of_class[class_name] = of_class.get(class_name, 0) + n
    number = int(np.minimum(sizes[shown], 3 * each).sum())
    thumbnails = Thumbnails(paths, root, number=number, budget=budget)

    def take(rows: NDArray[np.int64], number: int) -> tuple[Picture, ...]:
        found = thumbnails.first(rows.tolist(), number)
        return tuple(Picture(paths[row], jpeg, float(confidence[row])) for row, jpeg in found)

    sheets = []
    for g, (class_name, attribute) in enumerate(group_names):
        rows = np.flatnonzero(groups == g) if g in shown else np.empty(0, np.int64)
        rows = rows[np.argsort(np.random.PCG64([seed, g]).random_raw(len(rows)), kind="stable")]
        strips = tuple(strip for strip in _strips(rows, confidence, take, each) if strip.pictures)
        n = int(sizes[g])
        share = n / of_class[class_name] if of_class[class_name] else None
        sheets.append(ContactSheet(class_name, attribute, n, share, strips))
    return sheets


def _strips(
    rows: NDArray[np.int64],
    confidence: NDArray[np.float32],
    take: Callable[[NDArray[np.int64], int], tuple[Picture, ...]],
    each: int,
) -> list[Strip]:
    """Return the strips of a group, whose ``rows`` are in random order."""
    surest = rows[np.argsort(-confidence[rows], kind="stable")]
    if len(rows) <= 3 * each:
        found = take(surest, 3 * each)
        title = f"All {len(rows)} images, surest first" if len(rows) > 1 else "The only image"
        return [Strip(title if len(found) == len(rows) else f"{len(found)} of {len(rows)} images", found)]
    orders = {f"The {each} surest": surest, f"The {each} least sure": surest[::-1], f"{each} at random": rows}
    return [Strip(title, take(order, each)) for title, order in orders.items()]
