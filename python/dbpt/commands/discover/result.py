"""`Discovery`: which families explain errors, and what was found of the others; discover.json, and the table."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.cautions import Caution
from dbpt.data.loading import import_pandas
from dbpt.evaluation import ExplainedErrors
from dbpt.evaluation.audit import AuditedData
from dbpt.evaluation.discovery import TriedFamily
from dbpt.evaluation.results import BackboneSummary, PredictionsBy
from dbpt.report import text
from dbpt.storage.typed_json import Count

SCHEMA_VERSION = 6


@dataclass(frozen=True, kw_only=True)
class DiscoveryFigures:
    """The content of ``discover.json``.

    ``families`` are all families, the proposed ones first, the strongest first. ``catalogue`` is the file that the user
    named, or None. The commands repeat the search, and go on with the first proposed family: audit it in images that
    were not searched, if there are any, and in those that were, and train. Without one, they audit the first family
    that may be the class.
    """

    schema_version: int
    dbpt_version: str
    verdict: str
    data: AuditedData
    backbone: BackboneSummary
    predictions_by: PredictionsBy
    predictions_from: str
    errors: Count
    catalogue: str | None
    families: list[TriedFamily]
    warnings: list[Caution]
    command: str
    check_command: str | None
    audit_command: str | None
    fit_command: str | None
    settings: dict[str, str]

    @property
    def proposed(self) -> list[TriedFamily]:
        """The proposed families."""
        return [family for family in self.families if family.finding == "proposed"]

    @property
    def to_look_at(self) -> list[TriedFamily]:
        """The families that a foreign classifier's errors go with, but that CLIP may confuse with the classes."""
        return [family for family in self.families if family.finding == "may be the class"]

    @property
    def distinct(self) -> list[TriedFamily]:
        """The proposed families without those that split the images like a stronger one."""
        return [family for family in self.proposed if family.like is None]

    def split_alike(self, family: TriedFamily) -> list[TriedFamily]:
        """Return the proposed families that split the images like ``family``, which is stronger."""
        return [other for other in self.proposed if other.like == family.name]


if TYPE_CHECKING:
    import pandas


MOST_FAMILIES_PRINTED = 8
NAMES_SHOWN = 6
LETTERS = 28
ENDS = {"": "value", "_low": "low", "_high": "high"}


@dataclass(frozen=True, repr=False, eq=False)
class Discovery:
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
            f"{text.count_of(len(figures.families), 'family', 'families')} of attributes tried; guessed by CLIP; "
            "figures in per cent",
        ]
        lines = [*text.wrapped(heading), ""]
        if figures.proposed:
            lines += [*text.render_columns(_columns(figures.distinct[:MOST_FAMILIES_PRINTED])), ""]
        if notes := _passed_over(figures):
            lines += [*text.wrapped(notes), ""]
        lines += text.wrapped([figures.verdict])
        if figures.check_command:
            lines += ["", "Check it on images that were not searched:", figures.check_command]
        if figures.audit_command:
            way_on = ", or train" if figures.fit_command else " by it, and look at the pictures"
            lines += ["", f"Audit the searched images{way_on}:", figures.audit_command]
        if figures.fit_command:
            lines.append(figures.fit_command)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        names = [family.name for family in self.proposed]
        return f"Discovery({self.figures.data.name!r}, proposed={names!r}, folder={str(self.folder)!r})"


def _family_row(family: TriedFamily) -> dict[str, Any]:
    explained, beyond, pair = family.explained, family.beyond, family.worst_and_best
    worse, better = pair or (None, None)
    return {
        "family": family.name,
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
        "doubts": "; ".join(map(str, family.doubts)),
    }


def _columns(families: list[TriedFamily]) -> list[list[str]]:
    pairs = [family.worst_and_best for family in families]
    groups = [
        "" if pair is None else text.shorten_group(pair[0].class_name, pair[0].attribute, LETTERS) for pair in pairs
    ]
    worse, better = ([text.percent(pair and pair[i].accuracy) for pair in pairs] for i in (0, 1))
    columns = {
        "family": [family.name for family in families],
        "explained": [_share(family.explained) for family in families],
        "q": [text.bound_text(family.q_value, family.explained) for family in families],
        "worse group": groups,
        "right": worse,
        "better": better,
    }
    return [[title, "", "", *cells] for title, cells in columns.items()]


def _share(explained: ExplainedErrors | None) -> str:
    if explained is None:
        return text.MISSING
    return f"{text.percent(explained.share)} {text.interval_text(explained.share_low, explained.share_high)}".rstrip()


def _passed_over(figures: DiscoveryFigures) -> list[str]:
    """Return lines about families that are not in the table."""
    names = [family.name for family in figures.families if family.finding == "doubted"]
    may_be = [family.name for family in figures.to_look_at]
    of_class = [family.name for family in figures.families if family.finding == "describes the classes"]
    lines = [
        f"split the images much like {' / '.join(family.names)}: {_some([other.name for other in alike])}"
        for family in figures.distinct
        if (alike := figures.split_alike(family))
    ]
    if may_be:
        lines.append(f"errors go with them, but CLIP may confuse them with the classes: {_some(may_be)}")
    if names:
        lines.append(f"not judged, as CLIP doesn't see the names in these images: {_some(names)}")
    if of_class:
        lines.append(f"tell little beyond the class names: {_some(of_class)}")
    return lines


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
