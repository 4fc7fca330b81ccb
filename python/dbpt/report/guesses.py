"""The page by which people check the guesses before training, and what other pages show of the guesses."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbpt._core import __version__
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.contact_sheets import ContactSheet
from dbpt.report.templates import render

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
    def suspects(self) -> list[str]:
        """The names of the factors, or of the attributes."""
        return [factor.name for factor in self.guesses.factors] or list(self.words)

    @property
    def sheet_attributes(self) -> list[str]:
        """The attributes to show sheets of; with factors, only the combinations that occur."""
        if not self.guesses.factors:
            return list(self.words)
        return list(dict.fromkeys(sheet.attribute for sheet in self.shown_sheets))

    @property
    def shown_sheets(self) -> list[ContactSheet]:
        """The sheets; with factors, only those of groups that occur."""
        return [sheet for sheet in self.sheets or [] if sheet.n or not self.guesses.factors]

    @property
    def are_open(self) -> bool:
        """True if the sheets are few enough to be shown unfolded."""
        return sum(bool(sheet.strips) for sheet in self.sheets or []) <= MOST_OPEN

    @property
    def left_out(self) -> int:
        """The number of groups that have images, but no pictures."""
        return sum(sheet.n > 0 and not sheet.strips for sheet in self.sheets or [])


def render_guesses(shown: GuessSheets, name: str, label_commands: str) -> str:
    """Return the page for the data set ``name``, to look at before training; ``label_commands`` are the next step."""
    context = {"shown": shown, "name": name, "label_commands": label_commands, "version": __version__}
    return render("report/guesses.html.j2", **context)


def distrust(guesses: Guesses, names: str) -> str:
    """Return a sentence, without its full stop, that says that these ``guesses`` of the ``names`` can't be trusted."""
    if guesses.by_clusters:
        return "Some classes may form no distinct clusters"
    if guesses.by_probe:
        return f"The probe's guesses of {names} can't be trusted"
    return f"CLIP can't tell {names} apart in these images"


def label_command(run: Path) -> str:
    """Return the command that draws a sample of the run's images to label by hand."""
    return shlex.join(["dbpt", "label", str(run), "--out", f"{run}-labels"])
