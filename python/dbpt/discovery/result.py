"""`Discovery`: which families explain errors, and what was found of the others; discover.json, and the table."""

import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.clip import Backbone, zero_shot_weights
from dbpt.data import Dataset, StoredFeatures, Words, entries_of
from dbpt.data.loading import import_pandas
from dbpt.discovery.catalogue import Family, embed_families, read_catalogue
from dbpt.discovery.scoring import Guessed, Images, Score, group_tables, guess_families, score_families
from dbpt.errors import InputError
from dbpt.evaluation.results import BackboneSummary, PredictionsBy
from dbpt.groups import ExplainedErrors, Group
from dbpt.groups.accuracy import counted_groups
from dbpt.guesses.doubts import kappa
from dbpt.report import text
from dbpt.report.findings import (
    AuditedData,
    Finding,
    RuleKind,
    Search,
    SearchedImages,
    TriedFamily,
    doubts_of,
    search_in_words,
    searched_errors,
)
from dbpt.report.text import count_of
from dbpt.storage.typed_json import Count

SCHEMA_VERSION = 5


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

logger = logging.getLogger(__name__)

ALIKE = 0.7
"""Cohen's kappa from which the guesses of two families count as the same split of the images."""


def tried_family(
    score: Score, images: Images, right: NDArray[np.bool_], class_names: Sequence[str], like: str | None
) -> TriedFamily:
    """Return a family with its finding and its groups of images.

    Args:
        score: that of the family.
        images: the n images that were searched.
        right: (n,) bool, which of them the classifier predicts correctly.
        class_names: (C,).
        like: from `stronger_alike`.
    """
    guessed, explained, family, rule = score.of.guessed, score.explained, score.of.family, score.rule
    trust = None if guessed is None else guessed.trust
    kept = family if guessed is None else family.only(guessed.kept)
    finding: Finding = "proposed"
    if rule is not None and not score.is_proposed:
        finding = FINDINGS.get(rule.kind, "may be the class" if score.may_be_class else "describes the classes")
    groups: tuple[Group, ...] = ()
    if guessed is not None:
        correct_CA, counts_CA = group_tables(guessed, images, right)
        groups = counted_groups(list(product(class_names, kept.names)), counts_CA.ravel(), correct_CA.ravel())
    return TriedFamily(
        name=family.name,
        finding=finding,
        names=kept.names,
        attributes=list(entries_of(kept.attributes, family.name)),
        attribute_template=list(family.templates),
        explained=None if explained is None else explained.errors,
        q_value=None if explained is None else explained.q_value,
        beyond=None if score.beyond is None else score.beyond.errors,
        agreement=None if trust is None else trust.agreement,
        spread=None if trust is None else trust.spread,
        separation=None if trust is None else max(trust.separation, 0.0),
        nearer_words=None if trust is None else trust.nearer_words,
        groups=list(groups),
        difference=None if explained is None else explained.difference,
        rule=rule,
        class_words=score.of.class_words,
        doubts=[] if rule is None else doubts_of(rule, trust.doubts if trust else [], score.of.class_words),
        like=like,
    )


def stronger_alike(scores: Sequence[Score]) -> list[str | None]:
    """Return for each score the name of a stronger proposed family that splits the images in much the same way.

    ``scores`` are in the order of `score_families`. None if there is no such family, or if it is not proposed itself.
    """
    distinct: list[tuple[str, Guessed]] = []
    alike: list[str | None] = []
    for score in scores:
        guessed, like = score.of.guessed, None
        if score.is_proposed and guessed is not None:
            like = next((name for name, other in distinct if _likeness(guessed, other) >= ALIKE), None)
            if like is None:
                distinct.append((score.of.family.name, guessed))
        alike.append(like)
    return alike


