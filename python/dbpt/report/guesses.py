"""The guesses on pages: how they were made, their contact sheets, and what made the page."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbpt._core import __version__
from dbpt.guesses.trust import Guesses
from dbpt.report.pictures import ContactSheet
from dbpt.report.text import MISSING, count, render
from dbpt.runs.metrics import AuditedData, BackboneSummary
from dbpt.settings.config import FitConfig

Entries = list[tuple[str, str]]


def audited_entries(data: AuditedData, backbone: BackboneSummary) -> Entries:
    """Return the images that a page is about, and the backbone."""
    more = f"; {count(data.failed_images)} more could not be read" if data.failed_images else ""
    split = f"split: {data.split}" if data.is_divided else "no splits"
    images = f"{count(data.n)}, {split}{more}"
    return [("Data", data.root), ("Images", images), ("Backbone", backbone_text(backbone))]


def backbone_text(backbone: BackboneSummary) -> str:
    """Return the backbone by name, with the size of its features and the precision of its image tower."""
    weights = backbone.pretrained or "no pretrained tag"
    return f"{backbone.model}, {weights}, {backbone.embed_dim} features; image tower: {backbone.image_tower}"


def setting_texts(config: FitConfig, names: Iterable[str]) -> dict[str, str]:
    """Return the values of the settings ``names`` as texts; an unset one is ``None``."""
    values = {name: getattr(config, name) for name in names}
    return {
        name: ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in values.items()
    }


def made_by_entries(
    words: Iterable[tuple[str, Sequence[str]]],
    templates: Sequence[str],
    attribute_templates: Sequence[str],
    settings: Mapping[str, str],
) -> Entries:
    """Return names and texts of the words with their sentences, and of the ``settings`` by `setting_texts`."""
    return [
        *((f"Words for {name}", ", ".join(wordings)) for name, wordings in words),
        ("Sentences, class", " | ".join(templates) or MISSING),
        ("Sentences, attribute", " | ".join(attribute_templates) or MISSING),
        *setting_entries(settings),
    ]


def setting_entries(settings: Mapping[str, str]) -> Entries:
    """Return names and texts of the ``settings`` by `setting_texts`; an unset one is a dash."""
    return [(name, MISSING if value == "None" else value) for name, value in settings.items()]


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
    return render("guesses.html.j2", **context)


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
