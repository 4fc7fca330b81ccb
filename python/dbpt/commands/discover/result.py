"""`Discovery`: which families explain errors, and what was found of the others; discover.json, table and page."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbpt.cautions import short_of
from dbpt.data.loading import import_pandas
from dbpt.data.other_columns import LeftOut
from dbpt.evaluation import ExplainedErrors, Group
from dbpt.evaluation.audit import Finding, Source, SubjectFigures, TriedFamily
from dbpt.guesses.doubts import LOWEST_AGREEMENT
from dbpt.guesses.trust import LOWEST_SEPARATION, LOWEST_SPREAD, MOST_NEARER_WORDS
from dbpt.report import sections, text
from dbpt.report.pictures import GroupExamples
from dbpt.report.sections import section
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

    def split_alike(self, family: TriedFamily) -> list[TriedFamily]:
        """Return the proposed families that split the images like ``family``, which is named first."""
        return [other for other in self.proposed if other.like == family.name]


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
LETTERS = 28
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

    def __repr__(self) -> str:
        names = [family.name for family in self.proposed]
        return f"Discovery({self.figures.data.name!r}, proposed={names!r}, folder={str(self.folder)!r})"


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
        "family": [family.name for family in families],
        "explained": [_share(family.explained) for family in families],
        "q": [text.bound_text(family.q_value, family.explained) for family in families],
        "worse group": groups,
        "right": worse,
        "better": better,
        "elsewhere": [_elsewhere(family) for family in families],
    }
    return [[title, "", "", *cells] for title, cells in columns.items()]


def _share(explained: ExplainedErrors | None) -> str:
    if explained is None:
        return text.MISSING
    return f"{text.percent(explained.share)} {text.interval_text(explained.share_low, explained.share_high)}".rstrip()


def _elsewhere(family: TriedFamily) -> str:
    """Return whether the finding holds in another split."""
    found = family.confirmation
    return text.MISSING if found is None else f"{'holds' if found.holds else 'fails'} in {found.split}"


def _passed_over(figures: DiscoveryFigures) -> list[str]:
    """Return lines about families that are not in the table."""
    names = [family.name for family in figures.families if family.finding == "doubted"]
    may_be = [family.name for family in figures.to_look_at if family.finding == "may be the class"]
    dim = [family.name for family in figures.to_look_at if family.finding == "seen dimly"]
    of_class = [family.name for family in figures.families if family.finding == "describes the classes"]
    lines = [
        f"split the images much like {' / '.join(family.names)}: {_some([other.name for other in alike])}"
        for family in figures.distinct
        if (alike := figures.split_alike(family))
    ]
    if through := [family.name for family in figures.proposed if family.through is not None]:
        lines.append(f"matter only as they go with {figures.distinct[0].name}: {_some(through)}")
    if may_be:
        lines.append(f"errors go with them, but CLIP may confuse them with the classes: {_some(may_be)}")
    if dim:
        lines.append(f"errors go with them, but CLIP sees them only dimly: {_some(dim)}")
    if names:
        lines.append(f"not judged, as CLIP doesn't see the names in these images: {_some(names)}")
    if of_class:
        lines.append(f"tell little beyond the class names: {_some(of_class)}")
    if figures.left_out:
        columns = [f"{column.name} ({column.reason})" for column in figures.left_out]
        lines.append(f"columns left out: {_some(columns)}")
    return lines


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


MOST_SHOWN = 3
"""Families with pictures."""
MOST_ROWS_SHOWN = 12
TRUST = {"agreement": LOWEST_AGREEMENT, "spread": LOWEST_SPREAD, "separation": LOWEST_SEPARATION}
TRUST |= {"nearer_words": MOST_NEARER_WORDS}
"""Figures of `Trust`, each with the limit from which the guesses are trusted: the last one is an upper limit."""
REASONS = {
    "Errors go with them, but CLIP may confuse the names with the classes": ("may be the class",),
    "Errors go with them, but CLIP sees the names only dimly": ("seen dimly",),
    "Tested: errors depend on the guesses no more than by chance, or little": ("may be chance", "explains little"),
    "Not told apart from the classes": ("describes the classes",),
    "Not judged: the guesses can’t be trusted, so their figures say nothing": ("doubted",),
    "Not tested: no class has right and wrong images of two of the names": ("no test", "too few images"),
}
"""The findings of the families that are not proposed, under their headings."""


def render_discovery(figures: DiscoveryFigures, examples: Mapping[str, list[GroupExamples]] | None) -> str:
    """Return the page, one self-contained HTML file without scripts.

    ``examples`` are pictures of the groups of the first distinct families, by name; None if there are no images.
    """
    proposed, data = figures.distinct, figures.data
    shown, reasons = figures.shown, _others(figures.families)
    title = f"What the errors go with{', strongest first' if len(proposed) > 1 else ''}"
    pictured, values = [(family, _by_class(family)) for family in shown[:MOST_SHOWN]], {"most_rows": MOST_ROWS_SHOWN}
    look = section("families", "Look before you believe it", "pictures", families=pictured, examples=examples, **values)
    values_of_others = {"reasons": reasons, "trust": TRUST, "short_of": short_of}
    parts = [
        sections.warnings(figures.warnings),
        section("proposed", title, figures=figures, families=proposed, **values) if proposed else None,
        look if shown else None,
        section("next", "Next step", kind="discover", figures=figures),
        section("others", "Families that are not proposed", proposed=proposed, **values_of_others),
        sections.made_by("discover", figures.command, [], ([], []), figures.settings, figures=figures),
    ]
    example = proposed[0] if proposed else next(iter(reasons.values()))[0]
    eyebrow = f"{data.name} · search for attributes that explain errors"
    below = section("searched", figures=figures, example=example)
    head = sections.headline(eyebrow, _badge(figures), figures.verdict, below)
    kind, how = "Attribute found" if figures.proposed else "Nothing proposed", sections.how("discover")
    return sections.render_page(f"{kind}: {data.name} · dbpt discover", head, parts, how, figures.dbpt_version)


def _badge(figures: DiscoveryFigures) -> tuple[str, str]:
    """Return the class and text of the badge. It is an all-clear only if half of the families could be judged."""
    if figures.proposed:
        return "bias", "Attribute found"
    if figures.to_look_at:
        return "untrusted", "Look at the pictures"
    tested = sum(family.is_judged for family in figures.families)
    if figures.errors < figures.data.n and (not figures.errors or 2 * tested >= len(figures.families)):
        return "no-evidence", "Nothing proposed"
    return "untrusted", f"Nothing proposed: {tested} of {len(figures.families)} could be judged"


def _by_class(family: TriedFamily) -> list[tuple[str, list[Group]]]:
    """Return the groups of each class, those whose accuracies differ most first."""

    def gap(groups: list[Group]) -> float:
        accuracies = [group.accuracy for group in groups if group.accuracy is not None]
        return max(accuracies, default=0.0) - min(accuracies, default=0.0)

    classes = [(y, list(groups)) for y, groups in groupby(family.groups, lambda group: group.class_name)]
    return sorted(classes, key=lambda item: -gap(item[1]))


def _others(families: Sequence[TriedFamily]) -> dict[str, list[TriedFamily]]:
    """Return the families that are not proposed by the reason.

    Families that could be tested are sorted by the p-value, then by the share of the errors; others by the number of
    doubts, then by name.
    """
    by_reason = {why: [each for each in families if each.finding in findings] for why, findings in REASONS.items()}
    return {why: sorted(some, key=_order) for why, some in by_reason.items() if some}


def _order(family: TriedFamily) -> tuple[float, float, str]:
    explained = family.explained
    if family.finding in ("doubted", "no test", "too few images") or explained is None:
        return len(family.doubts), 0.0, family.name
    return 2.0 if explained.p_value is None else explained.p_value, -(explained.share or 0.0), family.name