def _likeness(one: Guessed, other: Guessed) -> float:
    """Return Cohen's kappa of two guesses, with each name of the one read as that of the other it mostly goes with.

    The larger figure of both directions, as the family with more names may split the groups of the other one further.
    """
    size = max(len(one.kept), len(other.kept))
    table_AA = np.zeros((size, size), np.int64)
    np.add.at(table_AA, (one.guesses, other.guesses), 1)
    pairs = ((table_AA, one, other), (table_AA.T, other, one))
    return max(kappa(table.argmax(axis=1)[a.guesses], b.guesses.astype(np.int64), size) for table, a, b in pairs)


FINDINGS: dict[RuleKind, Finding] = {
    "names without images": "too few images",
    "doubted": "doubted",
    "no test": "no test",
    "chance": "may be chance",
    "small difference": "explains little",
}
"""The finding for a family that fails one of these conditions; the others are about the class names."""


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
        "doubts": "; ".join(family.doubts),
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
        "q": [family.q_text for family in families],
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
    names = [each.name for each in figures.families if each.finding == "doubted"]
    may_be = [each.name for each in figures.to_look_at]
    of_class = [each.name for each in figures.families if each.finding == "describes the classes"]
    lines = [
        f"split the images much like {' / '.join(each.names)}: {_some([other.name for other in alike])}"
        for each in figures.distinct
        if (alike := figures.split_alike(each))
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


def images_to_search(
    backbone: Backbone, dataset: Dataset, features: StoredFeatures, rows: NDArray[np.int64], seed: int
) -> Images:
    """Return the ``rows`` (n,) of a data set with their part of its ``features`` (N, D); ``seed`` halves them."""
    features, labels = features.take(rows), dataset.labels[rows]
    return Images(backbone=backbone, features=features, labels=labels, num_classes=dataset.num_classes, seed=seed)


def zero_shot_right(images: Images, words: Words) -> NDArray[np.bool_]:
    """Return (n,) bool: the images that CLIP predicts right by the ``words`` of the classes."""
    weights_CD = zero_shot_weights(images.backbone, *words.class_texts())
    right: NDArray[np.bool_] = images.logits(weights_CD).argmax(axis=1) == images.labels
    return right


def best_family(
    images: Images, words: Words, right: NDArray[np.bool_], by: PredictionsBy, searched: SearchedImages, hint: str
) -> tuple[Family, Search]:
    """Search the package's catalogue for ``--attributes auto``.

    Args:
        images: the n images to search.
        words: those of the classes.
        right: (n,) bool, the images that are predicted right.
        by: who predicts.
        searched: which images they are, for sentences.
        hint: what to do if nothing is proposed; ends with the command that shows what was tried.

    Returns:
        The first proposed family, with the names that occur, and why it is the first.

    Raises:
        InputError: if none is proposed.
    """
    families, whose = read_catalogue(), searched_errors(by, len(right), searched)
    logger.info(f"--attributes auto: searching for an attribute that explains the errors of {whose}")
    guessed = guess_families(embed_families(images.backbone, families), images, words)
    scores = score_families(guessed, images, right, is_foreign=by == "file")
    best = scores[0]
    if not best.is_proposed or best.of.guessed is None or best.explained is None:
        errors = count_of(int((~right).sum()), "error")
        look = ""
        if best.may_be_class:
            kept = best.of.family.only([] if best.of.guessed is None else best.of.guessed.kept)
            options = ["--attributes", *entries_of(kept.attributes, kept.name)]
            options += ["--attribute-template", *kept.templates]
            look = f"; errors go with {' / '.join(kept.names)}, but CLIP may confuse these names with the classes: "
            look += f"look at them with {shlex.join(options)}"
        problem = f"--attributes auto: none of {len(families)} families is proposed for the {errors} of {whose}{look}"
        raise InputError(f"{problem}; name attributes (--attributes NAME NAME), {hint} shows what was tried")
    family = best.of.family.only(best.of.guessed.kept)
    distinct = [s for s, like in zip(scores, stronger_alike(scores), strict=True) if s.is_proposed and like is None]
    search = Search(
        family=family.name,
        names=family.names,
        explained=best.explained.errors,
        others=len(distinct) - 1,
        may_be_class=best.rule is not None,
        on_audited=searched == "audited",
    )
    return family, replace(search, sentence=search_in_words(search, whose))
