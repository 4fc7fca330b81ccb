"""The guesses on pages and in warnings: how they were made, their contact sheets and doubts, what made the page."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbpt.data.words import UNNAMED
from dbpt.guesses.trust import Guesses
from dbpt.report.pictures import ContactSheet
from dbpt.settings.config import FitConfig


def setting_texts(config: FitConfig, names: Iterable[str]) -> dict[str, str]:
    """Return the values of the settings ``names`` as texts; an unset one is ``None``."""
    values = {name: getattr(config, name) for name in names}
    return {
        name: ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in values.items()
    }


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
        return [share for each in self.guesses.by_suspect for share in each.shares]

    @property
    def precisions(self) -> list[tuple[float | None, int]]:
        """The precision of each of the ``words`` that a probe guessed, and the known images guessed so, out of fold."""
        judged = self.guesses.cross_validations
        return [pair for each in judged for pair in zip(each.precision, each.n_guessed, strict=True)]

    @property
    def titled_sheets(self) -> list[tuple[str, list[ContactSheet]]]:
        """The sheets of each attribute, or of the clusters of each class; with factors, only those that occur."""
        found: dict[str, list[ContactSheet]] = {}
        took = "Labelled" if self.guesses.from_file else f"What {self.guesses.guesser} took for"
        for sheet in self.sheets or []:
            if sheet.n or not self.guesses.factors:
                title = sheet.class_name if self.guesses.by_clusters else f"{took} “{sheet.attribute}”"
                found.setdefault(title, []).append(sheet)
        return list(found.items())

    @property
    def are_open(self) -> bool:
        """True if the sheets are few enough to be shown unfolded."""
        return sum(bool(sheet.strips) for sheet in self.sheets or []) <= MOST_OPEN

    @property
    def left_out(self) -> int:
        """The number of groups that have images, but no pictures."""
        return sum(sheet.n > 0 and not sheet.strips for sheet in self.sheets or [])


def distrust(guesses: Guesses, names: str) -> str:
    """Return a sentence, without its full stop, that says that these ``guesses`` of the ``names`` can't be trusted."""
    if guesses.by_clusters:
        return "Some classes may form no distinct clusters"
    if guesses.by_probe:
        return f"The probe's guesses of {names} can't be trusted"
    return f"CLIP can't tell {names} apart in these images"


def doubts_in_words(guesses: Guesses) -> tuple[str, ...]:
    """Return the doubts about the guesses of each suspect as one warning."""
    if guesses.by_clusters and guesses.doubts:
        way_out = "name attributes (--attributes NAME NAME), or look at the clusters with dbpt audit"
        return (f"the clusters can't be trusted: {'; '.join(map(str, guesses.doubts))}; {way_out}",)
    way_out = "label more images" if guesses.by_probe else "use other words, give each name more wordings"
    return tuple(
        f"{guesses.guesser}'s guesses of {_called(each)} can't be trusted: "
        f"{'; '.join(doubt.sentence for doubt in each.doubts)}; "
        f"{'' if each.leave_out else f'{way_out}, '}or look at the guesses with dbpt audit"
        for each in guesses.by_suspect
        if each.doubts
    )


def _called(guesses: Guesses) -> str:
    """Return the values of an attribute, in brackets after its name if it has one."""
    values = " / ".join(guesses.values)
    return values if guesses.name == UNNAMED else f"{guesses.name} ({values})"


def label_command(run: Path) -> str:
    """Return the command that draws a sample of the run's images to label by hand."""
    return shlex.join(["dbpt", "label", str(run), "--out", f"{run}-labels"])
