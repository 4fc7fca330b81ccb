"""`Discovery`: which families explain errors, and what was found of the others; discover.json and the table."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.data.loading import import_pandas
from dbpt.data.other_columns import LeftOut, Source
from dbpt.evaluation import ExplainedErrors
from dbpt.evaluation.audit_fields import SubjectFigures
from dbpt.evaluation.discovery_fields import Confirmation, Finding, TriedFamily
from dbpt.report import text
from dbpt.report.discovery_sentences import label_of
from dbpt.report.tables import Shown
from dbpt.storage.typed_json import Count

SCHEMA_VERSION = 7
TO_LOOK_AT: tuple[Finding, ...] = ("proposed", "may be the class", "seen dimly")
"""The findings of families that errors go with, the surest first."""


@dataclass(frozen=True, kw_only=True)
class DiscoveryFigures(SubjectFigures):
    """The content of ``discover.json``.

    ``families`` are all families, the proposed ones first, the strongest first. ``catalogue`` is the file that the user
    named, or None, and ``left_out`` are columns of the data that make no family. The commands repeat the search, and go
    on with the first proposed family: audit it, and train. Without one, they audit the first family to look at.
    """

    verdict: str
    errors: Count
    catalogue: str | None
    families: list[TriedFamily]
    left_out: list[LeftOut]
    audit_command: str | None
    fit_command: str | None

    @property
    def proposed(self) -> list[TriedFamily]:
        """The proposed families."""
        return [family for family in self.families if family.finding == "proposed"]

    @property
    def to_look_at(self) -> list[TriedFamily]:
        """The families that errors go with, but that CLIP may confuse with the classes, or sees dimly."""
        return [family for family in self.families if family.finding in TO_LOOK_AT[1:] and family.like is None]

    @property
    def shown(self) -> list[TriedFamily]:
        """The families to show: those that are proposed, or else those to look at."""
        return self.distinct or self.to_look_at

    @property
    def distinct(self) -> list[TriedFamily]:
        """The proposed families that say more than those before them."""
        return [family for family in self.families if family.is_distinct]


if TYPE_CHECKING:
    import pandas


OF_SOURCE: dict[Source, str] = {
    "words": "of words that CLIP guesses",
    "column": "from columns",
    "measured": "measured",
    "caption": "from captions",
    "pair": "pairs",
}
MOST_FAMILIES_PRINTED = 8
NAMES_SHOWN = 6
LETTERS = 26
ENDS = {"": "value", "_low": "low", "_high": "high"}


@dataclass(frozen=True, repr=False, eq=False)
class Discovery(Shown):
    """The result of a search for attributes. ``str()`` of it is the table.

    Attributes:
        figures: the content of ``discover.json``.
        folder: where the files are; None without ``out``.
    """

    figures: DiscoveryFigures
    folder: Path | None

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        return self.figures.verdict

    @property
    def proposed(self) -> list[TriedFamily]:
        """The proposed families, the strongest first; none if nothing is proposed."""
        return self.figures.proposed

    @property
    def warnings(self) -> list[str]:
        """All warnings."""
        return list(map(str, self.figures.warnings))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``discover.json``."""
        return json.loads(json.dumps(asdict(self.figures)))  # type: ignore[no-any-return]

    def family_rows(self) -> list[dict[str, Any]]:
        """Return a dict for each family of the catalogue: finding, shares, p and q, trust, worst group, doubts."""
        return [_family_row(family) for family in self.figures.families]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return `family_rows` as a ``pandas.DataFrame``. Raises `InputError` if pandas is not installed."""
        return import_pandas().DataFrame(self.family_rows())

    def table(self) -> str:
        """Return heading, table, verdict and the commands to go on as text, without a final newline."""
        figures = self.figures
        split = "all splits" if figures.data.split == "all" else f"{figures.data.split} split"
        heading = [
            f"{figures.data.name}: {split}, {text.count_of(figures.data.n, 'image')}; predictions: "
            f"{figures.predictions_from}, {text.count_of(figures.errors, 'error')}",
            f"{text.count_of(len(figures.families), 'family', 'families')} tried: {_by_source(figures)}; figures in "
            "per cent",
        ]
        lines = [*text.wrapped(heading), ""]
        if figures.shown:
            lines += [*text.render_columns(_columns(figures.shown[:MOST_FAMILIES_PRINTED])), ""]
        if notes := _passed_over(figures):
            lines += [*text.wrapped(notes), ""]
        lines += text.wrapped([figures.verdict])
        if figures.audit_command:
            way_on = ", or train" if figures.fit_command else " by it, and look at the pictures"
            lines += ["", f"Audit the searched images{way_on}:", figures.audit_command]
        if figures.fit_command:
            lines.append(figures.fit_command)
        return "\n".join(lines)

    def _brief(self) -> str:
        names = [family.name for family in self.proposed]
        return f"{self.figures.data.name!r}, proposed={names!r}, folder={str(self.folder)!r}"


def _by_source(figures: DiscoveryFigures) -> str:
    """Return how many families come from where: "54 of words, 3 columns"."""
    numbers = Counter(family.source for family in figures.families)
    return ", ".join(f"{text.count(numbers[source])} {name}" for source, name in OF_SOURCE.items() if numbers[source])


def _family_row(family: TriedFamily) -> dict[str, Any]:
    explained, beyond, pair = family.explained, family.beyond, family.worst_and_best
    confirmation = family.confirmation
    worse, better = pair or (None, None)
    return {
        "family": family.name,
        "source": family.source,
        "finding": family.finding,
        "names": " | ".join(family.names),
        "share_explained": explained and explained.share,
        "share_low": explained and explained.share_low,
        "share_high": explained and explained.share_high,
        "p_value": explained and explained.p_value,
        "q_value": family.q_value,
        "share_beyond_class_names": beyond and beyond.share,
        **{name: getattr(family, name) for name in ("agreement", "spread", "separation", "nearer_words")},
        "class": worse and worse.class_name,
        "worse_attribute": worse and worse.attribute,
        "worse_accuracy": worse and worse.accuracy,
        "better_attribute": better and better.attribute,
        "better_accuracy": better and better.accuracy,
        **{f"difference{end}": getattr(family.difference, name, None) for end, name in ENDS.items()},
        "rule": family.rule and family.rule.kind,
        "rule_value": family.rule and family.rule.value,
        "rule_limit": family.rule and family.rule.limit,
        "splits_like": family.like,
        "other_split": confirmation and confirmation.split,
        "other_share": confirmation and confirmation.explained.share,
        "other_p_value": confirmation and confirmation.p_value,
        "doubts": "; ".join(map(str, family.doubts)),
    }


def _columns(families: list[TriedFamily]) -> list[list[str]]:
    pairs = [family.worst_and_best for family in families]
    groups = [
        "" if pair is None else text.shorten_group(pair[0].class_name, pair[0].attribute, LETTERS) for pair in pairs
    ]
    worse, better = ([text.percent(pair and pair[i].accuracy) for pair in pairs] for i in (0, 1))
    columns = {
        "family": [label_of(family, LETTERS) for family in families],
        "explained": [_share(family.explained) for family in families],
        "q": [text.bound_text(family.q_value, family.explained) for family in families],
        "worse group": groups,
        "right": worse,
        "better": better,
    }
    if split := next((family.confirmation.split for family in families if family.confirmation), None):
        columns[f"in {split}"] = [_elsewhere(family.confirmation) for family in families]
    return [[title, "", "", *cells] for title, cells in columns.items()]


def _share(explained: ExplainedErrors | None) -> str:
    if explained is None:
        return text.MISSING
    return f"{text.percent(explained.share)} {text.interval_text(explained.share_low, explained.share_high)}".rstrip()


def _elsewhere(found: Confirmation | None) -> str:
    """Return whether a finding holds in another split."""
    return text.MISSING if found is None else "holds" if found.holds else "not confirmed"


def _passed_over(figures: DiscoveryFigures) -> list[str]:
    """Return lines about families that are not in the table."""
    families = figures.families
    notes = [
        (
            f"split the images much like {label_of(family, LETTERS)}",
            [other for other in figures.proposed if other.like == family.key],
        )
        for family in figures.distinct
    ]
    if figures.distinct:
        through = [family for family in figures.proposed if family.through is not None]
        notes.append(("go with a family above, beside which they matter little", through))
    notes += [
        (note, [family for family in some if family.finding == finding])
        for note, some, finding in (
            ("errors go with them, but CLIP may confuse them with the classes", figures.to_look_at, "may be the class"),
            ("errors go with them, but CLIP sees them only dimly", figures.to_look_at, "seen dimly"),
            ("not judged, as CLIP doesn't see the names in these images", families, "doubted"),
            ("tell little beyond the class names", families, "describes the classes"),
        )
    ]
    lines = [
        f"{note}: {_some([text.shorten(family.name, LETTERS) for family in some])}" for note, some in notes if some
    ]
    if figures.left_out:
        columns = [f"{text.shorten(column.name, LETTERS)} ({column.reason})" for column in figures.left_out]
        lines.append(f"columns left out: {_some(columns)}")
    return lines


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
