"""A reason not to trust guesses of an attribute: a kind with its figures, and the sentence that says them."""

from dataclasses import dataclass
from typing import Literal

DoubtKind = Literal[
    "sentences", "spread", "separation", "rare", "other words", "unused", "leave out",  # of guesses by words
    "few known", "out of fold",  # of a probe
    "no clusters", "few images",  # of clusters
    "file",
]  # fmt: skip
SENTENCES: dict[DoubtKind, str] = {
    "sentences": "other sentences around {names} give other guesses (agreement {value}; trusted from {limit})",
    "spread": "CLIP's odds hardly change from image to image (spread {value}; trusted from {limit})",
    "separation": "the images form no groups that {names} tell apart (separation {value}; trusted from {limit})",
    "rare": "few images are guessed {names}, and no gap parts them from unusual images of another name (density in the "
    "gap {value}; trusted up to {limit})",
    "other words": "other words fit the images better than any of the names ({value} % of a catalogue's words; trusted "
    "up to {limit} %)",
    "unused": "no image was guessed {names}",
    "leave out": "leave out {names}: {kept} alone raise no doubt",
    "few known": "{names}: how the probe does there is not known (trusted from {limit})",
    "out of fold": "out of fold, too few of the {n} known images are guessed right (agreement within classes {value}; "
    "trusted from {limit})",
    "no clusters": "the images of {names} form no distinct clusters (separation {value}; trusted from {limit})",
    "few images": "{names} too few different images to tell whether the clusters are distinct (from {limit} images)",
}


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A reason not to trust the guesses of an attribute, or of one of several, the ``factor``.

    ``value`` is the figure that is on the wrong side of its ``limit``, if the ``kind`` has one. The ``sentence`` is for
    people, and the only field of a doubt from a file.
    """

    kind: DoubtKind
    sentence: str
    value: float | None = None
    limit: float | None = None
    factor: str | None = None

    def __str__(self) -> str:
        return self.sentence if self.factor is None else f"{self.factor}: {self.sentence}"


def doubt(
    kind: DoubtKind, names: str = "", value: float | None = None, limit: float = 0, decimals: int = 2, **others: object
) -> Doubt:
    """Return the doubt with its sentence, which has the ``names`` and the ``others``."""
    shown = "" if value is None else short_of(value, limit, decimals)
    text = SENTENCES[kind].format(names=names, value=shown, limit=f"{limit:g}", **others)
    return Doubt(kind=kind, sentence=text, value=value, limit=limit or None)


def short_of(value: float, limit: float, decimals: int = 2) -> str:
    """Format a value that is on the wrong side of the limit, with so many decimals that it shows.

    >>> short_of(0.0496, 0.05), short_of(5.3, 5, 0), short_of(0.3, 0.05)
    ('0.0496', '5.3', '0.30')
    """
    while value != limit and float(f"{value:.{decimals}f}") == limit:
        decimals += 1
    return f"{value:.{decimals}f}"
